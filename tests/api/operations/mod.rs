//! Operation: the command line, startup and shutdown, log, metrics and faults.

mod commands;
mod console;
pub mod dev;
mod dids;
mod faults;
mod help;
mod idle_connections;
mod imports;
mod keys;
pub mod lifecycle;
pub mod log;
mod memory;
mod metrics;
mod migrations;
mod operators;
mod proxies;
mod roles;
mod sessions;
mod start;
