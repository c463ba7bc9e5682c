//! Browsers on other sites. Only the configured origins, compared exactly, may read answers and send credentials.
//!
//! Beyond CORS, a page elsewhere can make a browser send a write without reading the answer: with the user's cookie, or
//! without one to sign the user in as somebody else. So whatever a browser sends that is no plain read, and is not signed
//! by a bearer token, must come from this server's own pages or an allowed origin. That holds for WebSockets too, which
//! browsers open to anywhere.
//!
//! Programs are no browsers: they send neither `Origin` nor `Sec-Fetch-Site`, and pass.

use std::{net::IpAddr, time::Duration};

use http::{HeaderName, HeaderValue, Method, Request, header};
use tower_http::cors::CorsLayer;

use super::request_id::{X_CORRELATION_ID, X_REQUEST_ID};
use crate::server::{
    access::token,
    config::Config,
    error::{Error, Kind},
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origins that may use this server from a browser.
#[derive(Debug, Clone)]
pub struct Origins {
    allowed: Vec<HeaderValue>,
    own: Own,
}

/// Under which addresses browsers find this server. Its host name alone does not tell: a name that somebody else owns can be
/// made to lead here (DNS rebinding), and then the browser takes their pages for ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Own {
    /// Under this origin, and as `localhost` or a bare address.
    Public(HeaderValue),
    /// On this machine only: as `localhost` or a bare address.
    Loopback,
    /// Nobody said: under whatever name the request has.
    AnyName,
}

impl Own {
    /// As this configuration tells.
    pub fn of(config: &Config) -> Self {
        let public = config.public_url.as_ref().map(|url| url.url().origin().ascii_serialization());
        match public.and_then(|origin| HeaderValue::try_from(origin).ok()) {
            Some(origin) => Self::Public(origin),
            None if config.listen.ip().is_loopback() => Self::Loopback,
            None => Self::AnyName,
        }
    }

    /// Whether a page with this origin is ours. The scheme may differ, as a proxy in front may do TLS.
    fn has<B>(&self, origin: &HeaderValue, request: &Request<B>) -> bool {
        if matches!(self, Self::Public(public) if public == origin) {
            return true;
        }
        let origin = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = request.uri().authority().map(|authority| authority.as_str()).or(host);
        let Some(host) = host.filter(|host| origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host))) else {
            return false;
        };
        *self == Self::AnyName || is_address(host) || is_localhost(host)
    }
}

impl Origins {
    /// These origins, as browsers write them: scheme, host and port (the configuration has checked that).
    pub fn new(allowed: impl IntoIterator<Item = String>, own: Own) -> Self {
        Self { allowed: allowed.into_iter().filter_map(|origin| HeaderValue::try_from(origin).ok()).collect(), own }
    }

    /// The layer that answers preflights and marks answers; none without origins.
    pub fn layer(&self) -> Option<CorsLayer> {
        let layer = CorsLayer::new()
            .allow_origin(self.allowed.clone())
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
        (!self.allowed.is_empty()).then_some(layer)
    }

    /// Whether the request comes from a page of this server.
    pub fn is_own<B>(&self, request: &Request<B>) -> bool {
        request.headers().get(header::ORIGIN).is_some_and(|origin| self.own.has(origin, request))
    }

    /// Refuses what a page of another site makes a browser send, unless it only reads.
    pub fn check<B>(&self, request: &Request<B>) -> Result<(), Error> {
        let headers = request.headers();
        let socket = opens_socket(request);
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()) && !socket;
        // a page elsewhere cannot add this header unless CORS has let it
        if reads || matches!(token::bearer(headers), Ok(Some(_))) {
            return Ok(());
        }
        let ours = |origin| self.allowed.contains(origin) || self.own.has(origin, request);
        let foreign = match (headers.contains_key(header::ORIGIN), headers.get(SEC_FETCH_SITE)) {
            (true, _) => !headers.get_all(header::ORIGIN).iter().all(ours),
            // browsers that leave out the origin say this much; a sibling of our site is not us
            (false, Some(site)) => site != "same-origin" && site != "none",
            // no browser opens a socket without an origin
            (false, None) => socket && headers.contains_key(header::COOKIE),
        };
        match foreign {
            true => Err(Error::new(
                Kind::PermissionDenied,
                "CROSS_SITE_REQUEST",
                "The request comes from a page of another site. Its origin must be that of the server's `public_url`, or \
                 among its `cors_origins`.",
            )),
            false => Ok(()),
        }
    }
}

/// Whether the request wants to become a WebSocket, over HTTP/1.1 (RFC 6455) or HTTP/2 (RFC 8441).
pub fn opens_socket<B>(request: &Request<B>) -> bool {
    let upgrades = request.headers().get_all(header::UPGRADE).iter().filter_map(|value| value.to_str().ok());
    let mut protocols = upgrades.flat_map(|value| value.split(','));
    request.method() == Method::CONNECT || protocols.any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}

/// The host of `host:port`, without the brackets of IPv6.
fn name_of(host: &str) -> &str {
    let name = host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(host, |(name, _)| name);
    name.trim_start_matches('[').trim_end_matches(']')
}

fn is_address(host: &str) -> bool {
    name_of(host).parse::<IpAddr>().is_ok()
}

/// Browsers look these names up nowhere (RFC 6761, section 6.3).
fn is_localhost(host: &str) -> bool {
    let name = name_of(host).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// The trailers of gRPC, which gRPC-web reads as headers of an answer without body.
struct Status;

impl Status {
    const CODE: HeaderName = HeaderName::from_static("grpc-status");
    const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
    const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
}

#[cfg(test)]
mod tests {
    use super::*;

    const UI: &str = "https://ui.example.org";
    const COOKIE: (&str, &str) = ("cookie", "a=b; jwttoken=x");
    const BEARER: (&str, &str) = ("authorization", "Bearer x");
    const SOCKET: (&str, &str) = ("upgrade", "h2c, WebSocket");

    fn passes(own: Own, method: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method).uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Origins::new([UI.to_owned()], own).check(&request.body(()).unwrap()).is_ok()
    }

    #[test]
    fn only_our_pages_and_allowed_ones_write() {
        let host = ("host", "chorus.example.org:5000");
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], bool);
        let table: [Case<'_>; 24] = [
            // programs
            ("POST", &[], true),
            ("POST", &[COOKIE], true),
            ("POST", &[BEARER, ("origin", "https://evil.example")], true),
            // our pages and allowed ones
            ("POST", &[COOKIE, ("origin", UI)], true),
            ("POST", &[COOKIE, ("origin", "https://chorus.example.org:5000")], true),
            ("POST", &[COOKIE, ("sec-fetch-site", "same-origin")], true),
            ("POST", &[COOKIE, ("origin", UI), ("sec-fetch-site", "same-site")], true),
            // reads
            ("GET", &[COOKIE, ("origin", "https://evil.example")], true),
            ("HEAD", &[COOKIE, ("sec-fetch-site", "cross-site")], true),
            // others, with the cookie or to set one
            ("POST", &[COOKIE, ("origin", "https://evil.example")], false),
            ("POST", &[("origin", "https://evil.example")], false),
            ("DELETE", &[COOKIE, ("origin", "null")], false),
            ("POST", &[("origin", "null")], false),
            ("POST", &[("origin", "")], false),
            ("POST", &[COOKIE, ("origin", "https://ui.example.org.evil.example")], false),
            ("POST", &[COOKIE, ("origin", UI), ("origin", "https://evil.example")], false),
            ("POST", &[COOKIE, ("sec-fetch-site", "cross-site")], false),
            ("POST", &[COOKIE, ("sec-fetch-site", "same-site")], false),
            ("POST", &[("authorization", "Basic eDp5"), ("origin", "https://evil.example")], false),
            // WebSockets
            ("GET", &[COOKIE, SOCKET, ("origin", UI)], true),
            ("GET", &[BEARER, SOCKET], true),
            ("GET", &[COOKIE, SOCKET, ("origin", "https://evil.example")], false),
            ("GET", &[COOKIE, SOCKET], false),
            ("CONNECT", &[COOKIE, ("origin", "https://evil.example")], false),
        ];
        for (method, headers, allowed) in table {
            let all: Vec<_> = headers.iter().copied().chain([host]).collect();
            assert_eq!(passes(Own::AnyName, method, &all), allowed, "{method} {headers:?}");
        }
    }

    #[test]
    fn a_name_that_was_made_to_lead_here_is_not_ours() {
        let public = || Own::Public(HeaderValue::from_static("https://chorus.example.org"));
        for (own, origin, host, ours) in [
            (Own::Loopback, "http://localhost:5000", "localhost:5000", true),
            (Own::Loopback, "http://chorus.localhost:5000", "chorus.localhost:5000", true),
            (Own::Loopback, "http://127.0.0.1:5000", "127.0.0.1:5000", true),
            (Own::Loopback, "http://[::1]:5000", "[::1]:5000", true),
            (Own::Loopback, "http://[::1]", "[::1]", true),
            (Own::Loopback, "http://127.0.0.1:5001", "127.0.0.1:5000", false),
            (Own::Loopback, "http://evil.example:5000", "evil.example:5000", false),
            (Own::Loopback, "http://127.0.0.1.evil.example:5000", "127.0.0.1.evil.example:5000", false),
            (Own::Loopback, "http://notlocalhost", "notlocalhost", false),
            (public(), "https://chorus.example.org", "10.0.0.7:5000", true),
            (public(), "http://10.0.0.7:5000", "10.0.0.7:5000", true),
            (public(), "http://chorus.example.org", "chorus.example.org", false),
            (public(), "http://evil.example", "evil.example", false),
            (public(), "http://localhost:5000", "localhost:5000", true),
            (Own::AnyName, "https://chorus.example.org", "chorus.example.org", true),
            (Own::AnyName, "https://chorus.example.org", "10.0.0.7:5000", false),
        ] {
            let headers = [("origin", origin), ("host", host)];
            assert_eq!(passes(own.clone(), "POST", &headers), ours, "{own:?} {origin} {host}");
        }
    }
}
