//! The arguments and headers of writes. An unknown argument is rejected, because a misspelt
//! argument would change what is written.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::{FromRequest, HttpRequest};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::arguments::{Arguments, flag, some};
use super::auth::requires_if_match;
use super::conditional;
use super::content_coding::is_plain;
use crate::error::ApiError;
use crate::input::types::Nested;
use crate::store::{EntityTags, IdempotencyKey, WriteOptions};

/// The arguments of a PATCH or a PUT.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateArguments {
    /// `replace`: a nested object in the body replaces the stored one, as it always does in a PUT.
    #[serde(deserialize_with = "some")]
    nested_objects: Option<NestedObjects>,
    /// Whether the request is a dry run: every check runs, and nothing is saved.
    #[serde(deserialize_with = "flag")]
    validate_only: bool,
}

/// How a PATCH applies nested objects, if it does not merge them.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum NestedObjects {
    /// The nested object in the body replaces the stored one.
    Replace,
}

/// The arguments of a POST or a DELETE.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub struct WriteArguments {
    /// Whether the request is a dry run: every check runs, and nothing is saved.
    #[serde(deserialize_with = "flag")]
    validate_only: bool,
}

/// The arguments of a form: none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

impl FromRequest for NoArguments {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Arguments::of(request).and_then(|arguments| arguments.read_strictly()))
    }
}

/// The effect of a nested object and the options of a PATCH or a PUT.
///
/// # Errors
/// [`ApiError::BadRequest`] if an argument or a header is invalid,
/// [`ApiError::PreconditionRequired`] if the caller's partner requires `If-Match` and the request
/// has none.
pub(super) fn update_options(request: &HttpRequest) -> Result<(Nested, WriteOptions), ApiError> {
    let UpdateArguments { nested_objects, validate_only } =
        Arguments::of(request)?.read_strictly()?;
    let nested = match nested_objects {
        Some(NestedObjects::Replace) => Nested::Replace,
        None => Nested::Merge,
    };
    Ok((nested, options(request, validate_only)?))
}

/// The options of a POST or a DELETE.
impl FromRequest for WriteOptions {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let arguments = Arguments::of(request).and_then(|arguments| arguments.read_strictly());
        let options = arguments
            .and_then(|WriteArguments { validate_only }| options(request, validate_only))
            .and_then(|options| {
                let is_plain = is_plain(request.headers());
                if is_plain { Ok(options) } else { Err(ApiError::UnsupportedContentCoding) }
            });
        ready(options)
    }
}

fn options(request: &HttpRequest, validate_only: bool) -> Result<WriteOptions, ApiError> {
    let preconditions = conditional::preconditions(request.headers())?;
    let key = idempotency_key(request)?;
    // A POST creates an object, which has no version yet, or restores one, which may be deleted.
    // The store checks the partner's requirement for the rest.
    let is_conditional = request.method() != Method::POST;
    let names_none = preconditions.if_match == EntityTags::None;
    if is_conditional && names_none && requires_if_match(request) {
        return Err(ApiError::PreconditionRequired);
    }
    Ok(WriteOptions { preconditions, key, validate_only })
}

/// The `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header), bound to method, path and
/// query string. The body is added once it has been read.
fn idempotency_key(request: &HttpRequest) -> Result<Option<IdempotencyKey>, ApiError> {
    const NAME: &str = "Idempotency-Key";
    let mut sent = request.headers().get_all(NAME);
    let Some(key) = sent.next() else { return Ok(None) };
    let is_alone = sent.next().is_none();
    let key = key.as_bytes();
    if !is_alone || !(1..=255).contains(&key.len()) || !key.iter().all(u8::is_ascii_graphic) {
        let message = "must be sent once, with 1 to 255 visible ASCII characters";
        return Err(ApiError::bad_argument(NAME, message));
    }
    let mut key = IdempotencyKey::new(String::from_utf8_lossy(key).into_owned());
    key.add(request.method().as_str().as_bytes());
    key.add(request.path().as_bytes());
    key.add(request.query_string().as_bytes());
    Ok(Some(key))
}
