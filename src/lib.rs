//! Shortline: DID groups and short codes behind the CarrierX Core API v2, on your own PostgreSQL.
//!
//! `ARCHITECTURE.md` explains the design. A request passes through [`routes`], a handler of a
//! resource ([`dids`], [`short_codes`], [`did_groups`], ...) and [`store`].
//!
//! The modules form layers. Each imports only modules further down this list, which a test
//! (`tests/layers.rs`) checks:
//!
//! 1. [`commands`]: the command line
//! 2. [`dev`]: the private PostgreSQL and the demo data
//! 3. [`startup`]: builds and runs the service; [`maintenance`]: its periodic work
//! 4. [`routes`]: the table of endpoints
//! 5. [`webhooks`], [`events`], [`oauth`], [`resolve`], [`short_codes`], [`did_stock`], [`dids`],
//!    [`did_groups`], [`partners`]: the resources
//! 6. [`http`]: what their requests and responses have in common
//! 7. [`store`]: reads and writes of stored objects, with their history
//! 8. [`telemetry`]: log and metrics; [`shutdown`]: whether the service drains; [`signals`]:
//!    SIGTERM and SIGINT
//! 9. [`auth`]: tokens, partners, scopes, visibility, rates
//! 10. [`settings`]: the configuration
//! 11. [`input`]: from JSON to checked values
//! 12. [`error`]: the errors of requests, and their responses

pub mod auth;
pub mod commands;
pub mod dev;
pub mod did_groups;
pub mod did_stock;
pub mod dids;
pub mod error;
pub mod events;
pub mod http;
pub mod input;
pub mod maintenance;
pub mod oauth;
pub mod partners;
pub mod resolve;
pub mod routes;
pub mod settings;
pub mod short_codes;
pub mod shutdown;
pub mod signals;
pub mod startup;
pub mod store;
pub mod telemetry;
pub mod webhooks;
