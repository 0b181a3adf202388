//! The members that objects share, each a type that only holds what the contract accepts.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value, json};
use sqlx::types::Json;
use url::Url;
use utoipa::openapi::schema::{AnyOfBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::input::{FromMember, Refusal};
use crate::merge::merge;
use crate::patch::Patch;

/// An object's name: 1 to 255 characters (Unicode scalar values), none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
pub struct Name(String);

impl Default for Name {
    /// What CarrierX calls an object that nobody named.
    fn default() -> Self {
        Self("N/A".to_owned())
    }
}

impl FromMember for Name {
    fn from_member(value: Value) -> Result<Self, Refusal> {
        match value {
            Value::String(text)
                if (1..=255).contains(&text.chars().count())
                    && !text.chars().any(char::is_control) =>
            {
                Ok(Self(text))
            }
            _ => Err("must be a string of 1 to 255 characters, without control characters".into()),
        }
    }
}

/// Where the traffic goes: an absolute `http` or `https` URL, kept as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
// What a regular expression can say of it; the parser says the rest.
#[schema(format = "uri", max_length = 2048, pattern = r"^https?://[^\s@/?#\\]+([/?#\\]\S*)?$")]
pub struct CallbackUrl(String);

/// A callback URL in a request, as the OpenAPI document shows it: `null` and `""` clear it.
pub struct ClearableUrl;

impl PartialSchema for ClearableUrl {
    fn schema() -> RefOr<Schema> {
        let nothing = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .enum_values(Some([json!(""), Value::Null]));
        let url = Ref::from_schema_name(CallbackUrl::name());
        AnyOfBuilder::new().item(url).item(nothing).into()
    }
}

impl ToSchema for ClearableUrl {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((CallbackUrl::name().into_owned(), CallbackUrl::schema()));
    }
}

impl FromMember for CallbackUrl {
    fn from_member(value: Value) -> Result<Self, Refusal> {
        match value {
            Value::String(text) if is_callback_url(&text) => Ok(Self(text)),
            _ => Err("must be an absolute URL that starts with http:// or https://, with a host, without user info, \
                      blanks or control characters, of at most 2048 characters"
                .into()),
        }
    }

    /// Clients clear the URL by an empty string, too.
    fn is_null(value: &Value) -> bool {
        value.is_null() || value == ""
    }
}

fn is_callback_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return false;
    };
    // The parser forgives what a strict reader takes for another host: further slashes, a backslash, blanks, an empty user.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    !authority.is_empty()
        && !authority.contains(['@', '\\'])
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && text.chars().count() <= 2048
        && Url::parse(text).is_ok_and(|url| url.has_host())
}

/// A key of the user's own: at most 255 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(max_length = 255, pattern = r"^[^\u0000]*$")]
pub struct StringKey(String);

impl FromMember for StringKey {
    fn from_member(value: Value) -> Result<Self, Refusal> {
        match value {
            Value::String(text) if text.chars().count() <= 255 => Ok(Self(text)),
            _ => Err("must be a string of at most 255 characters".into()),
        }
    }
}

/// A country, ISO 3166-1 alpha-3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(pattern = "^[A-Z]{3}$")]
pub struct CountryCode(String);

impl Default for CountryCode {
    /// The country of a number for which nobody named one.
    fn default() -> Self {
        Self("USA".to_owned())
    }
}

impl From<CountryCode> for String {
    fn from(country: CountryCode) -> Self {
        country.0
    }
}

impl FromMember for CountryCode {
    fn from_member(value: Value) -> Result<Self, Refusal> {
        match value {
            Value::String(text)
                if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()) =>
            {
                Ok(Self(text))
            }
            _ => Err("must be a country's three capital letters (ISO 3166-1 alpha-3)".into()),
        }
    }
}

/// The free-form, nested object of a short code or a partner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(value_type = Object)]
pub struct Attributes(Json<Map<String, Value>>);

impl Attributes {
    const MAX_BYTES: usize = 64 * 1024;
    const MAX_LEVELS: usize = 32;

    /// Brings the attributes to what the patch says: merged (RFC 7396) or, with [`Nested::Replace`], replaced whole.
    ///
    /// # Errors
    /// A refusal where the outcome would be too large or too deep; the attributes are then of no more use.
    pub fn apply(&mut self, patch: Patch<Self>, nested: Nested) -> Result<(), Refusal> {
        match (patch, nested) {
            (Patch::Absent, _) => return Ok(()),
            (Patch::Null, _) => self.0.clear(),
            (Patch::Value(new), Nested::Replace) => *self = new,
            (Patch::Value(new), Nested::Merge) => merge(&mut self.0, new.0.0),
        }
        if levels(self.0.values()) > Self::MAX_LEVELS {
            return Err("must be nested at most 32 levels deep".into());
        }
        if serde_json::to_string(&self.0).map_or(usize::MAX, |text| text.len()) > Self::MAX_BYTES {
            return Err("must be at most 64 KiB of compact JSON after the change".into());
        }
        Ok(())
    }
}

/// Where events go, by their kind: each an absolute `http` or `https` URL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(value_type = std::collections::BTreeMap<String, CallbackUrl>)]
pub struct Callbacks(Attributes);

impl Callbacks {
    /// Brings the callbacks to what the patch says, as [`Attributes::apply`] does. A `null` always means no URL.
    ///
    /// # Errors
    /// A refusal where there would be too many.
    pub fn apply(&mut self, patch: Patch<Self>, nested: Nested) -> Result<(), Refusal> {
        let patch = match patch {
            Patch::Absent => Patch::Absent,
            Patch::Null => Patch::Null,
            Patch::Value(Self(new)) => Patch::Value(new),
        };
        self.0.apply(patch, nested)?;
        self.0.0.retain(|_, url| !url.is_null());
        Ok(())
    }
}

impl FromMember for Callbacks {
    fn from_member(value: Value) -> Result<Self, Refusal> {
        let Value::Object(mut members) = value else { return Err("must be an object".into()) };
        for (kind, url) in &mut members {
            if CallbackUrl::is_null(url) {
                *url = Value::Null;
            } else {
                CallbackUrl::from_member(url.clone()).map_err(|refusal| refusal.below(kind))?;
            }
        }
        Ok(Self(Attributes(Json(members))))
    }
}

/// What a sent nested object does to the stored one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nested {
    /// It is merged into it.
    #[default]
    Merge,
    /// It takes its place, literal nulls included.
    Replace,
}

impl FromMember for Attributes {
    fn from_member(value: Value) -> Result<Self, Refusal> {
        let Value::Object(mut members) = value else { return Err("must be an object".into()) };
        for (key, value) in &mut members {
            write_numbers_out(value).map_err(|refusal| refusal.below(key))?;
        }
        Ok(Self(Json(members)))
    }
}

impl Refusal {
    fn below(mut self, key: &str) -> Self {
        self.path.insert_str(0, &format!(".{key}"));
        self
    }
}

/// How many levels an object or array with these items has.
fn levels<'a>(items: impl Iterator<Item = &'a Value>) -> usize {
    let below = items.map(|item| match item {
        Value::Array(items) => levels(items.iter()),
        Value::Object(members) => levels(members.values()),
        _ => 0,
    });
    1 + below.max().unwrap_or(0)
}

/// Gives every number the form that `jsonb` keeps.
fn write_numbers_out(value: &mut Value) -> Result<(), Refusal> {
    match value {
        Value::Number(number) => {
            *number = plain_number(number)
                .ok_or("a number must have at most 40 characters when written out")?;
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                write_numbers_out(item).map_err(|refusal| refusal.below(&index.to_string()))?;
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                write_numbers_out(member).map_err(|refusal| refusal.below(key))?;
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
    Ok(())
}

/// The number with its exponent written out, digits kept: `1.10` stays, `1e3` is `1000`, `-0` is `0`.
///
/// `None` where that takes more than 40 characters.
pub fn plain_number(number: &Number) -> Option<Number> {
    const MAX_CHARACTERS: usize = 40;
    let text = number.as_str();
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    // An exponent beyond i64 moves the point out of sight, and moves nothing where every digit is 0.
    let exponent: i64 =
        exponent.parse().unwrap_or(if exponent.starts_with('-') { -1_000 } else { 1_000 });
    let scale = i64::try_from(fraction.len()).ok()?.checked_sub(exponent)?.max(0);
    let zeros = if digits.is_empty() {
        0
    } else {
        exponent.saturating_sub_unsigned(fraction.len() as u64).max(0)
    };
    if scale.max(zeros) > MAX_CHARACTERS as i64 {
        return None;
    }
    let (scale, zeros) = (scale as usize, zeros as usize);
    let digits = format!("{digits}{:0<zeros$}", "");
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let mut plain = String::new();
    if digits.bytes().any(|digit| digit != b'0') {
        plain.push_str(sign);
    }
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    plain.push_str(whole);
    if scale > 0 {
        write!(plain, ".{fraction}").ok()?;
    }
    if plain.len() <= MAX_CHARACTERS { plain.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written_out(number: &str) -> Option<String> {
        plain_number(&serde_json::from_str(number).unwrap()).map(|number| number.to_string())
    }

    #[test]
    fn numbers_keep_value_and_digits() {
        for (sent, kept) in [
            ("9007199254740993", "9007199254740993"),
            ("1.10", "1.10"),
            ("1e3", "1000"),
            ("1E+3", "1000"),
            ("-0", "0"),
            ("-0.0", "0.0"),
            ("-0e7", "0"),
            ("0e99999999999999999999", "0"),
            ("1.5e3", "1500"),
            ("1.10e1", "11.0"),
            ("-1.25e-3", "-0.00125"),
            ("12.5e-1", "1.25"),
            ("0.001e3", "1"),
            ("1e39", "1000000000000000000000000000000000000000"),
        ] {
            assert_eq!(written_out(sent).as_deref(), Some(kept), "{sent}");
        }
    }

    #[test]
    fn a_number_of_more_than_40_characters_is_refused() {
        for sent in ["1e40", "1e-39", "1e131071", "1e99999999999999999999", "-1e39", "0e-100"] {
            assert_eq!(written_out(sent), None, "{sent}");
        }
        assert_eq!(written_out(&"9".repeat(41)), None);
        assert_eq!(written_out(&"9".repeat(40)), Some("9".repeat(40)));
    }

    #[test]
    fn a_callback_url_has_a_host_and_no_user() {
        for good in [
            "http://a",
            "https://example.com:8443/x?y=1#z",
            "http://[::1]:80/",
            "https://münchen.example/ü",
        ] {
            assert!(is_callback_url(good), "{good}");
        }
        for bad in [
            "ftp://a",
            "//a",
            "http:a",
            "http://",
            "http:///a",
            "http://@a",
            "http://u:p@a/",
            "http://a b",
            "http://a/\u{85}",
            "http://a/\n",
            "http://a:99999/",
            "http://\\a",
            "javascript:alert(1)",
        ] {
            assert!(!is_callback_url(bad), "{bad}");
        }
        assert!(is_callback_url(&format!("http://a/{}", "x".repeat(2039))));
        assert!(!is_callback_url(&format!("http://a/{}", "x".repeat(2040))));
    }
}
