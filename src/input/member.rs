//! Conversion of one member's value to a type.

use serde_json::Value;
use uuid::Uuid;

/// A type of members.
pub trait FromMember: Sized {
    /// Converts the value of a member.
    ///
    /// # Errors
    /// [`ValidationError`] if the value is not valid.
    fn from_member(value: Value) -> Result<Self, ValidationError>;

    /// Returns whether the value has the meaning of `null`.
    fn is_null(value: &Value) -> bool {
        value.is_null()
    }
}

/// The error for a value that is not valid.
#[derive(Debug, PartialEq, Eq)]
pub struct ValidationError {
    /// The path of the value inside the member, such as `.a.b`; empty for the member itself.
    pub path: String,
    /// A description of the values that are valid.
    pub message: String,
}

impl From<&str> for ValidationError {
    fn from(message: &str) -> Self {
        Self { path: String::new(), message: message.to_owned() }
    }
}

/// Parses a sid: a hyphenated UUID in upper or lower case.
pub fn parse_sid(text: &str) -> Option<Uuid> {
    // The parser also accepts braces, `urn:uuid:` and no hyphens, all of which have other lengths.
    if text.len() == 36 { text.parse().ok() } else { None }
}

impl FromMember for Uuid {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        value.as_str().and_then(parse_sid).ok_or_else(|| "must be a sid (a hyphenated UUID)".into())
    }
}

impl FromMember for bool {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        value.as_bool().ok_or_else(|| "must be `true` or `false`".into())
    }
}
