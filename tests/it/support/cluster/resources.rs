//! Which kinds of objects the cluster knows, and which of them a request is about.

use http::Method;
use serde_json::{Value, json};

/// A kind of objects.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
    pub kind: &'static str,
    pub namespaced: bool,
    /// Whether its status is a resource of its own.
    pub status: bool,
    /// Whether writes of what is not metadata or status count.
    pub generation: bool,
}

const fn resource(group: &'static str, version: &'static str, plural: &'static str, kind: &'static str) -> Resource {
    Resource { group, version, plural, kind, namespaced: true, status: false, generation: false }
}

impl Resource {
    const fn of_cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }
    const fn with_status(mut self) -> Self {
        self.status = true;
        self
    }
    const fn counted(mut self) -> Self {
        self.generation = true;
        self
    }

    /// What objects say in `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// As error messages name it: `deployments.apps`.
    pub fn full_name(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }
}

/// Every kind there can be. Those of [`OPTIONAL`] groups are known once they are installed.
pub static RESOURCES: [Resource; 23] = [
    resource("", "v1", "namespaces", "Namespace").of_cluster().with_status(),
    resource("", "v1", "nodes", "Node").of_cluster().with_status(),
    resource("", "v1", "pods", "Pod").with_status().counted(),
    resource("", "v1", "services", "Service").with_status(),
    resource("", "v1", "secrets", "Secret"),
    resource("", "v1", "configmaps", "ConfigMap"),
    resource("", "v1", "serviceaccounts", "ServiceAccount"),
    resource("", "v1", "events", "Event"),
    resource("", "v1", "persistentvolumes", "PersistentVolume").of_cluster().with_status(),
    resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim").with_status(),
    resource("apps", "v1", "deployments", "Deployment").with_status().counted(),
    resource("batch", "v1", "jobs", "Job").with_status().counted(),
    resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy").counted(),
    resource("coordination.k8s.io", "v1", "leases", "Lease"),
    resource("events.k8s.io", "v1", "events", "Event"),
    resource("storage.k8s.io", "v1", "csidrivers", "CSIDriver").of_cluster(),
    resource("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass").of_cluster(),
    resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
        .of_cluster()
        .with_status()
        .counted(),
    resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview").of_cluster(),
    resource("default.chorus-tre.ch", "v1alpha1", "workbenches", "Workbench").with_status().counted(),
    resource("default.chorus-tre.ch", "v1alpha1", "workspaces", "Workspace").with_status().counted(),
    resource("cilium.io", "v2", "ciliumnetworkpolicies", "CiliumNetworkPolicy").with_status().counted(),
    resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute").with_status().counted(),
];

/// Groups that a cluster does not have from the start.
pub const OPTIONAL: [&str; 2] = ["cilium.io", "gateway.networking.k8s.io"];

/// The resource of a kind, for tests that name it.
pub fn by_kind(kind: &str) -> &'static Resource {
    RESOURCES.iter().find(|resource| resource.kind == kind && resource.group != "events.k8s.io").unwrap()
}

/// What a path is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub resource: &'static Resource,
    /// Empty for all namespaces.
    pub namespace: String,
    /// Empty for a collection.
    pub name: String,
    /// `status`, or empty.
    pub subresource: String,
}

impl Target {
    /// The target of a path; none where nothing is.
    pub fn parse(path: &str, known: impl Fn(&str) -> bool) -> Option<Self> {
        let segments: Vec<_> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        // `namespaces` is a prefix, and a resource by itself
        let (namespace, rest) = match rest {
            ["namespaces", namespace, plural, rest @ ..] if !["status", "finalize"].contains(plural) => {
                (*namespace, [&[*plural], rest].concat())
            }
            rest => ("", rest.to_vec()),
        };
        let (plural, name, subresource) = match rest.as_slice() {
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, subresource] => (*plural, *name, *subresource),
            _ => return None,
        };
        let found = |r: &&Resource| r.group == group && r.version == version && r.plural == plural;
        let resource = RESOURCES.iter().find(found).filter(|resource| known(resource.group))?;
        let fits = if name.is_empty() { true } else { resource.namespaced != namespace.is_empty() };
        let subresource_fits = subresource.is_empty() || (subresource == "status" && resource.status);
        let text = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
        (fits && subresource_fits).then(|| Self {
            resource,
            namespace: text(namespace),
            name: text(name),
            subresource: subresource.to_owned(),
        })
    }

    /// What RBAC and the log call it.
    pub fn verb(&self, method: &Method, watch: bool) -> &'static str {
        match (method.as_str(), self.name.is_empty()) {
            ("GET", _) if watch => "watch",
            ("GET", true) => "list",
            ("GET", false) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", true) => "deletecollection",
            ("DELETE", false) => "delete",
            _ => "unknown",
        }
    }
}

/// The document at a discovery path, if it is one.
pub fn discovery(path: &str, known: impl Fn(&str) -> bool) -> Option<Value> {
    let resources = || RESOURCES.iter().filter(|resource| known(resource.group));
    let group = |name: &str, version: &str| {
        let version = json!({ "groupVersion": format!("{name}/{version}"), "version": version });
        json!({ "kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": [version], "preferredVersion": version })
    };
    let segments: Vec<_> = path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        ["version"] => Some(json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.0", "platform": "linux/amd64" })),
        ["api"] => Some(json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] })),
        ["apis"] => {
            let mut groups: Vec<Value> = Vec::new();
            for resource in resources().filter(|r| !r.group.is_empty()) {
                if !groups.iter().any(|known| known["name"] == resource.group) {
                    groups.push(group(resource.group, resource.version));
                }
            }
            Some(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
        }
        ["apis", name] => resources().find(|r| r.group == *name).map(|r| group(r.group, r.version)),
        ["api", version] => resource_list("", version, resources()),
        ["apis", name, version] => resource_list(name, version, resources()),
        _ => None,
    }
}

fn resource_list<'a>(group: &str, version: &str, all: impl Iterator<Item = &'a Resource>) -> Option<Value> {
    let of: Vec<_> = all.filter(|r| r.group == group && r.version == version).collect();
    let entry = |r: &Resource, suffix: &str| {
        json!({ "name": format!("{}{suffix}", r.plural), "singularName": r.kind.to_lowercase(), "namespaced": r.namespaced,
            "kind": r.kind, "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"] })
    };
    let entries: Vec<_> =
        of.iter().flat_map(|r| [Some(entry(r, "")), r.status.then(|| entry(r, "/status"))]).flatten().collect();
    let first = of.first()?;
    Some(
        json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": first.api_version(), "resources": entries }),
    )
}
