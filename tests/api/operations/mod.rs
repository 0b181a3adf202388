//! Operation: the command line, startup and shutdown, log, metrics and faults.

mod commands;
pub mod dev;
mod faults;
mod idle_connections;
pub mod lifecycle;
pub mod log;
mod metrics;
mod migrations;
mod roles;
mod sessions;
mod proxies;
mod start;
