//! Dates in JSON: ISO 8601, UTC, milliseconds, `Z`.

use time::format_description::well_known::Iso8601;
use time::{OffsetDateTime, UtcOffset};

pub(crate) use milliseconds::{option, serialize};

// The `Z` is literal: every date of the service is in UTC.
time::serde::format_description!(
    version = 2,
    milliseconds,
    OffsetDateTime,
    "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
);

/// Returns the current date without the digits below the millisecond, which JSON does not show.
pub fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_millisecond(now.millisecond()).unwrap_or(now)
}

/// Returns the text of a date, as JSON shows it.
pub fn text(date: OffsetDateTime) -> String {
    match serialize(&date, serde_json::value::Serializer) {
        Ok(serde_json::Value::String(text)) => text,
        _ => date.to_string(),
    }
}

/// Parses an ISO 8601 date with time and zone. The result is in UTC.
///
/// # Errors
/// A message that says what was expected.
pub fn parse(text: &str) -> Result<OffsetDateTime, &'static str> {
    let date = OffsetDateTime::parse(text, &Iso8601::DEFAULT).ok();
    date.and_then(|date| date.checked_to_offset(UtcOffset::UTC))
        .filter(|date| (0..=9999).contains(&date.year()))
        .ok_or("must be an ISO 8601 date with its time and zone")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn dates_are_serialized_in_utc_with_milliseconds() {
        let date = datetime!(2026-01-02 03:04:05.006_789 UTC);
        let text = serialize(&date, serde_json::value::Serializer).unwrap();
        assert_eq!(text, json!("2026-01-02T03:04:05.006Z"));
        let text = option::serialize(&Some(date), serde_json::value::Serializer).unwrap();
        assert_eq!(text, json!("2026-01-02T03:04:05.006Z"));
        let null = option::serialize(&None, serde_json::value::Serializer).unwrap();
        assert_eq!(null, json!(null));
    }

    #[test]
    fn parsed_dates_are_in_utc() {
        let date = parse("2026-01-02T03:04:05.006+02:00").unwrap();
        assert_eq!((date.offset(), date), (UtcOffset::UTC, datetime!(2026-01-02 01:04:05.006 UTC)));
    }
}
