//! WebSockets through the proxy: bytes, closes, ends, and what is counted.

use std::time::Duration;

use chorus::server::{clock::Clock as _, db::sql};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Stage, soon};
use crate::support::websocket::{BINARY, CLOSE, TEXT, frame};

#[tokio::test]
async fn messages_and_close_codes_pass_as_they_are() {
    let stage = Stage::new().await;
    let (mut socket, mut visit) = stage.tunnel().await;
    assert!(socket.head.to_ascii_lowercase().contains("sec-websocket-protocol: binary\r\n"), "{}", socket.head);
    assert_eq!(visit.header("sec-websocket-protocol"), Some("binary"));
    assert_eq!(visit.header("origin"), Some(&*format!("http://workbench{}", stage.of.workbench)));
    for (opcode, size) in [(BINARY, 0), (TEXT, 5), (BINARY, 70_000), (CLOSE, 2)] {
        let payload = vec![b'x'; size];
        let sent = frame(opcode, &payload);
        let (_, got) = tokio::join!(socket.send(opcode, &payload), visit.read(sent.len()));
        assert!(got == sent);
    }
    visit.stream.write_all(&[0x82, 3, 1, 2, 3, 0x88, 4, 0x0f, 0xa1, b'o', b'k']).await.unwrap();
    assert_eq!(socket.next().await, Some((BINARY, vec![1, 2, 3])));
    assert_eq!(socket.next().await, Some((CLOSE, vec![0x0f, 0xa1, b'o', b'k'])));
    drop(visit);
    assert_eq!(socket.next().await, None);
}

#[tokio::test]
async fn whoever_ends_his_half_still_hears_the_other() {
    let stage = Stage::new().await;
    let (mut socket, mut visit) = stage.tunnel().await;
    socket.stream.shutdown().await.unwrap();
    assert_eq!(visit.stream.read(&mut [0; 8]).await.unwrap(), 0);
    visit.stream.write_all(&[0x82, 2, 7, 7]).await.unwrap();
    assert_eq!(socket.next().await, Some((BINARY, vec![7, 7])));
    drop(visit);
    assert_eq!(socket.next().await, None);
}

#[tokio::test]
async fn a_hundred_tunnels() {
    let stage = Stage::new().await;
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(stage.tunnel().await);
    }
    assert_eq!(stage.server.streams().open(), 100);
    let talk = open.iter_mut().enumerate().map(async |(number, (socket, visit))| {
        let payload = vec![number as u8; 5000];
        socket.send(BINARY, &payload).await;
        assert!(visit.read(frame(BINARY, &payload).len()).await == frame(BINARY, &payload));
        visit.stream.write_all(&[0x82, 1, number as u8]).await.unwrap();
        assert_eq!(socket.next().await, Some((BINARY, vec![number as u8])));
    });
    futures_util::future::join_all(talk).await;
    drop(open);
    soon(async {
        while stage.server.streams().open() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_slow_reader_costs_a_buffer() {
    let stage = Stage::new().await;
    let (socket, mut visit) = stage.tunnel().await;
    let part = vec![7; 1 << 20];
    let mut taken = 0;
    while tokio::time::timeout(Duration::from_millis(300), visit.stream.write_all(&part)).await.is_ok() {
        taken += 1;
        assert!(taken < 64, "nobody reads, and the server takes {taken} MiB");
    }
    drop(socket);
}

/// How a tunnel ends when something happens: its close frame.
async fn ended_by(happening: impl AsyncFnOnce(&Stage)) -> (u16, String) {
    let stage = Stage::new().await;
    let (mut socket, mut visit) = stage.tunnel().await;
    happening(&stage).await;
    let (opcode, payload) = soon(socket.next()).await.expect("it says why");
    assert_eq!((opcode, soon(socket.next()).await), (CLOSE, None));
    assert_eq!(soon(visit.stream.read(&mut [0; 8])).await.unwrap(), 0, "the desktop sees the end, too");
    (u16::from_be_bytes([payload[0], payload[1]]), String::from_utf8(payload[2..].to_vec()).unwrap())
}

#[tokio::test]
async fn a_tunnel_ends_with_the_session() {
    let end = ended_by(async |stage| {
        let post = reqwest::Method::POST;
        let body = Some(serde_json::json!({}));
        stage.server.rest(Some(&stage.member), post, "/api/rest/v1/authentication/logout", body).await;
    });
    assert_eq!(end.await, (1008, "ACCESS_ENDED".to_owned()));
    // and when it is idle for too long, by the server's clock
    let end = ended_by(async |stage| stage.server.clock.advance(TimeDelta::hours(13)));
    assert_eq!(end.await, (1008, "ACCESS_ENDED".to_owned()));
}

#[tokio::test]
async fn whoever_works_in_a_desktop_stays_signed_in() {
    let stage = Stage::new().await;
    let (mut socket, mut visit) = stage.tunnel().await;
    let key = frame(BINARY, b"P\0\0\0\0\0\0\x12l10:key-actioni7ee");
    for _ in 0..2 {
        stage.server.clock.advance(TimeDelta::hours(7));
        socket.stream.write_all(&key).await.unwrap();
        visit.read(key.len()).await;
        soon(async {
            let seen = async || -> DateTime<Utc> {
                let row = sql("SELECT max(last_seen_at) FROM sessions WHERE user_id = $1").bind(stage.member.id);
                row.one::<(DateTime<Utc>,)>(&stage.server.db).await.unwrap().0
            };
            while seen().await < stage.server.clock.now() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    assert_eq!(stage.server.streams().open(), 1, "14 hours later, with a session that ends after 12 without use");
}

#[tokio::test]
async fn a_tunnel_ends_with_the_role() {
    let end = ended_by(async |stage| {
        let mut tx = stage.server.db.transaction().await.unwrap();
        sql("DELETE FROM role_assignments WHERE user_id = $1").bind(stage.member.id).run(&mut tx).await.unwrap();
        // as another replica would
        sql("UPDATE access_version SET version = version + 1").run(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
    });
    assert_eq!(end.await, (1008, "ACCESS_ENDED".to_owned()));
}

#[tokio::test]
async fn a_tunnel_ends_with_the_desktop() {
    for wanted in ["stopped", "deleted"] {
        let end = ended_by(async |stage| {
            let mut tx = stage.server.db.transaction().await.unwrap();
            sql("UPDATE workbenches SET wanted = $1").bind(wanted).run(&mut tx).await.unwrap();
            sql("UPDATE desktop_version SET version = version + 1").run(&mut tx).await.unwrap();
            tx.commit().await.unwrap();
        });
        assert_eq!(end.await, (1001, "WORKBENCH_STOPPED".to_owned()));
    }
}

#[tokio::test]
async fn a_download_breaks_off_with_the_session() {
    let stage = Stage::new().await;
    let (reply, mut visit) = tokio::join!(stage.get("/big").send(), async {
        let mut visit = stage.visit().await;
        visit.stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin").await.unwrap();
        visit
    });
    stage.server.clock.advance(TimeDelta::hours(13));
    assert!(soon(reply.unwrap().bytes()).await.is_err());
    assert_eq!(soon(visit.stream.read(&mut [0; 8])).await.unwrap(), 0);
}

#[tokio::test]
async fn a_stop_closes_tunnels_and_stores_what_was_counted() {
    let stage = Stage::new().await;
    let (mut socket, mut visit) = stage.tunnel().await;
    let key = frame(BINARY, b"P\0\0\0\0\0\0\x12l10:key-actioni7ee");
    stage.server.clock.advance(TimeDelta::minutes(5));
    socket.stream.write_all(&key).await.unwrap();
    visit.read(key.len()).await;
    visit.stream.write_all(&[0x82, 2, 7, 7]).await.unwrap();
    assert_eq!(socket.next().await, Some((BINARY, vec![7, 7])));
    let typed = stage.server.clock.now();
    let (server, database) = (stage.server, stage.database);
    let stopping = tokio::spawn(async move { drop(soon(server.stop()).await) });
    assert_eq!(socket.next().await, Some((CLOSE, b"\x03\xe9SERVER_STOPPING".to_vec())));
    assert_eq!(socket.next().await, None);
    stopping.await.unwrap();
    let stored: (i64, i64, DateTime<Utc>) = sql("SELECT accessed_count, streamed_bytes, active_at FROM workbenches")
        .one(&database.open().await)
        .await
        .unwrap();
    assert_eq!(stored, (1, key.len() as i64 + 4, typed));
}

#[tokio::test]
async fn use_is_counted_and_only_people_keep_a_desktop_awake() {
    type Row = (i64, i64, Option<DateTime<Utc>>, DateTime<Utc>);
    let stage = Stage::new().await;
    let read = async || -> Row {
        stage.server.streams().store().await;
        sql("SELECT accessed_count, streamed_bytes, accessed_at, active_at FROM workbenches")
            .one(&stage.server.db)
            .await
            .unwrap()
    };
    let created = stage.server.clock.now();
    stage.server.clock.advance(TimeDelta::minutes(5));
    let opened = stage.server.clock.now();
    let (mut socket, mut visit) = stage.tunnel().await;
    let ping = frame(BINARY, b"P\0\0\0\0\0\0\x0bl4:pingi7ee");
    socket.stream.write_all(&ping).await.unwrap();
    visit.read(ping.len()).await;
    assert_eq!(read().await, (1, ping.len() as i64, Some(opened), created), "a page that is left open is idle");

    stage.server.clock.advance(TimeDelta::minutes(5));
    let key = frame(BINARY, b"P\0\0\0\0\0\0\x12l10:key-actioni7ee");
    socket.stream.write_all(&key).await.unwrap();
    visit.read(key.len()).await;
    let typed = stage.server.clock.now();
    // the other server of this database counts for itself, and its clock is the same
    assert_eq!(read().await, (1, (ping.len() + key.len()) as i64, Some(opened), typed));
    let later = typed + TimeDelta::hours(1);
    sql("UPDATE workbenches SET active_at = $1, accessed_count = 10").bind(later).run(&stage.server.db).await.unwrap();
    socket.stream.write_all(&key).await.unwrap();
    visit.read(key.len()).await;
    assert_eq!(read().await, (10, (ping.len() + 2 * key.len()) as i64, Some(opened), later), "times do not go back");
}
