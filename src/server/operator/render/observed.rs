//! What a rendering takes to be observed in the cluster.
//!
//! ```yaml
//! server: ready          # or starting: no app is started yet
//! policy: inForce        # or missing: of namespaces of which no Workspace is given
//! cilium: true           # whether the cluster has CiliumNetworkPolicies
//! drivers: [csi.juicefs.com, nfs.csi.k8s.io]
//! storage:               # bound, or pending: claims wait for their volumes
//!   archive: bound
//!   scratch: bound
//!   local: bound
//! secrets:               # the values that volumes and apps need; leave one out for a Secret that does not exist
//!   juicefs: {name: workspaces}
//!   nfs: {server: nfs.example.org, share: /export}
//!   licences: |          # the key config.yaml of the licence Secret
//!     licenses: {}
//! time: 2000-01-01T00:00:00Z
//! ```
//!
//! What is left out is as above, but for licences: there are none. The time is fixed, so that two renderings can be compared.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{super::workbench::Mount, Error};

/// What is observed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Observed {
    /// The servers of workbenches.
    pub server: Server,
    /// The network policy of a namespace of which no Workspace is given. Of others it is what their Workspace comes to.
    pub policy: Policy,
    /// Whether the cluster has CiliumNetworkPolicies.
    pub cilium: bool,
    /// CSI drivers of the cluster.
    pub drivers: BTreeSet<String>,
    /// Claims.
    pub storage: Storage,
    /// Secrets.
    pub secrets: Secrets,
    /// When it is observed.
    pub time: DateTime<Utc>,
}

/// The start of the year 2000, in seconds of Unix time.
const TIME: i64 = 946_684_800;

/// How servers fare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Server {
    /// Apps can draw.
    #[default]
    Ready,
    /// They start.
    Starting,
}

/// Whether a network policy is in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Policy {
    /// It is.
    #[default]
    InForce,
    /// It is not.
    Missing,
}

/// How the claim of a file system fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FileSystem {
    /// It can be mounted.
    #[default]
    Bound,
    /// It waits for its volume.
    Pending,
}

/// The file systems of workspaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Object storage.
    pub archive: FileSystem,
    /// NFS.
    pub scratch: FileSystem,
    /// A folder of the node.
    pub local: FileSystem,
}

impl Storage {
    /// How this one fares.
    pub(super) fn of(&self, mount: Mount) -> FileSystem {
        match mount {
            Mount::Archive => self.archive,
            Mount::Scratch => self.scratch,
            Mount::Local => self.local,
        }
    }
}

/// Values of Secrets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// The object storage: `name`.
    #[serde(default)]
    pub juicefs: Option<BTreeMap<String, String>>,
    /// The NFS server: `server`, `share`.
    #[serde(default)]
    pub nfs: Option<BTreeMap<String, String>>,
    /// The key `config.yaml` of the licence Secret.
    #[serde(default)]
    pub licences: Option<String>,
}

impl Default for Observed {
    fn default() -> Self {
        Self {
            server: Server::default(),
            policy: Policy::default(),
            cilium: true,
            drivers: ["csi.juicefs.com", "nfs.csi.k8s.io"].map(str::to_owned).into(),
            storage: Storage::default(),
            secrets: Secrets::default(),
            time: DateTime::from_timestamp(TIME, 0).unwrap_or_default(),
        }
    }
}

impl Default for Secrets {
    fn default() -> Self {
        let values =
            |pairs: &[(&str, &str)]| pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        Self {
            juicefs: Some(values(&[("name", "workspaces")])),
            nfs: Some(values(&[("server", "nfs.example.org"), ("share", "/export")])),
            licences: None,
        }
    }
}

impl Observed {
    /// Reads it from YAML; an empty text is the default.
    ///
    /// # Errors
    /// YAML that says something else.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let observed: Option<Self> = serde_saphyr::from_str(text)
            .map_err(|error| Error::Observed(format!("is not understood: {}", error.without_snippet())))?;
        Ok(observed.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_there() {
        assert_eq!(Observed::parse("# nothing\n").unwrap(), Observed::default());
        let observed = Observed::parse("server: starting\nstorage: {scratch: pending}\nsecrets: {}\n").unwrap();
        assert_eq!((observed.server, observed.policy, observed.cilium), (Server::Starting, Policy::InForce, true));
        assert_eq!(observed.storage.of(Mount::Scratch), FileSystem::Pending);
        assert_eq!((observed.secrets.juicefs, observed.secrets.nfs), (None, None));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for text in ["servers: ready", "server: gone", "storage: {s3: bound}", "- a"] {
            let error = Observed::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("the observed state is not understood: "), "{error}");
        }
    }

    /// The example in the documentation is the default.
    #[test]
    fn the_example_is_understood() {
        let example = "server: ready\npolicy: inForce\ncilium: true\ndrivers: [csi.juicefs.com, nfs.csi.k8s.io]\n\
            storage: {archive: bound, scratch: bound, local: bound}\n\
            secrets:\n  juicefs: {name: workspaces}\n  nfs: {server: nfs.example.org, share: /export}\n\
            time: 2000-01-01T00:00:00Z\n";
        assert_eq!(Observed::parse(example).unwrap(), Observed::default());
    }
}
