//! `/`: what runs here. A page for a browser, JSON for everybody else.

use axum::{
    Json, Router,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::account;

/// What runs here.
#[derive(Debug, Clone, Serialize)]
pub struct About {
    /// The name of the product.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Tells this process from other replicas and from the one before it.
    #[serde(serialize_with = "as_text")]
    pub id: Uuid,
    /// The commit that it was built from, if the build knew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<&'static str>,
}

fn as_text<S: serde::Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; form-action 'none'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// Where to go from here.
const LINKS: [(&str, &str); 5] = [
    ("account", "/account"),
    ("documentation", "/doc/"),
    ("openapi", "/openapi.json"),
    ("health", "/api/rest/v1/health"),
    ("metrics", "/metrics"),
];

/// The route of the start page.
pub fn router(about: About) -> Router {
    Router::new().route("/", get(move |headers: HeaderMap| async move { page(&about, &headers) }))
}

fn page(about: &About, headers: &HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut response = match accept.contains("text/html") {
        true => Html(html(about)).into_response(),
        false => Json(as_json(about)).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

fn as_json(about: &About) -> serde_json::Value {
    let links: serde_json::Map<_, _> = LINKS.iter().map(|(name, path)| ((*name).to_owned(), json!(path))).collect();
    let mut json = json!(about);
    json["links"] = links.into();
    json
}

/// All that is written here is fixed when the server is built, so nothing needs escaping.
fn html(about: &About) -> String {
    let links: String = LINKS.iter().map(|(name, path)| format!("<li><a href=\"{path}\">{name}</a></li>")).collect();
    let commit = about.commit.map(|commit| format!(", commit {commit}")).unwrap_or_default();
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{name}</title>\
         <link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"{style}\">\
         <h1>{name}</h1><p>Control plane of a trusted research environment, version {version}{commit}.</p>\
         <ul>{links}</ul></html>",
        name = about.name,
        version = about.version,
        style = account::STYLE,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About = About { name: "chorus", version: "1.2.3", id: Uuid::nil(), commit: None };

    #[test]
    fn answers_in_the_form_that_is_asked_for() {
        let json = as_json(&ABOUT);
        assert_eq!(json["name"], "chorus");
        assert_eq!(json["id"], "00000000-0000-0000-0000-000000000000");
        assert!(json.get("commit").is_none());
        let mut headers = HeaderMap::new();
        assert_eq!(page(&ABOUT, &headers).headers()[header::CONTENT_TYPE], "application/json");
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/html,*/*;q=0.8"));
        let response = page(&ABOUT, &headers);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    }
}
