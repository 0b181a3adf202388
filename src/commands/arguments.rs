//! Parsers of arguments that several commands have.

use anyhow::ensure;
use serde_json::Value;
use uuid::Uuid;

use crate::auth::{Scope, Scopes};
use crate::input::types::Name;
use crate::input::{FromMember, parse_sid};
use crate::partners::Partner;

/// Parses a sid.
pub(super) fn sid(text: &str) -> Result<Uuid, String> {
    parse_sid(text).ok_or_else(|| "a sid is a hyphenated UUID".to_owned())
}

/// Parses a name.
pub(super) fn name(text: &str) -> Result<Name, String> {
    Name::from_member(Value::from(text)).map_err(|error| error.message)
}

/// Returns the requested scopes, or all scopes of the partner if none are requested.
///
/// # Errors
/// If the partner does not have one of them.
pub(super) fn scopes(partner: &Partner, requested: Vec<Scope>) -> anyhow::Result<Scopes> {
    if requested.is_empty() {
        return Ok(partner.available_scopes.clone());
    }
    for scope in &requested {
        ensure!(
            partner.available_scopes.contains(*scope),
            "the partner does not have the scope {}; it has {}",
            scope.as_str(),
            partner.available_scopes.as_str()
        );
    }
    Ok(requested.into_iter().collect())
}
