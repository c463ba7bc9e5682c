//! The caller's own notifications, over REST, on both engines.

use chorus::server::{
    db::sql,
    random::{Random, SeededRandom},
    services::notifications::{Content, Recipient, notify},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::server::{Person, Reply, TestServer, on_each_engine};

const NOTIFICATIONS: &str = "/api/rest/v1/notifications";

async fn list(server: &TestServer, by: &Person, query: &str) -> Reply {
    server.rest(Some(by), Method::GET, &format!("{NOTIFICATIONS}?{query}"), None).await
}

async fn messages(server: &TestServer, by: &Person, query: &str) -> Vec<String> {
    let reply = list(server, by, query).await;
    assert_eq!(reply.status, 200, "{query} {:?}", reply.body);
    let list = reply.body["result"].as_array().unwrap();
    list.iter().map(|n| n["message"].as_str().unwrap().to_owned()).collect()
}

async fn unread(server: &TestServer, by: &Person) -> Value {
    server.rest(Some(by), Method::GET, &format!("{NOTIFICATIONS}/count"), None).await.body["result"].clone()
}

async fn mark(server: &TestServer, by: &Person, body: Value) -> Reply {
    server.rest(Some(by), Method::POST, &format!("{NOTIFICATIONS}/read"), Some(body)).await
}

/// Sends one notification a second with these messages.
async fn send(server: &TestServer, to: &Person, messages: &[&str], content: Content) {
    let to = Recipient { tenant_id: to.tenant, user_id: to.id };
    for message in messages {
        server.clock.advance(chrono::TimeDelta::seconds(1));
        let now = chorus::server::clock::Clock::now(&*server.clock);
        let id = SeededRandom::new(now.timestamp().unsigned_abs()).uuid();
        notify(&server.db, to, id, message, content, now).await.unwrap();
    }
}

#[tokio::test]
async fn pages_and_orders() {
    on_each_engine(|server| async move {
        let reader = server.person("rita", &[]).await;
        send(&server, &reader, &["b", "a", "d", "c"], Content::Plain).await;
        for (query, expected) in [
            ("", vec!["c", "d", "a", "b"]),
            ("pagination.sort.order=asc", vec!["b", "a", "d", "c"]),
            ("pagination.sort.type=MESSAGE", vec!["d", "c", "b", "a"]),
            ("pagination.sort.type=message&pagination.sort.order=ASC", vec!["a", "b", "c", "d"]),
            ("pagination.sort.type=CREATEDAT&pagination.sort.order=DESC&pagination.limit=2", vec!["c", "d"]),
            ("pagination.limit=2&pagination.offset=3", vec!["b"]),
        ] {
            assert_eq!(messages(&server, &reader, query).await, expected, "{query}");
        }
        let page = list(&server, &reader, "pagination.limit=1").await;
        assert_eq!(page.body["totalItems"], json!(4), "all pages");
        for (query, status, reason) in [
            ("pagination.limit=500", 200, ""),
            ("pagination.limit=501", 400, "VALIDATION_FAILED"),
            ("pagination.sort.type=userid", 400, "UNKNOWN_SORT"),
            ("pagination.sort.order=down", 400, "VALIDATION_FAILED"),
        ] {
            let reply = list(&server, &reader, query).await;
            assert_eq!((reply.status, reply.reason()), (status, reason), "{query}");
        }
        let many: Vec<String> = (0..25).map(|i| format!("more {i}")).collect();
        send(&server, &server.admin, &many.iter().map(String::as_str).collect::<Vec<_>>(), Content::Plain).await;
        assert_eq!(messages(&server, &server.admin, "").await.len(), 20, "without parameters, too");
    })
    .await;
}

#[tokio::test]
async fn reading_marks_the_own_ones_only() {
    on_each_engine(|server| async move {
        let (reader, other) = (server.person("rita", &[]).await, server.person("otto", &[]).await);
        send(&server, &reader, &["one", "two", "three"], Content::Plain).await;
        send(&server, &other, &["not yours"], Content::Plain).await;
        assert_eq!((unread(&server, &reader).await, unread(&server, &other).await), (json!(3), json!(1)));
        assert_eq!(messages(&server, &other, "").await, ["not yours"]);

        let theirs = list(&server, &other, "").await.body["result"][0]["id"].clone();
        let mine = list(&server, &reader, "").await.body["result"][0]["id"].clone();
        let reply = mark(&server, &reader, json!({"notificationIds": [mine, theirs, "unknown"]})).await;
        assert_eq!((reply.status, reply.body), (200, json!({})));
        assert_eq!((unread(&server, &reader).await, unread(&server, &other).await), (json!(2), json!(1)));
        assert_eq!(messages(&server, &reader, "isRead=true").await, ["three"]);
        assert_eq!(messages(&server, &reader, "isRead=false").await, ["two", "one"]);
        assert_eq!(list(&server, &reader, "isRead=false").await.body["totalItems"], json!(2));

        let read_at = list(&server, &reader, "isRead=true").await.body["result"][0]["readAt"].clone();
        server.clock.advance(chrono::TimeDelta::minutes(1));
        assert_eq!(mark(&server, &reader, json!({"markAll": true, "notificationIds": ["x"]})).await.status, 200);
        assert_eq!((unread(&server, &reader).await, unread(&server, &other).await), (json!(0), json!(1)));
        let first = &list(&server, &reader, "").await.body["result"][0];
        assert_eq!(first["readAt"], read_at, "what was read before keeps its time");

        for body in [json!({}), json!({"notificationIds": []}), json!({"notificationIds": [""]})] {
            let reply = mark(&server, &reader, body.clone()).await;
            assert_eq!((reply.status, reply.reason()), (400, "VALIDATION_FAILED"), "{body}");
        }
        for path in ["", "/count"] {
            let reply = server.rest(None, Method::GET, &format!("{NOTIFICATIONS}{path}"), None).await;
            assert_eq!(reply.status, 401);
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_notification_is_about() {
    on_each_engine(|server| async move {
        let reader = server.person("rita", &[]).await;
        send(&server, &reader, &["plain"], Content::Plain).await;
        send(&server, &reader, &["roles"], Content::RolesChanged).await;
        let request = Content::ApprovalRequest { approval_request_id: 7, autoapproved: true };
        send(&server, &server.admin, &["request"], request).await;
        let other = list(&server, &server.admin, "").await.body["result"][0].clone();
        let listed = list(&server, &reader, "").await.body["result"].clone();
        assert_eq!(listed[0]["content"], json!({"systemNotification": {"refreshJWTRequired": true}}));
        assert_eq!(listed[1]["content"], Value::Null);
        assert_eq!(listed[1]["readAt"], Value::Null);
        assert_eq!(listed[1]["userId"], json!(reader.id.to_string()));
        assert_eq!(listed[1]["tenantId"], json!(reader.tenant.to_string()));
        let expected = json!({"approvalRequestNotification": {"approvalRequestId": "7", "autoapproved": true}});
        assert_eq!(other["content"], expected);

        sql("UPDATE notifications SET content = '{}'").run(&server.db).await.unwrap();
        let untyped = list(&server, &reader, "").await;
        assert_eq!((untyped.status, &untyped.body["result"][0]["message"]), (200, &json!("roles")));
        assert_eq!(untyped.body["result"][0]["content"], Value::Null);
    })
    .await;
}
