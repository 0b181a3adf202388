//! The types of members that only phone numbers have.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::input::{FromMember, ValidationError};

/// Where a number is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(rename_all = "lowercase", type_name = "text")]
pub enum DidStatus {
    /// It can be rented.
    Available,
    /// It is rented.
    Assigned,
    /// It was released and cannot be rented yet.
    Aging,
}

/// What a number can do: the sum of 1 (SMS in), 2 (SMS out), 4 (voice), 8 (MMS in) and 16 (MMS
/// out).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema,
)]
#[sqlx(transparent)]
#[schema(minimum = 0, maximum = 2_147_483_647)]
pub struct Capabilities(i32);

impl FromMember for Capabilities {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        // JSON Schema counts `4.0` as an integer.
        let is_valid =
            |bits: &f64| bits.fract() == 0.0 && (0.0..=f64::from(i32::MAX)).contains(bits);
        let bits = value.as_f64().filter(is_valid).map(|bits| Self(bits as i32));
        bits.ok_or_else(|| "must be a whole number from 0 to 2147483647".into())
    }
}

/// The price of a number: a decimal number as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(pattern = r"^[0-9]{1,12}(\.[0-9]{1,12})?$", example = "0.6")]
pub struct Price(String);

impl FromMember for Price {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        let is_digits = |text: &str| {
            (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        match value {
            Value::String(text)
                if text.split_once('.').map_or_else(
                    || is_digits(&text),
                    |(whole, fraction)| is_digits(whole) && is_digits(fraction),
                ) =>
            {
                Ok(Self(text))
            }
            _ => Err("must be a decimal number in a string, such as \"0.6\"".into()),
        }
    }
}
