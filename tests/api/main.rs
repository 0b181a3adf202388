//! The service from outside: a real PostgreSQL, the real application, HTTP.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod access;
mod contract;
mod oauth;
mod operations;
mod reads;
mod support;
mod writes;
