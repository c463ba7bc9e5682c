//! Conventions of the API over a real connection: refusals, ids of requests, compression, other sites.

use http::header;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{
    browser::{Browser, SETTINGS, UI},
    shapes,
};
use crate::support::server::{Reply, TestServer};

async fn reply(request: RequestBuilder) -> Reply {
    Reply::read(request.send().await.unwrap()).await
}

/// A write with the administrator's cookie.
fn write(server: &TestServer, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
    let request = server.request(Method::POST, &format!("/api/rest/v1/{path}"));
    request
        .header(header::COOKIE, format!("jwttoken={}", server.admin.token))
        .header(header::CONTENT_TYPE, kind)
        .body(body)
}

#[tokio::test]
async fn paths_methods_and_parameters_that_do_not_fit() {
    let server = TestServer::configured(SETTINGS).await;
    let browser = Browser::of(&server, &server.admin);
    for (status, method, path, reason) in [
        (404, Method::GET, "nothing/here", "UNKNOWN_ROUTE"),
        (404, Method::GET, "workspaces/1/", "UNKNOWN_ROUTE"),
        (400, Method::GET, "users/seven", "INVALID_PARAMETER"),
        (400, Method::GET, "users/-1", "INVALID_PARAMETER"),
        (400, Method::GET, "users/18446744073709551616", "INVALID_PARAMETER"),
        (400, Method::GET, "users/0", "VALIDATION_FAILED"),
        (400, Method::GET, "users?pagination.limit=ten", "INVALID_PARAMETER"),
        (400, Method::GET, "users?pagination.limit=501", "VALIDATION_FAILED"),
        (400, Method::GET, "users?pagination.sort.type=shoesize", "UNKNOWN_SORT"),
        (400, Method::GET, "users?pagination.sort.order=up", "VALIDATION_FAILED"),
        (400, Method::GET, "notifications?isRead=perhaps", "INVALID_PARAMETER"),
    ] {
        let reply = browser.refused(status, method.clone(), path, None).await;
        assert_eq!(reply.reason(), reason, "{method} {path}: {}", reply.body);
    }
    let known = browser.get("users?filter.search=&someday=1&filter.shoeSize=43").await;
    assert_eq!(shapes::users(&known).1, 1, "unknown parameters are ignored");
    for (method, path, allow) in [
        (Method::PATCH, "users/1", "DELETE, GET"),
        (Method::DELETE, "authentication/login", "POST"),
        (Method::POST, "users/me/password", "PUT"),
    ] {
        let reply = browser.refused(405, method, path, Some(json!({}))).await;
        assert_eq!((&reply.headers[header::ALLOW], reply.reason()), (&allow.parse().unwrap(), "METHOD_NOT_ALLOWED"));
    }
    server.stop().await;
}

#[tokio::test]
async fn bodies_that_cannot_be_read() {
    let server = TestServer::configured(SETTINGS).await;
    const JSON: &str = "application/json";
    for (kind, body, status, reason, tells) in [
        (JSON, "{\"key\":", 400, "MALFORMED_JSON", "line 1 column 7"),
        (JSON, "{\"key\":\"a\",\"colour\":\"b\"}", 400, "MALFORMED_JSON", "colour"),
        (JSON, "{\"key\":\"a\",\"key\":\"b\"}", 400, "MALFORMED_JSON", "repeated"),
        (JSON, "{\"key\":7}", 400, "MALFORMED_JSON", "line 1 column"),
        (JSON, "[]", 400, "MALFORMED_JSON", "line 1"),
        (JSON, "{\"value\":\"a\"}", 400, "VALIDATION_FAILED", "key"),
        ("text/plain", "{\"key\":\"a\"}", 415, "UNSUPPORTED_MEDIA_TYPE", "application/json"),
        ("application/x-www-form-urlencoded", "key=a", 415, "UNSUPPORTED_MEDIA_TYPE", "application/json"),
        ("Application/JSON; charset=utf-8", "{\"key\":\"a\",\"value\":\"b\"}", 200, "", ""),
        ("", "{\"key\":\"a\",\"value\":\"b\"}", 200, "", ""),
    ] {
        let reply = reply(write(&server, "devstore/user", kind, body)).await;
        assert_eq!((reply.status, reply.reason()), (status, reason), "{kind} {body}: {}", reply.body);
        if status != 200 {
            shapes::failure(&reply.body);
            assert!(reply.body.to_string().contains(tells), "{}", reply.body);
        }
    }
    server.stop().await;
}

/// The client learns that a body was too large; it does not just lose the connection.
#[tokio::test]
async fn bodies_that_are_too_large() {
    let server = TestServer::configured(SETTINGS).await;
    let sized = |bytes: usize| format!("{{\"key\":\"a\",\"value\":\"{}\"}}", "x".repeat(bytes - 22));
    for (path, bytes, status, reason) in [
        ("workspaces", (4 << 20) + 1, 413, "REQUEST_TOO_LARGE"),
        ("workspaces", 20 << 20, 413, "REQUEST_TOO_LARGE"),
        ("workspaces", 4 << 20, 400, "MALFORMED_JSON"),
        ("devstore/user", (16 << 20) + 1, 413, "REQUEST_TOO_LARGE"),
        ("devstore/user", (8 << 20) + 23, 400, "VALIDATION_FAILED"),
        ("devstore/user", 8 << 20, 200, ""),
    ] {
        let body = sized(bytes);
        assert_eq!(body.len(), bytes);
        let reply = reply(write(&server, path, "application/json", body).header(header::ORIGIN, UI)).await;
        assert_eq!((reply.status, reply.reason()), (status, reason), "{path} {bytes}");
        assert_eq!(reply.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], UI, "{path} {bytes}");
    }
    server.stop().await;
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let server = TestServer::configured(SETTINGS).await;
    let health = || server.request(Method::GET, "/api/rest/v1/health");
    let made = reply(health()).await.headers["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(made.len(), 36, "{made} is a UUID");
    assert_ne!(reply(health()).await.headers["x-request-id"], made.as_str());
    assert_eq!(reply(health().header("x-request-id", "job-7.step_3")).await.headers["x-request-id"], "job-7.step_3");
    let long = "x".repeat(129);
    for strange in ["", "two words", long.as_str()] {
        let given = reply(health().header("x-request-id", strange)).await.headers["x-request-id"].clone();
        assert_eq!(given.len(), 36, "{strange:?} is replaced by {given:?}");
    }
    let missing = server.request(Method::GET, "/api/rest/v1/nothing").header("x-request-id", "job-8");
    assert_eq!(reply(missing).await.headers["x-request-id"], "job-8");
    server.stop().await;
}

#[tokio::test]
async fn long_answers_are_compressed_for_those_who_ask() {
    let server = TestServer::configured(SETTINGS).await;
    let roles = |encoding: &'static str| {
        server.request(Method::GET, "/api/rest/v1/authorization/roles").header(header::ACCEPT_ENCODING, encoding)
    };
    let (plain, gzip) = (roles("identity").send().await.unwrap(), roles("gzip, deflate, br").send().await.unwrap());
    assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
    assert_eq!(gzip.headers()[header::CONTENT_ENCODING], "gzip");
    let varies = gzip.headers().get_all(header::VARY).iter().any(|v| v.to_str().unwrap().contains("accept-encoding"));
    assert!(varies, "a cache must tell them apart: {:?}", gzip.headers());
    let (plain, gzip) = (plain.bytes().await.unwrap(), gzip.bytes().await.unwrap());
    assert_eq!(gzip[..2], [0x1f, 0x8b]);
    assert!(gzip.len() * 3 < plain.len(), "{} of {}", gzip.len(), plain.len());
    server.stop().await;
}

/// Pages of other sites neither read answers nor write with the user's cookie.
#[tokio::test]
async fn other_sites_are_kept_out() {
    let server = TestServer::configured(SETTINGS).await;
    let entry = "{\"key\":\"a\",\"value\":\"b\"}";
    for origin in ["http://localhost:3001", "http://localhost:3000.evil.example", "https://localhost:3000", "null"] {
        let read = server.request(Method::GET, "/api/rest/v1/devstore/global").header(header::ORIGIN, origin);
        let preflight = server
            .request(Method::OPTIONS, "/api/rest/v1/devstore/user")
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST");
        for request in [read, preflight] {
            let reply = reply(request).await;
            assert!(!reply.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{origin}");
        }
        let request = write(&server, "devstore/user", "application/json", entry).header(header::ORIGIN, origin);
        let reply = reply(request).await;
        assert_eq!((reply.status, reply.reason()), (403, "CROSS_SITE_REQUEST"), "{origin}");
    }
    let own = write(&server, "devstore/user", "application/json", entry).header(header::ORIGIN, server.url());
    assert_eq!(reply(own).await.status, 200, "pages of the server itself");
    server.stop().await;
}

/// The client ignores what it does not know, so health and the start page only have to be there without a session.
#[tokio::test]
async fn pages_for_everybody() {
    let server = TestServer::configured(SETTINGS).await;
    let visitor = Browser::new(&server);
    assert_eq!(visitor.get("health").await, json!({}));
    let settings = visitor.get("platform-settings").await;
    assert!(settings["result"].is_object() || settings.as_object().is_some_and(|all| !all.is_empty()), "{settings}");
    let page = reply(server.request(Method::GET, "/")).await;
    assert_eq!((page.status, &page.body["name"]), (200, &Value::from("chorus")));
    let doc = reply(server.request(Method::GET, "/doc")).await;
    assert_eq!((doc.status, &doc.headers[header::LOCATION]), (303, &"/doc/".parse().unwrap()));
    server.stop().await;
}
