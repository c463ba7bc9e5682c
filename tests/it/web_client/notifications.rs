//! Notifications: the poll, the inbox, and the one that makes the client renew its session.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{
    browser::{Browser, SETTINGS},
    session::refresh,
    shapes,
};
use crate::support::server::TestServer;

/// What the client asks every 30 seconds; the newest unread one and how many there are.
async fn poll(browser: &Browser<'_>) -> (Option<Value>, u64) {
    let reply = browser.get("notifications?pagination.limit=1&isRead=false").await;
    let newest = shapes::list(&reply["result"]).first().cloned();
    newest.iter().for_each(|notification| assert!(shapes::notification(notification)["readAt"].is_null()));
    (newest, reply["totalItems"].as_u64().unwrap())
}

/// The page of all notifications.
async fn inbox(browser: &Browser<'_>) -> Vec<Value> {
    let query = "pagination.limit=20&pagination.sort.type=CREATEDAT&pagination.sort.order=DESC";
    let reply = browser.get(&format!("notifications?{query}")).await;
    let all = shapes::list(&reply["result"]).to_vec();
    assert_eq!(reply["totalItems"], all.len());
    for notification in &all {
        shapes::notification(notification);
    }
    all
}

#[tokio::test]
async fn new_roles_arrive_with_the_next_poll() {
    let server = TestServer::configured(SETTINGS).await;
    let rolf = server.person("rolf", &[]).await;
    let (admin, browser) = (Browser::of(&server, &server.admin), Browser::of(&server, &rolf));
    assert_eq!(poll(&browser).await, (None, 0));
    let reply = browser.get("notifications?pagination.limit=100").await;
    assert_eq!(reply, json!({ "result": [], "totalItems": 0 }));

    for role in ["PlatformAuditor", "PlatformUserManager"] {
        let context = json!({ "user": "*", "workspace": "*", "workbench": "*" });
        let role = json!({ "role": { "name": role, "context": fitting(&admin, role, context).await } });
        server.clock.advance(TimeDelta::seconds(1));
        admin.post(&format!("users/{}/role", rolf.id), role).await;
    }
    let (newest, unread) = poll(&browser).await;
    let newest = newest.unwrap();
    assert_eq!(unread, 2);
    assert_eq!(newest["content"], json!({ "systemNotification": { "refreshJWTRequired": true } }));

    let before = browser.cookie().unwrap();
    let reply = browser.post("authentication/refresh-token", json!({})).await;
    let after = browser.cookie().unwrap();
    assert_eq!(shapes::text(&reply["result"]["token"]), after.value);
    assert_ne!(after.value, before.value);
    let roles = refresh(&browser).await.0["rolesWithContext"].clone();
    assert!(shapes::list(&roles).iter().any(|grant| grant["name"] == "PlatformAuditor"), "{roles}");

    let read = browser.post("notifications/read", json!({ "notificationIds": [newest["id"]] })).await;
    assert_eq!(read, json!({}));
    let (older, unread) = poll(&browser).await;
    assert_eq!(unread, 1);
    assert_ne!(older.unwrap()["id"], newest["id"]);
    let all = inbox(&browser).await;
    assert_eq!((all.len(), &all[0]["id"]), (2, &newest["id"]), "the newest first");
    assert!(!all[0]["readAt"].is_null() && all[1]["readAt"].is_null());

    browser.post("notifications/read", json!({ "markAll": true })).await;
    assert_eq!(poll(&browser).await, (None, 0));
    assert!(inbox(&browser).await.iter().all(|notification| !notification["readAt"].is_null()));
    server.stop().await;
}

/// The context that the grant dialog offers for a role: every dimension that the role names, for all.
async fn fitting(browser: &Browser<'_>, role: &str, all: Value) -> Value {
    let roles = browser.get("authorization/roles").await;
    let role = shapes::list(&roles["result"]["roles"]).iter().find(|known| known["name"] == role).unwrap().clone();
    let dimensions = shapes::list(&role["context"]).iter().map(shapes::text);
    dimensions.map(|dimension| (dimension.to_owned(), all[dimension].clone())).collect()
}

/// Others' notifications are neither seen nor marked.
#[tokio::test]
async fn everybody_has_an_inbox_of_his_own() {
    let server = TestServer::configured(SETTINGS).await;
    let (rolf, ida) = (server.person("rolf", &[]).await, server.person("ida", &[]).await);
    let admin = Browser::of(&server, &server.admin);
    let context = fitting(&admin, "PlatformAuditor", json!({ "user": "*", "workspace": "*", "workbench": "*" })).await;
    admin
        .post(&format!("users/{}/role", rolf.id), json!({ "role": { "name": "PlatformAuditor", "context": context } }))
        .await;
    let (rolf, ida) = (Browser::of(&server, &rolf), Browser::of(&server, &ida));
    let id = poll(&rolf).await.0.unwrap()["id"].clone();
    assert_eq!(poll(&ida).await, (None, 0));
    ida.post("notifications/read", json!({ "notificationIds": [id] })).await;
    ida.post("notifications/read", json!({ "markAll": true })).await;
    assert_eq!(poll(&rolf).await.1, 1);
    server.stop().await;
}
