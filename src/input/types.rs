//! The types of members. A value of such a type is valid.

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

/// A name: 1 to 255 Unicode scalar values without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
pub struct Name(String);

impl Default for Name {
    /// CarrierX's name of an object that was created without a name.
    fn default() -> Self {
        Self("N/A".to_owned())
    }
}

impl From<Name> for String {
    fn from(Name(text): Name) -> Self {
        text
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

/// An absolute `http` or `https` URL to which events are sent. It is stored as it was received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
// The part of the rules that a regular expression can check.
#[schema(
    format = "uri",
    max_length = 2048,
    pattern = r#"^https?://[!"$&-.0-;=A-Z\[\]_`a-{}~]+([/?#]\S*)?$"#
)]
pub struct CallbackUrl(String);

impl CallbackUrl {
    /// Returns the URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The schema of a callback URL in a request, where `null` and `""` clear it.
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
            Value::String(text) if is_callback_url(&text) => match rewritten_host(&text) {
                None => Ok(Self(text)),
                Some((sent, host)) => {
                    Err(format!("readers of URLs disagree on the host `{sent}`; write `{host}`")
                        .as_str()
                        .into())
                }
            },
            _ => {
                Err("must be an absolute URL of at most 2048 characters that starts with http:// \
                      or https://, with a host, without user info, blanks or control characters"
                    .into())
            }
        }
    }

    /// An empty string clears the URL, as `null` does.
    fn is_null(value: &Value) -> bool {
        value.is_null() || value == ""
    }
}

fn is_callback_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return false;
    };
    // Parsers disagree on the host of a URL with more slashes, a backslash, blanks or an empty
    // user. This one would accept them.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    !authority.is_empty()
        && !authority.contains(['@', '\\'])
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && text.chars().count() <= 2048
        && Url::parse(text).is_ok_and(|url| url.has_host())
}

/// The host of a callback URL, and what the URL parser of the WHATWG makes of it, if they differ in
/// more than the case of letters. Other parsers would find another host, or none: `0177.0.0.1` is
/// 127.0.0.1 or 177.0.0.1.
fn rewritten_host(text: &str) -> Option<(String, String)> {
    let authority = text.split("://").nth(1)?.split(['/', '?', '#']).next()?;
    let port = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    let sent = &authority[..port.unwrap_or(authority.len())];
    let url = Url::parse(text).ok()?;
    let host = url.host_str()?;
    (!sent.eq_ignore_ascii_case(host)).then(|| (sent.to_owned(), host.to_owned()))
}

/// A key that the client chooses: at most 255 characters.
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

/// The code of a country (ISO 3166-1 alpha-3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(pattern = "^[A-Z]{3}$")]
pub struct CountryCode(String);

impl Default for CountryCode {
    /// The country of a number that was created without a country.
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
            _ => Err("must be a country code of three capital letters (ISO 3166-1 alpha-3)".into()),
        }
    }
}

/// A free-form JSON object: the attributes of a short code or a partner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(value_type = std::collections::BTreeMap<String, Value>)]
pub struct Attributes(Json<Map<String, Value>>);

impl Attributes {
    const MAX_BYTES: usize = 64 * 1024;
    const MAX_DEPTH: usize = 32;

    /// Changes the attributes as the patch says. `nested` selects between a merge and a
    /// replacement.
    ///
    /// # Errors
    /// [`ValidationError`] if the result is too large or nested too deep. The attributes are
    /// changed nevertheless, and must not be stored.
    pub fn apply(&mut self, patch: Patch<Self>, nested: Nested) -> Result<(), ValidationError> {
        match (patch, nested) {
            (Patch::Absent, _) => return Ok(()),
            (Patch::Null, _) => self.0.clear(),
            (Patch::Value(new), Nested::Replace) => *self = new,
            (Patch::Value(new), Nested::Merge) => merge(&mut self.0, new.0.0),
        }
        if depth(self.0.values()) > Self::MAX_DEPTH {
            return Err("must be nested at most 32 levels deep".into());
        }
        if serde_json::to_string(&self.0).map_or(usize::MAX, |text| text.len()) > Self::MAX_BYTES {
            return Err("must be at most 64 KiB of compact JSON after the change".into());
        }
        Ok(())
    }
}

/// The transformations of a phone number: a JSON array of any content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(value_type = Vec<Value>)]
pub struct Transformations(Json<Value>);

impl Default for Transformations {
    fn default() -> Self {
        Self(Json(Value::Array(Vec::new())))
    }
}

impl FromMember for Transformations {
    fn from_member(mut value: Value) -> Result<Self, ValidationError> {
        let Value::Array(items) = &value else { return Err("must be an array".into()) };
        if depth(items.iter()) > Attributes::MAX_DEPTH {
            return Err("must be nested at most 32 levels deep".into());
        }
        normalize_numbers(&mut value)?;
        if value.to_string().len() > Attributes::MAX_BYTES {
            return Err("must be at most 64 KiB of compact JSON".into());
        }
        Ok(Self(Json(value)))
    }
}

/// The callback URLs of a partner, by kind of event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(value_type = std::collections::BTreeMap<String, CallbackUrl>)]
pub struct Callbacks(Attributes);

impl Callbacks {
    /// Changes the callbacks as [`Attributes::apply`] does. A `null` deletes a URL in both modes.
    ///
    /// # Errors
    /// [`ValidationError`] if the result is too large.
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
                CallbackUrl::from_member(url.clone()).map_err(|error| error.below(kind))?;
            }
        }
        Ok(Self(Attributes(Json(members))))
    }
}

/// The effect of a nested object in a request on the stored one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nested {
    /// Merges it into the stored one (RFC 7396).
    #[default]
    Merge,
    /// Replaces the stored one. Nulls inside it are stored.
    Replace,
}

impl FromMember for Attributes {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        let Value::Object(mut members) = value else { return Err("must be an object".into()) };
        for (key, value) in &mut members {
            normalize_numbers(value).map_err(|error| error.below(key))?;
        }
        Ok(Self(Json(members)))
    }
}

impl ValidationError {
    /// The same error for the value that contains this one under `key`.
    fn below(mut self, key: &str) -> Self {
        self.path.insert_str(0, &format!(".{key}"));
        self
    }
}

/// The depth of an object or array with these items.
fn depth<'a>(items: impl Iterator<Item = &'a Value>) -> usize {
    let below = items.map(|item| match item {
        Value::Array(items) => depth(items.iter()),
        Value::Object(members) => depth(members.values()),
        _ => 0,
    });
    1 + below.max().unwrap_or(0)
}

/// Replaces every number by the form that `jsonb` stores.
fn normalize_numbers(value: &mut Value) -> Result<(), ValidationError> {
    match value {
        Value::Number(number) => {
            *number = plain_number(number)
                .ok_or("numbers must have at most 40 characters without an exponent")?;
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                normalize_numbers(item).map_err(|error| error.below(&index.to_string()))?;
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                normalize_numbers(member).map_err(|error| error.below(key))?;
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
        for valid in [
            "http://a",
            "https://example.com:8443/x?y=1#z",
            "http://[::1]:80/",
            "https://xn--mnchen-3ya.example/ü",
            "https://EXAMPLE.com.:8443?x",
            "http://127.0.0.1:80#x",
            "http://a:",
            "http://[2001:DB8::1]",
            "http://a_b-c.example",
        ] {
            assert!(is_callback_url(valid), "{valid}");
            assert_eq!(rewritten_host(valid), None, "{valid}");
        }
        for (ambiguous, host) in [
            ("https://0177.0.0.1/", "127.0.0.1"),
            ("https://0x7f.1", "127.0.0.1"),
            ("https://2130706433:80/", "127.0.0.1"),
            ("https://127.1?x", "127.0.0.1"),
            ("https://127.0.0.1./", "127.0.0.1"),
            ("https://%65xample.com/", "example.com"),
            ("https://１.1.1.1/", "1.1.1.1"),
            ("https://münchen.example/ü", "xn--mnchen-3ya.example"),
            ("https://ﬀ.example:1/", "ff.example"),
            ("https://a\u{ad}b.example/", "ab.example"),
            ("https://[0:0::1]/", "[::1]"),
            ("https://[::127.0.0.1]:80/", "[::7f00:1]"),
        ] {
            let rewritten = rewritten_host(ambiguous).map(|(_, host)| host);
            assert_eq!(rewritten.as_deref(), Some(host), "{ambiguous}");
            let error = CallbackUrl::from_member(Value::from(ambiguous)).unwrap_err();
            assert!(error.message.contains(&format!("write `{host}`")), "{}", error.message);
        }
        for invalid in [
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
            assert!(!is_callback_url(invalid), "{invalid}");
        }
        assert!(is_callback_url(&format!("http://a/{}", "x".repeat(2039))));
        assert!(!is_callback_url(&format!("http://a/{}", "x".repeat(2040))));
    }
}
