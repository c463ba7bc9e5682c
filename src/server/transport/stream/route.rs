//! The paths of desktops.

use axum::{body::Body, response::Response};
use http::{HeaderValue, StatusCode, header};

const BEFORE: &str = "/api/rest/v1/workbenches/";
const AFTER: &str = "stream";

/// A path below `/api/rest/v1/workbenches/{id}/stream`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The id; 0, which no row has, for a number that is too large for one.
    pub workbench: i64,
    /// The path that the desktop sees, with its slash; nothing when the one behind `stream` is missing.
    pub rest: Option<String>,
}

impl Route {
    /// The route of a path, if it is one of a desktop.
    pub fn parse(path: &str) -> Option<Self> {
        let (id, rest) = path.strip_prefix(BEFORE)?.split_once('/')?;
        let rest = rest.strip_prefix(AFTER)?;
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) || !(rest.is_empty() || rest.starts_with('/')) {
            return None;
        }
        Some(Self { workbench: id.parse().unwrap_or_default(), rest: Some(rest.to_owned()).filter(|r| !r.is_empty()) })
    }

    /// The path of the stream, without the slash at its end.
    pub fn prefix(&self) -> String {
        format!("{BEFORE}{}/{AFTER}", self.workbench)
    }

    /// Sends browsers to the path with its slash: relative addresses in the page begin there.
    pub fn with_slash(&self, query: Option<&str>) -> Response {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        redirect(StatusCode::PERMANENT_REDIRECT, &format!("{AFTER}/{query}"))
    }

    /// Sends browsers to the same path with this query.
    pub fn without_ticket(&self, query: &str) -> Response {
        let last = self.rest.as_deref().and_then(|rest| rest.rsplit('/').next()).unwrap_or_default();
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        redirect(StatusCode::SEE_OTHER, &format!("./{last}{query}"))
    }
}

fn redirect(status: StatusCode, to: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    // paths and queries are always header values
    if let Ok(to) = HeaderValue::try_from(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

/// The ticket in a query, and the query without it.
pub fn ticket(query: Option<&str>) -> Option<(&str, String)> {
    const NAME: &str = "ticket=";
    let pairs = || query.unwrap_or_default().split('&');
    let ticket = pairs().find_map(|pair| pair.strip_prefix(NAME))?;
    Some((ticket, pairs().filter(|pair| !pair.starts_with(NAME)).collect::<Vec<_>>().join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_is_exact() {
        for (path, want) in [
            ("/api/rest/v1/workbenches/7/stream", Some((7, None))),
            ("/api/rest/v1/workbenches/7/stream/", Some((7, Some("/")))),
            ("/api/rest/v1/workbenches/7/stream/js/Client.js", Some((7, Some("/js/Client.js")))),
            ("/api/rest/v1/workbenches/7/stream//x", Some((7, Some("//x")))),
            ("/api/rest/v1/workbenches/9223372036854775807/stream/", Some((i64::MAX, Some("/")))),
            ("/api/rest/v1/workbenches/9223372036854775808/stream/", Some((0, Some("/")))),
            ("/api/rest/v1/workbenches/7/streamX", None),
            ("/api/rest/v1/workbenches/7/stream-tickets", None),
            ("/api/rest/v1/workbenches/7", None),
            ("/api/rest/v1/workbenches/7/", None),
            ("/api/rest/v1/workbenches//stream/", None),
            ("/api/rest/v1/workbenches/+7/stream/", None),
            ("/api/rest/v1/workbenches/seven/stream/", None),
            ("/api/rest/v1/workbenchs/7/stream/", None),
            ("/x/api/rest/v1/workbenches/7/stream/", None),
        ] {
            let found = Route::parse(path);
            let found = found.as_ref().map(|route| (route.workbench, route.rest.as_deref()));
            assert_eq!(found, want, "{path}");
        }
    }

    #[test]
    fn a_ticket_is_taken_out_of_the_query() {
        for (query, want) in [
            (None, None),
            (Some("a=b"), None),
            (Some("xticket=1"), None),
            (Some("ticket=abc"), Some(("abc", ""))),
            (Some("a=b&ticket=abc&c=d%20e&ticket=x"), Some(("abc", "a=b&c=d%20e"))),
        ] {
            let found = ticket(query);
            assert_eq!(found.as_ref().map(|(ticket, rest)| (*ticket, rest.as_str())), want, "{query:?}");
        }
    }

    #[test]
    fn redirects_stay_below_whatever_is_in_front() {
        let to = |response: Response| response.headers()[header::LOCATION].to_str().unwrap().to_owned();
        let route = |path: &str| Route::parse(&format!("/api/rest/v1/workbenches/7/stream{path}")).unwrap();
        assert_eq!(to(route("").with_slash(Some("a=b"))), "stream/?a=b");
        assert_eq!(to(route("/").without_ticket("")), "./");
        assert_eq!(to(route("/js/x.html").without_ticket("a=b")), "./x.html?a=b");
    }
}
