//! How fast the operator is, how little it writes and how small it stays. Run with `--release -- --ignored --nocapture`.

use std::{process::Command, sync::Arc, time::Duration};

use chorus::server::{
    clock::SystemClock,
    operator::{
        cluster::{Operator, Options, Running},
        settings::Settings,
    },
};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::cluster::{Cluster, VirtualClock, kubelet::Kubelet};

/// Where the child process finds the cluster.
const SERVER: &str = "CHORUS_TEST_FIGURES_SERVER";

fn fill(cluster: &Cluster, workbenches: usize, apps: usize) {
    for namespace in 0..workbenches.div_ceil(10) {
        let name = format!("workspace{namespace}");
        cluster.put(json!({
            "apiVersion": "default.chorus-tre.ch/v1alpha1", "kind": "Workspace",
            "metadata": { "name": name, "namespace": name }, "spec": { "networkPolicy": "Airgapped" },
        }));
    }
    for number in 0..workbenches {
        let app = |app: usize| {
            let app = format!("app-{app}");
            (app.clone(), json!({ "name": app, "image": { "repository": "apps/terminal", "tag": "1" } }))
        };
        let apps: serde_json::Map<String, Value> = (0..apps).map(app).collect();
        cluster.put(json!({
            "apiVersion": "default.chorus-tre.ch/v1alpha1", "kind": "Workbench",
            "metadata": { "name": format!("workbench{number}"), "namespace": format!("workspace{}", number / 10) },
            "spec": { "server": { "version": "6.1" }, "storage": { "s3": false, "nfs": false }, "apps": apps },
        }));
    }
}

fn operator(client: Client) -> Running {
    let options = Options { leader_elect: false, ..Options::default() };
    Operator::new(client, Settings::default(), options, Arc::new(SystemClock)).start()
}

async fn settle(running: &Running) {
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if running.idle(Duration::from_secs(1)) {
            return;
        }
    }
}

fn running_apps(cluster: &Cluster) -> usize {
    let workbenches = cluster.list("Workbench", "");
    let apps = workbenches.iter().filter_map(|workbench| workbench["status"]["apps"].as_object());
    apps.flat_map(|apps| apps.values()).filter(|app| app["status"] == "Running").count()
}

/// Megabytes in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kilobytes: String = line.chars().filter(char::is_ascii_digit).collect();
    kilobytes.parse::<usize>().unwrap_or_default() / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn a_thousand_workbenches_from_empty() {
    let cluster = Cluster::new(VirtualClock::new());
    let _kubelet = Kubelet::start(&cluster);
    fill(&cluster, 1000, 3);
    let start = Instant::now();
    let running = operator(cluster.client());
    while running_apps(&cluster) < 3000 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        eprintln!("{:?} {}", start.elapsed(), running_apps(&cluster));
    }
    let took = start.elapsed();
    settle(&running).await;
    let writes = cluster.writes();
    let total: usize = writes.values().sum();
    eprintln!("1,000 workbenches: {took:?}, {total} writes: {writes:?}");
    assert!(took < Duration::from_secs(20));
    assert!(total <= 1000 * (6 + 2 * 3) + 400, "{total}");
    cluster.forget_calls();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(cluster.writes(), [].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn a_restart_over_ten_thousand() {
    let cluster = Cluster::new(VirtualClock::new());
    let kubelet = Kubelet::start(&cluster);
    fill(&cluster, 10_000, 1);
    let running = operator(cluster.client());
    while running_apps(&cluster) < 10_000 {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    settle(&running).await;
    running.stop().await;
    drop(kubelet);
    cluster.forget_calls();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, cluster.router()).into_future());
    let child = move || {
        let program = std::env::current_exe().unwrap();
        let arguments = ["operator::figures::the_process_that_restarts", "--exact", "--ignored", "--nocapture"];
        Command::new(program).args(arguments).env(SERVER, format!("http://{address}")).status().unwrap()
    };
    assert!(tokio::task::spawn_blocking(child).await.unwrap().success());
    assert_eq!(cluster.writes(), [].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "part of a measurement"]
async fn the_process_that_restarts() {
    let Ok(server) = std::env::var(SERVER) else { return };
    let client = Client::try_from(Config::new(server.parse().unwrap())).unwrap();
    let before = resident();
    let start = Instant::now();
    let running = operator(client);
    settle(&running).await;
    let (took, now) = (start.elapsed(), resident());
    eprintln!("restart: {took:?}, {now} MB, {before} MB before");
    assert!(took < Duration::from_secs(10) && now < 150);
}
