//! The contract: the OpenAPI document, HTTP itself, and clients written against it.

mod client;
mod http;
mod inventory;
mod openapi;
mod raw_http;
mod samples;
mod walk;
