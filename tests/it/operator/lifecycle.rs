//! What becomes of a desktop from beginning to end. Runs on a real cluster as well.

use serde_json::{Value, json};

use super::world::{ENDS, RUNS, World, anywhere, condition, reason};

async fn begin(world: &mut World) {
    world.start();
    world.workspace("Airgapped").await;
    world.workbench("wb", &[("a1", RUNS), ("a2", ENDS)]).await;
    world.until_ready("wb").await;
    world.until_app("wb", "a1", "Running").await;
    world.until_app("wb", "a2", "Complete").await;
}

async fn job(world: &World, app: &str) -> Value {
    let jobs = world.list("Job", &format!("chorus-tre.ch/app={app}")).await;
    assert!(jobs.len() < 2, "{jobs:#?}");
    jobs.into_iter().next().unwrap_or_default()
}

#[test]
fn apps_run_end_stop_and_start_again() {
    anywhere("apps", async |world| {
        begin(world).await;
        let children = [("Deployment", "wb-server"), ("Service", "wb"), ("NetworkPolicy", "wb-netpol-server")];
        for (kind, name) in children {
            let owner = world.get(kind, name).await["metadata"]["ownerReferences"][0].clone();
            assert_eq!(
                (&owner["kind"], &owner["name"], &owner["controller"]),
                (&json!("Workbench"), &json!("wb"), &json!(true)),
                "{kind}"
            );
        }
        // what has ended does not start again by itself
        let ended = job(world, "a2").await["metadata"]["uid"].clone();
        world.quiet().await;
        assert_eq!(job(world, "a2").await["metadata"]["uid"], ended);
        // stopped, and started again: the same Job
        let uid = job(world, "a1").await["metadata"]["uid"].clone();
        world.set_app("wb", "a1", json!({ "state": "Stopped" })).await;
        world.until_app("wb", "a1", "Stopped").await;
        assert_eq!(job(world, "a1").await["spec"]["suspend"], true);
        world.until_none("Pod", "chorus-tre.ch/app=a1").await;
        world.set_app("wb", "a1", json!({ "state": "Running" })).await;
        world.until_app("wb", "a1", "Running").await;
        assert_eq!(job(world, "a1").await["metadata"]["uid"], uid);
        // killed
        world.set_app("wb", "a1", json!({ "state": "Killed" })).await;
        world.until_app("wb", "a1", "Killed").await;
        world.until_none("Pod", "chorus-tre.ch/app=a1").await;
        // asked for again, by number
        world.set_app("wb", "a2", json!({ "restartGeneration": 1 })).await;
        world
            .until("Workbench", "wb", "a2 again", |wb| {
                let app = &wb["status"]["apps"]["a2"];
                app["status"] == "Complete" && app["restartGeneration"] == 1
            })
            .await;
        assert_ne!(job(world, "a2").await["metadata"]["uid"], ended);
        world.quiet().await;
    });
}

#[test]
fn apps_come_and_go() {
    anywhere("come-and-go", async |world| {
        begin(world).await;
        world.set_app("wb", "a1", Value::Null).await;
        world.until("Workbench", "wb", "without a1", |wb| wb["status"]["apps"]["a1"].is_null()).await;
        world.until_none("Job", "chorus-tre.ch/app=a1").await;
        world.until_none("Pod", "chorus-tre.ch/app=a1").await;
        world.set_app("wb", "a3", super::world::app(RUNS)).await;
        world.until_app("wb", "a3", "Running").await;
        // one that begins stopped has no Job
        let mut stopped = super::world::app(RUNS);
        stopped["state"] = "Stopped".into();
        world.set_app("wb", "a4", stopped).await;
        world.until_app("wb", "a4", "Stopped").await;
        assert!(job(world, "a4").await.is_null());
        world.set_app("wb", "a4", json!({ "state": "Running" })).await;
        world.until_app("wb", "a4", "Running").await;
        world.quiet().await;
    });
}

#[test]
fn a_workbench_sleeps_and_wakes() {
    anywhere("sleep", async |world| {
        begin(world).await;
        world.patch("Workbench", "wb", json!({ "spec": { "suspended": true } })).await;
        world
            .until("Deployment", "wb-server", "scaled to zero", |d| {
                d["spec"]["replicas"] == 0 && d["status"]["replicas"].is_null()
            })
            .await;
        world
            .until("Workbench", "wb", "suspended", |wb| {
                condition(wb, "Ready") == "False"
                    && reason(wb, "Ready") == "Suspended"
                    && wb["status"]["apps"]["a1"]["reason"] == "Suspended"
            })
            .await;
        world.until_none("Pod", "workbench=wb").await;
        world.until_none("Pod", "chorus-tre.ch/app=a1").await;
        world.quiet().await;
        world.patch("Workbench", "wb", json!({ "spec": { "suspended": false } })).await;
        world.until_ready("wb").await;
        world.until_app("wb", "a1", "Running").await;
        world.until_app("wb", "a2", "Complete").await;
        world.quiet().await;
    });
}

#[test]
fn a_new_version_replaces_the_server() {
    anywhere("version", async |world| {
        begin(world).await;
        let before: Vec<_> =
            world.list("Pod", "workbench=wb").await.iter().map(|pod| pod["metadata"]["uid"].clone()).collect();
        world.patch("Workbench", "wb", json!({ "spec": { "server": { "version": "1.28-alpine" } } })).await;
        world
            .until("Deployment", "wb-server", "rolled", |d| {
                let image = &d["spec"]["template"]["spec"]["containers"][0]["image"];
                image.as_str().is_some_and(|image| image.ends_with(":1.28-alpine"))
                    && d["status"]["observedGeneration"] == d["metadata"]["generation"]
                    && d["status"]["readyReplicas"] == 1
            })
            .await;
        world.until_ready("wb").await;
        let after = world.list("Pod", "workbench=wb").await;
        assert!(after.iter().all(|pod| !before.contains(&pod["metadata"]["uid"])), "a pod of the old version runs");
        world.until_app("wb", "a1", "Running").await;
        world.quiet().await;
    });
}

#[test]
fn nothing_is_left_behind() {
    anywhere("delete", async |world| {
        begin(world).await;
        world.delete("Workbench", "wb").await;
        world.until("Workbench", "wb", "gone", Value::is_null).await;
        for kind in ["Deployment", "Service", "Job", "Pod"] {
            world.until_none(kind, "workbench=wb").await;
        }
        world.until_none("Pod", "chorus-tre.ch/workbench=wb").await;
        world.until("NetworkPolicy", "wb-netpol-server", "gone", Value::is_null).await;
        // the next of this name knows nothing of it
        world.workbench("wb", &[("a2", ENDS)]).await;
        world.until_ready("wb").await;
        world.until_app("wb", "a2", "Complete").await;
        world.quiet().await;
    });
}
