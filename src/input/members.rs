//! Reading the members of a JSON object as typed input: each is taken by name, and all errors are
//! returned at once.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::member::{FromMember, ValidationError};
use super::patch::Patch;
use super::suggest::{LONGEST_NAME, unknown};
use crate::error::{ApiError, FieldError};

/// The most unknown members that are reported one by one.
const MAX_UNKNOWN: usize = 100;

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
    pub fn omittable<T: FromMember>(&mut self, name: &'static str) -> Option<T> {
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
            .map_err(|ValidationError { path, message }| {
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
        let untold = left.len().saturating_sub(MAX_UNKNOWN);
        if untold > 0 && !ignore_unknown {
            self.errors.push(FieldError::general(format!("{untold} more members are unknown")));
        }
        for (name, value) in
            left.into_iter().take(if ignore_unknown { usize::MAX } else { MAX_UNKNOWN })
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

/// A name of a client's, cut where it is far longer than any of ours.
fn told(name: String) -> String {
    match name.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}
