//! What is said in place of a desktop: a page for whoever looks at it, JSON for programs.
//!
//! A page that says "not yet" loads itself again after a moment. It runs no script, and its style is named by its hash.

use std::sync::LazyLock;

use axum::{body::Body, response::Response};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use sha2::{Digest as _, Sha256};

use super::headers::Confinement;
use crate::server::{
    error::Error,
    transport::{
        headers::Framed,
        rest::errors::{self, Reason},
    },
};

const STYLE: &str = "html{color-scheme:light dark}body{display:grid;place-content:center;min-height:90vh;margin:1rem;\
    font:1rem/1.5 system-ui,sans-serif;text-align:center}h1{font-size:1.4rem;margin:0}p{max-width:36rem;opacity:.8}";

static STYLE_HASH: LazyLock<String> = LazyLock::new(|| BASE64_STANDARD.encode(Sha256::digest(STYLE)));

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Why there is no desktop to see.
#[derive(Debug)]
pub struct Notice {
    /// What programs are told.
    pub error: Error,
    /// The status, where it is not that of the error.
    status: Option<StatusCode>,
    title: &'static str,
    /// After how many seconds the page loads itself again.
    again: Option<u32>,
}

impl From<Error> for Notice {
    fn from(error: Error) -> Self {
        let title = match error.kind().http() {
            401 => "Sign in first",
            403 => "This desktop is not for you",
            404 => "There is no such desktop",
            _ => error.kind().row().3,
        };
        Self { error, status: None, title, again: None }
    }
}

impl Notice {
    /// The desktop starts: look again soon.
    pub fn starting(error: Error) -> Self {
        Self { again: Some(2), title: "Your desktop is starting", ..error.into() }
    }

    /// The desktop was stopped; it may be started again.
    pub fn gone(error: Error) -> Self {
        Self { again: Some(15), title: "This desktop is stopped", status: Some(StatusCode::GONE), ..error.into() }
    }

    /// The answer: a page for a browser that shows it to somebody.
    pub fn answer(self, instance: &str, as_page: bool, confinement: &Confinement) -> Response {
        let own = self.status;
        let mut response = if as_page { self.page(confinement) } else { errors::from_error(self.error, instance) };
        if let Some(status) = own {
            *response.status_mut() = status;
        }
        response
    }

    fn page(self, confinement: &Confinement) -> Response {
        let again = self.again.map(|seconds| format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">"));
        let html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>{again}\
             <style>{STYLE}</style></head><body><main><h1>{title}</h1><p>{text}</p></main></body></html>",
            title = self.title,
            again = again.unwrap_or_default(),
            text = escaped(self.error.message()),
        );
        let mut response = Response::new(Body::from(html));
        *response.status_mut() =
            StatusCode::from_u16(self.error.kind().http()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        response.extensions_mut().insert(Framed);
        response.extensions_mut().insert(Reason(self.error.reason().to_owned()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        if let Ok(policy) = HeaderValue::try_from(confinement.notice(&STYLE_HASH)) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        if let Some(seconds) = self.again {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Whether somebody is going to look at the answer.
pub fn is_navigation<B>(request: &Request<B>) -> bool {
    let headers: &HeaderMap = request.headers();
    let accepts_page = || {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        accept.is_some_and(|accept| accept.contains("text/html"))
    };
    // browsers that do not say so ask for HTML
    request.method() == Method::GET
        && headers.get(SEC_FETCH_MODE).map_or_else(accepts_page, |mode| mode.as_bytes() == b"navigate")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_for_those_who_look() {
        for (method, name, value, want) in [
            (Method::GET, "sec-fetch-mode", "navigate", true),
            (Method::GET, "sec-fetch-mode", "no-cors", false),
            (Method::GET, "accept", "text/html,*/*", true),
            (Method::GET, "accept", "*/*", false),
            (Method::POST, "sec-fetch-mode", "navigate", false),
        ] {
            let request = Request::builder().method(method).header(name, value).body(()).unwrap();
            assert_eq!(is_navigation(&request), want, "{name}: {value}");
        }
    }

    #[test]
    fn names_of_people_are_no_markup() {
        assert_eq!(escaped("<b>&\""), "&lt;b&gt;&amp;&quot;");
    }
}
