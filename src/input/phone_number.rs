//! Phone numbers, and their formats for display.
//!
//! A number is checked as a possible one, by its country code and length. Whether it is assigned
//! is not checked: numbering plans change, and fictional numbers such as 555-0100 must work.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber as Parsed, PhoneNumberFormat};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::member::{FromMember, ValidationError};

/// A phone number in E.164, without the plus sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(pattern = "^[1-9][0-9]{1,14}$", example = "15162065574")]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// Parses a number with its country code. A plus sign, blanks, brackets and hyphens can
    /// separate the digits. `None` if it is not possible.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String =
            text.chars().filter(|c| !matches!(c, '+' | ' ' | '(' | ')' | '-')).collect();
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let parsed = parsed(&digits)?;
        if !PHONE_NUMBER_UTIL.is_possible_number(&parsed) {
            return None;
        }
        let canonical = PHONE_NUMBER_UTIL.format(&parsed, PhoneNumberFormat::E164);
        canonical.strip_prefix('+').map(|digits| Self(digits.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The error message for a number that cannot be parsed.
    pub const EXPECTED: &str = "must be a phone number with its country code (E.164), such as \
                                15162065574 or +1 (516) 206-5574";

    fn format(&self, format: PhoneNumberFormat) -> String {
        match parsed(&self.0) {
            Some(parsed) => PHONE_NUMBER_UTIL.format(&parsed, format).into_owned(),
            None => format!("+{}", self.0),
        }
    }
}

fn parsed(digits: &str) -> Option<Parsed> {
    PHONE_NUMBER_UTIL.parse(format!("+{digits}"), None).ok()
}

impl FromMember for PhoneNumber {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        value.as_str().and_then(Self::parse).ok_or_else(|| Self::EXPECTED.into())
    }
}

/// A number as it is written in its own country.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = "(516) 206-5574")]
pub struct InCountryFormat(String);

impl From<PhoneNumber> for InCountryFormat {
    fn from(number: PhoneNumber) -> Self {
        Self(number.format(PhoneNumberFormat::National))
    }
}

/// A number as it is written for other countries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = "+1 516-206-5574")]
pub struct InternationalFormat(String);

impl From<PhoneNumber> for InternationalFormat {
    fn from(number: PhoneNumber) -> Self {
        Self(number.format(PhoneNumberFormat::International))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_possible_but_need_not_be_assigned() {
        for (text, digits) in [
            ("15162065574", "15162065574"),
            ("+1 (516) 206-5574", "15162065574"),
            ("1-516-555-0100", "15165550100"),
            ("+44 20 7183 8750", "442071838750"),
            ("+39 06 1234 5678", "390612345678"),
        ] {
            let parsed = PhoneNumber::parse(text);
            assert_eq!(parsed.as_ref().map(PhoneNumber::as_str), Some(digits), "{text}");
        }
        for text in [
            "",
            "26399",
            "1516206557",
            "151620655741",
            "99912345678",
            "1516206557x",
            "1516.206.5574",
            "１５１６２０６５５７４",
            "1234567890123456",
        ] {
            assert_eq!(PhoneNumber::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_has_two_formats() {
        let number = || PhoneNumber::parse("15162065574").unwrap();
        assert_eq!(InCountryFormat::from(number()).0, "(516) 206-5574");
        assert_eq!(InternationalFormat::from(number()).0, "+1 516-206-5574");
    }
}
