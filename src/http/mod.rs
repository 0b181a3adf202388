//! HTTP: what the requests and responses of all resources have in common. The parameters of a
//! handler are the extractors of this folder, and [`request_middleware`] wraps the whole
//! application.

mod access_log;
mod allowed_sites;
mod arguments;
mod auth;
mod body;
mod conditional;
mod connection;
mod console;
mod content_coding;
mod embedded;
mod fields;
mod form;
mod forwarded;
pub mod health;
mod history;
mod items;
mod list;
mod memory;
mod middleware;
mod object;
pub mod openapi;
mod page;
mod prefer;
mod sid;
mod target;
mod view;
mod write;

pub use allowed_sites::AllowedSites;
pub use arguments::{IgnoredArguments, Query};
pub(crate) use arguments::{flag, member, some};
pub use auth::{Caller, authenticate};
pub(crate) use auth::{actor_of, authorization, bearer};
pub use body::{BODY_LIMIT, MergePatch, NewObject, Replacement};
pub use conditional::KnownTags;
pub use connection::Connection;
pub use console::Console;
pub use embedded::redirect;
pub use form::Form;
pub use history::{HistoryRequest, RevertRequest};
pub use items::ItemsRequest;
pub use list::ListRequest;
pub(crate) use memory::in_pieces;
pub use memory::{MemoryBudget, limit_memory};
pub use middleware::{accepts, cors, private, request_middleware};
pub use object::ObjectRequest;
pub(crate) use page::number;
pub use page::{List, Pagination};
pub use sid::Sid;
pub use target::{PublicUrl, TrustedProxies, note_local_address};
pub use view::View;
pub use write::{NoArguments, UpdateArguments, WriteArguments};
