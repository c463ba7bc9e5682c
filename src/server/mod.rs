//! Everything behind the listeners.

pub mod access;
pub mod clock;
pub mod config;
pub mod db;
pub mod error;
mod installation;
pub mod pipeline;
pub mod random;
// mod run;
pub mod services;
pub mod telemetry;
pub mod transport;

use std::sync::Arc;

/// Runs the server until it is told to stop.
pub async fn run(config: config::Config, _: Arc<dyn clock::Clock>, _: Arc<dyn random::Random>) -> anyhow::Result<()> {
    anyhow::bail!("nothing listens on {} yet", config.listen)
}
