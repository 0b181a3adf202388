//! The log, on standard error: standard output belongs to the answers of commands.

pub mod metrics;

use std::error::Error;
use std::io::{IsTerminal, stderr};
use std::iter::successors;

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
        LogFormat::Json => {
            log.json().flatten_event(true).with_current_span(false).with_span_list(false).init()
        }
        LogFormat::Text => log.with_ansi(stderr().is_terminal()).init(),
    }
    Ok(())
}

/// An error and what caused it, in one line. Some errors repeat their cause themselves: it is said once.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    successors(error.source(), |&error| error.source()).fold(error.to_string(), |said, cause| {
        let cause = cause.to_string();
        if said.ends_with(&cause) { said } else { format!("{said}: {cause}") }
    })
}
