//! `/kiosk-jwt`: where the browser of a web app inside a workbench signs in its user.
//!
//! ```text
//! the app instance starts its browser at /kiosk-jwt#jwt=TOKEN ──► page ──► POST {"token": …} ──► 204 + cookie
//! ```
//!
//! What always holds: the token is in the fragment, which browsers send nowhere, and leaves the history before it is
//! posted; nothing runs that is not this page's script; a browser in which somebody else is signed in stays his, so that nobody
//! can be made to work in the session of another by a link. Errors are plain text, since whoever reads them looks at a log.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, HeaderValue, Request, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::get,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::origin::Origin;
use crate::server::{
    access::{
        address,
        caller::Caller,
        token::{self, Presented},
    },
    db::Db,
    error::{Error, Kind, Result},
    pipeline::Shared,
    services::app_instances::kiosk::{Place, exchange},
};

/// Where the page is.
const PATH: &str = "/kiosk-jwt";
/// Its script.
const SCRIPT: &str = "/kiosk-jwt/kiosk.js";
/// The longest request that is read.
const MOST_BYTES: usize = 16 * 1024;

/// What the page may do: run its script, and post to this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'none'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// What the page posts.
#[derive(Deserialize)]
struct Posted {
    token: SecretString,
}

/// The routes of the page and its script.
pub fn router(db: Db, shared: Arc<Shared>) -> Router {
    let page = || async {
        let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
        (headers, include_str!("kiosk/page.html"))
    };
    let script = || async {
        let headers = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
        (headers, include_str!("kiosk/kiosk.js"))
    };
    let post = move |request: Request<Body>| {
        let (db, shared) = (db.clone(), shared.clone());
        async move { answer(sign_in(&db, &shared, request).await) }
    };
    let other = || async { (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, POST")], "method not allowed\n") };
    Router::new().route(PATH, get(page).post(post).fallback(other)).route(SCRIPT, get(script))
}

async fn sign_in(db: &Db, shared: &Shared, request: Request<Body>) -> Result<HeaderValue> {
    let (parts, body) = request.into_parts();
    let unreadable = |_| Error::invalid("BODY_INVALID", "invalid request body");
    let body =
        to_bytes(body, MOST_BYTES).await.map_err(|_| Error::new(Kind::TooLarge, "BODY_TOO_LARGE", "too large"))?;
    let Posted { token } = serde_json::from_slice(&body).map_err(unreadable)?;
    if token.expose_secret().trim().is_empty() {
        return Err(Error::invalid("TOKEN_MISSING", "missing token"));
    }
    let place = Place {
        holder: holder(shared, &parts.headers).await?,
        request_id: parts.extensions.get::<Origin>().map(|origin| origin.request_id.clone()).unwrap_or_default(),
        address: address(shared, &parts),
        user_agent: user_agent(&parts.headers),
    };
    let opened = exchange(db, shared, token.expose_secret().trim(), &place).await?;
    shared.cookie.set(&opened.token, opened.expires_at)
}

/// Who is signed in in the browser, by a cookie that is good.
async fn holder(shared: &Shared, headers: &HeaderMap) -> Result<Option<Arc<Caller>>> {
    let Some(cookie) = token::cookie_token(headers) else { return Ok(None) };
    match shared.sessions.authenticate(Presented::Session(cookie), None, shared.clock.now()).await {
        Ok(caller) => Ok(Some(caller)),
        Err(error) if error.kind() == Kind::Unauthenticated => Ok(None),
        Err(error) => Err(error),
    }
}

fn address(shared: &Shared, parts: &Parts) -> Option<IpAddr> {
    let peer = parts.extensions.get::<Origin>().and_then(|origin| origin.peer);
    address::client(peer, &parts.headers, &shared.trusted_proxies)
}

fn user_agent(headers: &HeaderMap) -> String {
    let text = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.chars().take(256).collect()
}

fn answer(result: Result<HeaderValue>) -> Response {
    match result {
        Ok(cookie) => (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response(),
        Err(error) => {
            let status = StatusCode::from_u16(error.kind().http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let cause = error.cause().map(tracing::field::display);
            tracing::info!(target: "chorus::kiosk", reason = error.reason(), cause, "refused");
            (status, format!("{}\n", error.message())).into_response()
        }
    }
}
