//! The operator's side towards the API server: caches, queue, controller, leader, events.
//!
//! ```text
//! watches ──► wire ──► project ──► caches ──keys──► queue ──► controller ──► steps ──► writer ──► API server
//!                                    ▲                                                   │
//!                                    └──────────────────── responses ────────────────────┘
//! ```
//!
//! What always holds: a pass reads nothing but the caches (save for the few looks that a plan asks for), two passes never
//! work on one resource at a time, and without the lease nothing is written.

pub mod alarms;
pub mod caches;
pub mod client;
pub mod controller;
pub mod dictionary;
pub mod events;
pub mod health;
pub mod leader;
pub mod project;
pub mod queue;
pub mod refusals;
pub mod run;
pub mod shared;
pub mod status;
pub mod steps;
pub mod store;
pub mod telemetry;
mod wakes;
pub mod watches;
pub mod wire;
pub mod writer;

pub use caches::Caches;
pub use health::{Health, router};
pub use run::{Operator, Options, Running};
