//! What the cluster asks a replica: whether it lives, and whether it is ready.

use std::sync::Arc;

use axum::{Router, http::StatusCode, routing::get};
use tokio::sync::watch;

use super::caches::Caches;

/// How this replica fares.
#[derive(Clone)]
pub struct Health {
    pub(super) caches: Arc<Caches>,
    pub(super) leading: watch::Receiver<bool>,
    /// Whether it reconciles.
    pub(super) active: watch::Receiver<bool>,
    pub(super) stopping: watch::Receiver<bool>,
}

impl Health {
    /// Whether this replica does its part: its caches are filled, and it reconciles if it leads.
    pub fn ready(&self) -> bool {
        self.state().0
    }

    /// Whether this replica leads.
    pub fn leading(&self) -> bool {
        *self.leading.borrow()
    }

    fn state(&self) -> (bool, String) {
        let missing = self.caches.missing();
        if *self.stopping.borrow() {
            (false, "stopping\n".to_owned())
        } else if !missing.is_empty() {
            (false, format!("waiting for {}\n", missing.join(", ")))
        } else if !self.leading() {
            (true, "standing by: another replica leads\n".to_owned())
        } else if *self.active.borrow() {
            (true, "leading\n".to_owned())
        } else {
            (false, "leading, not reconciling yet\n".to_owned())
        }
    }
}

/// `/healthz` and `/readyz`.
pub fn router(health: Health) -> Router {
    let ready = move || {
        let (ready, text) = health.state();
        let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        std::future::ready((code, text))
    };
    Router::new().route("/healthz", get(|| async { "alive\n" })).route("/readyz", get(ready))
}
