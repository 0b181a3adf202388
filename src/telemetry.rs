//! The log, on standard error: standard output belongs to the answers of commands.

use std::io::{IsTerminal, stderr};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, Settings};

/// Starts the log.
///
/// # Errors
/// Where the filter makes no sense.
pub fn start(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log).context("RUST_LOG makes no sense")?;
    let log = tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_env_filter(filter)
        .with_target(false)
        // It would complain on standard error that standard error is gone, and panic.
        .log_internal_errors(false);
    let default = if stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json };
    match settings.log_format.unwrap_or(default) {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.with_ansi(stderr().is_terminal()).init(),
    }
    Ok(())
}
