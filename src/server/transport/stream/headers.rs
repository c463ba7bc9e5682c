//! What a desktop learns of a request, and what a browser learns of its answer.
//!
//! The desktop is not trusted: whoever works in it can run a web server in place of ours. So both ways have a list of what
//! passes, and what is not on it does not: no credential of the user, whatever it is called, and nothing by which an answer
//! could act on the rest of our origin (cookies, service workers, redirects, sign-in prompts, CORS).

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Request, header, uri::Authority};

use crate::server::{
    access::address,
    config::{Config, PublicUrl},
    pipeline::Shared,
    transport::origin::Origin,
};

/// What a desktop gets of a request's headers.
const REQUEST: [HeaderName; 21] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::PRAGMA,
    header::RANGE,
    // without extensions: frames stay readable for what watches for input
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
    header::USER_AGENT,
];

/// What a browser gets of an answer's headers.
const ANSWER: [HeaderName; 14] = [
    header::ACCEPT_RANGES,
    header::ALLOW,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::RETRY_AFTER,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::VARY,
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The headers of these names, without those that `Connection` says are for the next hop only.
fn only(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let next_hop: Vec<_> = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok()).collect();
    let for_next_hop = |name: &HeaderName| {
        next_hop.iter().any(|list| list.split(',').any(|word| word.trim().eq_ignore_ascii_case(name.as_str())))
    };
    let mut kept = HeaderMap::new();
    for name in names.iter().filter(|name| !for_next_hop(name)) {
        for value in headers.get_all(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// Where a request came in, as the browser sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    client: Option<IpAddr>,
    host: Option<Authority>,
    over_tls: bool,
}

impl Place {
    /// Of this request. What it says about itself is believed from trusted proxies only.
    pub fn of<B>(request: &Request<B>, shared: &Shared, config: &Config) -> Self {
        let (headers, trusted) = (request.headers(), &shared.trusted_proxies);
        let peer = request.extensions().get::<Origin>().and_then(|origin| origin.peer);
        let from_proxy =
            peer.is_some_and(|peer| trusted.iter().any(|network| network.contains(peer.ip().to_canonical())));
        let said = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let forwarded = |name: &HeaderName| said(name).filter(|_| from_proxy);
        let own = request.uri().authority().map(Authority::as_str).or_else(|| said(&header::HOST));
        let host = forwarded(&FORWARDED_HOST).or(own).and_then(|host| host.parse().ok());
        let public = config.public_url.as_ref().is_some_and(PublicUrl::is_https);
        Self {
            client: address::client(peer, headers, trusted),
            host: host.filter(|host: &Authority| !host.as_str().contains('@')),
            over_tls: forwarded(&FORWARDED_PROTO).map_or(public, |scheme| scheme.eq_ignore_ascii_case("https")),
        }
    }
}

/// The headers of the request to the desktop. `prefix` is the path of the stream, without the slash at its end.
pub fn to_desktop(headers: &HeaderMap, place: &Place, workbench: i64, prefix: &str, upgrades: bool) -> HeaderMap {
    let mut kept = only(headers, &REQUEST);
    let mut set = |name: HeaderName, value: Option<String>| {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            kept.insert(name, value);
        }
    };
    let host = format!("workbench{workbench}");
    set(FORWARDED_FOR, place.client.map(|address| address.to_string()));
    set(FORWARDED_HOST, place.host.as_ref().map(Authority::to_string));
    set(FORWARDED_PREFIX, Some(prefix.to_owned()));
    set(FORWARDED_PROTO, Some(if place.over_tls { "https" } else { "http" }.to_owned()));
    if upgrades {
        // who checks it must see a page of the desktop's own: ours was checked before
        set(header::ORIGIN, Some(format!("http://{host}")));
        set(header::CONNECTION, Some("upgrade".to_owned()));
        set(header::UPGRADE, Some("websocket".to_owned()));
    }
    set(header::HOST, Some(host));
    kept
}

/// The headers of the answer to the browser, without those that say what it may do with it.
pub fn from_desktop(headers: &HeaderMap, upgraded: bool) -> HeaderMap {
    let mut kept = only(headers, &ANSWER);
    if upgraded {
        kept.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        kept.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    kept
}

/// Where a redirect of the desktop leads, relative to the page at `from` (a path of the desktop). A desktop can only send
/// browsers to itself.
pub fn redirect(location: &HeaderValue, from: &str) -> Option<HeaderValue> {
    let page = url::Url::parse("http://desktop").ok()?.join(from).ok()?;
    let target = page.join(location.to_str().ok()?).ok()?;
    let host = target.host_str()?;
    let inside = target.scheme() == "http" && target.port().is_none() && (host == "desktop" || is_workbench(host));
    // the browser counts the segments of the path that it sees, dots included
    let up = "../".repeat(from.split('?').next()?.matches('/').count().saturating_sub(1));
    let path = target.path().trim_start_matches('/');
    let query = target.query().map(|query| format!("?{query}")).unwrap_or_default();
    inside.then(|| HeaderValue::try_from(format!("./{up}{path}{query}")).ok()).flatten()
}

fn is_workbench(host: &str) -> bool {
    host.strip_prefix("workbench").is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
}

/// What a browser lets the pages of a desktop do.
#[derive(Debug, Clone)]
pub struct Confinement {
    public: Option<(String, String)>,
    ancestors: String,
}

impl Confinement {
    /// For this configuration: web clients of the allowed origins may frame desktops.
    pub fn new(config: &Config) -> Self {
        let origins = config.cors_origins.iter().map(|origin| format!(" {}", origin.as_str()));
        let public = config.public_url.as_ref().map(|url| {
            let url = url.url();
            (url.origin().ascii_serialization(), url.path().trim_end_matches('/').to_owned())
        });
        Self { public, ancestors: format!("frame-ancestors 'self'{}", origins.collect::<String>()) }
    }

    /// The path in front of all of ours, as browsers see it.
    pub fn base(&self) -> &str {
        self.public.as_ref().map_or("", |(_, path)| path)
    }

    /// The policy of pages that say why there is no desktop: a hashed style and nothing else.
    pub fn notice(&self, style_hash: &str) -> String {
        format!(
            "default-src 'none'; style-src 'sha256-{style_hash}'; form-action 'none'; base-uri 'none'; {}",
            self.ancestors
        )
    }

    /// The policy of what a desktop sends. It is served from our origin, so it must not reach anything else there: no
    /// address but those of its own stream, no frames, no other windows, no navigation of the page around it, no downloads.
    /// Its scripts are not restricted any further, since all of them are the desktop's.
    pub fn desktop(&self, place: &Place, prefix: &str) -> String {
        let (web, sockets) = self.sources(place, prefix);
        format!(
            "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' blob: {web}; \
             style-src 'unsafe-inline' {web}; img-src data: blob: {web}; font-src data: {web}; media-src data: blob: {web}; \
             connect-src data: blob: {web} {sockets}; worker-src blob: {web}; manifest-src {web}; frame-src 'none'; \
             object-src 'none'; form-action {web}; base-uri 'none'; {}; \
             sandbox allow-scripts allow-same-origin allow-forms allow-modals allow-pointer-lock",
            self.ancestors
        )
    }

    /// The addresses of the stream, for HTTP and for WebSockets.
    fn sources(&self, place: &Place, prefix: &str) -> (String, String) {
        let mut web = Vec::new();
        if let Some((origin, path)) = &self.public {
            web.push(format!("{origin}{path}{prefix}/"));
        }
        // nothing but letters, digits, dots and dashes can be written as a source: no address of IPv6
        let plain = |host: &&Authority| host.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b".-:".contains(&b));
        if let Some(host) = place.host.as_ref().filter(plain) {
            web.extend(["http", "https"].map(|scheme| format!("{scheme}://{host}{}{prefix}/", self.base())));
        }
        if web.is_empty() {
            return ("'self'".to_owned(), "ws: wss:".to_owned());
        }
        web.sort();
        web.dedup();
        let sockets: Vec<_> = web.iter().map(|source| source.replacen("http", "ws", 1)).collect();
        (web.join(" "), sockets.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        map
    }

    fn place() -> Place {
        Place { client: Some([192, 0, 2, 7].into()), host: Some("chorus.example.org".parse().unwrap()), over_tls: true }
    }

    #[test]
    fn a_desktop_learns_no_secret() {
        let all = map(&[
            ("authorization", "Bearer secret"),
            ("cookie", "jwttoken=secret; chorus_device=secret"),
            ("cookie", "chorus_stream=secret"),
            ("proxy-authorization", "Basic secret"),
            ("x-forwarded-access-token", "secret"),
            ("x-forwarded-for", "secret"),
            ("x-forwarded-host", "secret"),
            ("x-forwarded-proto", "secret"),
            ("forwarded", "for=secret"),
            ("referer", "https://ui.example.org/secret"),
            ("origin", "https://secret.example.org"),
            ("x-api-key", "secret"),
            ("te", "secret"),
            ("keep-alive", "secret"),
            ("sec-websocket-extensions", "permessage-secret"),
            ("connection", "upgrade, pragma, User-Agent"),
            ("pragma", "secret"),
            ("user-agent", "secret"),
            ("accept", "text/html"),
            ("range", "bytes=0-5"),
        ]);
        let kept = to_desktop(&all, &place(), 7, "/api/rest/v1/workbenches/7/stream", false);
        let want = map(&[
            ("accept", "text/html"),
            ("range", "bytes=0-5"),
            ("host", "workbench7"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-host", "chorus.example.org"),
            ("x-forwarded-prefix", "/api/rest/v1/workbenches/7/stream"),
            ("x-forwarded-proto", "https"),
        ]);
        assert_eq!(kept, want);
        let upgraded = to_desktop(&all, &place(), 7, "/", true);
        assert_eq!(
            (&upgraded["origin"], &upgraded["connection"], &upgraded["upgrade"]),
            (
                &HeaderValue::from_static("http://workbench7"),
                &HeaderValue::from_static("upgrade"),
                &HeaderValue::from_static("websocket")
            )
        );
        assert!(!format!("{upgraded:?}").contains("secret"));
    }

    #[test]
    fn an_answer_cannot_act_on_our_origin() {
        let all = map(&[
            ("content-type", "text/html"),
            ("set-cookie", "jwttoken=mine"),
            ("clear-site-data", "\"*\""),
            ("service-worker-allowed", "/"),
            ("www-authenticate", "Basic"),
            ("access-control-allow-origin", "*"),
            ("content-security-policy", "default-src *"),
            ("refresh", "0; url=https://evil.example"),
            ("link", "<https://evil.example>; rel=preconnect"),
            ("alt-svc", "h2=\"evil.example\""),
            ("report-to", "{}"),
            ("connection", "etag"),
            ("etag", "\"x\""),
            ("transfer-encoding", "chunked"),
        ]);
        assert_eq!(from_desktop(&all, false), map(&[("content-type", "text/html")]));
    }

    #[test]
    fn a_desktop_redirects_to_itself_only() {
        let to = |from: &str, location: &str| {
            redirect(&location.parse().unwrap(), from).map(|value| value.to_str().unwrap().to_owned())
        };
        for (from, location, want) in [
            ("/", "index.html?a=b", Some("./index.html?a=b")),
            ("/", "/", Some("./")),
            ("/a/b?x=/", "/c", Some("./../c")),
            ("/a/b", "c", Some("./../a/c")),
            ("/a/", "../../../../users/me", Some("./../users/me")),
            ("/", "http://workbench7/x", Some("./x")),
            ("/", "//evil.example/x", None),
            ("/", "https://evil.example/x", None),
            ("/", "http://workbench7.evil.example/x", None),
            ("/", "javascript:alert(1)", None),
            ("/", "http://workbench7:81/", None),
            // the browser would take such a path for a host
            ("/", "http://workbench7//evil.example/", Some("./evil.example/")),
        ] {
            assert_eq!(to(from, location).as_deref(), want, "{from} {location}");
        }
    }

    #[test]
    fn a_page_reaches_its_own_stream() {
        let confinement = Confinement { public: None, ancestors: "frame-ancestors 'self'".to_owned() };
        let place = |host: &str| Place { host: host.parse().ok(), ..place() };
        let (web, sockets) = confinement.sources(&place("localhost:5000"), "/s");
        assert_eq!(web, "http://localhost:5000/s/ https://localhost:5000/s/");
        assert_eq!(sockets, "ws://localhost:5000/s/ wss://localhost:5000/s/");
        assert_eq!(confinement.sources(&place("[::1]:5000"), "/s").0, "'self'");

        let public = Some(("https://chorus.example.org".to_owned(), "/x".to_owned()));
        let confinement = Confinement { public, ..confinement };
        let (web, sockets) = confinement.sources(&Place { host: None, ..place("a") }, "/s");
        assert_eq!(
            (web.as_str(), sockets.as_str()),
            ("https://chorus.example.org/x/s/", "wss://chorus.example.org/x/s/")
        );
        assert!(confinement.desktop(&place("a"), "/s").contains("https://chorus.example.org/x/s/ "));
    }
}
