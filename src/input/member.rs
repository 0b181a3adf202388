//! Reading one member: its value as a type, or why it is rejected.

use serde_json::Value;
use uuid::Uuid;

/// A type that a member's value can be read as.
pub trait FromMember: Sized {
    /// Reads the value, or says what would be right.
    fn from_member(value: Value) -> Result<Self, ValidationError>;

    /// Whether the value means the same as `null`.
    fn is_null(value: &Value) -> bool {
        value.is_null()
    }
}

/// Why a value was not taken: where inside the member (`.a.b`, or nothing), and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub struct ValidationError {
    /// The path below the member, with a dot before each key; empty for the member itself.
    pub path: String,
    /// What would be right.
    pub message: String,
}

impl From<&str> for ValidationError {
    fn from(message: &str) -> Self {
        Self { path: String::new(), message: message.to_owned() }
    }
}

/// The sid in `text`: a UUID in hyphenated form, in any case.
pub fn parse_sid(text: &str) -> Option<Uuid> {
    // The parser also takes braces, `urn:uuid:` and no hyphens at all, each of another length.
    if text.len() == 36 { text.parse().ok() } else { None }
}

impl FromMember for Uuid {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        value.as_str().and_then(parse_sid).ok_or_else(|| "must be a sid (a hyphenated UUID)".into())
    }
}
