//! Operation: the command line, startup and shutdown, log, metrics and faults.

mod commands;
pub mod dev;
mod dids;
mod faults;
pub mod lifecycle;
pub mod log;
mod metrics;
mod migrations;
mod roles;
