//! `chorus serve`: the configuration, the log and the runtime, then the server.

use std::{process::ExitCode, sync::Arc};

use anyhow::anyhow;

use super::{ConfigArgs, load};
use crate::server::{self, clock::SystemClock, config::Config, random::SystemRandom, telemetry::logs};

pub(super) fn serve(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    until_the_end(args, |config| server::run(config, Arc::new(SystemClock), Arc::new(SystemRandom)))
}

/// Runs what goes on until the process is told to stop: the server, or the operator.
pub(super) fn until_the_end<const OPERATOR: bool, F: Future<Output = anyhow::Result<()>>>(
    args: &ConfigArgs<OPERATOR>,
    work: impl FnOnce(Config) -> F,
) -> anyhow::Result<ExitCode> {
    let config = load(args)?.config;
    logs::start(config.log_format, &config.log_level)?;
    install_tls()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(work(config))?;
    Ok(ExitCode::SUCCESS)
}

/// Connections to PostgreSQL may use TLS, which needs one provider of cryptography per process.
pub(super) fn install_tls() -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider().install_default().map_err(|_| anyhow!("TLS was set up twice"))
}
