//! What the operator costs: time and writes from nothing to everything running, a restart over what has converged, an idle
//! minute, memory. `cargo bench --bench operator`; it prints, and asserts nothing, since machines differ.
//!
//! ```text
//! this process ──starts──► the cluster in memory, over TCP ◄──requests── the operator, in a third process
//! ```
//!
//! So memory is that of the operator alone. CPU is shared: the cluster has its own controllers and nodes to play.
//! `CHORUS_BENCH_MANY` and `CHORUS_BENCH_MOST` say how many workbenches there are (1,000 and 10,000).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that cannot go on fails")]

#[allow(dead_code, unused_imports, reason = "of the tests' harness only a part is needed")]
#[path = "../tests/it/support/cluster/mod.rs"]
mod cluster;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use chorus::server::{
    clock::SystemClock,
    operator::{
        cluster::{Operator, Options},
        settings::Settings,
    },
};
use cluster::{Cluster, kubelet::Kubelet};
use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use futures_util::{StreamExt as _, stream};
use kube::{
    Api, Client, Config,
    api::{DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::time::Instant;

/// How many workbenches share a namespace.
const PER_NAMESPACE: usize = 20;
/// How often it is looked whether everything runs.
const LOOK: Duration = Duration::from_millis(100);
/// After how many looks without work it counts as idle.
const QUIET: u32 = 20;

type Writes = BTreeMap<String, u64>;

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let role = arguments.iter().position(|argument| argument == "--role").map(|at| &arguments[at + 1..]);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async {
        match role {
            Some([role]) if role == "cluster" => play_cluster().await,
            Some([role, url]) if role == "operator" => play_operator(url).await,
            _ => measure().await,
        }
    });
}

/// The cluster, until nobody listens any more.
async fn play_cluster() {
    let cluster = Cluster::new(Arc::new(SystemClock));
    let _kubelet = Kubelet::start(&cluster);
    let running = cluster.clone();
    let count = move || {
        let count = running.count("Workbench", runs);
        async move { count.to_string() }
    };
    let router = cluster.router().route("/-/running", axum::routing::get(count));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    say(&format!("http://{}", listener.local_addr().unwrap()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    until_left().await;
}

/// Whether the server is ready, all apps run, and the status is about the spec.
fn runs(workbench: &Value) -> bool {
    let apps = |part: &str| workbench[part]["apps"].as_object().into_iter().flatten();
    workbench["status"]["observedGeneration"] == workbench["metadata"]["generation"]
        && workbench["status"]["serverDeployment"]["serverPod"]["ready"] == true
        && apps("spec").count() == apps("status").count()
        && apps("status").all(|(_, app)| app["status"] == "Running")
}

/// The operator, until nobody listens any more. Says so when it has looked at everything and has nothing to do.
async fn play_operator(url: &str) {
    let client = Client::try_from(Config::new(url.parse().unwrap())).unwrap();
    let options = Options { leader_elect: false, ..Options::default() };
    let running = Operator::new(client, Settings::default(), options, Arc::new(SystemClock)).start();
    let mut quiet = 0;
    while quiet < QUIET {
        tokio::time::sleep(LOOK).await;
        quiet = if running.idle() { quiet + 1 } else { 0 };
    }
    say("idle");
    until_left().await;
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().unwrap();
}

async fn until_left() {
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}

/// Another process of this program. It ends when this is dropped.
struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(role: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("--role").args(role).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// A figure of its memory (`VmRSS`, `VmHWM`), in MiB.
    fn memory(&self, figure: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cluster with this many workbenches.
struct World {
    // ends with the world
    _process: Process,
    url: String,
    client: Client,
}

impl World {
    async fn with(workbenches: usize, apps: usize) -> Self {
        let mut process = Process::start(&["cluster"]);
        let url = process.line();
        let client = Client::try_from(Config::new(url.parse().unwrap())).unwrap();
        let world = Self { _process: process, url, client };
        let spaces = (0..workbenches.div_ceil(PER_NAMESPACE)).map(|number| {
            let name = format!("workspace{number}");
            world.create(&name, "Workspace", &name, json!({ "networkPolicy": "Airgapped" }))
        });
        stream::iter(spaces).buffer_unordered(32).collect::<()>().await;
        let apps: BTreeMap<_, _> = (0..apps).map(|app| (format!("app-instance-{app}"), app_of(app))).collect();
        let benches = (0..workbenches).map(|number| {
            let spec = json!({ "server": { "version": "1", "user": "anna", "userid": 2001 }, "apps": apps,
                "storage": { "s3": false, "nfs": false } });
            world.create(
                &format!("workspace{}", number / PER_NAMESPACE),
                "Workbench",
                &format!("workbench{number}"),
                spec,
            )
        });
        stream::iter(benches).buffer_unordered(32).collect::<()>().await;
        world
    }

    fn create(&self, namespace: &str, kind: &str, name: &str, spec: Value) -> impl Future<Output = ()> + use<> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("default.chorus-tre.ch", "v1alpha1", kind));
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
        let object = DynamicObject::new(name, &kind).data(json!({ "spec": spec }));
        async move { drop(api.create(&PostParams::default(), &object).await.unwrap()) }
    }

    async fn text(&self, path: &str) -> String {
        self.client.request_text(http::Request::get(path).body(Vec::new()).unwrap()).await.unwrap()
    }

    /// What was written so far, beside what this process created.
    async fn writes(&self) -> Writes {
        let mut writes: Writes = serde_json::from_str(&self.text("/-/writes").await).unwrap();
        writes.retain(|what, _| !["create Workspace", "create Workbench"].contains(&what.as_str()));
        writes
    }

    async fn until_all_run(&self, workbenches: usize) -> Duration {
        let begun = Instant::now();
        while self.text("/-/running").await.parse::<usize>().unwrap() < workbenches {
            tokio::time::sleep(LOOK).await;
        }
        begun.elapsed()
    }
}

fn app_of(number: usize) -> Value {
    json!({ "name": format!("app{number}"), "image": { "repository": format!("apps/app{number}"), "tag": "1" } })
}

fn size(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

async fn measure() {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["", "", "time", "writes", "each", "memory"]);
    from_nothing(&mut table, size("CHORUS_BENCH_MANY", 1000), 3).await;
    over_what_runs(&mut table, size("CHORUS_BENCH_MOST", 10_000)).await;
    println!("{table}");
    println!("each: writes per workbench, those of events apart; memory: resident now / at most, MiB");
}

/// From nothing to everything running.
async fn from_nothing(table: &mut Table, workbenches: usize, apps: usize) {
    let world = World::with(workbenches, apps).await;
    let operator = Process::start(&["operator", &world.url]);
    let time = world.until_all_run(workbenches).await;
    let writes = world.writes().await;
    row(table, &format!("{workbenches} × {apps} apps"), "from nothing", time, &writes, workbenches, &operator);
    for (what, count) in &writes {
        println!("{count:>8}  {what}");
    }
}

/// A restart over what has converged, and a minute in which nothing happens.
async fn over_what_runs(table: &mut Table, workbenches: usize) {
    let world = World::with(workbenches, 1).await;
    let what = format!("{workbenches} × 1 app");
    let mut first = Process::start(&["operator", &world.url]);
    let time = world.until_all_run(workbenches).await;
    first.line();
    row(table, &what, "from nothing", time, &world.writes().await, workbenches, &first);
    drop(first);
    let before = world.writes().await;
    let begun = Instant::now();
    let mut second = Process::start(&["operator", &world.url]);
    second.line();
    let time = begun.elapsed();
    row(table, &what, "restart", time, &since(&world, &before).await, workbenches, &second);
    let before = world.writes().await;
    let minute = Duration::from_secs(60);
    tokio::time::sleep(minute).await;
    row(table, &what, "idle", minute, &since(&world, &before).await, workbenches, &second);
}

async fn since(world: &World, before: &Writes) -> Writes {
    let now = world.writes().await;
    now.into_iter().map(|(what, count)| (what.clone(), count - before.get(&what).unwrap_or(&0))).collect()
}

fn row(table: &mut Table, what: &str, step: &str, time: Duration, writes: &Writes, workbenches: usize, of: &Process) {
    let events = writes.iter().filter(|(what, _)| what.contains("Event")).map(|(_, count)| count).sum::<u64>();
    let all = writes.values().sum::<u64>();
    let each = |count: u64| {
        format!("{:.2}", f64::from(u32::try_from(count).unwrap()) / f64::from(u32::try_from(workbenches).unwrap()))
    };
    let figures = [
        what.to_owned(),
        step.to_owned(),
        format!("{:.1} s", time.as_secs_f64()),
        all.to_string(),
        format!("{} + {}", each(all - events), each(events)),
        format!("{:.0} / {:.0}", of.memory("VmRSS"), of.memory("VmHWM")),
    ];
    let align = |(column, text)| {
        Cell::new(text).set_alignment(if column < 2 { CellAlignment::Left } else { CellAlignment::Right })
    };
    table.add_row(figures.into_iter().enumerate().map(align));
}
