//! What the operator remembers of the objects in the cluster: small projections, never whole objects.
//!
//! The caches fill these, the plans read them. Ten thousand desktops are some sixty thousand objects, so each keeps what
//! decisions need and nothing else: what the operator may have written itself stays as compact JSON, and is parsed when it
//! is compared.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The kinds of objects that the operator writes beside its own resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `apps/v1`
    Deployment,
    /// `v1`
    Service,
    /// `batch/v1`
    Job,
    /// `v1`, of no namespace
    PersistentVolume,
    /// `v1`
    PersistentVolumeClaim,
    /// `networking.k8s.io/v1`
    NetworkPolicy,
    /// `cilium.io/v2`
    CiliumNetworkPolicy,
}

impl Kind {
    /// `apiVersion`, `kind` and plural.
    pub const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Deployment => ("apps/v1", "Deployment", "deployments"),
            Self::Service => ("v1", "Service", "services"),
            Self::Job => ("batch/v1", "Job", "jobs"),
            Self::PersistentVolume => ("v1", "PersistentVolume", "persistentvolumes"),
            Self::PersistentVolumeClaim => ("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
            Self::NetworkPolicy => ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
            Self::CiliumNetworkPolicy => ("cilium.io/v2", "CiliumNetworkPolicy", "ciliumnetworkpolicies"),
        }
    }

    /// Whether its objects live in a namespace.
    pub const fn namespaced(self) -> bool {
        !matches!(self, Self::PersistentVolume)
    }
}

/// A child as it is in the cluster. `S` is what its status says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Child<S> {
    /// `metadata`, as far as decisions need it.
    pub meta: Meta,
    /// `metadata.labels`, `metadata.annotations`, `metadata.ownerReferences` and everything beside `metadata` and
    /// `status`, to compare with what is wanted.
    pub body: Body,
    /// What its status says.
    pub status: S,
}

/// The metadata of an object, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Its name.
    pub name: String,
    /// Its namespace; empty where there is none.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// Its version, opaque.
    pub resource_version: String,
    /// The uid of its controller, if it has one.
    pub controller: Option<String>,
    /// Whether our field manager applied it.
    pub ours: bool,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl Default for Meta {
    fn default() -> Self {
        Self {
            name: String::new(),
            namespace: String::new(),
            uid: String::new(),
            resource_version: String::new(),
            controller: None,
            ours: false,
            created: DateTime::UNIX_EPOCH,
            deleting: false,
        }
    }
}

/// An object as compact JSON.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body(Box<str>);

impl Body {
    /// Keeps this value.
    pub fn new(value: &serde_json::Value) -> Self {
        Self(value.to_string().into())
    }

    /// The value; null if it was none.
    pub fn value(&self) -> serde_json::Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Body {
    /// Only its size: it may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// The status of a Deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentStatus {
    /// The annotation `deployment.kubernetes.io/revision`, if it is a number.
    pub revision: Option<i64>,
    /// `metadata.generation` and `status.observedGeneration`.
    pub generation: (i64, i64),
    /// `status.replicas`
    pub replicas: i32,
    /// Type, status (`True`, `False`, `Unknown`), reason, message.
    pub conditions: Vec<SeenCondition>,
}

/// A condition of a foreign object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenCondition {
    /// Its type.
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}

/// The status of a Job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Pods that run or are pending, without those that are ending.
    pub active: i32,
    /// Those of them that are ready.
    pub ready: i32,
    /// Pods that are ending; none where the cluster does not say.
    pub terminating: Option<i32>,
    /// Pods that ended well.
    pub succeeded: i32,
    /// Pods that ended badly.
    pub failed: i32,
    /// Conditions.
    pub conditions: Vec<SeenCondition>,
}

/// The status of a volume or claim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeStatus {
    /// `Pending`, `Available`, `Bound`, `Released`, `Failed`, `Lost`; empty when it has none yet.
    pub phase: String,
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Metadata.
    pub meta: Meta,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `status.phase`
    pub phase: String,
    /// The condition `PodScheduled`, unless it is true.
    pub unscheduled: Option<SeenCondition>,
    /// Why the pod as a whole failed (`Evicted` …), if it did.
    pub reason: Option<String>,
    /// Containers that set up or stand beside.
    pub init: Vec<Container>,
    /// Containers.
    pub containers: Vec<Container>,
}

/// A container of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Whether its readiness probe passes.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: i32,
    /// What it does.
    pub state: ContainerState,
}

/// What a container does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Nothing is said.
    #[default]
    None,
    /// It cannot start yet.
    Waiting {
        /// Why, in one word.
        reason: String,
        /// Why, for people; may be empty.
        message: String,
    },
    /// It runs.
    Running {
        /// Since when.
        since: Option<DateTime<Utc>>,
    },
    /// It ended.
    Terminated {
        /// Its exit code.
        code: i32,
        /// Why, in one word.
        reason: String,
        /// Why, for people; may be empty.
        message: String,
    },
}
