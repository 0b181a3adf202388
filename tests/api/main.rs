//! Tests of the service over HTTP: a real PostgreSQL and the real application.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod access;
mod contract;
mod events;
mod oauth;
mod operations;
mod reads;
mod support;
mod writes;
