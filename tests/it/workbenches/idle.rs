//! Workbenches that nobody uses stop, and old ones go where that is configured; the clock is the test's.

use chorus::server::{clock::Clock as _, upkeep::Upkeep};
use chrono::TimeDelta;

use super::*;
use crate::support::{each_engine, server::on_each_engine};

/// What the server does every minute, after so long.
async fn after(server: &TestServer, upkeep: &mut Upkeep, time: TimeDelta) {
    server.clock.advance(time);
    upkeep.round().await;
}

/// Actions, ids and details of what the server itself did.
async fn deeds(server: &TestServer) -> Vec<(String, i64, i64, Value)> {
    let rows: Vec<(String, i64, i64, String, Option<i64>, String)> = sql("SELECT action, workspace_id, workbench_id, \
         CAST(details AS TEXT), actor_id, outcome FROM audit_log WHERE actor_username = 'system' ORDER BY id")
    .all(&server.db)
    .await
    .unwrap();
    let deed = |(action, workspace, workbench, details, actor, outcome): (_, _, _, String, _, String)| {
        assert_eq!((actor, &*outcome), (None::<i64>, "ok"));
        (action, workspace, workbench, serde_json::from_str(&details).unwrap())
    };
    rows.into_iter().map(deed).collect()
}

#[tokio::test]
async fn idle_workbenches_are_stopped_after_a_warning() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let owner = member(&server, "owner", workspace).await;
        let idle = made(&server, &owner, workspace, "idle").await;
        let asleep = made(&server, &owner, workspace, "asleep").await;
        let used = made(&server, &server.admin, workspace, "used").await;
        tell(&server, &owner, asleep, "stop").await;
        let told = messages_to(&server, owner.id).await.len();
        let mut upkeep = server.upkeep();

        after(&server, &mut upkeep, TimeDelta::minutes(23 * 60 - 1)).await;
        assert_eq!(messages_to(&server, owner.id).await.len(), told, "too early");
        let admin = server.sign_in(&server.admin).await;
        get(&server, &admin, used).await;
        after(&server, &mut upkeep, TimeDelta::minutes(1)).await;
        after(&server, &mut upkeep, TimeDelta::minutes(59)).await;
        let messages = messages_to(&server, owner.id).await;
        assert_eq!(messages.len(), told + 1, "once: {messages:?}");
        let warning = "Nobody has used your workbench \"idle\" since 2026-03-01 08:00 UTC. It stops at 2026-03-02 08:00 UTC, \
             and its files stay. Open it to keep it running.";
        assert_eq!(messages.last().unwrap(), warning);
        assert_eq!(row(&server, idle).await.wanted, "running");

        let before = row(&server, idle).await;
        after(&server, &mut upkeep, TimeDelta::minutes(1)).await;
        let stopped = row(&server, idle).await;
        assert_eq!((&*stopped.wanted, &*stopped.stopped_because), ("stopped", "idle"));
        assert_eq!((stopped.generation, stopped.due_at), (before.generation + 1, Some(server.clock.now())));
        assert!(stopped.version > before.version, "who watches learns of it");
        assert_eq!(row(&server, asleep).await.stopped_because, "person");
        assert_eq!(row(&server, used).await.wanted, "running");
        let details = json!({"trigger": "idle_cleanup", "workbench_id": idle.to_string(), "workbench_name": "idle",
            "workspace_id": workspace.to_string()});
        assert_eq!(deeds(&server).await, [("StopWorkbench".to_owned(), workspace, idle, details)]);
        let path = format!("?filter.workspaceIdsIn={workspace}");
        let reply = call(&server, &admin, Method::GET, &path, None).await;
        let text = "stopped: nobody used it for 24h; open it to start it again";
        assert_eq!(desktop(&reply.body["result"]["workbenches"][0]), ["inactive", "", "Terminated", text]);

        // the next period has a warning of its own
        let owner = server.sign_in(&owner).await;
        get(&server, &owner, idle).await;
        after(&server, &mut upkeep, TimeDelta::hours(23)).await;
        assert_eq!(messages_to(&server, owner.id).await.len(), told + 2);
        after(&server, &mut upkeep, TimeDelta::minutes(2)).await;
        assert_eq!(messages_to(&server, owner.id).await.len(), told + 2);
        assert_eq!(deeds(&server).await.len(), 2, "the other one was stopped meanwhile: {:?}", deeds(&server).await);
    })
    .await;
}

#[tokio::test]
async fn many_are_stopped_step_by_step() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let first = server.workbench(&server.admin, workspace, "desk").await;
        // twice as many each time
        for _ in 0..9 {
            sql("INSERT INTO workbenches (tenant_id, user_id, workspace_id, name, name_key, active_at, created_at, updated_at) \
                 SELECT tenant_id, user_id, workspace_id, name, name_key, active_at, created_at, updated_at FROM workbenches")
                .run(&server.db)
                .await
                .unwrap();
        }
        let (all,): (i64,) = sql("SELECT count(*) FROM workbenches").one(&server.db).await.unwrap();
        assert!(all > 400, "more than two steps");
        server.clock.advance(TimeDelta::hours(24));
        let (mut one, mut two) = (server.upkeep(), server.upkeep());
        tokio::join!(one.round(), two.round());
        let (stopped, generations): (i64, i64) =
            sql("SELECT count(*), max(generation) FROM workbenches WHERE stopped_because = 'idle'")
                .one(&server.db)
                .await
                .unwrap();
        assert_eq!((stopped, generations), (all, 2), "each once");
        assert_eq!(deeds(&server).await.len(), usize::try_from(all).unwrap());
        assert_eq!(row(&server, first).await.stopped_because, "idle");
    })
    .await;
}

#[tokio::test]
async fn old_workbenches_go_only_if_so_configured_and_after_a_warning() {
    each_engine(|db| async {
        let server = TestServer::with(db, &[("workbench.max_age", "10d"), ("workbench.idle_timeout", "0s")]).await;
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let owner = member(&server, "owner", workspace).await;
        let old = made(&server, &owner, workspace, "old").await;
        let app = app_instance(&server, &owner, workspace, old).await;
        let told = messages_to(&server, owner.id).await.len();
        let mut upkeep = server.upkeep();
        server.clock.advance(TimeDelta::days(5));
        let young = server.workbench(&owner, workspace, "young").await;

        // the server was off when the warning was due
        after(&server, &mut upkeep, TimeDelta::days(6)).await;
        let messages = messages_to(&server, owner.id).await;
        assert_eq!(messages.len(), told + 1);
        let warning = "Your workbench \"old\" of 2026-03-01 08:00 UTC is too old. It is deleted with its files at \
             2026-03-12 09:00 UTC. Save what you need in the workspace.";
        assert_eq!(messages.last().unwrap(), warning);
        assert_eq!(row(&server, old).await.wanted, "running", "nothing goes without a warning");
        after(&server, &mut upkeep, TimeDelta::minutes(59)).await;
        assert_eq!(row(&server, old).await.wanted, "running");
        after(&server, &mut upkeep, TimeDelta::minutes(1)).await;
        let gone = row(&server, old).await;
        assert_eq!(
            (&*gone.wanted, gone.deleted_at, gone.due_at.is_some()),
            ("deleted", Some(server.clock.now()), true)
        );
        assert_eq!(roles_in(&server, old).await, []);
        let (state, deleted): (String, bool) =
            sql("SELECT k8s_state, deleted_at IS NOT NULL FROM app_instances WHERE id = $1")
                .bind(app)
                .one(&server.db)
                .await
                .unwrap();
        assert_eq!((&*state, deleted), ("Stopped", true));
        assert_eq!(row(&server, young).await.wanted, "running");
        let [(action, _, which, details)] = &deeds(&server).await[..] else { panic!() };
        assert_eq!((&**action, *which, &details["trigger"]), ("DeleteWorkbench", old, &json!("auto_cleanup_timeout")));
        after(&server, &mut upkeep, TimeDelta::minutes(1)).await;
        assert_eq!(deeds(&server).await.len(), 1, "once");
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn by_default_nothing_goes_for_its_age() {
    let server = TestServer::start().await;
    let workspace = server.workspace(&server.admin, "Atlas").await;
    let id = server.workbench(&server.admin, workspace, "desk").await;
    let mut upkeep = server.upkeep();
    after(&server, &mut upkeep, TimeDelta::days(1000)).await;
    assert_eq!(row(&server, id).await.wanted, "stopped", "idle ones are never deleted");
    server.stop().await;
}
