//! No session without its network policy.

use serde_json::{Value, json};

use super::world::{RUNS, World, condition, in_memory, reason};

/// Waits until the workbench says that it is not isolated, and its app that it waits.
async fn until_waiting(world: &World, app: &str) {
    world
        .until("Workbench", "wb", "waiting", |wb| {
            condition(wb, "NetworkIsolated") == "False" && wb["status"]["apps"][app]["reason"] == "WaitingForPolicy"
        })
        .await;
}

async fn until_workspace(world: &World, why: &str) {
    world.until("Workspace", "w1", why, |ws| reason(ws, "NetworkPolicyReady") == why).await;
}

#[test]
fn nothing_starts_without_a_policy() {
    in_memory(async |world| {
        world.start();
        world.workbench("wb", &[("a1", RUNS)]).await;
        until_waiting(world, "a1").await;
        world.quiet().await;
        assert!(world.list("Pod", "").await.is_empty() && world.list("Deployment", "").await.is_empty());
        assert!(world.list("Job", "").await.is_empty());
        world.workspace("Airgapped").await;
        world.until_ready("wb").await;
        world.until_app("wb", "a1", "Running").await;
        world.quiet().await;
    });
}

#[test]
fn what_runs_goes_on_when_the_policy_is_lost() {
    in_memory(async |world| {
        world.start();
        world.workspace("Open").await;
        world.workbench("wb", &[("a1", RUNS)]).await;
        world.until_app("wb", "a1", "Running").await;
        let cluster = world.memory().cluster.clone();
        for verb in ["patch", "create", "update"] {
            cluster.deny(verb, "networkpolicies.networking.k8s.io");
        }
        world.delete("NetworkPolicy", "w1-netpol").await;
        world.set_app("wb", "a2", super::world::app(RUNS)).await;
        until_waiting(world, "a2").await;
        assert_eq!(world.get("Workbench", "wb").await["status"]["apps"]["a1"]["status"], "Running");
        assert_eq!(world.list("Pod", "workbench=wb").await.len(), 1);
        for verb in ["patch", "create", "update"] {
            cluster.allow(verb, "networkpolicies.networking.k8s.io");
        }
        world.until_app("wb", "a2", "Running").await;
        world.until("Workbench", "wb", "isolated", |wb| condition(wb, "NetworkIsolated") == "True").await;
        world.quiet().await;
        // and what is tampered with is put right
        world.patch("NetworkPolicy", "w1-netpol", json!({ "spec": { "egress": [{}] } })).await;
        world.until("NetworkPolicy", "w1-netpol", "as before", |policy| policy["spec"]["egress"] != json!([{}])).await;
        world.quiet().await;
    });
}

#[test]
fn cilium_comes_later() {
    in_memory(async |world| {
        world.start();
        let mut workspace = world.workspace_object("FQDNAllowlist");
        workspace["spec"]["allowedFQDNs"] = json!(["example.org", "*.example.com"]);
        world.create(workspace).await;
        until_workspace(world, "CiliumNotInstalled").await;
        world.workbench("wb", &[("a1", RUNS)]).await;
        until_waiting(world, "a1").await;
        world.quiet().await;
        world.memory().cluster.install("cilium.io");
        until_workspace(world, "Applied").await;
        world.until_app("wb", "a1", "Running").await;
        world.until_ready("wb").await;
        assert!(world.memory().cluster.get("CiliumNetworkPolicy", "w1", "w1-netpol").is_some());
        world.quiet().await;
        // somebody deletes it
        world.memory().cluster.delete("CiliumNetworkPolicy", "w1", "w1-netpol");
        world.until("CiliumNetworkPolicy", "w1-netpol", "back", |policy| !policy.is_null()).await;
        world.quiet().await;
    });
}

#[test]
fn cilium_is_there_from_the_start() {
    in_memory(async |world| {
        world.memory().cluster.install("cilium.io");
        world.start();
        world.workspace("FQDNAllowlist").await;
        world.workbench("wb", &[("a1", RUNS)]).await;
        world.until_app("wb", "a1", "Running").await;
        for mode in ["Open", "Airgapped", "FQDNAllowlist"] {
            world
                .patch("Workspace", "w1", json!({ "spec": { "networkPolicy": mode, "allowedFQDNs": ["example.org"] } }))
                .await;
            world
                .until("Workspace", "w1", mode, |ws| {
                    ws["status"]["networkPolicy"]["status"] == mode
                        && ws["status"]["observedGeneration"] == ws["metadata"]["generation"]
                })
                .await;
        }
        world.quiet().await;
        world.delete("Workspace", "w1").await;
        world.until("CiliumNetworkPolicy", "w1-netpol", "gone", Value::is_null).await;
        world.until("Workbench", "wb", "told", |wb| condition(wb, "NetworkIsolated") == "False").await;
        world.quiet().await;
    });
}

#[test]
fn a_list_that_is_wrong_is_put_right() {
    in_memory(async |world| {
        world.memory().cluster.install("cilium.io");
        world.start();
        let mut workspace = world.workspace_object("FQDNAllowlist");
        workspace["spec"]["allowedFQDNs"] = json!(["*.com"]);
        world.create(workspace).await;
        until_workspace(world, "InvalidFQDN").await;
        world.workbench("wb", &[("a1", RUNS)]).await;
        until_waiting(world, "a1").await;
        world.quiet().await;
        world.patch("Workspace", "w1", json!({ "spec": { "allowedFQDNs": ["*.example.com"] } })).await;
        until_workspace(world, "Applied").await;
        world.until_app("wb", "a1", "Running").await;
        world.quiet().await;
    });
}
