//! Who opens a workbench uses it, and wakes one that sleeps.

use chorus::server::clock::Clock as _;
use chrono::TimeDelta;

use super::*;
use crate::support::{each_engine, server::on_each_engine};

const ASLEEP: &str = "wanted = 'stopped', stopped_because = 'idle', due_at = NULL";

/// Reads a workbench as the command line does.
async fn look(server: &TestServer, by: &Person, id: i64) -> Reply {
    let request = server.request(Method::GET, &format!("{WORKBENCHES}/{id}")).bearer_auth(&by.token);
    Reply::read(request.header("x-chorus-no-wake", "1").send().await.unwrap()).await
}

#[tokio::test]
async fn use_is_noted_once_a_minute() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let id = made(&server, &server.admin, workspace, "desk").await;
        let viewer = server.person("viewer", &[("WorkbenchViewer", &[("workbench", &id.to_string())])]).await;
        let reader = server.api_token(&viewer, &[&format!("getWorkbench@workbench={id}")]).await.bearer;
        let made_at = server.clock.now();
        server.clock.advance(TimeDelta::seconds(59));
        get(&server, &viewer, id).await;
        assert_eq!(row(&server, id).await.active_at, made_at, "not yet a minute");

        server.clock.advance(TimeDelta::seconds(1));
        assert_eq!(look(&server, &viewer, id).await.status, 200);
        assert_eq!(get(&server, &reader, id).await.status, 200);
        assert_eq!(names(&server, &server.admin, "").await, ["desk"]);
        assert_eq!(
            row(&server, id).await.active_at,
            made_at,
            "who only looks, or may not see the desktop, uses nothing"
        );

        let before = row(&server, id).await;
        get(&server, &viewer, id).await;
        let after = row(&server, id).await;
        assert_eq!(after.active_at, server.clock.now());
        assert_eq!((after.version, after.generation), (before.version, before.generation), "nobody need be told");
    })
    .await;
}

#[tokio::test]
async fn opening_wakes_what_sleeps() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let id = made(&server, &server.admin, workspace, "desk").await;
        let viewer = server.person("viewer", &[("WorkbenchViewer", &[("workbench", &id.to_string())])]).await;
        let reader = server.api_token(&viewer, &[&format!("getWorkbench@workbench={id}")]).await.bearer;
        set(&server, id, ASLEEP).await;
        let text = "stopped: nobody used it for 24h; open it to start it again";
        let asleep = ["inactive", "", "Terminated", text];
        for reply in [look(&server, &viewer, id).await, get(&server, &reader, id).await] {
            assert_eq!(desktop(shown(&reply)), asleep);
        }
        assert_eq!(names(&server, &server.admin, "").await, ["desk"]);
        assert_eq!(row(&server, id).await.wanted, "stopped");

        let before = row(&server, id).await;
        let (one, two) = tokio::join!(get(&server, &viewer, id), get(&server, &viewer, id));
        assert!([one, two].iter().any(|reply| desktop(shown(reply)) == ["active", "Progressing", "Waiting", ""]));
        let after = row(&server, id).await;
        assert_eq!((&*after.wanted, after.generation), ("running", before.generation + 1), "once");
        assert!(after.due_at.is_some() && after.version > before.version);
        let records: Vec<(i64, i64, i64, String)> = sql("SELECT actor_id, workspace_id, workbench_id, \
             CAST(details AS TEXT) FROM audit_log WHERE action = 'StartWorkbench'")
        .all(&server.db)
        .await
        .unwrap();
        let [(actor, of, which, details)] = &records[..] else { panic!("{records:?}") };
        assert_eq!((*actor, *of, *which), (viewer.id, workspace, id));
        let details: Value = serde_json::from_str(details).unwrap();
        assert_eq!((&details["trigger"], &details["workbench_name"]), (&json!("opened"), &json!("desk")));
    })
    .await;
}

#[tokio::test]
async fn what_a_person_stopped_stays_stopped() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let id = made(&server, &server.admin, workspace, "desk").await;
        set(&server, id, ASLEEP).await;
        tell(&server, &server.admin, id, "stop").await;
        let stopped = ["inactive", "", "Terminated", "stopped: start it to use it again"];
        assert_eq!(desktop(shown(&get(&server, &server.admin, id).await)), stopped, "also one that slept");
        assert_eq!(row(&server, id).await.stopped_because, "person");
    })
    .await;
}

#[tokio::test]
async fn waking_can_be_turned_off() {
    each_engine(|db| async {
        let server = TestServer::with(db, &[("workbench.wake_on_open", "false")]).await;
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let id = made(&server, &server.admin, workspace, "desk").await;
        set(&server, id, ASLEEP).await;
        let text = "stopped: nobody used it for 24h; start it to use it again";
        assert_eq!(desktop(shown(&get(&server, &server.admin, id).await)), ["inactive", "", "Terminated", text]);
        assert_eq!(desktop(shown(&tell(&server, &server.admin, id, "start").await))[0], "active");
        server.stop().await;
    })
    .await;
}
