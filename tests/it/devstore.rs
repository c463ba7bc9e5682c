//! The devstore, over REST, on both engines.

use chorus::server::{clock::Clock as _, db::sql};
use reqwest::Method;
use serde_json::json;

use crate::support::server::{Person, Reply, TestServer, on_each_engine};

const DEVSTORE: &str = "/api/rest/v1/devstore";

async fn read(server: &TestServer, by: Option<&Person>, path: &str) -> Reply {
    server.rest(by, Method::GET, &format!("{DEVSTORE}/{path}"), None).await
}

async fn write(server: &TestServer, by: &Person, scope: &str, key: &str, value: &str) -> Reply {
    let body = json!({"key": key, "value": value});
    server.rest(Some(by), Method::POST, &format!("{DEVSTORE}/{scope}"), Some(body)).await
}

async fn erase(server: &TestServer, by: &Person, path: &str) -> Reply {
    server.rest(Some(by), Method::DELETE, &format!("{DEVSTORE}/{path}"), None).await
}

#[tokio::test]
async fn entries_are_written_read_and_removed_in_each_scope() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Trial").await;
        let by = &server.admin;
        for scope in ["global".to_owned(), "user".to_owned(), format!("workspace/{workspace}")] {
            assert_eq!(read(&server, Some(by), &scope).await.body, json!({"result": {"entries": {}}}), "{scope}");
            let reply = write(&server, by, &scope, "theme", "dark").await;
            assert_eq!((reply.status, &reply.body), (200, &json!({"result": {"key": "theme", "value": "dark"}})));
            assert_eq!(write(&server, by, &scope, "theme", "light").await.status, 200);
            assert_eq!(write(&server, by, &scope, "a/b ☃", "").await.status, 200);
            let entries = json!({"result": {"entries": {"theme": "light", "a/b ☃": ""}}});
            assert_eq!(read(&server, Some(by), &scope).await.body, entries);
            let reply = read(&server, Some(by), &format!("{scope}/theme")).await;
            assert_eq!(reply.body, json!({"result": {"key": "theme", "value": "light"}}));
            let reply = read(&server, Some(by), &format!("{scope}/a%2Fb%20%E2%98%83")).await;
            assert_eq!(reply.body["result"]["key"], json!("a/b ☃"));

            let path = format!("{scope}/theme");
            for _ in 0..2 {
                let reply = erase(&server, by, &path).await;
                assert_eq!((reply.status, reply.body), (200, json!({"result": {}})), "also when it is gone");
            }
            let reply = read(&server, Some(by), &path).await;
            assert_eq!((reply.status, reply.reason()), (404, "ENTRY_NOT_FOUND"));
            assert_eq!(write(&server, by, &scope, "theme", "again").await.status, 200);
            assert_eq!(write(&server, by, &scope, "", "x").await.status, 400);
            assert_eq!(write(&server, by, &scope, "nul", "\0").await.status, 400);
        }
    })
    .await;
}

#[tokio::test]
async fn scopes_are_apart() {
    on_each_engine(|server| async move {
        let other = server.tenant("other").await;
        let mia = server.person("mia", &[]).await;
        let foreign = server.person_of(other, "zoe", &[("PlatformSettingsManager", &[("user", "*")])]).await;
        write(&server, &server.admin, "global", "name", "ours").await;
        write(&server, &foreign, "global", "name", "theirs").await;
        write(&server, &mia, "user", "name", "mine").await;
        for (by, path, value) in [
            (None, "global/name", "ours"),
            (Some(&mia), "global/name", "ours"),
            (Some(&foreign), "global/name", "theirs"),
            (Some(&mia), "user/name", "mine"),
        ] {
            assert_eq!(read(&server, by, path).await.body["result"]["value"], json!(value), "{by:?} {path}");
        }
        assert_eq!(read(&server, Some(&server.admin), "user/name").await.status, 404);
        assert_eq!(read(&server, None, "global").await.body, json!({"result": {"entries": {"name": "ours"}}}));
        assert_eq!(read(&server, None, "user").await.status, 401);
        assert_eq!(write(&server, &mia, "global", "name", "x").await.status, 403);
        assert_eq!(erase(&server, &mia, "global/name").await.status, 403);
    })
    .await;
}

#[tokio::test]
async fn entries_of_workspaces_need_the_workspace() {
    on_each_engine(|server| async move {
        let id = server.workspace(&server.admin, "Trial").await;
        let context: &[(&str, &str)] = &[("workspace", &id.to_string())];
        let guest = server.person("gus", &[("WorkspaceGuest", context)]).await;
        let nobody = server.person("nora", &[]).await;
        let foreign = server
            .person_of(server.tenant("other").await, "zoe", &[("PlatformWorkspaceManager", &[("workspace", "*")])])
            .await;
        let scope = format!("workspace/{id}");
        assert_eq!(write(&server, &server.admin, &scope, "config", "{}").await.status, 200);
        for (by, scope, reads, writes) in [
            (&guest, &*scope, 200, 403),
            (&nobody, &scope, 403, 403),
            (&nobody, "workspace/999999", 403, 403),
            (&foreign, &scope, 404, 404),
            (&server.admin, "workspace/999999", 404, 404),
        ] {
            let path = format!("{scope}/config");
            assert_eq!(read(&server, Some(by), scope).await.status, reads, "{} {scope}", by.username);
            assert_eq!(read(&server, Some(by), &path).await.status, reads, "{} {scope}", by.username);
            assert_eq!(write(&server, by, scope, "config", "x").await.status, writes, "{} {scope}", by.username);
            assert_eq!(erase(&server, by, &path).await.status, writes, "{} {scope}", by.username);
        }
        assert_eq!(read(&server, Some(&guest), &format!("{scope}/config")).await.body["result"]["value"], json!("{}"));
    })
    .await;
}

#[tokio::test]
async fn a_scope_holds_a_bounded_number_and_size_of_entries() {
    on_each_engine(|server| async move {
        let (by, now) = (&server.admin, server.clock.now());
        let mut tx = server.db.transaction().await.unwrap();
        for n in 0..999 {
            sql("INSERT INTO devstore (tenant_id, scope, scope_id, key, value, created_at, updated_at) \
                 VALUES ($1, 'global', 0, $2, '', $3, $3)")
            .bind(server.tenant)
            .bind(format!("key {n}"))
            .bind(now)
            .run(&mut tx)
            .await
            .unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(write(&server, by, "global", "last", "").await.status, 200);
        let refused = write(&server, by, "global", "one more", "").await;
        assert_eq!((refused.status, refused.reason()), (429, "QUOTA_DEVSTORE"), "{:?}", refused.body);
        assert_eq!(write(&server, by, "global", "last", "changed").await.status, 200, "which is no entry more");
        assert_eq!(read(&server, Some(by), "global/one%20more").await.status, 404);

        let half = "x".repeat((8 << 20) - 8);
        for (key, status) in [("first", 200), ("second", 200), ("third", 429), ("second", 200)] {
            assert_eq!(write(&server, by, "user", key, &half).await.status, status, "{key}");
        }
        assert_eq!(erase(&server, by, "user/first").await.status, 200);
        assert_eq!(write(&server, by, "user", "third", &half).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn a_value_may_be_large() {
    let server = TestServer::start().await;
    let image = "x".repeat(6 << 20);
    assert_eq!(write(&server, &server.admin, "user", "image", &image).await.status, 200);
    let reply = read(&server, Some(&server.admin), "user/image").await;
    assert_eq!(reply.body["result"]["value"].as_str().map(str::len), Some(image.len()));
    let reply = write(&server, &server.admin, "user", "image", &"x".repeat(9 << 20)).await;
    assert_eq!((reply.status, reply.reason()), (400, "VALIDATION_FAILED"));
    server.stop().await;
}
