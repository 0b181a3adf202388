//! Parsers of arguments that several commands have.

use std::time::Duration;

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

/// Parses a duration of at most a year, such as `30m`: a number with the unit s, m, h or d.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
    let parsed = UNITS.into_iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(seconds).filter(|seconds| *seconds <= 365 * 86_400)
    });
    let expected = "expected a duration such as 90s, 30m, 12h or 7d, at most 365d";
    parsed.map(Duration::from_secs).ok_or_else(|| expected.to_owned())
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
            partner.available_scopes.covers(*scope),
            "the partner does not have the scope {}; it has {}",
            scope.as_str(),
            partner.available_scopes.as_str()
        );
    }
    Ok(requested.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_number_and_a_unit() {
        let seconds = |text| duration(text).ok().map(|duration| duration.as_secs());
        for (text, expected) in [("0s", 0), ("90s", 90), ("30m", 1_800), ("7d", 604_800)] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for text in ["", "5", "m", "-1h", "1.5h", "366d", "1 h", "99999999999999999999d"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
