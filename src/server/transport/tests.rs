//! Both listeners' services in process, in front of stub services that answer gRPC frames under the contract's paths.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    response::Response,
    routing::{get, post},
};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use prost::Message;
use serde_json::{Value, json};
use tonic::{Status, service::Routes};
use tower::ServiceExt;
use uuid::Uuid;

use super::{
    Parts, Transports,
    cors::{Origins, Own},
    headers::Hardening,
    http::App,
    index::About,
    origin::{Origin, Protocol},
};
use crate::{
    proto::{google::api::HttpBody, v1},
    server::{
        error::{Error, Kind, RpcStatus, detail},
        random::SeededRandom,
        telemetry::{Connections, Metrics},
    },
};

const ORIGIN: &str = "https://ui.example.org";

async fn transports() -> Transports {
    let parts = Parts {
        services: stub(),
        streams: None,
        pages: Router::new().route("/broken", get(broken)),
        origins: Origins::new([ORIGIN.to_owned()], Own::Loopback),
        hardening: Hardening::default(),
        request_timeout: Duration::from_secs(30),
        about: About { name: "chorus", version: "1.0.0", id: Uuid::nil(), commit: None },
        random: Arc::new(SeededRandom::new(1)),
    };
    Transports::new(parts).await.unwrap()
}

/// A few RPCs of the contract, served without tonic.
fn stub() -> Routes {
    let mut routes = Routes::default();
    let router = std::mem::take(routes.axum_router_mut())
        .route("/chorus.v1.WorkspaceService/GetWorkspace", post(get_workspace))
        .route("/chorus.v1.WorkspaceService/CreateWorkspace", post(create_workspace))
        .route(
            "/chorus.v1.WorkspaceService/ListWorkspaces",
            post(|| async { std::future::pending::<Response>().await }),
        )
        .route("/chorus.v1.WorkspaceService/DeleteWorkspace", post(broken))
        .route("/chorus.v1.HealthService/GetHealthCheck", post(|| async { reply(&v1::GetHealthCheckReply::default()) }))
        .route("/chorus.v1.OrganizationService/GetOrganizationLogo", post(logo))
        .route("/chorus.v1.DevstoreService/GetGlobalEntry", post(get_entry));
    *routes.axum_router_mut() = router;
    routes
}

async fn broken() -> Response {
    panic!("a bug")
}

async fn read<M: Message + Default>(request: Request<Body>) -> Result<M, Status> {
    let body = request.into_body().collect().await.map_err(|error| Status::from_error(Box::new(error)))?.to_bytes();
    M::decode(&body[5..]).map_err(|error| Status::internal(error.to_string()))
}

async fn get_workspace(request: Request<Body>) -> Response {
    let origin = request.extensions().get::<Origin>().unwrap().clone();
    let caller = request.headers().get("authorization").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    let id = match read::<v1::GetWorkspaceRequest>(request).await {
        Ok(request) => request.id,
        Err(status) => return status.into_http(),
    };
    if id == 404 {
        return Error::not_found("WORKSPACE_NOT_FOUND", "There is no workspace 404.")
            .into_status(&origin.instance)
            .into_http();
    }
    let workspace = v1::Workspace { id, name: caller, description: origin.instance.to_string(), ..Default::default() };
    let mut response =
        reply(&v1::GetWorkspaceReply { result: Some(v1::GetWorkspaceResult { workspace: Some(workspace) }) });
    response.headers_mut().append("set-cookie", HeaderValue::from_static("a=1"));
    response.headers_mut().append("set-cookie", HeaderValue::from_static("b=2"));
    response.headers_mut().append("x-internal", HeaderValue::from_static("secret"));
    response
}

async fn create_workspace(request: Request<Body>) -> Response {
    match read::<v1::Workspace>(request).await {
        Ok(workspace) => {
            reply(&v1::CreateWorkspaceReply { result: Some(v1::CreateWorkspaceResult { workspace: Some(workspace) }) })
        }
        Err(status) => status.into_http(),
    }
}

async fn get_entry(request: Request<Body>) -> Response {
    match read::<v1::GetEntryRequest>(request).await {
        Ok(r) => reply(&v1::GetEntryReply { result: Some(v1::GetEntryResult { key: r.key, value: "x".repeat(4096) }) }),
        Err(status) => status.into_http(),
    }
}

async fn logo() -> Response {
    reply(&HttpBody { content_type: "image/png".to_owned(), data: b"PNG".to_vec() })
}

fn frame(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let mut out = vec![0];
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend(bytes);
    out
}

fn reply(message: &impl Message) -> Response {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [
        Ok::<_, std::io::Error>(http_body::Frame::data(frame(message).into())),
        Ok(http_body::Frame::trailers(trailers)),
    ];
    let mut response = Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames))));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

/// Sends a request; headers as `name: value` lines. Unless they name a credential or cookie, one is added.
async fn send(app: &App, line: &str, headers: &[&str], body: impl Into<Body>) -> Response {
    let (method, uri) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(uri);
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    if !headers.iter().any(|header| header.starts_with("authorization: ") || header.starts_with("cookie: ")) {
        request = request.header("authorization", "Bearer x");
    }
    let mut request = request.body(body.into()).unwrap();
    if Protocol::of(request.headers()) == Protocol::Grpc {
        *request.version_mut() = http::Version::HTTP_2;
    }
    app.clone().oneshot(request).await.unwrap()
}

async fn bytes(response: Response) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

async fn json(response: Response) -> Value {
    serde_json::from_slice(&bytes(response).await).unwrap()
}

/// The HTTP status and the reason of a failure; checks what holds for all of them.
async fn failure(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert!(response.headers().contains_key("x-request-id"));
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let body = json(response).await;
    let details = body["details"].as_array().unwrap();
    assert_eq!(details.len(), 1, "{body}");
    assert!(!body["message"].as_str().unwrap().is_empty());
    assert!(details[0]["instance"].as_str().unwrap().starts_with('/'), "{body}");
    (status, details[0]["reason"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_rest_call_is_a_grpc_call() {
    let app = transports().await.http;
    let headers = ["authorization: Bearer abc", "x-correlation-id: job-7"];
    let response = send(&app, "GET /api/rest/v1/workspaces/9007199254740993?unknown=1", &headers, "").await;
    assert_eq!(response.status(), StatusCode::OK);
    let sent = response.headers();
    assert_eq!(sent[header::CONTENT_TYPE], "application/json");
    assert_eq!(sent[header::CACHE_CONTROL], "no-store");
    assert_eq!(sent["x-request-id"], "job-7");
    assert_eq!(sent["x-correlation-id"], "job-7");
    assert_eq!(sent.get_all("set-cookie").iter().count(), 2);
    assert!(!sent.contains_key("x-internal") && !sent.contains_key("grpc-status"));
    let workspace = &json(response).await["result"]["workspace"];
    assert_eq!(workspace["id"], "9007199254740993");
    assert_eq!(workspace["name"], "Bearer abc");
    assert_eq!(workspace["description"], "/api/rest/v1/workspaces/9007199254740993");
    assert_eq!(workspace["createdAt"], Value::Null);
}

#[tokio::test]
async fn every_failure_has_the_same_shape() {
    let app = transports().await.http;
    let large = "x".repeat(5 << 20);
    let json_type = "content-type: application/json; charset=utf-8";
    let table: [(&str, &[&str], &str, u16, &str); 16] = [
        ("GET /api/rest/v1/workspaces/404", &[], "", 404, "WORKSPACE_NOT_FOUND"),
        ("GET /api/rest/v1/nothing", &[], "", 404, "UNKNOWN_ROUTE"),
        ("GET /nothing", &[], "", 404, "UNKNOWN_ROUTE"),
        ("GET /doc/nothing", &[], "", 404, "UNKNOWN_ROUTE"),
        ("POST /openapi.json", &[], "", 405, "METHOD_NOT_ALLOWED"),
        ("PATCH /api/rest/v1/workspaces/1", &[], "", 405, "METHOD_NOT_ALLOWED"),
        ("GET /api/rest/v1/workspaces/abc", &[], "", 400, "INVALID_PARAMETER"),
        ("GET /api/rest/v1/workspaces?pagination.limit=x", &[], "", 400, "INVALID_PARAMETER"),
        ("GET /api/rest/v1/devstore/global/%ff", &[], "", 400, "INVALID_PATH"),
        ("POST /api/rest/v1/workspaces", &[json_type], "{", 400, "MALFORMED_JSON"),
        ("POST /api/rest/v1/workspaces", &[], "{\"nope\":1}", 400, "MALFORMED_JSON"),
        ("POST /api/rest/v1/workspaces", &["content-type: text/plain"], "{}", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("POST /api/rest/v1/workspaces", &[], &large, 413, "REQUEST_TOO_LARGE"),
        ("DELETE /api/rest/v1/workspaces/1", &[], "", 500, "INTERNAL"),
        ("GET /api/rest/v1/platform-settings", &[], "", 501, "UNKNOWN_RPC"),
        (
            "POST /api/rest/v1/workspaces",
            &["cookie: jwttoken=x", "origin: https://evil.example"],
            "{}",
            403,
            "CROSS_SITE_REQUEST",
        ),
    ];
    for (line, headers, body, status, reason) in table {
        let response = send(&app, line, headers, body.to_owned()).await;
        assert_eq!(failure(response).await, (status, reason.to_owned()), "{line}");
    }
    let response = send(&app, "PATCH /api/rest/v1/workspaces/1", &[], "").await;
    assert_eq!(response.headers()[header::ALLOW], "DELETE, GET");
    let response = send(&app, "POST /openapi.json", &[], "").await;
    let allow: Vec<_> = response.headers().get_all(header::ALLOW).iter().collect();
    assert_eq!(allow, ["GET,HEAD"]);
}

/// Failures that no handler makes, and answers that are no JSON.
#[tokio::test]
async fn every_answer_tells_browsers_what_they_may_do() {
    let app = transports().await.http;
    let grpc_web = ["content-type: application/grpc-web+proto"];
    let table: [(&str, &[&str], u16); 9] = [
        ("GET /broken", &[], 500),
        ("DELETE /api/rest/v1/workspaces/1", &[], 500),
        ("GET /api/rest/v1/workspaces/1", &[], 200),
        ("GET /api/rest/v1/organizations/1/logo", &[], 200),
        ("GET /nothing", &[], 404),
        ("PATCH /api/rest/v1/workspaces/1", &[], 405),
        ("POST /chorus.v1.X/Y", &grpc_web, 200),
        (
            "OPTIONS /api/rest/v1/workspaces",
            &["origin: https://ui.example.org", "access-control-request-method: GET"],
            200,
        ),
        ("POST /api/rest/v1/workspaces", &["cookie: a=b", "origin: https://evil.example"], 403),
    ];
    for (line, headers, status) in table {
        let response = send(&app, line, headers, "").await;
        let text = |name: &str| response.headers().get(name).map(|v| v.to_str().unwrap()).unwrap_or_default();
        assert_eq!(response.status(), status, "{line}");
        assert_eq!(text("x-content-type-options"), "nosniff", "{line}");
        assert_eq!(text("cross-origin-resource-policy"), "same-origin", "{line}");
        assert_eq!(text("cache-control"), "no-store", "{line}");
        assert!(text("content-security-policy").starts_with("default-src 'none'"), "{line}");
    }
}

#[tokio::test]
async fn nobodys_body_is_not_read() {
    let app = transports().await.http;
    let endless = || Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    for line in ["POST /api/rest/v1/workspaces", "PUT /api/rest/v1/workspaces"] {
        let response = send(&app, line, &["cookie: a=b; jwttoken="], endless()).await;
        assert_eq!(failure(response).await, (401, "CREDENTIAL_MISSING".to_owned()), "{line}");
    }
}

/// Collects the log of this thread.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The lines of this target since the last call.
    fn take(&self, target: &str) -> Vec<Value> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["target"] == target).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_the_gate_does_not_see_is_logged() {
    let transports = transports().await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (native, web) = (["content-type: application/grpc"], ["content-type: application/grpc-web+proto"]);
    let rest: [&str; 0] = [];
    let large = vec![0; 5 << 20];
    let path = "POST /chorus.v1.WorkspaceService/CreateWorkspace";
    let (http, grpc) = (&transports.http, &transports.grpc);
    type Case<'a> = (&'a App, &'a str, &'a [&'a str], &'a [u8], &'a str);
    let table: [Case<'_>; 9] = [
        (http, "GET /nothing?secret=1", &rest, b"", "unknown - 404 - UNKNOWN_ROUTE"),
        (http, "POST /openapi.json", &rest, b"", "docs - 405 - METHOD_NOT_ALLOWED"),
        (
            http,
            "POST /api/rest/v1/workspaces?secret=1",
            &rest,
            b"{",
            "rest WorkspaceService/CreateWorkspace 400 - MALFORMED_JSON",
        ),
        (
            http,
            "GET /api/rest/v1/workspaces",
            &rest,
            b"",
            "rest WorkspaceService/ListWorkspaces 504 - DEADLINE_EXCEEDED",
        ),
        (http, "POST /chorus.v1.X/Y", &web, b"", "grpc - 200 12 UNKNOWN_RPC"),
        (grpc, "POST /chorus.v1.X/Y", &native, b"", "grpc - 200 12 UNKNOWN_RPC"),
        (grpc, path, &native, &[0, 0, 0, 0, 1, 0x0a], "grpc WorkspaceService/CreateWorkspace 200 3 MALFORMED_MESSAGE"),
        (grpc, path, &native, &large, "grpc WorkspaceService/CreateWorkspace 200 8 REQUEST_TOO_LARGE"),
        (
            grpc,
            "POST /chorus.v1.WorkspaceService/ListWorkspaces",
            &native,
            b"",
            "grpc WorkspaceService/ListWorkspaces 200 4 DEADLINE_EXCEEDED",
        ),
    ];
    for (app, line, headers, body, want) in table {
        send(app, line, headers, body.to_vec()).await;
        let lines = log.take("chorus::http");
        assert_eq!(lines.len(), 1, "{line}: {lines:?}");
        let text = |key: &str| lines[0].get(key).map_or("-".to_owned(), |v| v.to_string().replace('"', ""));
        assert_eq!(["route", "rpc", "status", "code", "reason"].map(text).join(" "), want, "{line}");
        assert!(lines[0]["request_id"].is_string() && lines[0]["ms"].is_u64(), "{lines:?}");
        assert!(!lines[0].to_string().contains("secret"), "{lines:?}");
    }
    send(http, "GET /api/rest/v1/health", &[], "").await;
    // a service's own failure: the gate has logged it
    send(http, "GET /api/rest/v1/workspaces/404", &[], "").await;
    assert_eq!(log.take("chorus::http"), Vec::<Value>::new());
}

#[tokio::test]
async fn answers_are_counted_by_class_and_status() {
    let metrics = Metrics::install(chrono::DateTime::UNIX_EPOCH).unwrap();
    let transports = transports().await;
    send(&transports.http, "GET /nothing", &[], "").await;
    send(&transports.http, "GET /api/rest/v1/health", &[], "").await;
    let text = metrics.render(Connections { used: 0, idle: 0 });
    assert!(text.contains("chorus_http_requests_total{route=\"unknown\",status=\"404\"}"), "{text}");
    assert!(text.contains("chorus_http_requests_total{route=\"probe\",status=\"200\"}"), "{text}");
}

#[tokio::test]
async fn bodies_may_be_empty_and_of_no_type() {
    let app = transports().await.http;
    let response = send(&app, "POST /api/rest/v1/workspaces", &["content-type: text/plain"], "").await;
    assert_eq!(response.status(), StatusCode::OK);
    let response = send(&app, "POST /api/rest/v1/workspaces?name=ignored", &[], "{\"short_name\":\"wks\"}").await;
    let workspace = &json(response).await["result"]["workspace"];
    assert_eq!((&workspace["shortName"], &workspace["name"]), (&json!("wks"), &json!("")));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_is_given_up() {
    let app = transports().await.http;
    let response = send(&app, "GET /api/rest/v1/workspaces", &[], "").await;
    assert_eq!(failure(response).await, (504, "DEADLINE_EXCEEDED".to_owned()));
    let before = tokio::time::Instant::now();
    let response = send(&app, "GET /api/rest/v1/workspaces", &["grpc-timeout: 100m"], "").await;
    assert_eq!(failure(response).await.0, 504);
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn health_answers_get_and_head() {
    let app = transports().await.http;
    let response = send(&app, "GET /api/rest/v1/health", &[], "").await;
    assert_eq!(json(response).await, json!({}));
    assert_eq!(send(&app, "HEAD /api/rest/v1/health", &[], "").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn raw_replies_keep_their_type() {
    let response = send(&transports().await.http, "GET /api/rest/v1/organizations/3/logo", &[], "").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "image/png");
    assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(bytes(response).await, b"PNG");
}

#[tokio::test]
async fn path_variables_are_decoded_once() {
    let app = transports().await.http;
    let response = send(&app, "GET /api/rest/v1/devstore/global/a%2Fb%2520", &[], "").await;
    assert_eq!(json(response).await["result"]["key"], "a/b%20");
}

#[tokio::test]
async fn allowed_origins_read_answers_and_failures() {
    let app = transports().await.http;
    let origin = format!("origin: {ORIGIN}");
    for path in ["GET /api/rest/v1/health", "GET /api/rest/v1/nothing", "DELETE /api/rest/v1/workspaces/1"] {
        let response = send(&app, path, &[&origin], "").await;
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], ORIGIN, "{path}");
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert!(
            response.headers().get_all(header::VARY).iter().any(|v| v.to_str().unwrap().eq_ignore_ascii_case("origin"))
        );
        let response = send(&app, path, &["origin: https://ui.example.org.evil.example"], "").await;
        assert!(!response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{path}");
    }
    let preflight = [&*origin, "access-control-request-method: POST", "access-control-request-headers: content-type"];
    let response = send(&app, "OPTIONS /api/rest/v1/workspaces", &preflight, "").await;
    assert!(response.status().is_success());
    assert_eq!(response.headers()[header::ACCESS_CONTROL_MAX_AGE], "600");
    let methods = response.headers()[header::ACCESS_CONTROL_ALLOW_METHODS].to_str().unwrap();
    assert!(methods.contains("DELETE") && methods.contains("PATCH"), "{methods}");
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_ask() {
    let app = transports().await.http;
    let response = send(&app, "GET /api/rest/v1/devstore/global/a", &["accept-encoding: gzip"], "").await;
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
    assert!(bytes(response).await.len() < 1024);
    let response = send(&app, "GET /api/rest/v1/health", &["accept-encoding: gzip"], "").await;
    assert!(!response.headers().contains_key(header::CONTENT_ENCODING));
}

#[tokio::test]
async fn pages_come_from_the_binary() {
    let app = transports().await.http;
    assert_eq!(json(send(&app, "GET /", &[], "").await).await["name"], "chorus");
    assert_eq!(json(send(&app, "GET /openapi.json", &[], "").await).await["openapi"], "3.0.3");
    assert_eq!(send(&app, "GET /doc", &[], "").await.headers()[header::LOCATION], "/doc/");
    let page = send(&app, "GET /doc/", &[], "").await;
    assert!(page.headers().contains_key(header::CONTENT_SECURITY_POLICY));
    assert!(String::from_utf8(bytes(page).await).unwrap().contains("swagger-initializer.js"));
    let script = bytes(send(&app, "GET /doc/swagger-initializer.js", &[], "").await).await;
    assert!(String::from_utf8(script).unwrap().contains("/openapi.json"));
}

fn status_of(response: &Response) -> Status {
    Status::from_header_map(response.headers()).expect("a status in the headers")
}

#[tokio::test]
async fn grpc_failures_have_a_detail_too() {
    let app = transports().await.grpc;
    let grpc = ["content-type: application/grpc"];
    let table = [
        ("/chorus.v1.WorkspaceService/Nothing", Vec::new(), Kind::Unimplemented, "UNKNOWN_RPC"),
        ("/chorus.v1.WorkspaceService/DeleteWorkspace", Vec::new(), Kind::Internal, "INTERNAL"),
        ("/chorus.v1.WorkspaceService/CreateWorkspace", vec![0; 5 << 20], Kind::TooLarge, "REQUEST_TOO_LARGE"),
        (
            "/chorus.v1.WorkspaceService/CreateWorkspace",
            vec![0, 0, 0, 0, 1, 0x0a],
            Kind::InvalidRequest,
            "MALFORMED_MESSAGE",
        ),
    ];
    for (path, body, kind, reason) in table {
        let response = send(&app, &format!("POST {path}"), &grpc, body).await;
        assert!(response.headers().contains_key("x-request-id"));
        let status = status_of(&response);
        assert_eq!((status.code(), detail(&status).unwrap().reason.as_str()), (kind.code(), reason), "{path}");
        assert_eq!(RpcStatus::decode(status.details()).unwrap().details.len(), 1);
        assert_eq!(detail(&status).unwrap().instance, path);
    }
}

#[tokio::test]
async fn older_paths_and_grpc_web_reach_the_same_service() {
    let transports = transports().await;
    let body = frame(&v1::GetWorkspaceRequest { id: 7 });
    let path = "POST /chorus.WorkspaceService/GetWorkspace";
    let native = send(&transports.grpc, path, &["content-type: application/grpc"], body.clone()).await;
    let native = bytes(native).await;
    let reply = v1::GetWorkspaceReply::decode(&native[5..]).unwrap();
    assert_eq!(reply.result.unwrap().workspace.unwrap().id, 7);
    let web = send(&transports.http, path, &["content-type: application/grpc-web+proto"], body).await;
    assert_eq!(web.headers()[header::CONTENT_TYPE], "application/grpc-web+proto");
    let web = bytes(web).await;
    assert!(web.starts_with(&native) && String::from_utf8_lossy(&web[native.len()..]).contains("grpc-status:0"));
}

#[tokio::test]
async fn standard_health_is_served() {
    let app = transports().await.grpc;
    let request = frame(&tonic_health::pb::HealthCheckRequest { service: String::new() });
    let response = send(&app, "POST /grpc.health.v1.Health/Check", &["content-type: application/grpc"], request).await;
    let reply = tonic_health::pb::HealthCheckResponse::decode(&bytes(response).await[5..]).unwrap();
    assert_eq!(reply.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);
}

#[tokio::test]
async fn reflection_lists_the_services() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, ServerReflectionResponse, server_reflection_request::MessageRequest,
        server_reflection_response::MessageResponse,
    };
    let app = transports().await.grpc;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let path = "POST /grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let response = send(&app, path, &["content-type: application/grpc"], frame(&request)).await;
    let reply = ServerReflectionResponse::decode(&bytes(response).await[5..]).unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = reply.message_response else { panic!("{reply:?}") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"chorus.v1.WorkspaceService") && names.contains(&"grpc.health.v1.Health"), "{names:?}");
}
