//! A desktop session: what its children shall be, and what its status is. Pure; the controller is in [`super::cluster`].
//!
//! ```text
//! Workbench ─┐
//! Seen ──────┼─► plan ─► steps, status, when to look again, notices
//! Facts, now ┘
//!
//! plan ─┬─ network   may anything start?              ├─ apps      one record an app (family: whose Job; app: the Job)
//!       ├─ serving   the server (server: its objects; ├─ drain, deletion   apps end first
//!       │            adopted: the former operator's)  ├─ status, notices   conditions, events
//!       └─ storage   volumes, claims, folders         └─ check, names, images, licence, pods
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    live::{Child, DeploymentStatus, JobStatus, Pod, VolumeStatus},
    plan::Target,
    settings::Settings,
    workspace::Enforcement,
};

mod adopted;
mod app;
mod apps;
mod check;
mod deletion;
mod drain;
mod images;
mod licence;
pub mod names;
mod network;
mod notices;
mod pass;
mod plan;
mod pods;
pub mod policy;
mod server;
mod serving;
mod status;
mod storage;
#[cfg(test)]
mod tests;

pub use plan::plan;

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
    /// Children that the API server refused as they were wanted (422, 403), and what it said: they are reported and not sent
    /// again, so that one of them stops no other; `uid` is none. The controller forgets a refusal when the workbench changes, and after a while.
    pub refused: BTreeMap<Target, String>,
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

impl Mount {
    /// All, in order.
    pub const ALL: [Self; 3] = [Self::Archive, Self::Scratch, Self::Local];

    /// Its name in volumes, claims and paths.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Scratch => "scratch",
            Self::Local => "local",
        }
    }
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
