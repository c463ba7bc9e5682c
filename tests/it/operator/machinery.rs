//! The operator's machinery on a cluster in memory: what it writes and what not, and what it does when things go wrong.

use std::{sync::Arc, time::Duration};

use chorus::server::operator::{
    cluster::{Operator, Options, Running},
    settings::Settings,
};
use serde_json::{Value, json};

use crate::support::cluster::{
    Cluster, Fault, VirtualClock,
    kubelet::{Behaviour, Kubelet},
};

/// A cluster with its own controllers, and what the operator is told.
struct World {
    clock: Arc<VirtualClock>,
    cluster: Cluster,
    kubelet: Kubelet,
    settings: Settings,
}

impl World {
    fn new() -> Self {
        let clock = VirtualClock::new();
        let cluster = Cluster::new(clock.clone());
        let kubelet = Kubelet::start(&cluster);
        Self { clock, cluster, kubelet, settings: Settings { require_network_policy: false, ..Settings::default() } }
    }

    fn operator(&self, options: Options) -> Running {
        let client = self.cluster.session(&options.identity).client();
        Operator::new(client, self.settings.clone(), options, self.clock.clone()).start()
    }

    fn alone(&self) -> Running {
        self.operator(Options { leader_elect: false, ..Options::default() })
    }

    fn workbench(&self, name: &str, apps: &[&str]) {
        let apps: serde_json::Map<String, Value> = apps.iter().map(|app| ((*app).to_owned(), an_app(app))).collect();
        self.cluster.put(json!({
            "apiVersion": "default.chorus-tre.ch/v1alpha1", "kind": "Workbench",
            "metadata": { "name": name, "namespace": "workspace1" },
            "spec": { "server": {}, "storage": { "s3": false, "nfs": false }, "apps": apps },
        }));
    }

    fn workspace(&self, mode: &str) {
        self.cluster.put(json!({
            "apiVersion": "default.chorus-tre.ch/v1alpha1", "kind": "Workspace",
            "metadata": { "name": "workspace1", "namespace": "workspace1" }, "spec": { "networkPolicy": mode },
        }));
    }

    fn status(&self, name: &str) -> Value {
        self.cluster.get("Workbench", "workspace1", name).map(|object| object["status"].clone()).unwrap_or_default()
    }

    fn app(&self, name: &str, app: &str) -> Value {
        self.status(name)["apps"][app].clone()
    }

    fn all_writes(&self) -> usize {
        self.cluster.writes().values().sum()
    }
}

fn an_app(name: &str) -> Value {
    json!({ "name": name, "image": { "repository": format!("apps/{name}"), "tag": "1" } })
}

/// Waits until nothing is to be done and nothing happens any more.
async fn settle(running: &Running) {
    let quiet = Duration::from_millis(300);
    for _ in 0..2000 {
        tokio::time::sleep(quiet).await;
        if running.idle() {
            return;
        }
    }
    panic!("it does not settle");
}

#[tokio::test(start_paused = true)]
async fn a_workbench_comes_up_with_few_writes_and_then_none() {
    let world = World::new();
    world.workbench("w1", &["a", "b", "c"]);
    let running = world.alone();
    settle(&running).await;
    for app in ["a", "b", "c"] {
        assert_eq!(world.app("w1", app)["status"], "Running", "{}", world.status("w1"));
    }
    let writes = world.cluster.writes();
    assert!(world.all_writes() <= 6 + 2 * 3, "{writes:?}");
    world.cluster.forget_calls();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.cluster.writes(), [].into());
    // nor after a restart
    drop(running);
    let running = world.alone();
    settle(&running).await;
    assert_eq!(world.cluster.writes(), [].into());
    let calls = world.cluster.calls();
    assert!(calls.iter().all(|call| matches!(call.verb, "list" | "watch")), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn what_others_change_is_put_right() {
    let world = World::new();
    world.workbench("w1", &["a"]);
    let running = world.alone();
    settle(&running).await;
    world.cluster.edit("Service", "workspace1", "w1", |service| service["spec"]["ports"][0]["port"] = json!(81));
    world.cluster.delete("Deployment", "workspace1", "w1-server");
    settle(&running).await;
    let service = world.cluster.get("Service", "workspace1", "w1").unwrap();
    assert!(service["spec"]["ports"].as_array().unwrap().iter().any(|port| port["port"] == 8080), "{service}");
    assert!(world.cluster.get("Deployment", "workspace1", "w1-server").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_workbench_goes_with_all_it_had() {
    let world = World::new();
    world.workbench("w1", &["a"]);
    let running = world.alone();
    settle(&running).await;
    world.cluster.delete("Workbench", "workspace1", "w1");
    settle(&running).await;
    for kind in ["Workbench", "Deployment", "Service", "Job", "Pod", "NetworkPolicy"] {
        assert_eq!(world.cluster.list(kind, "workspace1"), Vec::<Value>::new());
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(running.idle(), "nothing is left to do");
}

#[tokio::test(start_paused = true)]
async fn a_refused_app_holds_up_no_other() {
    let world = World::new();
    world.workbench("w1", &["a", "b", "c"]);
    let refused = |call: &crate::support::cluster::Call| call.kind == "Job" && call.verb == "create";
    world.cluster.fault(refused, 1, 1, Fault::Answer(422, "Invalid"));
    let running = world.alone();
    settle(&running).await;
    let states: Vec<Value> = ["a", "b", "c"].iter().map(|app| world.app("w1", app)["status"].clone()).collect();
    assert_eq!(states.iter().filter(|state| **state == "Running").count(), 2, "{states:?}");
    assert_eq!(states.iter().filter(|state| **state == "Failed").count(), 1, "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_failure_is_survived() {
    let world = World::new();
    let writes = |call: &crate::support::cluster::Call| call.writes() && call.kind != "Event";
    let faults = [
        Fault::Answer(500, "InternalError"),
        Fault::Answer(503, "ServiceUnavailable"),
        Fault::Answer(409, "Conflict"),
        Fault::Answer(429, "TooManyRequests"),
        Fault::Reset,
        Fault::Lost,
        Fault::BreakWatches,
        Fault::Compaction,
        Fault::Delay(Duration::from_secs(40)),
    ];
    let running = world.alone();
    for (number, fault) in faults.into_iter().enumerate() {
        let name = format!("w{number}");
        world.workbench(&name, &["a", "b"]);
        world.cluster.fault(writes, number % 5, 3, fault.clone());
        settle(&running).await;
        for app in ["a", "b"] {
            assert_eq!(world.app(&name, app)["status"], "Running", "{fault:?}: {}", world.status(&name));
        }
        world.cluster.calm();
    }
    world.cluster.forget_calls();
    tokio::time::sleep(Duration::from_secs(900)).await;
    assert_eq!(world.cluster.writes(), [].into());
}

#[tokio::test(start_paused = true)]
async fn what_vanishes_while_nobody_watches_is_noticed() {
    let world = World::new();
    world.workbench("w1", &["a"]);
    let running = world.alone();
    settle(&running).await;
    let lists = |call: &crate::support::cluster::Call| matches!(call.verb, "list" | "watch");
    world.cluster.fault(lists, 0, 30, Fault::Reset);
    world.cluster.break_watches();
    world.cluster.delete("Service", "workspace1", "w1");
    world.cluster.compact();
    tokio::time::sleep(Duration::from_secs(60)).await;
    settle(&running).await;
    assert!(world.cluster.get("Service", "workspace1", "w1").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_rings_alarms() {
    let world = World::new();
    world.kubelet.script("apps/a", Behaviour::ImagePull);
    world.workbench("w1", &["a"]);
    let running = world.alone();
    settle(&running).await;
    assert_eq!(world.app("w1", "a")["status"], "Progressing");
    world.clock.jump(chrono::TimeDelta::hours(1));
    tokio::time::sleep(Duration::from_secs(2)).await;
    settle(&running).await;
    assert_eq!(world.app("w1", "a")["status"], "Failed");
    assert_eq!(world.app("w1", "a")["reason"], "StartupTimeout");
}

#[tokio::test(start_paused = true)]
async fn one_of_two_leads_and_the_other_follows_at_once() {
    let world = World::new();
    let options = |identity: &str| Options { identity: identity.to_owned(), ..Options::default() };
    let first = world.operator(options("first"));
    let leads = async |running: &Running| {
        while !running.leading() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    leads(&first).await;
    let second = world.operator(options("second"));
    world.workbench("w1", &["a"]);
    settle(&first).await;
    assert_eq!(world.app("w1", "a")["status"], "Running");
    assert!(!second.leading() && second.ready(), "it stands by");
    let mine = |name: &str| {
        let calls = world.cluster.calls().into_iter();
        calls.filter(|call| call.client == name && call.writes() && call.kind != "Lease").count()
    };
    assert!(mine("first") > 0);
    assert_eq!(mine("second"), 0);
    first.stop().await;
    let lease = world.cluster.list("Lease", "default").remove(0);
    assert!(lease["spec"]["holderIdentity"].is_null() || lease["spec"]["holderIdentity"] == "second", "{lease}");
    world.workbench("w2", &["a"]);
    leads(&second).await;
    settle(&second).await;
    assert_eq!(world.app("w2", "a")["status"], "Running");
}

#[tokio::test(start_paused = true)]
async fn who_loses_the_lease_writes_nothing() {
    let world = World::new();
    let running = world.operator(Options::default());
    while !running.leading() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    settle(&running).await;
    world.cluster.deny("*", "leases.coordination.k8s.io");
    while running.leading() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.cluster.forget_calls();
    world.workbench("w1", &["a"]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.cluster.writes(), [].into());
    assert!(running.ready(), "it stands by");
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_before_the_policy_is_in_force_and_all_does_then() {
    let mut world = World::new();
    world.settings.require_network_policy = true;
    world.workbench("w1", &["a"]);
    let running = world.alone();
    settle(&running).await;
    assert_eq!(world.cluster.list("Deployment", ""), Vec::<Value>::new());
    assert_eq!(world.app("w1", "a")["reason"], "WaitingForPolicy", "{}", world.status("w1"));
    world.workspace("Airgapped");
    settle(&running).await;
    assert_eq!(world.app("w1", "a")["status"], "Running", "{}", world.status("w1"));
    // somebody takes the policy away: it is put back, and what runs goes on
    let policies = || {
        let all = world.cluster.list("NetworkPolicy", "workspace1").into_iter();
        all.filter(|policy| policy["metadata"]["labels"]["workspace"] == "workspace1").collect::<Vec<_>>()
    };
    let before = policies().len();
    let name = policies()[0]["metadata"]["name"].as_str().unwrap().to_owned();
    world.cluster.delete("NetworkPolicy", "workspace1", &name);
    settle(&running).await;
    assert_eq!(policies().len(), before);
    world.cluster.forget_calls();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(world.cluster.writes(), [].into());
}

#[tokio::test(start_paused = true)]
async fn cilium_may_come_and_go() {
    let world = World::new();
    world.workspace("Airgapped");
    let running = world.alone();
    settle(&running).await;
    let count = |kind: &str| world.cluster.list(kind, "workspace1").len();
    assert_eq!(count("NetworkPolicy"), 2);
    world.cluster.install("cilium.io");
    tokio::time::sleep(Duration::from_secs(35)).await;
    settle(&running).await;
    assert_eq!(count("CiliumNetworkPolicy"), 1);
    assert!(running.ready());
    world.cluster.uninstall("cilium.io");
    tokio::time::sleep(Duration::from_secs(35)).await;
    settle(&running).await;
    assert_eq!(count("NetworkPolicy"), 2);
}

#[tokio::test(start_paused = true)]
async fn without_the_permission_to_watch_it_is_not_ready() {
    let world = World::new();
    world.cluster.deny("list", "workbenches.default.chorus-tre.ch");
    world.cluster.deny("watch", "workbenches.default.chorus-tre.ch");
    let running = world.alone();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!running.ready());
    let router = chorus::server::operator::cluster::router(running.health());
    let get = async |path: &str| {
        let request = http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(router.clone(), request).await.unwrap();
        let code = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (code, String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(get("/healthz").await.0, 200);
    assert_eq!(get("/readyz").await, (503, "waiting for workbenches\n".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_write_and_started_again_it_converges() {
    for number in 1..14 {
        let world = World::new();
        world.workbench("w1", &["a", "b"]);
        for _ in 0..3 {
            let running = world.alone();
            let wrote = || world.all_writes() >= number;
            for _ in 0..500 {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if wrote() {
                    break;
                }
            }
            drop(running);
        }
        let running = world.alone();
        settle(&running).await;
        for app in ["a", "b"] {
            assert_eq!(world.app("w1", app)["status"], "Running", "{number}: {}", world.status("w1"));
        }
        assert_eq!(world.cluster.list("Job", "workspace1").len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_finishes_what_is_under_way() {
    let world = World::new();
    let writes = |call: &crate::support::cluster::Call| call.writes();
    world.cluster.fault(writes, 0, 99, Fault::Delay(Duration::from_secs(1)));
    world.workbench("w1", &[]);
    let running = world.alone();
    while world.cluster.calls().iter().all(|call| !call.writes()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.stop().await;
    assert!(world.cluster.get("Deployment", "workspace1", "w1-server").is_some(), "the pass did all its steps");
    let writes = world.all_writes();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.all_writes(), writes);
}
