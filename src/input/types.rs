//! The members that objects share, each a type that only holds what the contract accepts.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::types::Json;
use url::Url;
use utoipa::openapi::schema::{AnyOfBuilder, Schema, Type};
use utoipa::openapi::{ObjectBuilder, Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::member::{FromMember, ValidationError};
use super::merge::merge;
use super::number::plain_number;
use super::patch::Patch;

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
    fn from_member(value: Value) -> Result<Self, ValidationError> {
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
        let url = Ref::from_schema_name(CallbackUrl::name());
        let empty = ObjectBuilder::new().schema_type(Type::String).max_length(Some(0));
        let null = ObjectBuilder::new().schema_type(Type::Null);
        AnyOfBuilder::new().item(url).item(empty).item(null).into()
    }
}

impl ToSchema for ClearableUrl {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((CallbackUrl::name().into_owned(), CallbackUrl::schema()));
    }
}

impl FromMember for CallbackUrl {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
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
    fn from_member(value: Value) -> Result<Self, ValidationError> {
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
    fn from_member(value: Value) -> Result<Self, ValidationError> {
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
#[schema(value_type = std::collections::BTreeMap<String, Value>)]
pub struct Attributes(Json<Map<String, Value>>);

impl Attributes {
    const MAX_BYTES: usize = 64 * 1024;
    const MAX_LEVELS: usize = 32;

    /// Brings the attributes to what the patch says: merged (RFC 7396) or, with [`Nested::Replace`], replaced whole.
    ///
    /// # Errors
    /// A refusal where the outcome would be too large or too deep; the attributes are then of no more use.
    pub fn apply(&mut self, patch: Patch<Self>, nested: Nested) -> Result<(), ValidationError> {
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
    pub fn apply(&mut self, patch: Patch<Self>, nested: Nested) -> Result<(), ValidationError> {
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
    fn from_member(value: Value) -> Result<Self, ValidationError> {
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
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        let Value::Object(mut members) = value else { return Err("must be an object".into()) };
        for (key, value) in &mut members {
            write_numbers_out(value).map_err(|refusal| refusal.below(key))?;
        }
        Ok(Self(Json(members)))
    }
}

impl ValidationError {
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
fn write_numbers_out(value: &mut Value) -> Result<(), ValidationError> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
