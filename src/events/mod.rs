//! Events: the changes of all visible objects, in an order in which none is skipped.
//!
//! An event is an entry of the history. [`crate::store::Feed`] reads them; this module selects the
//! kinds that a token can read, and writes pages and streams.

mod cursor;
mod event;
mod follower;
pub mod handlers;
mod kind;
mod request;
mod stream;

pub use cursor::Cursor;
pub use event::{Event, EventData, EventPage};
pub use follower::{Follower, Start};
pub use kind::{EventType, ObjectKind, TypeFilter};
