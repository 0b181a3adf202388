//! Query strings and forms as structs.
//!
//! A struct with `Deserialize` names the arguments, for the code and for the OpenAPI document.
//! serde reads the struct from pairs of text, and an error names the argument.

use std::borrow::Cow;
use std::fmt::Display;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use percent_encoding::percent_decode;
use serde::de::value::MapDeserializer;
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer};
use time::OffsetDateTime;
use url::form_urlencoded;

use crate::error::ApiError;
use crate::input::{FromMember, date, unknown};

/// A name and a value.
type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The arguments of a query string, in the order in which they were sent.
pub(super) struct Arguments<'a>(Vec<Pair<'a>>);

impl<'a> Arguments<'a> {
    /// Returns the arguments of a request.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] if one of them is not UTF-8.
    pub fn of(request: &'a HttpRequest) -> Result<Self, ApiError> {
        pairs(request.query_string().as_bytes()).map(Self)
    }

    /// All arguments, including those without a value.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    fn with_values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs().filter(|(_, value)| !value.is_empty())
    }

    /// Whether an argument of that name has a value.
    pub fn contains(&self, name: &str) -> bool {
        self.with_values().any(|(sent, _)| sent == name)
    }

    /// Reads the arguments of a GET. An argument without a value counts as absent.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] if an argument is invalid or repeated.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        read(self.with_values())
    }

    /// Reads the arguments of a write. An argument without a value is read as the empty text, which
    /// no argument of a write accepts: the client may not mean the default.
    ///
    /// # Errors
    /// As [`Self::read`]. A `T` that denies unknown fields also rejects unknown arguments, because
    /// a misspelt argument would change what is written.
    pub fn read_strictly<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        read(self.pairs())
    }
}

/// Returns the pairs of a name and a value in a query string or a form.
///
/// # Errors
/// [`ApiError::BadRequest`] with the name of the first pair that is not UTF-8. The parser would
/// replace such bytes, so that the argument is another one than the client has sent.
pub(super) fn pairs(encoded: &[u8]) -> Result<Vec<Pair<'_>>, ApiError> {
    let is_invalid = |pair: &&[u8]| percent_decode(pair).decode_utf8().is_err();
    match encoded.split(|byte| *byte == b'&').find(is_invalid) {
        None => Ok(form_urlencoded::parse(encoded).collect()),
        Some(pair) => {
            let name = form_urlencoded::parse(pair).next().map(|(name, _)| name.into_owned());
            Err(ApiError::bad_argument(name.unwrap_or_default(), NOT_UTF_8))
        }
    }
}

/// The error message for bytes that are not UTF-8.
pub(super) const NOT_UTF_8: &str = "must be UTF-8, percent-encoded";

/// The arguments of a read that takes none: they have no effect.
pub struct IgnoredArguments;

impl FromRequest for IgnoredArguments {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Arguments::of(request).map(|_| Self))
    }
}

/// The arguments of a GET that its operation has beyond those of every list or object.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Query<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Arguments::of(request).and_then(|arguments| arguments.read().map(Self)))
    }
}

/// Reads a struct from pairs of a name and a value.
///
/// # Errors
/// [`ApiError::BadRequest`], with the name of the argument that is invalid, repeated or missing.
pub(super) fn read<'a, T: DeserializeOwned>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<T, ApiError> {
    let pairs = MapDeserializer::<_, Rejection>::new(pairs);
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        let path = error.path().to_string();
        let Rejection { argument, message } = error.into_inner();
        ApiError::bad_argument(argument.unwrap_or(path), message)
    })
}

/// The reason why a struct cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Rejection {
    /// The argument; `None` if serde is reading its value, so that the path contains the name.
    argument: Option<String>,
    message: String,
}

impl Rejection {
    fn of(argument: &str, message: impl Into<String>) -> Self {
        Self { argument: Some(argument.to_owned()), message: message.into() }
    }
}

impl de::Error for Rejection {
    fn custom<T: Display>(message: T) -> Self {
        Self { argument: None, message: message.to_string() }
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format!("must be `{}`", expected.join("` or `")))
    }

    fn unknown_field(name: &str, expected: &'static [&'static str]) -> Self {
        Self::of(name, unknown("query argument", name, expected))
    }

    fn missing_field(name: &'static str) -> Self {
        Self::of(name, "must be present")
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::of(name, "is given more than once")
    }
}

/// For `deserialize_with`: a value that need not be sent. Plain text has no form for an `Option`.
pub(crate) fn some<'de, D, T>(value: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(value).map(Some)
}

/// For `deserialize_with`: a value that is valid as the member of a JSON object.
pub(crate) fn member<'de, D, T>(value: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromMember,
{
    let value = T::from_member(String::deserialize(value)?.into());
    value.map(Some).map_err(|error| de::Error::custom(error.message))
}

/// For `deserialize_with`: `true` or `false`.
pub(crate) fn flag<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    let value = String::deserialize(value)?.parse();
    value.map_err(|_| de::Error::custom("must be `true` or `false`"))
}

/// For `deserialize_with`: a date with its time and zone.
pub(super) fn date<'de, D>(value: D) -> Result<Option<OffsetDateTime>, D::Error>
where
    D: Deserializer<'de>,
{
    date::parse(&String::deserialize(value)?).map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        #[serde(deserialize_with = "flag")]
        flag: bool,
        #[serde(deserialize_with = "some")]
        text: Option<String>,
        #[serde(deserialize_with = "member")]
        sid: Option<uuid::Uuid>,
    }

    fn sample(pairs: &[(&str, &str)]) -> Result<Sample, (String, String)> {
        read(pairs.iter().copied()).map_err(|error| {
            let error = error.errors().remove(0);
            (error.field.unwrap_or_default().into_owned(), error.message)
        })
    }

    #[test]
    fn arguments_are_read_by_name() {
        assert_eq!(sample(&[]), Ok(Sample::default()));
        let expected = Sample { flag: true, text: Some("1".to_owned()), sid: None };
        assert_eq!(sample(&[("text", "1"), ("flag", "true")]), Ok(expected));
    }

    #[test]
    fn an_error_names_the_argument_and_what_is_expected() {
        for (pairs, argument, message) in [
            (&[("flag", "yes")][..], "flag", "must be `true` or `false`"),
            (&[("flag", "")], "flag", "must be `true` or `false`"),
            (&[("text", "a"), ("text", "a")], "text", "is given more than once"),
            (&[("sid", "1")], "sid", "must be a sid (a hyphenated UUID)"),
            (&[("flog", "true")], "flog", "unknown query argument; did you mean `flag`?"),
        ] {
            let expected = (argument.to_owned(), message.to_owned());
            assert_eq!(sample(pairs), Err(expected), "{pairs:?}");
        }
    }
}
