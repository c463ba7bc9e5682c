//! What goes and follows together with something else.

use std::sync::Arc;

use super::*;
use crate::support::server::on_each_engine;

/// What is wanted of an app instance, and whether it is deleted.
async fn app_row(server: &TestServer, id: i64) -> (String, bool, bool) {
    sql("SELECT k8s_state, deleted_at IS NOT NULL, version > 0 FROM app_instances WHERE id = $1")
        .bind(id)
        .one(&server.db)
        .await
        .unwrap()
}

async fn gone(server: &TestServer, by: &Person, workbench: i64, app: i64) {
    let row = row(server, workbench).await;
    assert_eq!((&*row.wanted, row.deleted_at.is_some(), row.due_at.is_some()), ("deleted", true, true));
    assert_eq!(app_row(server, app).await, ("Stopped".to_owned(), true, true));
    assert_eq!(roles_in(server, workbench).await, []);
    let reply = get(server, by, workbench).await;
    assert_eq!((reply.status, reply.reason()), (404, "WORKBENCH_NOT_FOUND"));
}

#[tokio::test]
async fn a_workbench_goes_with_what_belongs_to_it() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let owner = member(&server, "owner", workspace).await;
        let (id, other) =
            (made(&server, &owner, workspace, "desk").await, made(&server, &owner, workspace, "other").await);
        let app = app_instance(&server, &owner, workspace, id).await;
        let kept = app_instance(&server, &owner, workspace, other).await;
        add(&server, &owner, id, server.admin.id, "WorkbenchViewer").await;

        let reply = delete(&server, &owner, id).await;
        assert_eq!(shown(&reply)["status"], "active", "as it was before");
        gone(&server, &server.admin, id, app).await;
        assert_eq!(names(&server, &owner, "").await, ["other"]);
        assert_eq!(app_row(&server, kept).await.0, "Running");
        assert_eq!(roles_in(&server, other).await.len(), 1);
        assert_eq!(delete(&server, &server.admin, id).await.status, 404, "once");
        let (name,): (String,) =
            sql("SELECT name FROM workbenches WHERE id = $1").bind(id).one(&server.db).await.unwrap();
        assert_eq!(name, "desk");
    })
    .await;
}

#[tokio::test]
async fn a_workspace_takes_its_workbenches_along() {
    on_each_engine(|server| async move {
        let admin = &server.admin;
        let (atlas, bering) = (server.workspace(admin, "Atlas").await, server.workspace(admin, "Bering").await);
        let (one, two) = (made(&server, admin, atlas, "one").await, made(&server, admin, atlas, "two").await);
        let kept = made(&server, admin, bering, "kept").await;
        let app = app_instance(&server, admin, atlas, one).await;
        let second = app_instance(&server, admin, atlas, two).await;
        let path = format!("/api/rest/v1/workspaces/{atlas}");
        assert_eq!(server.rest(Some(admin), Method::DELETE, &path, None).await.status, 200);
        gone(&server, admin, one, app).await;
        gone(&server, admin, two, second).await;
        assert_eq!(row(&server, kept).await.wanted, "running");
        assert_eq!(roles_in(&server, kept).await.len(), 1);
        let (generation, due): (i64, bool) = sql("SELECT generation, due_at IS NOT NULL FROM workspaces WHERE id = $1")
            .bind(atlas)
            .one(&server.db)
            .await
            .unwrap();
        assert_eq!((generation, due), (2, true), "the loop removes it");
    })
    .await;
}

/// Generations of a workspace, of a running workbench and of a stopped one in it.
async fn generations(server: &TestServer, workspace: i64, running: i64, stopped: i64) -> [i64; 3] {
    let (of,): (i64,) =
        sql("SELECT generation FROM workspaces WHERE id = $1").bind(workspace).one(&server.db).await.unwrap();
    [of, row(server, running).await.generation, row(server, stopped).await.generation]
}

#[tokio::test]
async fn what_a_workspace_allows_reaches_its_desktops() {
    on_each_engine(|server| async move {
        let admin = &server.admin;
        let reply =
            server.rest(Some(admin), Method::POST, "/api/rest/v1/workspaces", Some(json!({"name": "Atlas"}))).await;
        let mut workspace = reply.body["result"]["workspace"].clone();
        let atlas = id(&workspace);
        let (due,): (bool,) =
            sql("SELECT due_at IS NOT NULL FROM workspaces WHERE id = $1").bind(atlas).one(&server.db).await.unwrap();
        assert!(due, "a new workspace is wanted");
        let (running, stopped) = (made(&server, admin, atlas, "a").await, made(&server, admin, atlas, "b").await);
        tell(&server, admin, stopped, "stop").await;
        let mut before = generations(&server, atlas, running, stopped).await;
        for (field, value, raised) in [
            ("name", json!("Bering"), [0, 0, 0]),
            ("networkPolicy", json!("FQDNAllowlist"), [1, 0, 0]),
            ("allowedFqdns", json!(["example.org"]), [1, 0, 0]),
            ("allowedFqdns", json!(["example.org"]), [0, 0, 0]),
            ("clipboard", json!("both"), [1, 1, 0]),
            ("visibility", json!("WORKSPACE_VISIBILITY_PUBLIC"), [0, 0, 0]),
        ] {
            workspace[field] = value;
            let reply = server.rest(Some(admin), Method::PUT, "/api/rest/v1/workspaces", Some(workspace.clone())).await;
            assert_eq!(reply.status, 200, "{:?}", reply.body);
            let after = generations(&server, atlas, running, stopped).await;
            assert_eq!([0, 1, 2].map(|i| after[i] - before[i]), raised, "{field}");
            before = after;
        }
    })
    .await;
}

#[tokio::test]
async fn the_workbenches_of_a_deleted_user_stop() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let owner = member(&server, "owner", workspace).await;
        let id = made(&server, &owner, workspace, "desk").await;
        add(&server, &owner, id, server.admin.id, "WorkbenchMember").await;
        let path = format!("/api/rest/v1/users/{}", owner.id);
        assert_eq!(server.rest(Some(&server.admin), Method::DELETE, &path, None).await.status, 200);
        let stopped = row(&server, id).await;
        assert_eq!((&*stopped.wanted, &*stopped.stopped_because), ("stopped", "person"));
        assert_eq!(tell(&server, &server.admin, id, "start").await.status, 200, "whoever shares it starts it again");
    })
    .await;
}

/// A member is not added to a workbench that another call deletes at the same time.
#[tokio::test]
async fn nobody_joins_a_workbench_that_goes() {
    on_each_engine(|server: Arc<TestServer>| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let user = server.person("user", &[]).await;
        for round in 0..4 {
            let id = made(&server, &server.admin, workspace, "contested").await;
            let role = json!({"name": "WorkbenchMember", "context": {"workbench": id.to_string()}});
            let path = format!("/api/rest/v1/users/{}/role", user.id);
            let grant = async {
                match round % 2 {
                    0 => add(&server, &server.admin, id, user.id, "WorkbenchMember").await,
                    _ => server.rest(Some(&server.admin), Method::POST, &path, Some(json!({"role": role}))).await,
                }
            };
            let (added, deleted) = tokio::join!(grant, delete(&server, &server.admin, id));
            assert!([200, 404].contains(&added.status), "{:?}", added.body);
            assert_eq!(deleted.status, 200, "{:?}", deleted.body);
            assert_eq!(roles_in(&server, id).await, []);
        }
    })
    .await;
}
