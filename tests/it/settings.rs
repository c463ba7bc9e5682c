//! Platform settings and the status of the server, over REST, on both engines.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::server::{Person, Reply, TestServer, on_each_engine};

const SETTINGS: &str = "/api/rest/v1/platform-settings";

async fn settings(server: &TestServer, by: Option<&Person>) -> Value {
    let reply = server.rest(by, Method::GET, SETTINGS, None).await;
    assert_eq!(reply.status, 200);
    reply.body["result"]["platformSettings"].clone()
}

async fn set(server: &TestServer, by: &Person, settings: Value) -> Reply {
    server.rest(Some(by), Method::PUT, SETTINGS, Some(json!({"platformSettings": settings}))).await
}

#[tokio::test]
async fn settings_are_one_set_a_tenant() {
    on_each_engine(|server| async move {
        let other = server.tenant("other").await;
        let foreign = server.person_of(other, "zoe", &[("PlatformSettingsManager", &[("user", "*")])]).await;
        let empty = settings(&server, None).await;
        assert_eq!((&empty["id"], &empty["title"]), (&json!("0"), &json!("")));
        assert_eq!((&empty["createdAt"], &empty["maxSessionsPerUser"]), (&Value::Null, &json!(0)));
        assert_eq!(empty["tenantId"], json!(server.tenant.to_string()));

        let full = json!({
            "title": "Chorus", "headline": "Research", "tagline": "for all", "websiteURL": "https://example.org/",
            "maxWorkspacesPerUser": 3, "maxSessionsPerUser": 2, "maxAppInstancesPerUser": 1,
        });
        let mut sent = full.clone();
        sent["id"] = json!("77");
        sent["tenantId"] = json!("77");
        let reply = set(&server, &server.admin, sent).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        let stored = settings(&server, None).await;
        assert_eq!(&stored, &reply.body["result"]["platformSettings"]);
        for (field, value) in full.as_object().unwrap() {
            assert_eq!(&stored[field], value, "{field}");
        }
        assert_eq!(stored["tenantId"], json!(server.tenant.to_string()));
        assert_eq!(stored["createdAt"], json!("2026-03-01T08:00:00Z"));
        assert_eq!(settings(&server, Some(&foreign)).await["title"], json!(""), "another tenant has its own");

        server.clock.advance(chrono::TimeDelta::hours(1));
        assert_eq!(set(&server, &foreign, json!({"title": "Other"})).await.status, 200);
        assert_eq!(set(&server, &server.admin, json!({"title": "Less"})).await.status, 200);
        let replaced = settings(&server, Some(&server.admin)).await;
        assert_eq!((&replaced["id"], &replaced["createdAt"]), (&stored["id"], &stored["createdAt"]));
        assert_eq!((&replaced["headline"], &replaced["maxWorkspacesPerUser"]), (&json!(""), &json!(0)));
        assert_eq!(replaced["updatedAt"], json!("2026-03-01T09:00:00Z"));
        assert_eq!(settings(&server, Some(&foreign)).await["title"], json!("Other"));
    })
    .await;
}

#[tokio::test]
async fn settings_are_checked() {
    on_each_engine(|server| async move {
        let nobody = server.person("nora", &[]).await;
        assert_eq!(set(&server, &nobody, json!({"title": "Mine"})).await.status, 403);
        let reply = server.rest(Some(&server.admin), Method::PUT, SETTINGS, Some(json!({}))).await;
        assert_eq!((reply.status, reply.reason()), (400, "VALIDATION_FAILED"));
        for (settings, field) in [
            (json!({"websiteURL": "javascript:alert(1)"}), "platformSettings.websiteURL"),
            (json!({"title": "<b>"}), "platformSettings.title"),
            (json!({"maxSessionsPerUser": 4_000_000_000_u32}), "platformSettings.maxSessionsPerUser"),
        ] {
            let reply = set(&server, &server.admin, settings).await;
            assert_eq!(reply.status, 400);
            assert_eq!(reply.body["details"][0]["validationErrors"][0]["field"], json!(field));
        }
    })
    .await;
}

#[tokio::test]
async fn the_status_tells_more_to_those_who_may_know() {
    on_each_engine(|server| async move {
        let health = server.rest(None, Method::GET, "/api/rest/v1/health", None).await;
        assert_eq!((health.status, health.body), (200, json!({})));
        let status = "/api/rest/v1/server/status";
        assert_eq!(server.rest(None, Method::GET, status, None).await.status, 401);

        let nobody = server.person("nora", &[]).await;
        server.workspace(&nobody, "Trial").await;
        server.clock.advance(chrono::TimeDelta::seconds(90));
        let reply = server.rest(Some(&nobody), Method::GET, status, None).await;
        let shown = &reply.body["result"];
        assert_eq!(shown["version"], json!(env!("CARGO_PKG_VERSION")));
        assert_eq!((&shown["runtime"], &shown["startedAt"]), (&json!("none"), &json!("2026-03-01T08:00:00Z")));
        assert!(["sqlite", "postgresql"].contains(&shown["database"].as_str().unwrap()));
        assert!(shown.get("details").is_none(), "{shown}");

        let reply = server.rest(Some(&server.admin), Method::GET, status, None).await;
        let details = &reply.body["result"]["details"];
        assert_eq!((&details["users"], &details["workspaces"]), (&json!("2"), &json!("1")), "{details}");
        assert_eq!((&details["schemaVersion"], &details["uptimeSeconds"]), (&json!(newest_migration()), &json!("90")));
        assert!(details["openConnections"].as_u64().unwrap() > 0);
        assert!(details["databaseVersion"].as_str().unwrap().starts_with(|c: char| c.is_ascii_digit()));
    })
    .await;
}

/// The number of the newest file, without leading zeros.
fn newest_migration() -> String {
    let files = std::fs::read_dir("migrations").unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let numbers = files.filter_map(|name| name.split_once('_')?.0.parse::<i64>().ok());
    numbers.max().unwrap().to_string()
}
