//! From the members of a JSON object to typed input: each is taken out by name, all errors are told at once.

use std::borrow::Cow;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{ApiError, FieldError};
use crate::patch::Patch;

/// The most unknown members that are told one by one.
const MOST_TOLD: usize = 100;
/// The most characters of an unknown name that are told.
const LONGEST_TOLD: usize = 64;

/// A type that a member's value can be read as.
pub trait FromMember: Sized {
    /// Reads the value, or says what would be right.
    fn from_member(value: Value) -> Result<Self, Refusal>;

    /// Whether the value means the same as `null`.
    fn is_null(value: &Value) -> bool {
        value.is_null()
    }
}

/// Why a value was not taken: where inside the member (`.a.b`, or nothing), and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The path below the member, with a dot before each key; empty for the member itself.
    pub path: String,
    /// What would be right.
    pub message: String,
}

impl From<&str> for Refusal {
    fn from(message: &str) -> Self {
        Self { path: String::new(), message: message.to_owned() }
    }
}

/// What a kind of body holds: the changes of an update, or a new object.
pub trait Input: Sized {
    /// Members of the object that a client may send back, with no effect.
    const READ_ONLY: &'static [&'static str];

    /// Takes the members out, one by one. `None` only where an error was noted.
    fn take(members: &mut Members) -> Option<Self>;
}

/// Whether every writable member must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// PATCH and POST: what is absent keeps its value or its default.
    Partial,
    /// PUT.
    Whole,
}

/// Input together with what else was in the body.
#[derive(Debug)]
pub struct Parsed<T> {
    /// What the body asks for.
    pub input: T,
    /// The read-only members that were sent back.
    pub echoed: Map<String, Value>,
}

/// The members of a body that nobody has taken yet, and what was wrong with those that were taken.
#[derive(Debug)]
pub struct Members {
    left: Map<String, Value>,
    completeness: Completeness,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl Members {
    /// Reads the members of `object` as `T`.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with one entry for each member that is missing, of the wrong type or, unless
    /// `ignore_unknown`, unknown.
    pub fn parse<T: Input>(
        object: Map<String, Value>,
        completeness: Completeness,
        ignore_unknown: bool,
    ) -> Result<Parsed<T>, ApiError> {
        let mut members =
            Self { left: object, completeness, known: Vec::new(), errors: Vec::new() };
        let input = T::take(&mut members);
        let echoed = members.take_read_only(T::READ_ONLY);
        members.finish(ignore_unknown);
        match input {
            Some(input) if members.errors.is_empty() => Ok(Parsed { input, echoed }),
            _ => Err(ApiError::Invalid(members.errors)),
        }
    }

    /// The members that must be there for `T` to be read.
    pub fn needed<T: Input>(completeness: Completeness) -> Vec<String> {
        let mut members =
            Self { left: Map::new(), completeness, known: Vec::new(), errors: Vec::new() };
        T::take(&mut members);
        members.errors.into_iter().filter_map(|error| error.field).map(Cow::into_owned).collect()
    }

    /// A member that can be null.
    pub fn nullable<T: FromMember>(&mut self, name: &'static str) -> Patch<T> {
        match self.remove(name) {
            None => Patch::Absent,
            Some(value) if T::is_null(&value) => Patch::Null,
            Some(value) => self.read(name, value).map_or(Patch::Absent, Patch::Value),
        }
    }

    /// A member that cannot be null.
    pub fn optional<T: FromMember>(&mut self, name: &'static str) -> Option<T> {
        let value = self.remove(name)?;
        if T::is_null(&value) {
            self.errors.push(FieldError::new(name, "cannot be null"));
            return None;
        }
        self.read(name, value)
    }

    /// A member that must be there.
    pub fn required<T: FromMember>(&mut self, name: &'static str) -> Option<T> {
        if !self.left.contains_key(name) && self.completeness == Completeness::Partial {
            self.errors.push(FieldError::new(name, "must be present"));
        }
        self.optional(name)
    }

    /// A member that cannot be null and that even a PUT may leave out.
    pub fn voluntary<T: FromMember>(&mut self, name: &'static str) -> Option<T> {
        if self.left.contains_key(name) {
            return self.optional(name);
        }
        self.known.push(name);
        None
    }

    fn remove(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        let value = self.left.remove(name);
        if value.is_none() && self.completeness == Completeness::Whole {
            self.errors.push(FieldError::new(name, "must be present in a PUT"));
        }
        value
    }

    fn read<T: FromMember>(&mut self, name: &'static str, value: Value) -> Option<T> {
        if self.refuse_nul(name, &value) {
            return None;
        }
        T::from_member(value)
            .map_err(|Refusal { path, message }| {
                self.errors.push(FieldError::new(format!("{name}{path}"), message));
            })
            .ok()
    }

    fn take_read_only(&mut self, names: &[&'static str]) -> Map<String, Value> {
        self.known.extend(names);
        let echoed: Map<_, _> =
            names.iter().filter_map(|name| self.left.remove_entry(*name)).collect();
        for (name, value) in &echoed {
            self.refuse_nul(name, value);
        }
        echoed
    }

    fn finish(&mut self, ignore_unknown: bool) {
        let left = std::mem::take(&mut self.left);
        let untold = left.len().saturating_sub(MOST_TOLD);
        if untold > 0 && !ignore_unknown {
            self.errors.push(FieldError::general(format!("{untold} more members are unknown")));
        }
        for (name, value) in
            left.into_iter().take(if ignore_unknown { usize::MAX } else { MOST_TOLD })
        {
            if !ignore_unknown {
                let message = unknown("member", &name, &self.known);
                self.errors.push(FieldError::new(told(name), message));
            } else {
                self.refuse_nul(&name, &value);
            }
        }
    }

    /// PostgreSQL's text holds every character but U+0000.
    fn refuse_nul(&mut self, name: &str, value: &Value) -> bool {
        let hit = name.contains('\0') || holds_nul(value);
        if hit {
            let message = r"must not contain the character \u0000";
            self.errors.push(FieldError::new(told(name.to_owned()), message));
        }
        hit
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => {
            members.iter().any(|(key, value)| key.contains('\0') || holds_nul(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Says that nothing is called `name`, and what is called nearly so.
pub fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    // Far longer than any of ours, a name is near to none; and comparing it would take long.
    if name.len() > LONGEST_TOLD || known.is_empty() {
        return format!("unknown {what}");
    }
    let nearest = known.iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
    format!("unknown {what}; did you mean `{}`?", nearest.unwrap_or(&""))
}

/// A name of a client's, cut where it is far longer than any of ours.
fn told(name: String) -> String {
    match name.char_indices().nth(LONGEST_TOLD) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

/// The sid in `text`: a UUID in hyphenated form, in any case.
pub fn parse_sid(text: &str) -> Option<Uuid> {
    // The parser also takes braces, `urn:uuid:` and no hyphens at all, each of another length.
    if text.len() == 36 { text.parse().ok() } else { None }
}

impl FromMember for Uuid {
    fn from_member(value: Value) -> Result<Self, Refusal> {
        value.as_str().and_then(parse_sid).ok_or_else(|| "must be a sid (a hyphenated UUID)".into())
    }
}
