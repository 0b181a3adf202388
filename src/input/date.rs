//! Dates as the API tells them: ISO 8601, UTC, milliseconds, `Z`.

use serde::Serializer;
use serde::ser::Error;
use time::OffsetDateTime;
use time::UtcOffset;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Iso8601;
use time::macros::format_description;

const FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// For `#[serde(with = "date")]`.
pub fn serialize<S: Serializer>(date: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    let text = date.to_offset(UtcOffset::UTC).format(FORMAT).map_err(S::Error::custom)?;
    serializer.serialize_str(&text)
}

/// The same for a date that may be null.
pub mod option {
    use super::*;

    /// For `#[serde(with = "date::option")]`.
    pub fn serialize<S: Serializer>(
        date: &Option<OffsetDateTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match date {
            Some(date) => super::serialize(date, serializer),
            None => serializer.serialize_none(),
        }
    }
}

/// Now, to the millisecond: dates are told no finer.
pub fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_millisecond(now.millisecond()).unwrap_or(now)
}

/// Reads an ISO 8601 date with its time and zone.
///
/// # Errors
/// One line that says so.
pub fn parse(text: &str) -> Result<OffsetDateTime, &'static str> {
    let date = OffsetDateTime::parse(text, &Iso8601::DEFAULT).ok();
    date.and_then(|date| date.checked_to_offset(UtcOffset::UTC))
        .filter(|date| (0..=9999).contains(&date.year()))
        .ok_or("must be an ISO 8601 date with its time and zone")
}
