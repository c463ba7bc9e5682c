//! The operator: Workbench and Workspace resources become isolated desktops.
//!
//! ```text
//! API server ──watch──► cluster: caches (projections) ──► queue ──┐
//!     ▲                                                           ▼
//!     │                                        workbench::plan, workspace::plan (pure)
//!     └── apply, create, patch, delete, status ◄── cluster: controller ◄─┘
//! ```
//!
//! What always holds: nothing is written that is there already; a resource's `spec` is never written; without the leader's
//! lease nothing is written at all.

pub mod adopt;
pub mod api;
pub mod cluster;
pub mod contains;
pub mod doctor;
pub mod live;
pub mod manifests;
pub mod network;
pub mod plan;
pub mod render;
pub mod settings;
pub mod workbench;
pub mod workspace;
pub mod yaml;
