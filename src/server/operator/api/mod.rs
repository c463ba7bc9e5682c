//! The custom resources of the operator: their types, and the names that clients, images and running clusters depend on.
//!
//! What always holds: what is read here is written back by nobody but its author. The operator writes `status` and one
//! finalizer, never a `spec`.

use chrono::{DateTime, SecondsFormat, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::Resource;

pub mod crds;
pub mod schema;
pub mod structural;
pub mod workbench;
pub mod workspace;

pub use workbench::{Workbench, WorkbenchSpec, WorkbenchStatus};
pub use workspace::{Workspace, WorkspaceSpec, WorkspaceStatus};

/// The API group of both resources.
pub const GROUP: &str = "default.chorus-tre.ch";
/// The only version of both.
pub const VERSION: &str = "v1alpha1";
/// Keeps a workbench until its apps have ended. The former operator of a cluster sets the same.
pub const FINALIZER: &str = "default.k8s.chorus-tre.ch/finalizer";
/// The field manager under which the operator applies, and the `reportingController` of its events.
pub const MANAGER: &str = "chorus-operator";
/// The lease that the leader holds. The former operator of a cluster takes the same one, so the two never act together.
pub const LEASE: &str = "744cc179.chorus-tre.ch";

/// Labels and annotations of children.
pub mod labels {
    /// On the children of a workbench: its name. The selector of its server pods, so app pods never have it.
    pub const WORKBENCH: &str = "workbench";
    /// On the pods of a workbench, those of apps included: its name.
    pub const POD_OF: &str = "chorus-tre.ch/workbench";
    /// On the Job and the pods of an app: its key in `spec.apps`.
    pub const APP: &str = "chorus-tre.ch/app";
    /// On the network policies of a workspace: its name.
    pub const WORKSPACE: &str = "workspace";
    /// Who made an object.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// Annotation of a Job: since when its app is awaited, RFC 3339.
    pub const NOT_READY_SINCE: &str = "chorus-tre.ch/not-ready-since";
    /// Annotation of a Job: the `restartGeneration` for which it was made.
    pub const RESTART_GENERATION: &str = "chorus-tre.ch/restart-generation";
    /// Annotation of a Job: when its app was given up because it did not start, RFC 3339. The Job stays suspended.
    pub const TIMED_OUT: &str = "chorus-tre.ch/timed-out-at";
    /// Annotation of what is applied: a hash of it all, so that something that is no longer wanted is noticed too.
    pub const APPLIED: &str = "chorus-tre.ch/applied";
    /// On the Job that makes the folders of a file system of a workspace: `scratch` or `local`.
    pub const STORAGE: &str = "chorus-tre.ch/storage";
    /// Annotation of a Workbench: `chorus operator adopt --restart` sets it to the moment (RFC 3339) at which a taken-over
    /// server may be rolled.
    pub const ADOPT: &str = "chorus-tre.ch/adopt";
}

/// A condition of a resource (`metav1.Condition`).
pub type Condition = k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
/// A quantity of Kubernetes: `500m`, `2Gi`.
pub use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// A moment as Kubernetes writes it; whole seconds.
pub fn time(at: DateTime<Utc>) -> Time {
    Time(k8s_openapi::jiff::Timestamp::from_second(at.timestamp()).unwrap_or_default())
}

/// A moment as annotations hold it: RFC 3339, whole seconds.
pub fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A moment that Kubernetes wrote.
pub fn moment(time: &Time) -> DateTime<Utc> {
    DateTime::from_timestamp(time.0.as_second(), 0).unwrap_or_default()
}

/// The `metadata.ownerReferences` of a child of this resource: the resource is its controller, and in a foreground deletion
/// goes after it. None for a resource that is not in a cluster.
pub fn owned_by(resource: &impl Resource<DynamicType = ()>) -> Option<Vec<OwnerReference>> {
    let owner = resource.controller_owner_ref(&())?;
    Some(vec![OwnerReference { block_owner_deletion: Some(true), ..owner }])
}
