//! Webhooks: endpoints to which the events of a partner's objects are delivered, signed after
//! Standard Webhooks.
//!
//! The history is the queue. Each endpoint has a cursor, which a successful delivery moves; only a
//! delivery that has failed makes a row. One instance at a time delivers for an endpoint.

mod address;
mod batch;
mod client;
mod connections;
mod courier;
mod delivery;
mod disabling;
mod dispatcher;
mod endpoint;
mod event;
mod forward;
pub mod handlers;
mod input;
mod keys;
mod lag;
mod members;
pub mod openapi;
mod pending;
mod replay;
mod schedule;
mod secrets;
mod service;
mod signature;
mod source;
mod target;

pub use address::{AddressRules, LOOPBACK};
pub use client::DeliveryClient;
pub use delivery::{DeliveryAttempt, purge_deliveries};
pub use dispatcher::Dispatcher;
pub use endpoint::{EndpointRules, EventEndpoint, MAX_ENDPOINTS};
pub use forward::Forwarder;
pub use input::NewEventEndpoint;
pub use keys::Secret;
pub use lag::measure_lag;
pub use secrets::SecretBox;
pub use service::Webhooks;
