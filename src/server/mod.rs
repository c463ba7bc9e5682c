//! Everything behind the listeners.

pub mod access;
pub mod clock;
pub mod config;
pub mod db;
pub mod desktops;
pub mod error;
mod installation;
pub mod operate;
pub mod operator;
pub mod pipeline;
pub mod quantity;
pub mod random;
pub mod reconcile;
pub mod rotation;
mod run;
pub mod runtime;
pub mod services;
pub mod telemetry;
pub mod transport;
pub mod upkeep;

pub use run::{COMMIT, Server, VERSION, run};
