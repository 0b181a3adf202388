//! The service from outside: a real PostgreSQL, the real application, HTTP.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod bodies;
mod client;
mod commands;
mod concurrency;
mod conditional;
mod contract;
mod dev;
mod dry_run;
mod faults;
mod helpers;
mod histories;
mod idempotency;
mod lifecycle;
mod limits;
mod lists;
mod log;
mod metrics;
mod oauth;
mod objects;
mod openapi;
mod owasp;
mod partners;
mod patch;
mod put;
mod samples;
mod tenancy;
mod tokens;
mod wire;
