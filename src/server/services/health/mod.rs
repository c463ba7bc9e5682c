//! Health: whether the server takes calls, and what it runs on.
//!
//! The check asks nobody: it answers as long as the process takes calls, so that a load balancer does not drop every
//! replica when the database restarts. The status reads the database with two statements, and only for those who may
//! see how the server is doing.

mod api;
mod store;

use chrono::{DateTime, Utc};

use super::Base;

/// The service.
pub struct Health {
    base: Base,
    started_at: DateTime<Utc>,
}

impl Health {
    /// The service over this base, in a process that started then.
    pub fn new(base: Base, started_at: DateTime<Utc>) -> Self {
        Self { base, started_at }
    }
}
