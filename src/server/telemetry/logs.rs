//! The log: lines for people on a terminal, one JSON object per line for machines. Always on standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::server::config::{LogFilter, LogFormat};

/// Starts logging for the whole process.
///
/// # Errors
/// When logging was started before, or the filter cannot be read.
pub fn start(format: LogFormat, filter: &LogFilter) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(filter.as_str())?;
    let terminal = io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let layer = match format {
        LogFormat::Auto if terminal => layer.with_ansi(colour()).with_target(false).boxed(),
        LogFormat::Human => layer.with_ansi(terminal && colour()).with_target(false).boxed(),
        LogFormat::Auto | LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init()?;
    Ok(())
}

/// See <https://no-color.org>: any value that is not empty switches colour off.
fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
