//! What the policies say (`golden`), what they come to (`isolation`), and when they are written (`planning`).

mod golden;
mod isolation;
mod planning;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{
    super::{
        api::{self, Workspace, WorkspaceSpec, workspace::NetworkMode},
        live::{Body, Child, Kind, Meta},
        plan::Object,
        settings::{InternalService, Settings},
    },
    Seen,
};

/// Workspace `w1` of the namespace `w1`.
fn workspace(mode: NetworkMode, names: &[&str]) -> Workspace {
    Workspace {
        metadata: ObjectMeta {
            name: Some("w1".to_owned()),
            namespace: Some("w1".to_owned()),
            uid: Some("uid-1".to_owned()),
            generation: Some(3),
            creation_timestamp: Some(api::time(chrono::DateTime::UNIX_EPOCH)),
            ..ObjectMeta::default()
        },
        spec: WorkspaceSpec {
            network_policy: mode,
            allowed_fqdns: names.iter().map(|&name| name.to_owned()).collect(),
            ..WorkspaceSpec::default()
        },
        status: None,
    }
}

/// Settings with these internal services.
fn settings(services: &[(&str, &[u16])]) -> Settings {
    let service = |&(fqdn, ports): &(&str, &[u16])| InternalService { fqdn: fqdn.to_owned(), ports: ports.to_vec() };
    Settings { internal_services: services.iter().map(service).collect(), ..Settings::default() }
}

/// A policy that is in the cluster: what was applied, by us or by somebody else.
fn live(object: &Object, ours: bool) -> Arc<Child<()>> {
    let mut body = object.value.clone();
    let meta = body["metadata"].as_object_mut().unwrap();
    let owners = meta.get("ownerReferences").and_then(Value::as_array).cloned().unwrap_or_default();
    let controller =
        owners.iter().find(|owner| owner["controller"] == true).map(|owner| owner["uid"].as_str().unwrap().to_owned());
    meta.remove("name");
    meta.remove("namespace");
    let meta = Meta {
        name: object.name().to_owned(),
        namespace: object.namespace().to_owned(),
        uid: format!("uid-of-{}", object.name()),
        controller,
        ours,
        ..Meta::default()
    };
    Arc::new(Child { meta, body: Body::new(&body), status: () })
}

/// A namespace with these workspaces and policies.
fn seen(workspaces: &[&Workspace], with_cilium: bool, children: &[(Kind, Arc<Child<()>>)]) -> Seen {
    let of = |kind: Kind| children.iter().filter(move |(of, _)| *of == kind).map(|(_, child)| child.clone());
    Seen {
        workspaces: workspaces.iter().map(|&workspace| Arc::new(workspace.clone())).collect(),
        policies: of(Kind::NetworkPolicy).collect(),
        cilium_policies: with_cilium.then(|| of(Kind::CiliumNetworkPolicy).collect()),
        ..Seen::default()
    }
}
