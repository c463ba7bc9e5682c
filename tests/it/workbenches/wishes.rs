//! Creating, changing, listing, stopping and starting.

use std::sync::Arc;

use chorus::server::clock::Clock as _;
use chrono::TimeDelta;
use serde_json::json;
use tokio::task::JoinSet;

use super::*;
use crate::support::server::on_each_engine;

#[tokio::test]
async fn a_new_workbench_belongs_to_its_creator() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let creator = member(&server, "carla", workspace).await;
        let body = json!({
            "id": "77", "tenantId": "99", "userId": "99", "workspaceId": workspace.to_string(), "name": "Schreibtisch ☃",
            "shortName": "st", "description": "for\nme", "status": "deleted", "serverPodStatus": "Ready", "k8sStatus": "Failed",
            "initialResolutionWidth": 1920, "initialResolutionHeight": 1080,
        });
        let reply = call(&server, &creator, Method::POST, "", Some(body)).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        let workbench = shown(&reply).clone();
        let id = id(&workbench);
        for (field, expected) in [
            ("tenantId", json!(server.tenant.to_string())),
            ("userId", json!(creator.id.to_string())),
            ("workspaceId", json!(workspace.to_string())),
            ("name", json!("Schreibtisch ☃")),
            ("shortName", json!("st")),
            ("description", json!("for\nme")),
            ("initialResolutionWidth", json!(1920)),
            ("initialResolutionHeight", json!(1080)),
            ("createdAt", json!("2026-03-01T08:00:00Z")),
        ] {
            assert_eq!(workbench[field], expected, "{field}");
        }
        assert_eq!(desktop(&workbench), ["active", "Progressing", "Waiting", ""]);
        let stored = row(&server, id).await;
        assert_eq!((&*stored.wanted, stored.generation, stored.due_at.is_some()), ("running", 1, true));
        assert!(stored.version > 1, "it is stamped");
        assert_eq!(shown(&get(&server, &creator, id).await)["name"], workbench["name"], "the role holds at once");

        assert_eq!(roles_in(&server, id).await, [(creator.id, "WorkbenchAdmin".to_owned(), false)]);
        let messages = messages_to(&server, creator.id).await;
        assert_eq!(messages.len(), 1, "one change, one notification: {messages:?}");
        assert!(messages[0].contains(&format!("WorkbenchAdmin@workbench={id}")), "{messages:?}");
    })
    .await;
}

#[tokio::test]
async fn where_a_workbench_cannot_be() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let guest = server.person("guest", &[("WorkspaceGuest", &[("workspace", &workspace.to_string())])]).await;
        assert_eq!(create(&server, &guest, workspace, "x").await.status, 403);
        let admin = &server.admin;
        for (id, name, wanted) in
            [(999_999, "x", (404, "WORKSPACE_NOT_FOUND")), (workspace, " ", (400, "VALIDATION_FAILED"))]
        {
            let reply = create(&server, admin, id, name).await;
            assert_eq!((reply.status, reply.reason()), wanted);
        }
        for (status, deleted, wanted) in
            [("inactive", "NULL", (400, "WORKSPACE_INACTIVE")), ("deleted", "created_at", (404, "WORKSPACE_NOT_FOUND"))]
        {
            let statement = sql("UPDATE workspaces SET status = ").arg(status).push(", deleted_at = ");
            let deleted = if deleted == "NULL" { "NULL" } else { "created_at" };
            statement.push(deleted).push(" WHERE id = ").arg(workspace).run(&server.db).await.unwrap();
            let reply = create(&server, admin, workspace, "x").await;
            assert_eq!((reply.status, reply.reason()), wanted, "{:?}", reply.body);
        }
        let (rows,): (i64,) = sql("SELECT count(*) FROM workbenches").one(&server.db).await.unwrap();
        assert_eq!(rows, 0);
    })
    .await;
}

#[tokio::test]
async fn the_quota_holds_under_a_rush() {
    on_each_engine(|server: Arc<TestServer>| async move {
        let body = json!({"platformSettings": {"maxSessionsPerUser": 3}});
        let path = "/api/rest/v1/platform-settings";
        assert_eq!(server.rest(Some(&server.admin), Method::PUT, path, Some(body)).await.status, 200);
        let spaces = [server.workspace(&server.admin, "A").await, server.workspace(&server.admin, "B").await];
        let mut rush = JoinSet::new();
        for i in 0..8 {
            let server = server.clone();
            rush.spawn(async move { create(&server, &server.admin, spaces[i % 2], "rush").await });
        }
        let replies = rush.join_all().await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 3);
        for refused in replies.iter().filter(|reply| reply.status != 200) {
            assert_eq!((refused.status, refused.reason()), (429, "QUOTA_SESSIONS"));
            assert!(refused.body.to_string().contains("maxSessionsPerUser"), "{}", refused.body);
        }
        let mine = id(replies.iter().find(|reply| reply.status == 200).map(shown).unwrap());
        assert_eq!(tell(&server, &server.admin, mine, "stop").await.status, 200);
        assert_eq!(create(&server, &server.admin, spaces[0], "x").await.status, 429, "a stopped one counts");
        assert_eq!(delete(&server, &server.admin, mine).await.status, 200);
        assert_eq!(create(&server, &server.admin, spaces[0], "x").await.status, 200, "a deleted one does not");
    })
    .await;
}

#[tokio::test]
async fn an_update_changes_what_people_read() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let id = made(&server, &server.admin, workspace, "before").await;
        let before = row(&server, id).await;
        server.clock.advance(TimeDelta::minutes(1));
        let body = json!({"id": id.to_string(), "name": "after", "description": "d", "workspaceId": "99", "userId": "99",
            "status": "deleted", "initialResolutionWidth": 1});
        let reply = call(&server, &server.admin, Method::PUT, "", Some(body)).await;
        let now = shown(&reply);
        assert_eq!((&now["name"], &now["shortName"], &now["description"]), (&json!("after"), &json!(""), &json!("d")));
        assert_eq!(
            (&now["workspaceId"], &now["initialResolutionWidth"]),
            (&json!(workspace.to_string()), &json!(0)),
            "where it is stays"
        );
        let after = row(&server, id).await;
        assert_eq!(after.generation, before.generation, "the desktop has no part in it");
        assert!(after.version > before.version, "who watches learns of it");
        let reply = call(&server, &server.admin, Method::PUT, "", Some(json!({"id": "999", "name": "x"}))).await;
        assert_eq!((reply.status, reply.reason()), (404, "WORKBENCH_NOT_FOUND"));
    })
    .await;
}

#[tokio::test]
async fn lists_show_the_workbenches_of_visible_workspaces() {
    on_each_engine(|server| async move {
        let (atlas, bering) =
            (server.workspace(&server.admin, "Atlas").await, server.workspace(&server.admin, "Bering").await);
        let reader = member(&server, "reader", atlas).await;
        for (workspace, name) in [(atlas, "b"), (atlas, "a"), (bering, "c"), (atlas, "a")] {
            made(&server, &server.admin, workspace, name).await;
        }
        assert_eq!(names(&server, &reader, "").await, ["b", "a", "a"], "also those of others; names repeat");
        assert_eq!(names(&server, &server.admin, "").await, ["b", "a", "c", "a"]);
        let only = format!("filter.workspaceIdsIn={bering}");
        assert_eq!(names(&server, &server.admin, &only).await, ["c"]);
        assert_eq!(call(&server, &reader, Method::GET, &format!("?{only}"), None).await.status, 403);
        let sorted = "pagination.sort.type=NAME&pagination.sort.order=desc&pagination.limit=2";
        assert_eq!(names(&server, &server.admin, sorted).await, ["c", "b"]);
        let reply = call(&server, &server.admin, Method::GET, "?pagination.limit=1&pagination.offset=9", None).await;
        assert_eq!(reply.body["pagination"]["total"], 4);
        for sort in ["id", "userid", "workspaceid", "shortname", "status", "createdat"] {
            assert_eq!(names(&server, &reader, &format!("pagination.sort.type={sort}")).await.len(), 3, "{sort}");
        }
        let reply = call(&server, &reader, Method::GET, "?pagination.sort.type=wanted", None).await;
        assert_eq!((reply.status, reply.reason()), (400, "UNKNOWN_SORT"));
    })
    .await;
}

#[tokio::test]
async fn stopping_and_starting() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let id = made(&server, &server.admin, workspace, "desk").await;
        at_rest(&server, id, "Running", "Ready").await;
        let shared = server.person("shared", &[("WorkbenchMember", &[("workbench", &id.to_string())])]).await;
        server.clock.advance(TimeDelta::minutes(5));

        let stopped = ["inactive", "", "Terminated", "stopped: start it to use it again"];
        let before = row(&server, id).await;
        let reply = tell(&server, &shared, id, "stop").await;
        assert_eq!(desktop(shown(&reply)), stopped, "at once, whatever the runtime does");
        let after = row(&server, id).await;
        assert_eq!((&*after.wanted, &*after.stopped_because), ("stopped", "person"));
        assert_eq!((after.generation, after.due_at), (before.generation + 1, Some(server.clock.now())));
        // the loop says what it sees meanwhile
        at_rest(&server, id, "Progressing", "Terminating").await;
        assert_eq!(desktop(shown(&get(&server, &server.admin, id).await)), stopped);
        assert_eq!(tell(&server, &shared, id, "stop").await.status, 200);
        assert_eq!(row(&server, id).await.generation, after.generation, "nothing more to do");

        let reply = tell(&server, &shared, id, "start").await;
        assert_eq!(desktop(shown(&reply)), ["active", "Progressing", "Waiting", ""]);
        let started = row(&server, id).await;
        assert_eq!((&*started.wanted, &*started.stopped_because), ("running", ""));
        assert_eq!((started.generation, started.active_at), (after.generation + 1, server.clock.now()));
        at_rest(&server, id, "Running", "Ready").await;
        let reply = tell(&server, &shared, id, "start").await;
        assert_eq!(desktop(shown(&reply)), ["active", "Running", "Ready", ""], "it goes on");
        assert_eq!(row(&server, id).await.due_at, None);
        at_rest(&server, id, "Failed", "Failing").await;
        tell(&server, &shared, id, "start").await;
        assert!(row(&server, id).await.due_at.is_some(), "one that failed is tried again at once");

        for what in ["stop", "start"] {
            let reply = tell(&server, &server.admin, 999_999, what).await;
            assert_eq!((reply.status, reply.reason()), (404, "WORKBENCH_NOT_FOUND"));
            let viewer =
                server.stranger(server.tenant, &[("WorkbenchViewer", &[("workbench", &id.to_string())])]).await;
            assert_eq!(tell(&server, &viewer, id, what).await.status, 403);
        }
    })
    .await;
}
