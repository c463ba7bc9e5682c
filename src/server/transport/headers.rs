//! What a browser may do with an answer. Every answer of the HTTP listener passes here last, failures and panics included,
//! so that none can be forgotten.
//!
//! An answer that needs more than the rest, such as a page with scripts, brings its own `Content-Security-Policy`; what it
//! brings stays. What always holds: nothing may be framed but what is marked as [`Framed`] and says by whom, have its type
//! guessed, be kept by caches unless it says so, or tell other sites where it was read.

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::server::config::{Config, CookieSameSite, PublicUrl};

/// For answers that are no pages: a browser that shows one anyway runs and loads nothing.
const NOTHING: HeaderValue =
    HeaderValue::from_static("default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'");

/// What every answer says.
static ALWAYS: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

/// What pages say as well: no other window keeps a hand on them, and they get none of the device.
static PAGES: [(HeaderName, HeaderValue); 2] = [
    (HeaderName::from_static("cross-origin-opener-policy"), SAME_ORIGIN),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static(
            "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), \
             microphone=(), midi=(), payment=(), usb=()",
        ),
    ),
];

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");

/// A year, and the hosts below (OWASP ASVS 5.0, 3.4.1). Browsers heed it over TLS only.
const TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");

/// Marks an answer, as an extension, that belongs to a desktop: its policy says who may frame it, and it may come with a
/// `Permissions-Policy` of its own.
#[derive(Debug, Clone, Copy)]
pub struct Framed;

/// What depends on the configuration; by default no TLS, and pictures for this origin only.
#[derive(Debug, Clone)]
pub struct Hardening {
    /// Browsers come over TLS.
    tls: bool,
    /// Who may show pictures of ours, such as logos, without asking by CORS.
    pictures: HeaderValue,
}

impl Default for Hardening {
    fn default() -> Self {
        Self { tls: false, pictures: SAME_ORIGIN }
    }
}

impl Hardening {
    /// As this configuration wants it. Pictures go as far as the cookie: a web client elsewhere shows logos.
    pub fn new(config: &Config) -> Self {
        let pictures = match (config.cors_origins.is_empty(), config.cookie_same_site) {
            (true, _) => SAME_ORIGIN,
            (false, CookieSameSite::Lax | CookieSameSite::Strict) => HeaderValue::from_static("same-site"),
            (false, CookieSameSite::None) => HeaderValue::from_static("cross-origin"),
        };
        Self { tls: config.public_url.as_ref().is_some_and(PublicUrl::is_https), pictures }
    }

    /// Completes the headers of an answer.
    pub fn apply(&self, mut response: Response) -> Response {
        let framed = response.extensions().get::<Framed>().is_some();
        let headers = response.headers_mut();
        let (page, picture) = (is_of_type(headers, b"text/html"), is_of_type(headers, b"image/"));
        for (name, value) in ALWAYS.iter().chain(PAGES.iter().filter(|_| page && !framed)) {
            headers.insert(name, value.clone());
        }
        if framed {
            headers.remove(header::X_FRAME_OPTIONS);
        }
        headers.insert(RESOURCE_POLICY, if picture { self.pictures.clone() } else { SAME_ORIGIN });
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NOTHING);
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if self.tls {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, TLS_ONLY);
        }
        response
    }
}

fn is_of_type(headers: &HeaderMap, prefix: &[u8]) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::server::config::{Sources, keys::Key, load};

    fn hardened(settings: &[(&str, &str)], kind: &'static str) -> HeaderMap {
        let flags = settings.iter().map(|(name, value)| (Key::find(name).unwrap(), vec![(*value).to_owned()]));
        let config = load(&Sources { flags: flags.collect(), ..Sources::default() }).unwrap().config;
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        Hardening::new(&config).apply(response).headers().clone()
    }

    #[test]
    fn only_pictures_go_as_far_as_the_cookie() {
        let ui = ("cors_origins", "https://ui.example.org");
        for (settings, kind, reach) in [
            (&[][..], "image/png", "same-origin"),
            (&[ui], "image/png", "same-site"),
            (&[ui, ("cookie_same_site", "none")], "image/png", "cross-origin"),
            (&[ui, ("cookie_same_site", "none")], "application/json", "same-origin"),
            (&[ui, ("cookie_same_site", "none")], "text/html; charset=utf-8", "same-origin"),
        ] {
            assert_eq!(hardened(settings, kind)[RESOURCE_POLICY], reach, "{settings:?} {kind}");
        }
    }

    #[test]
    fn tls_is_asked_for_where_it_is() {
        for (url, asked) in [("https://chorus.example.org", true), ("http://chorus.example.org", false)] {
            let headers = hardened(&[("public_url", url)], "application/json");
            assert_eq!(headers.contains_key(header::STRICT_TRANSPORT_SECURITY), asked, "{url}");
        }
    }

    #[test]
    fn what_an_answer_brings_stays() {
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
        let headers = Hardening::default().apply(response).headers().clone();
        assert_eq!(
            (&headers[header::CACHE_CONTROL], &headers[header::CONTENT_SECURITY_POLICY]),
            (&HeaderValue::from_static("no-cache"), &HeaderValue::from_static("sandbox"))
        );
        assert!(!headers.contains_key("permissions-policy"), "that is for pages");
    }
}
