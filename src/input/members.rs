//! Reading of JSON objects as typed input.
//!
//! An [`Input`] takes its members from [`Members`] one by one. All errors are collected and
//! returned together.

use std::borrow::Cow;
use std::mem;

use serde_json::{Map, Value};

use super::member::{FromMember, ValidationError};
use super::patch::Patch;
use super::suggest::{MAX_NAME_LENGTH, unknown};
use crate::error::{ApiError, FieldError};

/// The most unknown members that are reported individually.
const MAX_UNKNOWN: usize = 100;

/// The content of a body: the changes of an update, or a new object.
pub trait Input: Sized {
    /// Members of the object that a client may send back, without effect.
    const READ_ONLY: &'static [&'static str];

    /// Takes the members. `None` if a required member is missing or not valid, which is an error of
    /// `members`.
    fn take(members: &mut Members) -> Option<Self>;
}

/// Whether all writable members are required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// PATCH and POST: an absent member has its current value or its default.
    Partial,
    /// PUT: all members are required.
    Whole,
}

/// The result of parsing a body.
#[derive(Debug)]
pub struct Parsed<T> {
    /// The typed input.
    pub input: T,
    /// The read-only members that the client sent back.
    pub echoed: Map<String, Value>,
}

/// The members of a body that were not taken yet, and the errors of those that were.
#[derive(Debug)]
pub struct Members {
    remaining: Map<String, Value>,
    completeness: Completeness,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl Members {
    /// Reads the members of `object` as `T`.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with one entry for each member that is missing, not valid or, unless
    /// `ignore_unknown`, unknown.
    pub fn parse<T: Input>(
        object: Map<String, Value>,
        completeness: Completeness,
        ignore_unknown: bool,
    ) -> Result<Parsed<T>, ApiError> {
        let mut members = Self::of(object, completeness);
        let input = T::take(&mut members);
        let echoed = members.take_read_only(T::READ_ONLY);
        members.finish(ignore_unknown);
        match input {
            Some(input) if members.errors.is_empty() => Ok(Parsed { input, echoed }),
            _ => Err(ApiError::Invalid(members.errors)),
        }
    }

    /// Returns the names of the members that `T` requires.
    pub fn needed<T: Input>(completeness: Completeness) -> Vec<String> {
        let mut members = Self::of(Map::new(), completeness);
        T::take(&mut members);
        members.errors.into_iter().filter_map(|error| error.field).map(Cow::into_owned).collect()
    }

    fn of(object: Map<String, Value>, completeness: Completeness) -> Self {
        Self { remaining: object, completeness, known: Vec::new(), errors: Vec::new() }
    }

    /// Takes a member that can be null.
    pub fn nullable<T: FromMember>(&mut self, name: &'static str) -> Patch<T> {
        match self.remove(name) {
            None => Patch::Absent,
            Some(value) if T::is_null(&value) => Patch::Null,
            Some(value) => self.read(name, value).map_or(Patch::Absent, Patch::Value),
        }
    }

    /// Takes a member that cannot be null.
    pub fn not_null<T: FromMember>(&mut self, name: &'static str) -> Option<T> {
        let value = self.remove(name)?;
        if T::is_null(&value) {
            self.errors.push(FieldError::new(name, "cannot be null"));
            return None;
        }
        self.read(name, value)
    }

    /// Takes a member that is required and cannot be null.
    pub fn required<T: FromMember>(&mut self, name: &'static str) -> Option<T> {
        if !self.remaining.contains_key(name) && self.completeness == Completeness::Partial {
            self.errors.push(FieldError::new(name, "must be present"));
        }
        self.not_null(name)
    }

    /// Takes a member that cannot be null and that not even a PUT requires.
    pub fn omittable<T: FromMember>(&mut self, name: &'static str) -> Option<T> {
        if self.remaining.contains_key(name) {
            return self.not_null(name);
        }
        self.known.push(name);
        None
    }

    fn remove(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        let value = self.remaining.remove(name);
        if value.is_none() && self.completeness == Completeness::Whole {
            self.errors.push(FieldError::new(name, "must be present in a PUT"));
        }
        value
    }

    fn read<T: FromMember>(&mut self, name: &'static str, value: Value) -> Option<T> {
        if self.reject_nul(name, &value) {
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
            names.iter().filter_map(|name| self.remaining.remove_entry(*name)).collect();
        for (name, value) in &echoed {
            self.reject_nul(name, value);
        }
        echoed
    }

    /// Handles the members that were not taken: they are unknown.
    fn finish(&mut self, ignore_unknown: bool) {
        let remaining = mem::take(&mut self.remaining);
        if ignore_unknown {
            for (name, value) in &remaining {
                self.reject_nul(name, value);
            }
            return;
        }
        let more = remaining.len().saturating_sub(MAX_UNKNOWN);
        if more > 0 {
            self.errors.push(FieldError::general(format!("{more} more members are unknown")));
        }
        for name in remaining.into_iter().map(|(name, _)| name).take(MAX_UNKNOWN) {
            let message = unknown("member", &name, &self.known);
            self.errors.push(FieldError::new(shortened(name), message));
        }
    }

    /// Adds an error if the name or the value contains U+0000, which PostgreSQL cannot store.
    fn reject_nul(&mut self, name: &str, value: &Value) -> bool {
        let is_rejected = name.contains('\0') || contains_nul(value);
        if is_rejected {
            let message = r"must not contain the character \u0000";
            self.errors.push(FieldError::new(shortened(name.to_owned()), message));
        }
        is_rejected
    }
}

fn contains_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(contains_nul),
        Value::Object(members) => {
            members.iter().any(|(key, value)| key.contains('\0') || contains_nul(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Shortens a client's name for an error.
fn shortened(name: String) -> String {
    match name.char_indices().nth(MAX_NAME_LENGTH) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}
