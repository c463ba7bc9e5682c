//! The roles in the manifests let the operator do its work, and let it do nothing that it never does.

use std::{collections::BTreeSet, time::Duration};

use chorus::server::operator::{
    manifests::permissions::{Limit, PERMISSIONS, Permission, Place},
    settings::Settings,
};
use serde_json::json;

use super::world::{ENDS, RUNS, World, in_memory, settings};
use crate::support::cluster::{Call, kubelet::Behaviour};

/// What the day of the scenario does not bring about, but another may.
const RARE: [&str; 18] = [
    // One operator alone takes no lease.
    "create leases",
    "get leases",
    "patch leases",
    // The API server checks these when a child is made that blocks the deletion of its owner.
    "update workbenches/finalizers",
    "update workspaces/finalizers",
    // One object is read after a refusal, a conflict or a loss.
    "get ciliumnetworkpolicies",
    "get deployments",
    "get jobs",
    "get networkpolicies",
    "get persistentvolumeclaims",
    "get persistentvolumes",
    "get services",
    "get workbenches",
    "get workspaces",
    // Policies that a workspace has no more.
    "delete ciliumnetworkpolicies",
    // Volumes of a former operator are told to be retained.
    "patch persistentvolumes",
    // The doctor in the pod looks at these.
    "get csidrivers",
    "get secrets",
];

fn plural(kind: &str) -> String {
    let name = kind.to_lowercase();
    match name.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if name.ends_with("ch") => format!("{name}es"),
        None => format!("{name}s"),
    }
}

/// The verbs that a call takes: an apply that creates takes two.
fn verbs(call: &Call) -> Vec<&'static str> {
    if call.verb == "patch" && call.code == 201 { vec!["patch", "create"] } else { vec![call.verb] }
}

/// Whether a permission is about this resource there. Calls do not say by which name a collection is limited.
fn covers(permission: &Permission, call: &Call, settings: &Settings) -> bool {
    let slash = if call.subresource.is_empty() { "" } else { "/" };
    let resource = format!("{}{slash}{}", plural(call.kind), call.subresource);
    let Some(Limit { namespace, name }) = permission.place.limit(settings, "chorus") else { return false };
    permission.resource == resource
        && namespace.is_none_or(|namespace| namespace == call.namespace)
        && (call.name.is_empty() || name.is_none_or(|name| name == call.name))
}

/// A day of a workspace with everything that there is.
async fn a_day(world: &mut World, settings: Settings) {
    let secret = |namespace: &str, name: &str, data: serde_json::Value| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": namespace }, "data": data });
    let cluster = world.memory().cluster.clone();
    world.memory().kubelet.script("busybox", Behaviour::Completes(Duration::from_secs(1)));
    for driver in ["csi.juicefs.com", "nfs.csi.k8s.io"] {
        world.create(json!({ "apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": { "name": driver }, "spec": {} })).await;
    }
    cluster.put(secret("kube-system", "juicefs-secret", json!({ "name": "YQ==" })));
    cluster.put(secret("kube-system", "nfs-secret", json!({ "server": "YQ==", "share": "L2E=" })));
    world.start_with(settings);
    world.workspace("Airgapped").await;
    // Cilium comes later: its policy replaces the plain ones.
    cluster.install("cilium.io");
    world.quiet().await;
    world.patch("Workspace", &world.namespace.clone(), json!({ "spec": { "networkPolicy": "FQDNAllowlist" } })).await;
    let mut workbench = world.workbench_object("wb", &[("a1", RUNS), ("a2", ENDS)]);
    workbench["spec"]["storage"] = json!({ "s3": true, "nfs": true });
    world.create(workbench).await;
    world.until_ready("wb").await;
    world.until_app("wb", "a1", "Running").await;
    world.until_app("wb", "a2", "Complete").await;
    world.set_app("wb", "a1", json!({ "state": "Killed" })).await;
    world.until_app("wb", "a1", "Killed").await;
    world.patch("Workspace", &world.namespace.clone(), json!({ "spec": { "networkPolicy": "Open" } })).await;
    world.patch("Workbench", "wb", json!({ "spec": { "suspended": true, "apps": { "a2": null } } })).await;
    world.quiet().await;
    world.delete("Workbench", "wb").await;
    world.until("Workbench", "wb", "gone", serde_json::Value::is_null).await;
    cluster.uninstall("cilium.io");
    world.quiet().await;
}

#[test]
fn roles_suffice_and_hold_nothing_else() {
    in_memory(async |world| {
        let settings = Settings { license_secret: Some("licences".to_owned()), ..settings() };
        a_day(world, settings.clone()).await;
        let calls: Vec<_> =
            world.memory().cluster.calls().into_iter().filter(|call| call.client == "operator").collect();
        let mut used = BTreeSet::new();
        for call in &calls {
            for verb in verbs(call) {
                let row = PERMISSIONS.iter().find(|row| row.verbs.contains(&verb) && covers(row, call, &settings));
                assert!(row.is_some(), "no role allows: {verb} for {call}");
                used.extend(row.map(|row| format!("{verb} {}", row.resource)));
            }
        }
        let rows =
            PERMISSIONS.iter().flat_map(|row| row.verbs.iter().map(move |verb| format!("{verb} {}", row.resource)));
        let unused: BTreeSet<_> = rows.filter(|verb| !used.contains(verb)).collect();
        assert_eq!(unused, RARE.map(str::to_owned).into());
        assert!(PERMISSIONS.iter().any(|row| row.place == Place::Licences));
    });
}
