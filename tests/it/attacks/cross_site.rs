//! Pages of other sites that make a visitor's browser act here. Each test sends what a browser would send on their behalf.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::texts;
use crate::support::{
    contract::rpcs,
    server::{ADMIN_PASSWORD, Reply, TestServer},
};

const LOGIN: &str = "/api/rest/v1/authentication/login";
const EVIL: &str = "https://evil.example";

async fn answer(request: RequestBuilder) -> Reply {
    Reply::read(request.send().await.unwrap()).await
}

#[track_caller]
fn refused(reply: &Reply, what: &str) {
    assert_eq!((reply.status, reply.reason()), (403, "CROSS_SITE_REQUEST"), "{what}: {}", reply.body);
    assert!(!reply.headers.contains_key("set-cookie"), "{what}");
    assert!(!reply.headers.contains_key("access-control-allow-origin"), "{what}");
}

/// Signing a visitor in as somebody else lets that somebody read what the visitor then does.
#[tokio::test]
async fn nobody_is_signed_in_by_another_site() {
    let server = TestServer::configured(&[("cors_origins", "https://ui.example.org")]).await;
    let body = json!({"username": "chorus", "password": ADMIN_PASSWORD}).to_string();
    // a form, a script without CORS, a script that sends a blob of no type, a sandboxed frame
    for kind in
        [None, Some(""), Some("text/plain"), Some("application/json"), Some("application/x-www-form-urlencoded")]
    {
        for origin in [EVIL, "null", "https://ui.example.org.evil.example"] {
            let request = server.request(Method::POST, LOGIN).header("origin", origin).body(body.clone());
            let request = kind.into_iter().fold(request, |request, kind| request.header("content-type", kind));
            refused(&answer(request).await, &format!("{kind:?} from {origin}"));
        }
        for site in ["cross-site", "same-site"] {
            let request = server.request(Method::POST, LOGIN).header("sec-fetch-site", site).body(body.clone());
            let request = kind.into_iter().fold(request, |request, kind| request.header("content-type", kind));
            refused(&answer(request).await, &format!("{kind:?} {site}"));
        }
    }
    let sessions = texts(&server.db, "SELECT user_agent FROM sessions WHERE user_agent <> 'test'").await;
    assert_eq!(sessions, Vec::<String>::new(), "no session was opened");

    let own = server.url();
    for (name, value) in [("origin", "https://ui.example.org"), ("origin", own.as_str()), ("x-no-browser", "1")] {
        let reply = answer(server.request(Method::POST, LOGIN).header(name, value).body(body.clone())).await;
        assert_eq!(reply.status, 200, "{name} {value}: {}", reply.body);
    }
}

#[tokio::test]
async fn a_foreign_page_writes_nothing_with_the_cookie() {
    let server = TestServer::start().await;
    let cookie = format!("jwttoken={}", server.admin.token);
    let workspace = server.workspace(&server.admin, "Atlas").await;
    let path = format!("/api/rest/v1/workspaces/{workspace}");
    for (method, path) in [
        (Method::DELETE, path.as_str()),
        (Method::POST, "/api/rest/v1/authentication/logout"),
        (Method::PUT, "/api/rest/v1/users/me/password"),
        (Method::POST, "/chorus.v1.UserService/GetUserMe"),
        (Method::POST, "/account"),
    ] {
        let request = server.request(method.clone(), path).header("cookie", &cookie).header("origin", EVIL);
        refused(&answer(request.body("{}")).await, path);
        let preflight = server.request(Method::OPTIONS, path).header("origin", EVIL);
        let preflight = answer(preflight.header("access-control-request-method", method.as_str())).await;
        assert!(!preflight.headers.contains_key("access-control-allow-origin"), "{path}");
    }
    let web = server.request(Method::POST, "/chorus.v1.AuthenticationService/Logout").header("cookie", &cookie);
    let web = web.header("content-type", "application/grpc-web+proto").header("origin", EVIL).body(&[0_u8; 5][..]);
    assert_eq!(web.send().await.unwrap().headers()["grpc-status"], "7");
    let still = server.request(Method::GET, &path).header("cookie", &cookie);
    assert_eq!(answer(still).await.status, 200, "the workspace and the session are still there");
}

/// A socket is not bound by CORS: the page that opens it may read all that comes.
#[tokio::test]
async fn a_foreign_page_opens_no_socket() {
    let server = TestServer::configured(&[("cors_origins", "https://ui.example.org")]).await;
    let cookie = format!("jwttoken={}", server.admin.token);
    let open = |path: &str, origin: Option<&str>| {
        let request = server.request(Method::GET, path).header("cookie", &cookie).header("connection", "Upgrade");
        let request = request.header("upgrade", "websocket").header("sec-websocket-version", "13");
        let request = request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        answer(origin.into_iter().fold(request, |request, origin| request.header("origin", origin)))
    };
    let own = server.url();
    for path in ["/api/rest/v1/workbenches/1/stream/", "/api/rest/v1/users/me", "/"] {
        for origin in [Some(EVIL), Some("null"), None] {
            refused(&open(path, origin).await, path);
        }
        for origin in ["https://ui.example.org", own.as_str()] {
            assert_ne!(open(path, Some(origin)).await.reason(), "CROSS_SITE_REQUEST", "{path}");
        }
    }
}

/// A name of somebody else's that leads to this machine (DNS rebinding): to the browser their page and this server are one.
#[tokio::test]
async fn a_name_that_is_not_ours_is_another_site() {
    let server = TestServer::start().await;
    let body = json!({"username": "chorus", "password": ADMIN_PASSWORD});
    let port = server.url().rsplit_once(':').unwrap().1.to_owned();
    for (host, ours) in
        [("evil.example", false), ("localhost.evil.example", false), ("localhost", true), ("127.0.0.1", true)]
    {
        let host = format!("{host}:{port}");
        let request =
            server.request(Method::POST, LOGIN).header("host", &host).header("origin", format!("http://{host}"));
        let reply = answer(request.json(&body)).await;
        match ours {
            true => assert_eq!(reply.status, 200, "{host}: {}", reply.body),
            false => refused(&reply, &host),
        }
    }
}

/// What needs no check of the origin must change nothing.
#[test]
fn reads_are_reads() {
    // the provider sends the browser back with GET; its state, bound to the browser, takes the place of the check
    const EXCEPTIONS: [&str; 2] = ["AuthenticateOauth", "AuthenticateOauthRedirect"];
    let reads = ["Get", "List", "Count", "Search", "Watch", "Download", "Export", "Verify"];
    let odd: Vec<_> = rpcs()
        .into_iter()
        .filter(|rpc| rpc.http.iter().any(|binding| matches!(binding.verb.as_str(), "GET" | "HEAD")))
        .filter(|rpc| !reads.iter().any(|verb| rpc.name.starts_with(verb)) && !EXCEPTIONS.contains(&rpc.name.as_str()))
        .map(|rpc| rpc.label())
        .collect();
    assert_eq!(odd, Vec::<String>::new(), "bound to GET, and not named as a read");
}
