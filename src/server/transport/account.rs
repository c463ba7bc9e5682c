//! `/account`: where people who use chorus in a browser choose their password, set up the second factor and sign out
//! elsewhere. Web clients have no screens for that.
//!
//! Four files from the binary; the script calls the REST API like any other client, with the session cookie. What always
//! holds: nothing is loaded from elsewhere, nothing runs that is not one of these files, no form can be sent to an
//! address. All addresses are relative, so a proxy may serve the page below a prefix.

use axum::{Router, http::header, response::Redirect, routing::get};

/// What the page may do. Forms are answered by the script; the browser itself must never send one, as a password could
/// end up in an address.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Name, content type and text of each file that the page loads.
const FILES: [(&str, &str, &str); 3] = [
    ("/account/account.js", "text/javascript; charset=utf-8", include_str!("account/account.js")),
    ("/account/qr.js", "text/javascript; charset=utf-8", include_str!("account/qr.js")),
    (STYLE, "text/css; charset=utf-8", include_str!("account/account.css")),
];

/// The looks of this page, and of the start page.
pub const STYLE: &str = "/account/account.css";

/// The routes of the page and its files.
pub fn router() -> Router {
    let page = || async {
        let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
        (headers, include_str!("account/page.html"))
    };
    let router = Router::new()
        .route("/account", get(page))
        .route("/account/", get(|| async { Redirect::permanent("../account") }));
    FILES.into_iter().fold(router, |router, (path, kind, text)| {
        // a new version of the server must not meet an old script
        let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
        router.route(path, get(move || async move { (headers, text) }))
    })
}
