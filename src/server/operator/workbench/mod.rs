//! A desktop session: what its children shall be, and what its status is. Pure; the controller is in [`super::cluster`].
//!
//! ```text
//! Workbench ─┐
//! Seen ──────┼─► plan ─► steps, status, when to look again, notices
//! Facts, now ┘
//! ```

pub mod policy;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::{
    api::{Workbench, WorkbenchStatus},
    live::{Child, DeploymentStatus, JobStatus, Pod, VolumeStatus},
    plan::{Plan, Target},
    settings::Settings,
    workspace::Enforcement,
};

/// What the caches hold about one workbench.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Deployment `<workbench>-server`, whoever made it.
    pub deployment: Option<Arc<Child<DeploymentStatus>>>,
    /// Service `<workbench>`, whoever made it.
    pub service: Option<Arc<Child<()>>>,
    /// NetworkPolicy of the workbench, whoever made it.
    pub policy: Option<Arc<Child<()>>>,
    /// Jobs of the namespace with the label `workbench: <workbench>`, whoever controls them.
    pub jobs: Vec<Arc<Child<JobStatus>>>,
    /// Pods of the namespace with that label (the server's), or with `chorus-tre.ch/workbench: <workbench>` (those of apps).
    pub pods: Vec<Arc<Pod>>,
    /// The volumes of the namespace that exist.
    pub volumes: BTreeMap<Mount, Volume>,
    /// Children that a read of the API server did not find, though they are recorded ([`super::plan::Step::Confirm`]).
    pub absent: BTreeSet<Target>,
}

/// A file system of a workspace. The order is that of volumes and mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mount {
    /// Object storage: `archive`.
    Archive,
    /// NFS: `scratch`.
    Scratch,
    /// A folder of the node: `local`.
    Local,
}

/// The objects of a file system of a workspace, as far as they exist.
#[derive(Debug, Clone, Default)]
pub struct Volume {
    /// PersistentVolume `<namespace>-<mount>-pv`.
    pub volume: Option<Arc<Child<VolumeStatus>>>,
    /// PersistentVolumeClaim `<namespace>-<mount>-pvc`.
    pub claim: Option<Arc<Child<VolumeStatus>>>,
    /// The Job that makes its folders.
    pub setup: Option<Arc<Child<JobStatus>>>,
}

/// What holds for all workbenches, or for all of a namespace.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// Whether the network policy of the workspace is in force.
    pub network: Enforcement,
    /// The CSI drivers that the cluster has.
    pub drivers: BTreeSet<String>,
    /// The keys that volumes need of the Secret of the object storage (`name`), if it exists.
    pub juicefs: Option<BTreeMap<String, String>>,
    /// The keys that volumes need of the Secret of the NFS server (`server`, `share`), if it exists.
    pub nfs: Option<BTreeMap<String, String>>,
    /// The key `config.yaml` of the licence Secret of the namespace, if it exists.
    pub licences: Option<String>,
}

/// What to do about a workbench.
pub fn plan(_workbench: &Workbench, _seen: &Seen, _facts: &Facts<'_>, _now: DateTime<Utc>) -> Plan<WorkbenchStatus> {
    Plan { steps: Vec::new(), status: None, wake: None, notices: Vec::new() }
}
