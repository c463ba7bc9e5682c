//! `/openapi.json` and `/doc`: the API description, and Swagger UI to read it and try it out.
//!
//! All assets come from the binary: a trusted research environment has no internet. The content security policy allows
//! nothing else either.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    body::Body,
    extract::Path,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use utoipa_swagger_ui::{Config, SwaggerFile};

use super::{openapi, rest::errors};
use crate::server::error::Error;

/// Scripts and styles come from files only, but for one style that Swagger UI writes into the page: its hash is here, and
/// without it the page works as well. Pictures in its styles are data URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; \
                      style-src 'self' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='; img-src 'self' data:; \
                      connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The description, made when it is first asked for.
static DESCRIPTION: LazyLock<Result<Bytes, String>> = LazyLock::new(|| {
    let document =
        openapi::document(crate::proto::pool(), env!("CARGO_PKG_VERSION")).map_err(|error| format!("{error:#}"))?;
    Ok(Bytes::from(document.to_string()))
});

/// The routes of the API description.
pub fn router() -> Router {
    let config = Arc::new(Config::new(["/openapi.json"]).display_request_duration(true).validator_url("none"));
    let index = config.clone();
    Router::new()
        .route("/openapi.json", get(description))
        .route("/doc", get(|| async { Redirect::to("/doc/") }))
        .route("/doc/", get(move || async { asset("", index) }))
        .route("/doc/{*path}", get(move |Path(path): Path<String>| async move { asset(&path, config) }))
}

async fn description() -> Response {
    match &*DESCRIPTION {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json.clone()).into_response(),
        Err(error) => errors::from_error(Error::internal(error.as_str()), "/openapi.json"),
    }
}

fn asset(path: &str, config: Arc<Config<'static>>) -> Response {
    match utoipa_swagger_ui::serve(path, config) {
        Ok(Some(file)) => found(file),
        Ok(None) => {
            let text = format!("There is nothing at /doc/{path}.");
            errors::from_error(Error::not_found("UNKNOWN_ROUTE", text), &format!("/doc/{path}"))
        }
        Err(error) => errors::from_error(Error::internal(error.to_string()), &format!("/doc/{path}")),
    }
}

fn found(file: SwaggerFile<'static>) -> Response {
    let mut response = (StatusCode::OK, Body::from(file.bytes.into_owned())).into_response();
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(&file.content_type) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
