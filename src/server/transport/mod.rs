//! From the socket to the pipeline and back.
//!
//! ```text
//! listen ─► http: edge ─► CORS ─► compression ─► dispatch ─► rest ────────┐
//!    │          │         └─► stream ─► runtime    ├─► gRPC-web ─► native ├─► core ─► services
//!    │          └ headers                          └─► pages              │   (deadline, panics, details)
//!    └────► gRPC: edge ─► native (aliases, size limit) ──────────────────►┘
//! ```
//!
//! What always holds: every call has an id, which every answer carries; every answer over HTTP tells browsers what they
//! may do with it; every failure has exactly one detail, over gRPC
//! and REST alike; a call that panics fails alone; nothing here logs query strings, credentials or bodies.

pub mod account;
pub mod cors;
pub mod deadline;
pub mod docs;
pub mod edge;
pub mod grpc;
pub mod headers;
pub mod http;
pub mod index;
pub mod kiosk;
pub mod limit;
pub mod listen;
pub mod openapi;
pub mod origin;
pub mod request_id;
pub mod rest;
pub mod stream;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use axum::Router;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

use self::{cors::Origins, grpc::Core, headers::Hardening, http::App, index::About, rest::Transcoder, stream::Streams};
use super::random::Random;

/// What the transports are made of.
pub struct Parts {
    /// The services of the contract, each behind the pipeline.
    pub services: Routes,
    /// Further pages of the HTTP listener, such as `/metrics`.
    pub pages: Router,
    /// The desktops; none in tests of the transports.
    pub streams: Option<Streams>,
    /// The origins that may use the server from a browser.
    pub origins: Origins,
    /// What browsers are told of every answer.
    pub hardening: Hardening,
    /// How long a unary call may take.
    pub request_timeout: Duration,
    /// What runs here.
    pub about: About,
    /// The source of request ids.
    pub random: Arc<dyn Random>,
}

/// The services of both listeners.
pub struct Transports {
    /// REST, gRPC-web and pages.
    pub http: App,
    /// gRPC.
    pub grpc: App,
    /// Tells health checks when the server stops.
    pub health: HealthReporter,
}

impl Transports {
    /// Puts the transports together; fails on a contract that cannot be served.
    pub async fn new(parts: Parts) -> Result<Self> {
        let (services, health) = grpc::with_infrastructure(parts.services).await?;
        let core = Core::new(services, parts.request_timeout);
        let native = grpc::Native::new(core.clone());
        let rest = Transcoder::new(crate::proto::pool(), core)?;
        let pages = index::router(parts.about).merge(account::router()).merge(docs::router()).merge(parts.pages);
        Ok(Self {
            http: http::app(
                rest,
                native.clone(),
                pages,
                parts.streams,
                parts.origins,
                parts.hardening,
                parts.random.clone(),
            ),
            grpc: http::grpc_app(native, parts.random),
            health,
        })
    }
}
