//! What a browser shows: that every answer tells it what it may do, and that `/account` keeps to what it is told.

use std::collections::BTreeSet;

use http::{HeaderMap, header};
use regex::Regex;
use reqwest::Method;
use serde_json::json;

use crate::support::{
    contract::rpcs,
    server::{Person, Reply, TestServer},
};

/// Everything that is a page or a part of one.
const PAGES: [&str; 12] = [
    "/",
    "/account",
    "/account/",
    "/account/account.css",
    "/account/account.js",
    "/account/qr.js",
    "/doc",
    "/doc/",
    "/doc/swagger-ui.css",
    "/doc/swagger-initializer.js",
    "/metrics",
    "/openapi.json",
];

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

/// Fails unless the headers are those of a hardened answer.
#[track_caller]
fn hardened(headers: &HeaderMap, what: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(text(headers, name), value, "{what}: {name}");
    }
    let policy = text(headers, "content-security-policy");
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"] {
        assert!(policy.split("; ").any(|directive| directive == part), "{what}: {part} is not in {policy}");
    }
    for hole in ["unsafe-inline", "unsafe-eval", "unsafe-hashes", "http:", "https:", "*", "blob:"] {
        assert!(!policy.contains(hole), "{what}: {hole} in {policy}");
    }
    assert!(matches!(text(headers, "cache-control"), "no-store" | "no-cache"), "{what}: {headers:?}");
    for telling in ["server", "x-powered-by", "strict-transport-security"] {
        assert!(!headers.contains_key(telling), "{what}: {telling}");
    }
    if text(headers, "content-type").starts_with("text/html") {
        assert_eq!(text(headers, "cross-origin-opener-policy"), "same-origin", "{what}");
        for device in ["camera=()", "microphone=()", "geolocation=()"] {
            assert!(text(headers, "permissions-policy").contains(device), "{what}: {device}");
        }
    }
}

async fn headers_of(server: &TestServer, method: Method, path: &str) -> (u16, HeaderMap) {
    let answer = server.request(method, path).header(header::ACCEPT, "text/html").send().await.unwrap();
    (answer.status().as_u16(), answer.headers().clone())
}

#[tokio::test]
async fn every_page_is_hardened() {
    let server = TestServer::start().await;
    for path in PAGES {
        let (status, headers) = headers_of(&server, Method::GET, path).await;
        assert!(status == 200 || (300..400).contains(&status), "{path}: {status}");
        hardened(&headers, path);
        for method in [Method::POST, Method::TRACE] {
            let (status, headers) = headers_of(&server, method, path).await;
            assert_eq!(status, 405, "{path}");
            hardened(&headers, path);
        }
    }
    let start = server.rest(None, Method::GET, "/", None).await;
    for (_, link) in start.body["links"].as_object().unwrap() {
        let link = link.as_str().unwrap();
        assert!(PAGES.contains(&link) || link.starts_with("/api/"), "{link} is linked and not tried here");
    }
    let (_, headers) = headers_of(&server, Method::GET, "/account").await;
    assert_eq!(text(&headers, "cache-control"), "no-store");
}

#[tokio::test]
async fn every_answer_of_the_api_is_hardened() {
    let server = TestServer::start().await;
    let nobody = Person { token: "no.such.token".to_owned(), ..server.admin.clone() };
    let wrong = json!({"username": "chorus", "password": "no such password"});
    let table: [(Option<&Person>, Method, &str, Option<_>, u16); 9] = [
        (None, Method::GET, "health", None, 200),
        (None, Method::GET, "authentication/modes", None, 200),
        (Some(&server.admin), Method::GET, "users/me", None, 200),
        (None, Method::GET, "users/me", None, 401),
        (Some(&nobody), Method::GET, "users/me", None, 401),
        (None, Method::POST, "authentication/login", Some(wrong), 401),
        (Some(&server.admin), Method::GET, "workspaces/0", None, 400),
        (Some(&server.admin), Method::GET, "no/such/thing", None, 404),
        (Some(&server.admin), Method::PATCH, "users/me", None, 405),
    ];
    for (by, method, path, body, status) in table {
        let reply = server.rest(by, method, &format!("/api/rest/v1/{path}"), body).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
        hardened(&reply.headers, path);
        assert_eq!(text(&reply.headers, "cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn behind_tls_browsers_are_told_to_stay_there() {
    let server = TestServer::configured(&[("public_url", "https://chorus.example.org")]).await;
    for path in ["/", "/account", "/api/rest/v1/users/me", "/nothing"] {
        let (_, headers) = headers_of(&server, Method::GET, path).await;
        assert_eq!(text(&headers, "strict-transport-security"), "max-age=31536000; includeSubDomains", "{path}");
    }
}

/// The text of a page or file.
async fn body_of(server: &TestServer, path: &str) -> String {
    let answer = server.request(Method::GET, path).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.text().await.unwrap()
}

/// The first group of every match.
fn all<'t>(pattern: &str, text: &'t str) -> Vec<&'t str> {
    Regex::new(pattern).unwrap().captures_iter(text).map(|found| found.get(1).unwrap().as_str()).collect()
}

/// The policy forbids all of this; a page that tried would be broken rather than unsafe.
#[tokio::test]
async fn the_account_page_has_nothing_inline_and_nothing_from_elsewhere() {
    let server = TestServer::start().await;
    let page = body_of(&server, "/account").await;
    for forbidden in [
        r"<style",
        r"\sstyle=",
        r"\son[a-z]+\s*=",
        r"javascript:",
        r"https?://",
        r"<base",
        r"<iframe",
        r"<form[^>]*action",
    ] {
        assert!(!Regex::new(forbidden).unwrap().is_match(&page), "{forbidden}");
    }
    assert_eq!(page.matches("<script").count(), all(r#"<script type="module" src="([^"]+)"></script>"#, &page).len());
    assert_eq!(page.matches("<form").count(), page.matches("method=\"post\"").count(), "no password in an address");

    let mut files: BTreeSet<String> = all(r#"(?:src|href)="([^"]+)""#, &page)
        .into_iter()
        .filter(|file| *file != "data:,")
        .map(str::to_owned)
        .collect();
    let script = body_of(&server, "/account/account.js").await;
    files.extend(all(r#"from "\./([^"]+)""#, &script).into_iter().map(|file| format!("account/{file}")));
    assert_eq!(files.iter().map(|file| format!("/{file}")).collect::<Vec<_>>(), PAGES[3..6], "{files:?}");
    for file in files {
        let text = body_of(&server, &format!("/{file}")).await;
        for forbidden in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "localStorage",
            "sessionStorage",
            "indexedDB",
            "document.cookie",
            "url(",
            "@import",
            "setAttribute(\"style\"",
        ] {
            assert!(!text.contains(forbidden), "{file}: {forbidden}");
        }
        let addresses = all(r#"(https?://[^"']*)"#, &text);
        assert!(addresses.iter().all(|address| *address == "http://www.w3.org/2000/svg"), "{file}: {addresses:?}");
    }
}

/// Screen readers and password managers find their way by these.
#[tokio::test]
async fn every_field_of_the_account_page_says_what_it_is() {
    let server = TestServer::start().await;
    let page = body_of(&server, "/account").await;
    let inputs = all(r"<input\s([^>]*)>", &page);
    assert!(inputs.len() > 8, "{inputs:?}");
    for input in inputs.iter().filter(|input| !input.contains("type=\"checkbox\"")) {
        assert!(input.contains("autocomplete=\""), "{input}");
        let id = all(r#"\bid="([^"]+)""#, input);
        let labelled = id.first().is_some_and(|id| page.contains(&format!("<label for=\"{id}\">")));
        assert!(labelled || input.contains("aria-hidden=\"true\""), "{input}");
    }
    assert!(page.contains("<html lang=\"en\">") && page.contains("aria-live=\"polite\""));
}

#[tokio::test]
async fn the_account_page_calls_what_there_is() {
    let server = TestServer::start().await;
    let script = body_of(&server, "/account/account.js").await;
    assert!(script.contains("const API = \"api/rest/v1/\";"));
    let calls = Regex::new(r#"\bcall\(\s*"([A-Z]+)",\s*"([^"?]+)[^"]*"(\s*\+)?"#).unwrap();
    let bindings: BTreeSet<(String, String)> = rpcs()
        .into_iter()
        .flat_map(|rpc| rpc.http)
        .map(|binding| (binding.verb, Regex::new(r"\{[^}]*\}").unwrap().replace_all(&binding.path, "{}").into_owned()))
        .collect();
    let mut seen = 0;
    for found in calls.captures_iter(&script) {
        let path = format!("/api/rest/v1/{}{}", &found[2], if found.get(3).is_some() { "{}" } else { "" });
        assert!(bindings.contains(&(found[1].to_owned(), path.clone())), "{} {path} is not in the contract", &found[1]);
        seen += 1;
    }
    assert_eq!(seen, script.matches("call(").count() - 1, "a call that this test does not understand");
    assert!(seen >= 9);
}

/// A proxy may serve everything below a prefix, and the page is reached by its short name.
#[tokio::test]
async fn the_page_has_one_address() {
    let server = TestServer::start().await;
    let (status, headers) = headers_of(&server, Method::GET, "/account/").await;
    assert_eq!((status, text(&headers, "location")), (308, "../account"));
    let reply = server.request(Method::HEAD, "/account").send().await.unwrap();
    assert_eq!(Reply::read(reply).await.status, 200);
}
