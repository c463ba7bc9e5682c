//! Browsers on other sites. Only the configured origins, compared exactly, may read answers and send credentials.
//!
//! Beyond CORS, a write that is authenticated by the cookie alone must come from this site or an allowed origin: a page
//! elsewhere can make a browser send such a request without reading the answer.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, header};
use tower_http::cors::CorsLayer;

use super::request_id::{X_CORRELATION_ID, X_REQUEST_ID};
use crate::server::{
    access::token,
    error::{Error, Kind},
};

/// The origins that may use this server from a browser.
#[derive(Debug, Clone, Default)]
pub struct Origins(Vec<HeaderValue>);

impl Origins {
    /// These origins, as browsers write them: scheme, host and port (the configuration has checked that).
    pub fn new(origins: impl IntoIterator<Item = String>) -> Self {
        Self(origins.into_iter().filter_map(|origin| HeaderValue::try_from(origin).ok()).collect())
    }

    /// The layer that answers preflights and marks answers; none without origins.
    pub fn layer(&self) -> Option<CorsLayer> {
        let layer = CorsLayer::new()
            .allow_origin(self.0.clone())
            .allow_credentials(true)
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS])
            .allow_headers([
                header::CONTENT_TYPE,
                header::ACCEPT,
                header::AUTHORIZATION,
                X_REQUEST_ID,
                X_CORRELATION_ID,
                HeaderName::from_static("x-grpc-web"),
                super::deadline::GRPC_TIMEOUT,
            ])
            .expose_headers([
                X_REQUEST_ID,
                header::RETRY_AFTER,
                HeaderName::from_static("x-chorus-truncated"),
                Status::CODE,
                Status::MESSAGE,
                Status::DETAILS,
            ])
            .max_age(Duration::from_secs(600))
            .vary([header::ORIGIN]);
        (!self.0.is_empty()).then_some(layer)
    }

    /// Refuses a write that a page of another site makes with the user's cookie.
    pub fn check<B>(&self, request: &Request<B>) -> Result<(), Error> {
        let headers = request.headers();
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
        if reads || headers.contains_key(header::AUTHORIZATION) || token::cookie_token(headers).is_none() {
            return Ok(());
        }
        let foreign = match headers.get(header::ORIGIN) {
            Some(origin) => !self.0.contains(origin) && !is_own(origin, request),
            // every browser that leaves out Origin here sends this instead
            None => headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site"),
        };
        match foreign {
            true => Err(Error::new(
                Kind::PermissionDenied,
                "CROSS_SITE_REQUEST",
                "The request comes from a page of another site. Its origin must be among the server's `cors_origins`.",
            )),
            false => Ok(()),
        }
    }
}

/// The trailers of gRPC, which gRPC-web reads as headers of an answer without body.
struct Status;

impl Status {
    const CODE: HeaderName = HeaderName::from_static("grpc-status");
    const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
    const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
}

/// Whether the origin is this server: its host and port are those of the request. The scheme may differ, as a proxy in
/// front may do TLS.
fn is_own<B>(origin: &HeaderValue, request: &Request<B>) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(|authority| authority.as_str()).or(host);
    matches!((origin, host), (Some(origin), Some(host)) if origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_writes_with_the_cookie_are_refused() {
        let origins = Origins::new(["https://ui.example.org".to_owned()]);
        let cookie = ("cookie", "a=b; jwttoken=x");
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], bool);
        let table: [Case<'_>; 10] = [
            ("POST", &[cookie, ("origin", "https://ui.example.org")], true),
            ("POST", &[cookie, ("origin", "https://chorus.example.org:5000")], true),
            ("POST", &[cookie], true),
            ("POST", &[("origin", "https://evil.example")], true),
            ("POST", &[cookie, ("authorization", "Bearer x"), ("origin", "https://evil.example")], true),
            ("GET", &[cookie, ("origin", "https://evil.example")], true),
            ("POST", &[cookie, ("origin", "https://evil.example")], false),
            ("DELETE", &[cookie, ("origin", "null")], false),
            ("POST", &[cookie, ("origin", "https://ui.example.org.evil.example")], false),
            ("POST", &[cookie, ("sec-fetch-site", "cross-site")], false),
        ];
        for (method, headers, allowed) in table {
            let mut request = Request::builder().method(method).header("host", "chorus.example.org:5000");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            assert_eq!(origins.check(&request.body(()).unwrap()).is_ok(), allowed, "{method} {headers:?}");
        }
    }
}
