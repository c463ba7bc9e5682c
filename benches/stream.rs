//! What the stream of a desktop costs: throughput through the server beside a direct connection with the same client, and
//! memory of idle tunnels. `cargo bench --bench stream`; it prints, and asserts nothing, since machines differ.
//!
//! Client, server and desktop are one process here, so CPU and memory are those of all three.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that cannot go on fails")]

#[allow(dead_code, unused_imports, reason = "of the tests' harness only a part is needed, and none of its own tests")]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use chorus::server::runtime::{
    Event, Observation, Removal, Result, Runtime, RuntimeError, Stream, WorkbenchRef, WorkbenchSpec, WorkspaceSpec,
};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::BoxStream};
use support::{
    Database,
    server::{Person, TestServer},
    websocket::{WebSocket, read_head},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::Instant,
};

const FRAME: usize = 64 << 10;
const FRAMES: usize = 16_000;
const TUNNELS: usize = 1000;
/// How many people open them; one may not open all.
const PEOPLE: usize = 4;

/// Every desktop is the server at this address.
struct Near(SocketAddr);

impl Runtime for Near {
    fn name(&self) -> &'static str {
        "near"
    }
    fn apply_workspace<'a>(&'a self, _: &'a WorkspaceSpec) -> BoxFuture<'a, Result<()>> {
        async { Ok(()) }.boxed()
    }
    fn delete_workspace(&self, _: i64) -> BoxFuture<'_, Result<Removal>> {
        async { Ok(Removal::Gone) }.boxed()
    }
    fn apply<'a>(&'a self, _: &'a WorkbenchSpec) -> BoxFuture<'a, Result<()>> {
        async { Ok(()) }.boxed()
    }
    fn stop(&self, _: WorkbenchRef) -> BoxFuture<'_, Result<Removal>> {
        async { Ok(Removal::Gone) }.boxed()
    }
    fn delete(&self, _: WorkbenchRef) -> BoxFuture<'_, Result<Removal>> {
        async { Ok(Removal::Gone) }.boxed()
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<Observation>>> {
        async { Ok(Vec::new()) }.boxed()
    }
    fn observe(&self) -> BoxStream<'static, Event> {
        futures_util::stream::pending().boxed()
    }
    fn connect(&self, _: WorkbenchRef) -> BoxFuture<'_, Result<Box<dyn Stream>>> {
        async {
            let stream =
                TcpStream::connect(self.0).await.map_err(|e| RuntimeError::transient("Near", e.to_string()))?;
            stream.set_nodelay(true).unwrap();
            Ok(Box::new(stream) as Box<dyn Stream>)
        }
        .boxed()
    }
    fn logs(&self, _: WorkbenchRef, _: i64, _: usize) -> BoxFuture<'_, Result<String>> {
        async { Ok(String::new()) }.boxed()
    }
}

/// A desktop that sends frames as fast as it can to `…/down`, reads what comes to `…/up`, and is silent elsewhere.
async fn desktop() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (head, _) = read_head(&mut stream).await;
                let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
                if head.contains("/down ") {
                    let mut frame = vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0];
                    frame.resize(10 + FRAME, 7);
                    while stream.write_all(&frame).await.is_ok() {}
                } else {
                    let mut buffer = vec![0; FRAME];
                    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
                }
            });
        }
    });
    address
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Resident memory of this process in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Megabytes per second, and per second of CPU.
async fn down(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> (f64, f64) {
    let mut socket = WebSocket::open(address, &format!("{path}down"), headers).await.unwrap();
    let mut buffer = vec![0; FRAME * 4];
    let (started, before, wanted) = (Instant::now(), cpu(), FRAME * FRAMES);
    let mut got = 0;
    while got < wanted {
        got += socket.stream.read(&mut buffer).await.unwrap();
    }
    let (wall, cpu) = (started.elapsed(), cpu() - before);
    (got as f64 / 1e6 / wall.as_secs_f64(), got as f64 / 1e6 / cpu.as_secs_f64())
}

async fn up(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> (f64, f64) {
    let mut socket = WebSocket::open(address, &format!("{path}up"), headers).await.unwrap();
    let frame = support::websocket::frame(support::websocket::BINARY, &vec![7; FRAME]);
    let (started, before) = (Instant::now(), cpu());
    for _ in 0..FRAMES {
        socket.stream.write_all(&frame).await.unwrap();
    }
    let (wall, cpu, sent) = (started.elapsed(), cpu() - before, (FRAMES * frame.len()) as f64 / 1e6);
    (sent / wall.as_secs_f64(), sent / cpu.as_secs_f64())
}

#[tokio::main]
async fn main() {
    let all = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let limit = rustix::process::Rlimit { current: all, maximum: all };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let near = desktop().await;
    let database = Database::sqlite();
    let db = database.open().await;
    db.migrate().await.unwrap();
    let server = TestServer::with_runtime(db, &[], Arc::new(Near(near))).await;
    let workspace = server.workspace(&server.admin, "lab").await;
    let workbench = server.workbench(&server.admin, workspace, "desk").await;
    let path = format!("/api/rest/v1/workbenches/{workbench}/stream/");
    let bearer = |person: &Person| format!("Bearer {}", person.token);
    let admin = bearer(&server.admin);
    let headers = [("Authorization", &*admin)];

    for round in 1..=3 {
        for (name, direct, through) in [
            ("down", down(near, "/", &[]).await, down(server.http(), &path, &headers).await),
            ("up", up(near, "/", &[]).await, up(server.http(), &path, &headers).await),
        ] {
            println!(
                "{round} {name:4} direct {:6.0} MB/s ({:5.0} per CPU s), through the server {:6.0} MB/s ({:5.0} per CPU s): {:3.0} %",
                direct.0,
                direct.1,
                through.0,
                through.1,
                100.0 * through.0 / direct.0
            );
        }
    }

    let before = memory();
    let mut open = Vec::new();
    for number in 0..PEOPLE {
        let bound = workbench.to_string();
        let person = server.person(&format!("p{number}"), &[("WorkbenchMember", &[("workbench", &bound)])]).await;
        let bearer = bearer(&person);
        for _ in 0..TUNNELS / PEOPLE {
            let socket = WebSocket::open(server.http(), &path, &[("Authorization", &bearer)]).await.unwrap();
            open.push(socket);
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = memory();
    println!(
        "{} idle tunnels: {:.1} KiB each, with the client's and the desktop's side",
        server.streams().open(),
        (after - before) as f64 / TUNNELS as f64
    );
    let before = cpu();
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!("watching over them: {:.1} % of a core", (cpu() - before).as_secs_f64() * 10.0);
}
