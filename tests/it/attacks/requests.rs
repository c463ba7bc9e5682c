//! Requests that are not as they should be, and pages that are not ours.

use reqwest::Method;
use serde_json::json;
use tonic::Code;

use super::ME;
use crate::support::server::{Reply, TestServer, on_each_engine};

/// A request without the message that everything is in must not bring anything down, whoever sends it.
#[tokio::test]
async fn a_request_without_its_role_is_refused() {
    let server = TestServer::start().await;
    let workspace = server.workspace(&server.admin, "Atlas").await;
    let nobody = server.stranger(server.tenant, &[]).await;
    let paths = [
        format!("/api/rest/v1/workspaces/{workspace}/user/{}/role", nobody.id),
        format!("/api/rest/v1/users/{}/role", nobody.id),
        format!("/api/rest/v1/workbenches/1/user/{}/role", nobody.id),
        "/api/rest/v1/authorization/roles".to_owned(),
    ];
    for path in &paths[..2] {
        for body in [json!({}), json!({"role": null}), json!({"role": {}})] {
            let reply = server.rest(Some(&server.admin), Method::POST, path, Some(body)).await;
            assert_eq!((reply.status, reply.reason()), (400, "VALIDATION_FAILED"), "{path}");
        }
    }
    for path in &paths {
        for by in [Some(&nobody), Some(&server.admin), None] {
            let reply = server.rest(by, Method::POST, path, Some(json!({}))).await;
            assert!([400, 401, 403, 501].contains(&reply.status), "{path}: {}", reply.status);
        }
    }
    assert!(server.call(Some(&server.admin), ME, json!({})).await.is_ok());
}

#[tokio::test]
async fn ids_that_no_row_can_have_are_not_found() {
    on_each_engine(|server| async move {
        for id in ["9223372036854775807", "9223372036854775808", "18446744073709551615"] {
            for rpc in ["UserService/GetUser", "WorkspaceService/GetWorkspace", "WorkspaceService/DeleteWorkspace"] {
                let result = server.call(Some(&server.admin), rpc, json!({"id": id})).await;
                assert_eq!(result.map_err(|f| f.code), Err(Code::NotFound), "{rpc} {id}");
            }
        }
        for (path, status) in [("-1", 400), ("0", 400), ("1e3", 400), ("18446744073709551616", 400), ("%00", 400)] {
            let path = format!("/api/rest/v1/workspaces/{path}");
            let reply = server.rest(Some(&server.admin), Method::GET, &path, None).await;
            assert_eq!(reply.status, status, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn only_exact_origins_may_use_the_cookie() {
    let server = TestServer::configured(&[("cors_origins", "https://ui.example.org")]).await;
    let ask = async |origin: &str, method: Method| {
        let request = server.request(method, "/api/rest/v1/users/me").header("origin", origin);
        let request = request.header("access-control-request-method", "GET");
        let headers = Reply::read(request.send().await.unwrap()).await.headers;
        let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
        (text("access-control-allow-origin"), text("access-control-allow-credentials"))
    };
    for method in [Method::OPTIONS, Method::GET] {
        let (origin, credentials) = ask("https://ui.example.org", method.clone()).await;
        assert_eq!(origin.as_deref(), Some("https://ui.example.org"));
        assert_eq!(credentials.as_deref(), Some("true"));
        for stranger in [
            "https://ui.example.org.evil.example",
            "https://ui.example.org:8443",
            "http://ui.example.org",
            "https://evil-ui.example.org",
            "https://ui.example.or",
            "null",
        ] {
            let (origin, _) = ask(stranger, method.clone()).await;
            assert_eq!(origin, None, "{method} {stranger}");
        }
    }
}
