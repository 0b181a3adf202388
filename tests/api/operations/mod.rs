//! Operation: the command line, startup and shutdown, log, metrics and faults.

mod commands;
pub mod dev;
mod faults;
mod help;
mod idle_connections;
mod keys;
pub mod lifecycle;
pub mod log;
mod metrics;
mod migrations;
mod operators;
mod proxies;
mod roles;
mod sessions;
mod start;
