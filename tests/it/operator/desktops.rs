//! Desktops that differ from the plain one: drift, failures of their own, names that collide.

use std::time::Duration;

use chorus::server::operator::settings::Settings;
use serde_json::{Value, json};

use crate::support::cluster::kubelet::Behaviour;

use super::world::{ENDS, RUNS, World, condition, in_memory, reason, settings};
use crate::support::cluster::{Call, Fault};

async fn begin(world: &mut World, apps: &[(&str, &str)]) {
    world.start();
    world.workspace("Airgapped").await;
    world.workbench("wb", apps).await;
    world.until_ready("wb").await;
}

#[test]
fn drift_is_healed() {
    in_memory(async |world| {
        begin(world, &[("a1", RUNS)]).await;
        world.until_app("wb", "a1", "Running").await;
        world.quiet().await;
        let before = world.picture();
        for (kind, name, patch) in [
            ("Deployment", "wb-server", json!({ "spec": { "replicas": 5 } })),
            ("Deployment", "wb-server", json!({ "spec": { "progressDeadlineSeconds": 7 } })),
            ("Deployment", "wb-server", json!({ "metadata": { "labels": { "workbench": "other" } } })),
            ("Deployment", "wb-server", json!({ "metadata": { "labels": { "workbench": null } } })),
            ("Service", "wb", json!({ "spec": { "selector": { "workbench": "other" } } })),
            ("Service", "wb", json!({ "metadata": { "ownerReferences": null } })),
            ("NetworkPolicy", "wb-netpol-server", json!({ "spec": { "ingress": [{}] } })),
        ] {
            world.patch(kind, name, patch.clone()).await;
            world.quiet().await;
            assert_eq!(world.picture(), before, "{kind} {patch}");
        }
        // applying leaves alone what others put beside it
        let mut containers =
            world.get("Deployment", "wb-server").await["spec"]["template"]["spec"]["containers"].clone();
        containers.as_array_mut().unwrap().push(json!({ "name": "guest", "image": "guest:1" }));
        let guest = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
        world.patch("Deployment", "wb-server", guest).await;
        world.quiet().await;
        world.until_ready("wb").await;
        assert_eq!(world.picture(), before, "a guest");
        for (kind, name) in [
            ("Deployment", "wb-server"),
            ("Service", "wb"),
            ("NetworkPolicy", "wb-netpol-server"),
            ("NetworkPolicy", "w1-netpol"),
        ] {
            let uid = world.get(kind, name).await["metadata"]["uid"].clone();
            world.delete(kind, name).await;
            world.until(kind, name, "back", |object| !object.is_null() && object["metadata"]["uid"] != uid).await;
            world.quiet().await;
            world.until_ready("wb").await;
            assert_eq!(world.picture(), before, "{kind} {name}");
        }
    });
}

#[test]
fn a_job_that_is_labelled_anew() {
    for label in [Value::Null, "other".into()] {
        in_memory(async |world| {
            begin(world, &[("a1", RUNS)]).await;
            world.until_app("wb", "a1", "Running").await;
            let name = world.list("Job", "workbench=wb").await[0]["metadata"]["name"].as_str().unwrap().to_owned();
            world.patch("Job", &name, json!({ "metadata": { "labels": { "workbench": label } } })).await;
            world.quiet().await;
            let reads = world
                .memory()
                .cluster
                .calls()
                .iter()
                .filter(|call| call.verb == "get" && call.client == "operator")
                .count();
            assert!(reads < 20, "{reads} looks");
            assert_eq!(world.memory().cluster.births("Job", "chorus-tre.ch/app", "a1"), 1);
        });
    }
}

#[test]
fn a_job_that_is_taken_away_is_no_fresh_start() {
    in_memory(async |world| {
        begin(world, &[("a1", RUNS), ("a2", ENDS)]).await;
        world.until_app("wb", "a1", "Running").await;
        world.until_app("wb", "a2", "Complete").await;
        for job in world.list("Job", "workbench=wb").await {
            world.delete("Job", job["metadata"]["name"].as_str().unwrap()).await;
        }
        world.until("Workbench", "wb", "a lost app", |wb| wb["status"]["apps"]["a1"]["reason"] == "JobLost").await;
        world.quiet().await;
        assert_eq!(world.get("Workbench", "wb").await["status"]["apps"]["a2"]["status"], "Complete");
        assert!(world.list("Job", "workbench=wb").await.is_empty());
        world.set_app("wb", "a1", json!({ "restartGeneration": 1 })).await;
        world.until_app("wb", "a1", "Running").await;
        world.quiet().await;
    });
}

#[test]
fn an_app_that_is_wrong_stops_no_other() {
    in_memory(async |world| {
        let mut workbench = world.workbench_object("wb", &[("a1", RUNS), ("a2", RUNS), ("a3", RUNS), ("a4", RUNS)]);
        let apps = &mut workbench["spec"]["apps"];
        apps["a2"]["image"] = json!({ "tag": "1" });
        apps["a3"]["resources"] = json!({ "requests": { "cpu": "2" }, "limits": { "cpu": "1" } });
        apps["a4"]["name"] = "no name".into();
        world.start();
        world.workspace("Airgapped").await;
        world.create(workbench).await;
        world.until_app("wb", "a1", "Running").await;
        world.until_app("wb", "a2", "Failed").await;
        world.until_app("wb", "a3", "Failed").await;
        world.until_app("wb", "a4", "Failed").await;
        world.quiet().await;
        world.set_app("wb", "a2", super::world::app(RUNS)).await;
        world.until_app("wb", "a2", "Running").await;
        world.quiet().await;
    });
}

#[test]
fn a_child_that_is_refused_stops_no_other() {
    in_memory(async |world| {
        let refused = |call: &Call| call.client == "operator" && call.verb == "create" && call.kind == "Job";
        world.memory().cluster.fault(refused, 0, 1, Fault::Answer(422, "Invalid"));
        begin(world, &[("a1", RUNS), ("a2", RUNS), ("a3", RUNS)]).await;
        world
            .until("Workbench", "wb", "two of three", |wb| {
                let apps = wb["status"]["apps"].as_object().cloned().unwrap_or_default();
                apps.values().filter(|app| app["status"] == "Running").count() >= 2 && apps.len() == 3
            })
            .await;
        world.quiet().await;
    });
}

#[test]
fn apps_that_do_not_start() {
    in_memory(async |world| {
        for (image, behaviour) in [
            ("pull:1", Behaviour::ImagePull),
            ("nowhere:1", Behaviour::Unschedulable),
            ("ignored:1", Behaviour::Ignored),
        ] {
            world.memory().kubelet.script(image, behaviour);
        }
        world.memory().kubelet.script("crash:1", Behaviour::CrashLoop);
        world.memory().kubelet.script("fails:1", Behaviour::Fails(Duration::from_secs(30)));
        world.memory().kubelet.script("slow:1", Behaviour::ReadyAfter(Duration::from_secs(300)));
        let ids = ["pull", "nowhere", "ignored"];
        let images: Vec<_> = ids.iter().map(|id| (*id, format!("r.example.org/{id}:1"))).collect();
        let mut apps: Vec<_> = images.iter().map(|(id, image)| (*id, image.as_str())).collect();
        apps.extend([
            ("fails", "r.example.org/fails:1"),
            ("crash", "r.example.org/crash:1"),
            ("slow", "r.example.org/slow:1"),
            ("a1", RUNS),
        ]);
        begin(world, &apps).await;
        world.until_app("wb", "a1", "Running").await;
        world.until_app("wb", "slow", "Running").await;
        world.until_app("wb", "fails", "Failed").await;
        world.until_app("wb", "crash", "Failed").await;
        for id in ids {
            world
                .until("Workbench", "wb", &format!("{id} too late"), |wb| {
                    let app = &wb["status"]["apps"][id];
                    app["status"] == "Failed" && app["reason"] == "StartupTimeout"
                })
                .await;
        }
        world.quiet().await;
        // none of them was tried twice
        for id in ids.iter().chain(&["fails", "crash", "slow"]) {
            assert_eq!(world.memory().cluster.births("Job", "chorus-tre.ch/app", id), 1, "{id}");
        }
        assert_eq!(world.get("Workbench", "wb").await["status"]["apps"]["a1"]["status"], "Running");
    });
}

#[test]
fn a_server_that_does_not_start() {
    in_memory(async |world| {
        world.memory().kubelet.script("w1/wb-server", Behaviour::ImagePull);
        world.start();
        world.workspace("Airgapped").await;
        world.workbench("wb", &[("a1", RUNS)]).await;
        let status = |wb: &Value| wb["status"]["serverDeployment"]["status"].clone();
        world.until("Workbench", "wb", "failed", |wb| status(wb) == "Failed").await;
        let wb = world.get("Workbench", "wb").await;
        assert_eq!(
            (&wb["status"]["apps"]["a1"]["reason"], condition(&wb, "Ready")),
            (&json!("WaitingForServer"), "False")
        );
        world.quiet().await;
        // stop, kill and removal do not wait for it
        world.set_app("wb", "a1", Value::Null).await;
        world
            .until("Workbench", "wb", "without a1", |wb| {
                wb["status"]["apps"]["a1"].is_null()
                    && wb["status"]["observedGeneration"] == wb["metadata"]["generation"]
            })
            .await;
        world.memory().kubelet.script("w1/wb-server", Behaviour::Runs);
        world.until_ready("wb").await;
        world.quiet().await;
    });
}

#[test]
fn a_pod_that_takes_its_time_to_end() {
    in_memory(async |world| {
        world.memory().kubelet.script("slow-end", Behaviour::Lingers);
        begin(world, &[("a1", "r.example.org/slow-end:1"), ("a2", "r.example.org/slow-end:1")]).await;
        world.until_app("wb", "a1", "Running").await;
        world.until_app("wb", "a2", "Running").await;
        world.set_app("wb", "a1", json!({ "state": "Stopped" })).await;
        world.until_app("wb", "a1", "Stopping").await;
        world.until_app("wb", "a1", "Stopped").await;
        world.until_none("Pod", "chorus-tre.ch/app=a1").await;
        // killing waits for nothing
        let asked = tokio::time::Instant::now();
        world.set_app("wb", "a2", json!({ "state": "Killed" })).await;
        world.until_app("wb", "a2", "Killed").await;
        world.until_none("Pod", "chorus-tre.ch/app=a2").await;
        assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
        world.quiet().await;
    });
}

#[test]
fn two_of_one_name() {
    in_memory(async |world| {
        begin(world, &[("a1", RUNS)]).await;
        world.until_app("wb", "a1", "Running").await;
        let first = world.picture();
        world.namespace = "w2".to_owned();
        world.workspace("Open").await;
        world.workbench("wb", &[("a1", RUNS)]).await;
        world.until_app("wb", "a1", "Running").await;
        world.set_app("wb", "a1", json!({ "state": "Killed" })).await;
        world.until_app("wb", "a1", "Killed").await;
        world.delete("Workbench", "wb").await;
        world.until("Workbench", "wb", "gone", Value::is_null).await;
        world.quiet().await;
        let left: Vec<_> = world.picture().into_iter().filter(|(name, _)| !name.contains("w2")).collect();
        assert_eq!(left, first.into_iter().collect::<Vec<_>>());
    });
}

#[test]
fn an_app_is_called_anew() {
    in_memory(async |world| {
        begin(world, &[("a1", RUNS)]).await;
        world.until_app("wb", "a1", "Running").await;
        world.set_app("wb", "a1", json!({ "name": "renamed" })).await;
        world.quiet().await;
        assert_eq!(world.memory().cluster.births("Job", "chorus-tre.ch/app", "a1"), 1);
        assert_eq!(world.get("Workbench", "wb").await["status"]["apps"]["a1"]["status"], "Running");
    });
}

#[test]
fn a_new_operator_with_other_settings() {
    in_memory(async |world| {
        begin(world, &[("a1", RUNS)]).await;
        world.until_app("wb", "a1", "Running").await;
        world.quiet().await;
        world.stop().await;
        world.start_with(Settings {
            socat_image: "alpine/socat:2".to_owned(),
            workbench_priority_class: Some("high".to_owned()),
            ..settings()
        });
        world
            .until("Deployment", "wb-server", "with the new image", |d| {
                let spec = &d["spec"]["template"]["spec"];
                spec["initContainers"][0]["image"] == "alpine/socat:2" && spec["priorityClassName"] == "high"
            })
            .await;
        world.until_ready("wb").await;
        world.quiet().await;
        // and back: what is no longer wanted goes
        world.stop().await;
        world.start();
        world
            .until("Deployment", "wb-server", "as before", |d| {
                d["spec"]["template"]["spec"].get("priorityClassName").is_none()
            })
            .await;
        world.quiet().await;
        assert_eq!(world.memory().cluster.births("Job", "chorus-tre.ch/app", "a1"), 1);
    });
}

#[test]
fn people_are_told() {
    in_memory(async |world| {
        begin(world, &[("a1", ENDS)]).await;
        world.until_app("wb", "a1", "Complete").await;
        world.quiet().await;
        let cluster = &world.memory().cluster;
        let calls = cluster.calls();
        assert!(calls.iter().any(|call| call.kind == "Event" && call.code == 201), "no event");
        assert!(!reason(&world.get("Workbench", "wb").await, "Ready").is_empty());
    });
}
