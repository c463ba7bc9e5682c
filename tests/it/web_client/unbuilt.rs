//! Screens whose services this version does not have: the client shows one message each, and nothing else breaks.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    browser::{Browser, SETTINGS},
    shapes,
};
use crate::support::server::TestServer;

#[tokio::test]
async fn what_is_not_built_says_so_in_words() {
    let server = TestServer::configured(SETTINGS).await;
    let browser = Browser::of(&server, &server.admin);
    for (method, path, body) in calls() {
        let reply = browser.refused(501, method.clone(), path, body).await;
        let detail = &reply.body["details"][0];
        assert_eq!(reply.body["code"], 12, "{method} {path}");
        assert_eq!(detail["chorusCode"], "CHORUS_ERROR_CODE_UNSPECIFIED", "{method} {path}");
        assert!(shapes::text(&detail["message"]).ends_with('.'), "{detail}");
    }
    server.stop().await;
}

/// Nobody learns from a missing service whether he may use it.
#[tokio::test]
async fn what_is_not_built_is_still_closed_to_visitors() {
    let server = TestServer::configured(SETTINGS).await;
    let visitor = Browser::new(&server);
    for path in ["approval-requests/1", "organizations", "workspaces/1/stores"] {
        visitor.refused(401, Method::GET, path, None).await;
    }
    server.stop().await;
}

/// One call of each kind that a screen makes.
fn calls() -> Vec<(Method, &'static str, Option<Value>)> {
    let mut calls: Vec<_> = [
        "approval-requests/mine/count",
        "approval-requests?pagination.limit=100&filter.workspaceId=1",
        "approval-requests/1",
        "organizations",
        "organizations/1/logo",
        "terms-of-use/acceptances/status",
        "terms-of-use/versions/current",
        "terms-of-use/versions",
        "workspaces/1/stores",
        "workspaces/1/files/archive%2Fdir%2F",
        "workspace-service-instances?filter.workspaceIdsIn=1",
    ]
    .map(|path| (Method::GET, path, None))
    .into();
    calls.extend([
        (Method::POST, "terms-of-use/acceptances", Some(json!({}))),
        (
            Method::POST,
            "workspaces/1/file/archive%2Fbig.bin/upload/up7/complete",
            Some(json!([{ "partNumber": "1", "etag": "a", "data": "" }])),
        ),
    ]);
    calls
}
