//! The log. It is written to standard error, since commands print their results to standard output.

pub mod activity;
pub mod metrics;

use std::error::Error;
use std::io::{self, BufWriter, IsTerminal, Write, stderr};
use std::iter::successors;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, Settings};

/// The most lines that wait to be written. Further lines are dropped and counted.
const CAPACITY: usize = 16_384;
/// The most bytes that are written at once.
const BLOCK: usize = 64 * 1024;
/// How long lines are collected after a block was written.
const PAUSE: Duration = Duration::from_millis(5);

/// Standard error, which rests after each block. A thread that rests is not woken by each line.
struct Paced<W>(W);

impl<W: Write> Write for Paced<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        sleep(PAUSE);
        Ok(())
    }
}

/// Counts the lines that were dropped.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Starts the log, and returns a guard that writes the waiting lines when it is dropped, for a
/// second at most.
///
/// A thread of its own writes the lines: a standard error that is not read must not stop a request.
/// It writes all lines that wait at once.
///
/// # Errors
/// If the filter is not valid.
pub fn start(settings: &Settings) -> anyhow::Result<WorkerGuard> {
    let mut filter = EnvFilter::try_new(&settings.log).context("RUST_LOG is not a valid filter")?;
    // It reports a head that a client got wrong as an error; that head has a line of its own.
    if !settings.log.contains("actix_http") {
        filter = filter.add_directive("actix_http::h1::dispatcher=off".parse()?);
    }
    let lines = Paced(BufWriter::with_capacity(BLOCK, stderr()));
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(CAPACITY).finish(lines);
    let _ = DROPPED.set(writer.error_counter());
    let log = tracing_subscriber::fmt()
        .with_writer(writer)
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
    Ok(guard)
}

/// The number of log lines that were dropped because standard error was not read.
pub fn dropped_lines() -> usize {
    DROPPED.get().map_or(0, ErrorCounter::dropped_lines)
}

/// Returns an error and its causes in one line. A cause that an error already contains is left out.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    successors(error.source(), |&error| error.source()).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}
