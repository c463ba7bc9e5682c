//! Watching: how things are, then each change, to everybody what he may see.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chorus::server::desktops::{Touched, stamp};
use tokio::time::{Instant, timeout};

use super::*;
use crate::support::server::on_each_engine;

/// A stream over REST, as lines.
struct Watch {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

/// What an event says: its kind, and id, name and status of the workbench.
type Event = (String, Option<(i64, String, String)>);

impl Watch {
    async fn open(server: &TestServer, by: &Person, query: &str) -> Self {
        let request = server.request(Method::GET, &format!("{WORKBENCHES}/watch{query}")).bearer_auth(&by.token);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        Self { response, buffer: Vec::new() }
    }

    /// The next line; nothing at the end of the stream.
    async fn line(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let chunk = timeout(Duration::from_secs(10), self.response.chunk()).await.expect("nothing comes");
            self.buffer.extend_from_slice(&chunk.unwrap()?);
        }
    }

    async fn next(&mut self) -> Event {
        let line = self.line().await.expect("the stream ended");
        let event = &line["result"];
        let kind = event["kind"].as_str().unwrap_or_else(|| panic!("{line}"));
        let kind = kind.strip_prefix("WORKBENCH_EVENT_KIND_").unwrap().to_owned();
        let text = |workbench: &Value, name: &str| workbench[name].as_str().unwrap().to_owned();
        let of = event.get("workbench").filter(|workbench| !workbench.is_null());
        (kind, of.map(|workbench| (id(workbench), text(workbench, "name"), text(workbench, "status"))))
    }

    /// Everything up to the event that tells that all was told.
    async fn current(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        loop {
            match self.next().await {
                (kind, Some((_, name, _))) if kind == "SEEN" => names.push(name),
                (kind, None) if kind == "CURRENT" => return names,
                other => panic!("{other:?}"),
            }
        }
    }

    /// The reason with which the stream ends.
    async fn reason(&mut self) -> String {
        let mut reason = String::new();
        while let Some(line) = self.line().await {
            if let Some(text) = line["error"]["details"][0]["reason"].as_str() {
                reason = text.to_owned();
            }
        }
        reason
    }
}

fn event(kind: &str, id: i64, name: &str, status: &str) -> Event {
    (kind.to_owned(), Some((id, name.to_owned(), status.to_owned())))
}

#[tokio::test]
async fn first_what_there_is_then_what_changes() {
    on_each_engine(|server| async move {
        let admin = &server.admin;
        let workspace = server.workspace(admin, "Atlas").await;
        let gone = made(&server, admin, workspace, "gone").await;
        delete(&server, admin, gone).await;
        let desk = made(&server, admin, workspace, "desk").await;
        let mut watch = Watch::open(&server, admin, "").await;
        assert_eq!(watch.current().await, ["desk"]);

        let body = json!({"id": desk.to_string(), "name": "table"});
        call(&server, admin, Method::PUT, "", Some(body)).await;
        assert_eq!(watch.next().await, event("SEEN", desk, "table", "active"));
        tell(&server, admin, desk, "stop").await;
        assert_eq!(watch.next().await, event("SEEN", desk, "table", "inactive"));
        let chair = made(&server, admin, workspace, "chair").await;
        // the role that comes with it ends what was opened before it
        assert_eq!(watch.reason().await, "ACCESS_CHANGED");

        let mut watch = Watch::open(&server, admin, "").await;
        assert_eq!(watch.current().await, ["table", "chair"]);
        // another replica, which tells this one nothing
        let mut tx = server.db.transaction().await.unwrap();
        sql("UPDATE workbenches SET name = 'stool' WHERE id = $1").bind(chair).run(&mut tx).await.unwrap();
        let touched = Touched { workbenches: [chair].into(), ..Touched::default() };
        stamp(&mut tx, &touched).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(watch.next().await, event("SEEN", chair, "stool", "active"));

        let mut tx = server.db.transaction().await.unwrap();
        sql("UPDATE workbenches SET wanted = 'deleted', deleted_at = created_at WHERE id = $1")
            .bind(chair)
            .run(&mut tx)
            .await
            .unwrap();
        stamp(&mut tx, &touched).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(watch.next().await, event("DELETED", chair, "stool", "deleted"));
    })
    .await;
}

#[tokio::test]
async fn everybody_sees_what_he_may() {
    on_each_engine(|server| async move {
        let admin = &server.admin;
        let (atlas, bering) = (server.workspace(admin, "Atlas").await, server.workspace(admin, "Bering").await);
        let reader = member(&server, "reader", atlas).await;
        let (a, b) = (server.workbench(admin, atlas, "a").await, server.workbench(admin, bering, "b").await);
        let other = server.tenant("other").await;
        let everything: &[_] = &[("workspace", "*"), ("workbench", "*"), ("user", "*")];
        let foreigner = server.person_of(other, "foreigner", &[("SuperAdmin", everything)]).await;
        let theirs = server.workspace(&foreigner, "Theirs").await;
        let c = server.workbench(&foreigner, theirs, "c").await;

        let mut all = Watch::open(&server, admin, "").await;
        let mut part = Watch::open(&server, admin, &format!("?filter.workspaceIdsIn={bering}")).await;
        let mut own = Watch::open(&server, &reader, "").await;
        let mut foreign = Watch::open(&server, &foreigner, "").await;
        assert_eq!(all.current().await, ["a", "b"]);
        assert_eq!(part.current().await, ["b"]);
        assert_eq!(own.current().await, ["a"]);
        assert_eq!(foreign.current().await, ["c"]);
        for (by, id, name) in [(admin, a, "a2"), (admin, b, "b2"), (&foreigner, c, "c2")] {
            call(&server, by, Method::PUT, "", Some(json!({"id": id.to_string(), "name": name}))).await;
        }
        let mut seen = Vec::new();
        for watch in [&mut all, &mut part, &mut own, &mut foreign] {
            seen.push(watch.next().await);
        }
        let seen: Vec<_> = seen.into_iter().map(|(_, of)| of.unwrap().1).collect();
        assert_eq!(seen, ["a2", "b2", "a2", "c2"]);
        assert_eq!(all.next().await, event("SEEN", b, "b2", "active"));

        let path = format!("{WORKBENCHES}/watch?filter.workspaceIdsIn={bering}");
        assert_eq!(server.rest(Some(&reader), Method::GET, &path, None).await.status, 403);
        assert_eq!(server.rest(None, Method::GET, &path, None).await.status, 401);
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_with_the_right_to_it() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        server.workbench(&server.admin, workspace, "desk").await;
        for (round, reason) in ["ACCESS_CHANGED", "SESSION_ENDED"].into_iter().enumerate() {
            let reader = member(&server, &format!("reader{round}"), workspace).await;
            let mut watch = Watch::open(&server, &reader, "").await;
            assert_eq!(watch.current().await, ["desk"]);
            match reason {
                "ACCESS_CHANGED" => {
                    let path = format!("/api/rest/v1/workspaces/{workspace}/user/{}", reader.id);
                    assert_eq!(server.rest(Some(&server.admin), Method::DELETE, &path, None).await.status, 200);
                }
                _ => {
                    let request = json!({"userId": reader.id});
                    server.call(Some(&server.admin), "AuthenticationService/RevokeSessions", request).await.unwrap();
                }
            }
            let started = Instant::now();
            assert_eq!(watch.reason().await, reason);
            // some more than the second that is promised: the machine may be busy
            assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
        }
    })
    .await;
}

#[tokio::test]
async fn events_for_browsers() {
    let server = TestServer::start().await;
    let workspace = server.workspace(&server.admin, "Atlas").await;
    server.workbench(&server.admin, workspace, "desk").await;
    let request = server.request(Method::GET, &format!("{WORKBENCHES}/watch")).bearer_auth(&server.admin.token);
    let mut response = request.header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    while text.matches("\n\n").count() < 2 {
        let chunk = timeout(Duration::from_secs(10), response.chunk()).await.expect("nothing comes").unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let kinds: Vec<_> = text
        .split_terminator("\n\n")
        .map(|event| event.strip_prefix("event: result\ndata: ").unwrap_or_else(|| panic!("{event}")))
        .map(|data| serde_json::from_str::<Value>(data).unwrap()["kind"].clone())
        .collect();
    assert_eq!(kinds, ["WORKBENCH_EVENT_KIND_SEEN", "WORKBENCH_EVENT_KIND_CURRENT"]);
    drop(response);
    server.stop().await;
}

/// Somebody who reads nothing while everything changes sees everything as it is in the end.
#[tokio::test]
async fn a_slow_reader_misses_nothing() {
    on_each_engine(|server| async move {
        let admin = &server.admin;
        let workspace = server.workspace(admin, "Atlas").await;
        let mut ids = Vec::new();
        for number in 0..450 {
            ids.push(server.workbench(admin, workspace, &format!("{number} {}", "x".repeat(200))).await);
        }
        let mut watch = Watch::open(&server, admin, "").await;
        for (round, some) in ids.chunks(90).enumerate().chain(ids.chunks(150).enumerate()) {
            let mut tx = server.db.transaction().await.unwrap();
            let touched = Touched { workbenches: some.iter().copied().collect(), ..Touched::default() };
            sql("UPDATE workbenches SET name = ")
                .arg(format!("round {round} of {}", some.len()))
                .push(" WHERE 1 = 1")
                .and_in("id", Some(some.iter().copied()))
                .run(&mut tx)
                .await
                .unwrap();
            stamp(&mut tx, &touched).await.unwrap();
            tx.commit().await.unwrap();
        }
        let mut last = BTreeMap::new();
        let in_the_end =
            |of: &BTreeMap<i64, String>| of.len() == 450 && of.values().all(|name| name.ends_with("of 150"));
        while !in_the_end(&last) {
            if let (_, Some((id, name, _))) = watch.next().await {
                last.insert(id, name);
            }
        }
        let names: Vec<_> = last.into_values().collect();
        assert!(
            names
                .chunks(150)
                .enumerate()
                .all(|(round, some)| some.iter().all(|n| n.starts_with(&format!("round {round} "))))
        );
    })
    .await;
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let server = TestServer::start().await;
    let workspace = server.workspace(&server.admin, "Atlas").await;
    server.workbench(&server.admin, workspace, "desk").await;
    let mut watch = Watch::open(&server, &server.admin, "").await;
    watch.current().await;
    let started = Instant::now();
    let (reason, _) = tokio::join!(watch.reason(), server.stop());
    assert_eq!(reason, "SERVER_STOPPING");
    assert!(started.elapsed() < Duration::from_secs(5), "the stop waits for no watcher: {:?}", started.elapsed());
}

/// Watchers that left, and came again.
#[tokio::test]
async fn the_feed_rests_and_wakes() {
    on_each_engine(|server: Arc<TestServer>| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let id = server.workbench(&server.admin, workspace, "desk").await;
        for round in 0..3 {
            let mut watch = Watch::open(&server, &server.admin, "").await;
            watch.current().await;
            let name = format!("round {round}");
            let body = json!({"id": id.to_string(), "name": name});
            call(&server, &server.admin, Method::PUT, "", Some(body)).await;
            assert_eq!(watch.next().await, event("SEEN", id, &name, "active"));
        }
    })
    .await;
}
