//! Input: from JSON to values that hold only what the contract accepts.

pub mod date;
pub mod json;
mod member;
mod members;
pub mod merge;
pub mod number;
pub mod patch;
mod suggest;
pub mod types;

pub use member::{FromMember, ValidationError, parse_sid};
pub use members::{Completeness, Input, Members, Parsed};
pub use suggest::unknown;
