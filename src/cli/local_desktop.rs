//! `chorus local-desktop`: the supervisor of a desktop, which the local runtime starts.

use std::process::ExitCode;

use crate::server::{random::SystemRandom, runtime::local};

pub(super) use local::SUPERVISE as NAME;

pub(super) fn supervise() -> anyhow::Result<ExitCode> {
    // one thread is enough for one desktop
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(local::supervise(&SystemRandom))?;
    Ok(ExitCode::SUCCESS)
}
