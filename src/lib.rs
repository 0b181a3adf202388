//! Shortline: DID groups and short codes behind the CarrierX Core API v2, on your own PostgreSQL.
//!
//! A tour of the code, in reading order:
//!
//! 1. `migrations/` is what is kept: partners, tokens, DID groups, short codes and the history of all of them.
//! 2. [`routes`] is the one table of endpoints.
//! 3. [`short_codes`] is a noun: its members, what may be changed of them, its table; and its handlers, whose signatures say
//!    what is checked. [`did_groups`] is its twin; [`partners`] and [`oauth`] are stored the same way.
//! 4. [`store`] is the one place where stored objects are read, created and changed, with their history; its lanes serve all
//!    requests that wait with one statement.
//! 5. [`list`] narrows, orders and pages, from arguments to a statement.
//! 6. [`auth`] turns a bearer token into a caller with scopes and a reach, which the store asks for.
//! 7. [`http`] is what requests share on the wire; [`json`], [`input`], [`fields`], [`patch`] and [`merge`] turn JSON into checked values.
//! 8. [`error`] maps what can go wrong to status and body.
//! 9. [`openapi`] says in the OpenAPI document what is the same for every operation; [`docs`] is the page made from it.
//! 10. [`startup`] builds the service from [`settings`]; [`database`] opens connections, and [`cutoff`] ends those to one that has moved; [`housekeeping`]
//!     is done once a minute; [`telemetry`] is the log and [`metrics`] what can be measured; [`commands`] is the command line;
//!     [`dev`] the private PostgreSQL.

pub mod auth;
pub mod commands;
pub mod cutoff;
pub mod database;
pub mod date;
pub mod dev;
pub mod did_groups;
pub mod docs;
pub mod error;
pub mod fields;
pub mod health;
pub mod housekeeping;
pub mod http;
pub mod input;
pub mod json;
pub mod list;
pub mod merge;
pub mod metrics;
pub mod migrations;
pub mod oauth;
pub mod openapi;
pub mod partners;
pub mod patch;
pub mod routes;
pub mod settings;
pub mod short_codes;
pub mod startup;
pub mod store;
pub mod telemetry;
