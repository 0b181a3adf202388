//! HTTP: what all resources share on the wire. A handler's arguments are the extractors of this
//! folder; [`request_middleware`] wraps the whole application.

mod access_log;
mod auth;
mod body;
mod client_ip;
mod conditional;
mod fields;
mod form;
pub mod health;
mod history;
mod list;
mod middleware;
mod object;
pub mod openapi;
mod prefer;
mod query;
mod sid;

pub use auth::{Caller, authenticate};
pub(crate) use auth::{actor_of, authorization, bearer};
pub use body::{BODY_LIMIT, MergePatch, NewObject, Replacement};
pub use client_ip::TrustedProxies;
pub use fields::View;
pub use form::Form;
pub use history::{EntryList, HistoryParameters, HistoryRequest, RevertRequest};
pub use list::{ListOf, ListParameters, ListRequest, Listing, Pagination, PublicUrl};
pub use middleware::{cors, private, request_middleware};
pub use object::{ObjectRequest, ViewParameters};
pub use query::{NoArguments, UpdateParameters, WriteArguments, WriteParameters};
pub use sid::Sid;
