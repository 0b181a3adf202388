//! Input: from JSON to values of types that contain valid data only.
//!
//! A value that is not valid results in a [`ValidationError`], which says what would be valid.

pub mod date;
pub mod json;
mod member;
mod members;
pub mod merge;
pub mod number;
pub mod patch;
pub mod phone_number;
mod suggest;
pub mod types;

pub use member::{FromMember, ValidationError, parse_sid};
pub use members::{Completeness, Input, Members, Parsed};
pub use suggest::unknown;
