//! The contract: the OpenAPI document, HTTP, and clients that depend on both.

mod client;
mod document;
mod errors;
mod http;
mod inventory;
mod openapi;
mod raw_http;
mod samples;
mod utf8;
mod walk;
