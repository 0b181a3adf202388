//! The log. It is written to standard error, since commands print their results to standard output.

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
/// If the filter in `RUST_LOG` is not valid.
pub fn start(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log).context("RUST_LOG is not a valid log filter")?;
    let log = tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_env_filter(filter)
        .with_target(false)
        // The error of a closed standard error would be written to standard error, and panic.
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

/// Returns an error and its causes in one line. A cause that an error already contains is left out.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    successors(error.source(), |&error| error.source()).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}
