//! The network of a workspace, and that nothing starts without it. What works without Cilium runs on a real cluster as well.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{RUNS, World, anywhere, condition, in_memory, reason, settings};
use crate::support::cluster::Fault;

const CILIUM: &str = "cilium.io";

async fn state(world: &World, name: &str, status: &str, why: &str) {
    let what = format!("{status}/{why}");
    let holds = |object: &Value| {
        object["status"]["networkPolicy"]["status"] == status && reason(object, "NetworkPolicyReady") == why
    };
    world.until("Workspace", name, &what, holds).await;
}

async fn set(world: &World, spec: Value) {
    world.patch("Workspace", &world.namespace, json!({ "spec": spec })).await;
}

fn ports_outside(policy: &Value) -> Value {
    policy["spec"]["egress"][2]["ports"].clone()
}

#[test]
fn modes_follow_the_workspace() {
    anywhere("modes", async |world| {
        world.start();
        world.workspace("Airgapped").await;
        let (closing, opening) = (format!("{}-netpol", world.namespace), format!("{}-netpol-ingress", world.namespace));
        assert!(ports_outside(&world.get("NetworkPolicy", &closing).await).is_null());
        set(world, json!({ "networkPolicy": "Open" })).await;
        state(world, &world.namespace, "Open", "Applied").await;
        assert_eq!(ports_outside(&world.get("NetworkPolicy", &closing).await)[1]["port"], 443);
        // what is changed or taken away by hand comes back
        world.patch("NetworkPolicy", &closing, json!({ "spec": { "egress": [{}] } })).await;
        world.until("NetworkPolicy", &closing, "as it was", |policy| ports_outside(policy)[1]["port"] == 443).await;
        let uid = world.get("NetworkPolicy", &opening).await["metadata"]["uid"].clone();
        world.delete("NetworkPolicy", &opening).await;
        let new = |policy: &Value| policy.is_object() && policy["metadata"]["uid"] != uid;
        world.until("NetworkPolicy", &opening, "back", new).await;
        world.quiet().await;
        let workspace = world.get("Workspace", &world.namespace).await;
        assert_eq!(condition(&workspace, "NetworkPolicyReady"), "True");
        assert_eq!(workspace["status"]["observedGeneration"], workspace["metadata"]["generation"]);
    });
}

#[test]
fn nothing_starts_until_a_list_of_names_can_be_enforced() {
    in_memory(async |world| {
        world.start();
        world.create(world.workspace_object("FQDNAllowlist")).await;
        set(world, json!({ "allowedFQDNs": ["example.org"] })).await;
        state(world, "w1", "Error", "CiliumNotInstalled").await;
        world.workbench("wb", &[("a1", RUNS)]).await;
        let waits = |wb: &Value| wb["status"]["apps"]["a1"]["reason"] == "WaitingForPolicy";
        world.until("Workbench", "wb", "waiting for its network", waits).await;
        world.quiet().await;
        assert!(world.get("Deployment", "wb-server").await.is_null(), "no session without its network");
        assert!(ports_outside(&world.get("NetworkPolicy", "w1-netpol").await).is_null(), "nothing outside meanwhile");
        // Cilium comes: its policy takes the place of the others
        world.memory().cluster.install(CILIUM);
        world.until("CiliumNetworkPolicy", "w1-netpol", "there", Value::is_object).await;
        state(world, "w1", "FQDNAllowlist", "Applied").await;
        world.until("NetworkPolicy", "w1-netpol", "gone", Value::is_null).await;
        world.until("NetworkPolicy", "w1-netpol-ingress", "gone", Value::is_null).await;
        world.until_app("wb", "a1", "Running").await;
        // an entry that is none: what was in force stays, nothing new starts, what runs goes on
        let before = world.get("CiliumNetworkPolicy", "w1-netpol").await["specs"].clone();
        set(world, json!({ "allowedFQDNs": ["example.org", "10.0.0.1"] })).await;
        state(world, "w1", "Error", "InvalidFQDN").await;
        world.set_app("wb", "a2", super::world::app(RUNS)).await;
        world
            .until("Workbench", "wb", "a2 waiting", |wb| wb["status"]["apps"]["a2"]["reason"] == "WaitingForPolicy")
            .await;
        world.quiet().await;
        assert_eq!(world.get("CiliumNetworkPolicy", "w1-netpol").await["specs"], before);
        assert_eq!(world.get("Workbench", "wb").await["status"]["apps"]["a1"]["status"], "Running");
        set(world, json!({ "allowedFQDNs": ["example.org"] })).await;
        world.until_app("wb", "a2", "Running").await;
        world.quiet().await;
    });
}

/// The former operator's policy says everything in `spec`, and opens every service of the cluster.
#[test]
fn the_policy_of_the_former_operator_becomes_ours() {
    in_memory(async |world| {
        world.memory().cluster.install(CILIUM);
        world.create(world.workspace_object("Airgapped")).await;
        let uid = world.get("Workspace", "w1").await["metadata"]["uid"].clone();
        world
            .create(json!({
                "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
                "metadata": {
                    "name": "w1-netpol", "namespace": "w1", "labels": { "workspace": "w1" },
                    "ownerReferences": [{
                        "apiVersion": "default.chorus-tre.ch/v1alpha1", "kind": "Workspace", "name": "w1", "uid": uid,
                        "controller": true, "blockOwnerDeletion": true
                    }]
                },
                "spec": {
                    "endpointSelector": { "matchLabels": {} },
                    "egress": [{ "toServices": [{ "k8sServiceSelector": { "selector": { "matchLabels": {} } } }] }],
                    "ingress": []
                }
            }))
            .await;
        let before = world.get("CiliumNetworkPolicy", "w1-netpol").await["metadata"]["uid"].clone();
        world.start();
        let ours = |policy: &Value| policy["specs"].is_array() && policy["spec"].is_null();
        world.until("CiliumNetworkPolicy", "w1-netpol", "ours", ours).await;
        state(world, "w1", "Airgapped", "Applied").await;
        world.quiet().await;
        let policy = world.get("CiliumNetworkPolicy", "w1-netpol").await;
        assert_eq!(policy["metadata"]["uid"], before, "it was never away");
        // something beside what we want is removed, though an apply alone would leave it
        let wide = json!({ "endpointSelector": {}, "egress": [{ "toEntities": ["all"] }] });
        world.patch("CiliumNetworkPolicy", "w1-netpol", json!({ "spec": wide })).await;
        world.until("CiliumNetworkPolicy", "w1-netpol", "ours again", ours).await;
        world.quiet().await;
    });
}

#[test]
fn of_two_workspaces_the_first_counts() {
    in_memory(async |world| {
        world.memory().cluster.install(CILIUM);
        world.start();
        world.workspace("Airgapped").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut second = world.workspace_object("Open");
        second["metadata"]["name"] = "second".into();
        world.create(second).await;
        state(world, "second", "Error", "DuplicateWorkspace").await;
        world.quiet().await;
        assert!(world.get("CiliumNetworkPolicy", "second-netpol").await.is_null());
        world.delete("Workspace", "w1").await;
        state(world, "second", "Open", "Applied").await;
        world.until("CiliumNetworkPolicy", "w1-netpol", "gone", Value::is_null).await;
        world.quiet().await;
    });
}

#[test]
fn a_refusal_is_told_and_tried_again() {
    in_memory(async |world| {
        let refused = Fault::Answer(422, "Invalid");
        world.memory().cluster.fault(|call| call.kind == "NetworkPolicy" && call.writes(), 0, 1, refused);
        world.start();
        world.create(world.workspace_object("Airgapped")).await;
        state(world, "w1", "Error", "ReconcileError").await;
        state(world, "w1", "Airgapped", "Applied").await;
        world.quiet().await;
    });
}

#[test]
fn without_the_rule_sessions_start_and_say_so() {
    in_memory(async |world| {
        world.start_with(chorus::server::operator::settings::Settings { require_network_policy: false, ..settings() });
        world.create(world.workspace_object("FQDNAllowlist")).await;
        state(world, "w1", "Error", "CiliumNotInstalled").await;
        world.workbench("wb", &[("a1", RUNS)]).await;
        world.until_app("wb", "a1", "Running").await;
        world.until("Workbench", "wb", "not isolated", |wb| condition(wb, "NetworkIsolated") == "False").await;
        world.quiet().await;
    });
}
