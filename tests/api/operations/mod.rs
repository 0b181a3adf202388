//! Operation: the command line, starting and stopping, logs, metrics, faults.

mod commands;
pub mod dev;
mod faults;
pub mod lifecycle;
pub mod log;
mod metrics;
