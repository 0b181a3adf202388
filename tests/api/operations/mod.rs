//! Operation: the command line, startup and shutdown, log, metrics and faults.

mod commands;
pub mod dev;
mod dids;
mod faults;
mod imports;
pub mod lifecycle;
pub mod log;
mod memory;
mod metrics;
mod migrations;
mod roles;
