//! A browser with the web client in it: cookies and CORS as a browser treats them, requests as the client makes them.
//!
//! What always holds, whatever a test asks: no `Authorization` header is ever sent; a write goes out only after its
//! preflight, which carries no cookie; every answer, failures too, lets the page of [`UI`] read it; a failure has the one
//! error body.

use std::sync::Mutex;

use chorus::server::clock::Clock;
use chrono::{DateTime, Utc};
use http::{HeaderMap, header};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::shapes;
use crate::support::server::{Person, Reply, TestServer};

/// Where the web client is served from.
pub const UI: &str = "http://localhost:3000";

/// What a server needs to be told of it.
pub const SETTINGS: &[(&str, &str)] = &[("cors_origins", UI)];

const API: &str = "/api/rest/v1/";

/// A browser that shows the web client.
pub struct Browser<'a> {
    server: &'a TestServer,
    cookie: Mutex<Option<Cookie>>,
}

/// The session cookie as the browser keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    pub value: String,
    pub attributes: Vec<String>,
}

impl<'a> Browser<'a> {
    /// One that was never here before.
    pub fn new(server: &'a TestServer) -> Self {
        Self { server, cookie: Mutex::default() }
    }

    /// One in which this person has signed in.
    pub fn of(server: &'a TestServer, person: &Person) -> Self {
        let browser = Self::new(server);
        browser.set_cookie(&person.token);
        browser
    }

    /// The login form; the failure, if it is refused.
    pub async fn sign_in(&self, username: &str, password: &str) -> Reply {
        let body = serde_json::json!({ "username": username, "password": password });
        self.send(Method::POST, "authentication/login", Some(body), true).await
    }

    /// Reads something that is there.
    pub async fn get(&self, path: &str) -> Value {
        self.succeed(Method::GET, path, None).await
    }

    /// Makes something.
    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.succeed(Method::POST, path, Some(body)).await
    }

    /// Changes something.
    pub async fn put(&self, path: &str, body: Value) -> Value {
        self.succeed(Method::PUT, path, Some(body)).await
    }

    /// Deletes something.
    pub async fn delete(&self, path: &str) -> Value {
        self.succeed(Method::DELETE, path, None).await
    }

    /// A call that is refused with this status; what the user reads.
    pub async fn refused(&self, status: u16, method: Method, path: &str, body: Option<Value>) -> Reply {
        let reply = self.send(method.clone(), path, body, true).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.body);
        reply
    }

    /// The one call that the client makes without credentials.
    pub async fn modes(&self) -> Value {
        let reply = self.send(Method::GET, "authentication/modes", None, false).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body
    }

    /// The cookie, while it has not expired.
    pub fn cookie(&self) -> Option<Cookie> {
        self.cookie.lock().unwrap().clone()
    }

    /// Puts a session into the browser.
    pub fn set_cookie(&self, token: &str) {
        *self.cookie.lock().unwrap() = Some(Cookie { value: token.to_owned(), attributes: Vec::new() });
    }

    async fn succeed(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let reply = self.send(method.clone(), path, body, true).await;
        assert_eq!(reply.status, 200, "{method} {path}: {}", reply.body);
        assert!(reply.body.is_object(), "{method} {path}: {}", reply.body);
        reply.body
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>, credentials: bool) -> Reply {
        let path = format!("{API}{path}");
        if method != Method::GET {
            self.preflight(&method, &path, body.is_some()).await;
        }
        let mut request = self.server.request(method.clone(), &path).header(header::ORIGIN, UI);
        request = request.header("sec-fetch-site", "same-site").header(header::ACCEPT_ENCODING, "identity");
        if let Some(cookie) = self.cookie().filter(|_| credentials) {
            request = request.header(header::COOKIE, format!("theme=dark; jwttoken={}", cookie.value));
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let reply = Reply::read(request.send().await.unwrap()).await;
        readable(&reply.headers, &path);
        if credentials {
            self.keep(&reply.headers);
        }
        assert_eq!(reply.headers[header::CONTENT_TYPE], "application/json", "{method} {path}");
        if !(200..300).contains(&reply.status) {
            shapes::failure(&reply.body);
            let cookies = reply.headers.get_all(header::SET_COOKIE).iter();
            assert!(
                cookies.into_iter().all(|cookie| cookie.as_bytes().starts_with(b"jwttoken=;")),
                "a failure sets no cookie"
            );
        }
        reply
    }

    /// Asks whether the page may send such a request, as browsers do before each write.
    async fn preflight(&self, method: &Method, path: &str, has_body: bool) {
        let mut request = self.server.request(Method::OPTIONS, path).header(header::ORIGIN, UI);
        request = request.header(header::ACCESS_CONTROL_REQUEST_METHOD, method.as_str());
        if has_body {
            request = request.header(header::ACCESS_CONTROL_REQUEST_HEADERS, "content-type");
        }
        let headers = granted(request, path).await;
        let lists = |name, wanted: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            value.split(',').any(|item| item.trim().eq_ignore_ascii_case(wanted))
        };
        assert!(lists(header::ACCESS_CONTROL_ALLOW_METHODS, method.as_str()), "{method} {path}: {headers:?}");
        assert!(lists(header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"), "{method} {path}: {headers:?}");
    }

    /// Does with `Set-Cookie` what a browser does.
    fn keep(&self, headers: &HeaderMap) {
        for text in headers.get_all(header::SET_COOKIE) {
            self.keep_one(text.to_str().unwrap());
        }
    }

    fn keep_one(&self, text: &str) {
        let mut parts = text.split("; ").map(str::to_owned);
        let pair = parts.next().unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        if name == "chorus_device" {
            // goes to sign-ins alone, and opens nothing
            assert!(text.contains("; Path=/api/rest/v1/authentication; HttpOnly; "), "{text}");
            return;
        }
        assert_eq!(name, "jwttoken");
        let attributes: Vec<String> = parts.collect();
        assert!(attributes.iter().any(|attribute| attribute == "Path=/"), "another path is another cookie");
        let expires = attributes.iter().find_map(|attribute| attribute.strip_prefix("Expires=")).unwrap();
        let expires: DateTime<Utc> = DateTime::parse_from_rfc2822(expires).unwrap().to_utc();
        let cookie = Cookie { value: value.to_owned(), attributes };
        *self.cookie.lock().unwrap() = (expires > self.server.clock.now()).then_some(cookie);
    }
}

/// The headers of a preflight that lets the page go on.
async fn granted(request: RequestBuilder, path: &str) -> HeaderMap {
    let response = request.send().await.unwrap();
    assert!(response.status().is_success(), "OPTIONS {path}: {}", response.status());
    assert!(!response.headers().contains_key(header::SET_COOKIE));
    readable(response.headers(), path);
    response.headers().clone()
}

/// Whether the browser hands this answer to the page.
fn readable(headers: &HeaderMap, path: &str) {
    assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], UI, "{path}");
    assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true", "{path}");
    let varies = headers.get_all(header::VARY).iter().flat_map(|value| value.to_str().unwrap().split(','));
    assert!(varies.map(str::trim).any(|name| name.eq_ignore_ascii_case("origin")), "{path}: {headers:?}");
}
