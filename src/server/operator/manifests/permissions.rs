//! What the operator may do, in one table: roles are made from it, and `doctor` asks the API server for each of its rows.

use super::super::{
    api::{GROUP, LEASE},
    settings::Settings,
};

/// One thing that the operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The plural of the resource, with its subresource.
    pub resource: &'static str,
    /// The verbs of the API.
    pub verbs: &'static [&'static str],
    /// Where.
    pub place: Place,
    /// Why.
    pub why: &'static str,
}

/// Where a permission holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Everywhere.
    Cluster,
    /// In the operator's namespace.
    Operator,
    /// The operator's lease.
    Lease,
    /// The Secret of the object storage.
    Juicefs,
    /// The Secret of the NFS server.
    Nfs,
    /// The Secrets with licences, in all namespaces.
    Licences,
}

/// The namespace and the name to which a permission is limited; none is every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limit<'a> {
    /// The namespace.
    pub namespace: Option<&'a str>,
    /// The name.
    pub name: Option<&'a str>,
}

impl Place {
    /// Where that is with these settings; none if there is no such place.
    pub fn limit<'a>(self, settings: &'a Settings, namespace: &'a str) -> Option<Limit<'a>> {
        let secret = |secret: &'a super::super::settings::SecretRef| Limit {
            namespace: Some(&secret.namespace),
            name: Some(&secret.name),
        };
        Some(match self {
            Self::Cluster => Limit { namespace: None, name: None },
            Self::Operator => Limit { namespace: Some(namespace), name: None },
            Self::Lease => Limit { namespace: Some(namespace), name: Some(LEASE) },
            Self::Juicefs => secret(&settings.juicefs_secret),
            Self::Nfs => secret(&settings.nfs_secret),
            Self::Licences => Limit { namespace: None, name: Some(settings.license_secret.as_deref()?) },
        })
    }
}

const READ: &[&str] = &["get", "list", "watch"];
const CHILD: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
/// What the garbage collector removes, or what holds data and outlives the operator: it is never deleted here.
const KEPT: &[&str] = &["get", "list", "watch", "create", "patch"];

const fn may(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    place: Place,
    why: &'static str,
) -> Permission {
    Permission { group, resource, verbs, place, why }
}

/// Everything that the operator may do.
pub static PERMISSIONS: &[Permission] = &[
    may(GROUP, "workbenches", &["get", "list", "watch", "patch"], Place::Cluster, "read them, and set the finalizer"),
    may(GROUP, "workbenches/status", &["patch"], Place::Cluster, "say how they fare"),
    may(GROUP, "workbenches/finalizers", &["update"], Place::Cluster, "own children that block their deletion"),
    may(GROUP, "workspaces", READ, Place::Cluster, "read them"),
    may(GROUP, "workspaces/status", &["patch"], Place::Cluster, "say how they fare"),
    may(GROUP, "workspaces/finalizers", &["update"], Place::Cluster, "own children that block their deletion"),
    may("apps", "deployments", CHILD, Place::Cluster, "servers"),
    may("batch", "jobs", CHILD, Place::Cluster, "apps, and the folders of workspaces"),
    may("", "services", KEPT, Place::Cluster, "addresses of servers"),
    may("", "pods", &["list", "watch", "deletecollection"], Place::Cluster, "how they fare; apps that are killed"),
    may("", "persistentvolumes", KEPT, Place::Cluster, "file systems of workspaces, and that they are retained"),
    may(
        "",
        "persistentvolumeclaims",
        &["get", "list", "watch", "create"],
        Place::Cluster,
        "file systems of workspaces",
    ),
    may("networking.k8s.io", "networkpolicies", CHILD, Place::Cluster, "isolation of workbenches and workspaces"),
    may("cilium.io", "ciliumnetworkpolicies", CHILD, Place::Cluster, "isolation of workspaces"),
    may("storage.k8s.io", "csidrivers", READ, Place::Cluster, "whether volumes can be mounted"),
    may("events.k8s.io", "events", &["create"], Place::Cluster, "tell people what happens"),
    may("", "secrets", &["list", "watch"], Place::Licences, "licences of apps"),
    may("", "secrets", READ, Place::Juicefs, "the object storage"),
    may("", "secrets", READ, Place::Nfs, "the NFS server"),
    // The name of what is created is not known when permission is asked for, so a name cannot limit it.
    may("coordination.k8s.io", "leases", &["create"], Place::Operator, "one leader"),
    may("coordination.k8s.io", "leases", &["get", "patch"], Place::Lease, "one leader"),
];
