//! JSON bodies: read within limits, parsed once, checked member by member.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::Method;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use serde_json::{Map, Value};

use super::prefer::Handling;
use super::query::WriteArguments;
use crate::error::{ApiError, FieldError};
use crate::input::json::parse_object;
use crate::input::types::Nested;
use crate::input::{Completeness, Input, Members, Parsed, parse_sid};
use crate::store::{Resource, WriteOptions};

/// The largest body that is read, in bytes.
pub const BODY_LIMIT: usize = 256 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
/// What a PATCH takes, as `Accept-Patch` (RFC 5789) says it.
const PATCH_FORMATS: &str = "application/json, application/merge-patch+json";

/// A PATCH: a JSON merge patch (RFC 7396) over the writable members of `T`.
pub struct MergePatch<T> {
    /// What is to be changed.
    pub changes: Validated<T>,
    /// What a sent nested object does to the stored one.
    pub nested: Nested,
    /// On what terms.
    pub options: WriteOptions,
}

/// A PUT: every writable member of `T`.
pub struct Replacement<T> {
    /// What the object is to become.
    pub changes: Validated<T>,
    /// On what terms.
    pub options: WriteOptions,
}

/// A POST: a new `T`, its read-only members of no effect.
pub struct NewObject<T> {
    /// What is asked for.
    pub input: T,
    /// On what terms.
    pub options: WriteOptions,
}

/// A body that was read as `T`.
pub struct Validated<T> {
    input: T,
    /// Read-only members that must say what is stored: `Prefer: handling=strict`.
    must_equal: Map<String, Value>,
}

impl<T> Validated<T> {
    /// The input, once `stored` is known to agree with the read-only members that were sent back.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with one entry for each that differs, under `Prefer: handling=strict`.
    pub fn check_read_only<R: Resource>(&self, stored: &R) -> Result<T, ApiError>
    where
        T: Clone,
    {
        if self.must_equal.is_empty() {
            return Ok(self.input.clone());
        }
        let stored = stored.representation()?.members;
        let differing: Vec<_> = self
            .must_equal
            .iter()
            .filter(|(name, sent)| !is_same(sent, &stored[*name]))
            .map(|(name, _)| {
                FieldError::new(name.clone(), "is read only and differs from the stored value")
            })
            .collect();
        if differing.is_empty() {
            Ok(self.input.clone())
        } else {
            Err(ApiError::Invalid(differing))
        }
    }
}

/// Sids come in any case.
fn is_same(sent: &Value, stored: &Value) -> bool {
    let sid = |value: &Value| value.as_str().and_then(parse_sid);
    sent == stored || sid(sent).is_some_and(|sent| sid(stored) == Some(sent))
}

impl<T: Input + 'static> FromRequest for MergePatch<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let checked = checked(request, payload, Completeness::Partial);
        Box::pin(async {
            let (WriteArguments { nested, options }, changes) = checked.await?;
            Ok(Self { changes, nested, options })
        })
    }
}

impl<T: Input + 'static> FromRequest for Replacement<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let checked = checked(request, payload, Completeness::Whole);
        Box::pin(async {
            let (WriteArguments { options, .. }, changes) = checked.await?;
            Ok(Self { changes, options })
        })
    }
}

impl<T: Input + 'static> FromRequest for NewObject<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let checked = checked(request, payload, Completeness::Partial);
        Box::pin(async {
            let (WriteArguments { options, .. }, Validated { input, .. }) = checked.await?;
            Ok(Self { input, options })
        })
    }
}

/// The arguments and headers of a write are judged before its body is read.
fn checked<T: Input>(
    request: &HttpRequest,
    payload: &mut Payload,
    completeness: Completeness,
) -> impl Future<Output = Result<(WriteArguments, Validated<T>), ApiError>> + use<T> {
    let handling = Handling::preferred(request.headers());
    let arguments = WriteArguments::of(request);
    let body = json(request, payload);
    async move {
        let mut arguments = arguments?;
        let body = body.await?;
        if let Some(key) = &mut arguments.options.key {
            key.add(&body);
        }
        let lenient = handling == Some(Handling::Lenient);
        let Parsed { input, echoed } = Members::parse(parse_object(&body)?, completeness, lenient)?;
        let must_equal = if handling == Some(Handling::Strict) { echoed } else { Map::new() };
        Ok((arguments, Validated { input, must_equal }))
    }
}

/// The body, where it says that it is JSON: else 415.
fn json(
    request: &HttpRequest,
    payload: &mut Payload,
) -> impl Future<Output = Result<web::Bytes, ApiError>> + use<> {
    let accepted = if request.method() == Method::PATCH { PATCH_FORMATS } else { JSON };
    let content_type = request.content_type();
    let is_json = content_type.eq_ignore_ascii_case(JSON)
        || (request.method() == Method::PATCH && content_type.eq_ignore_ascii_case(MERGE_PATCH));
    let bytes = read(request, payload);
    async move {
        if !is_json {
            return Err(ApiError::UnsupportedMediaType { accepted });
        }
        bytes.await
    }
}

/// The bytes of the body: 413 where there are too many, 408 where they do not come.
pub(super) fn read(
    request: &HttpRequest,
    payload: &mut Payload,
) -> impl Future<Output = Result<web::Bytes, ApiError>> + use<> {
    let bytes = web::Bytes::from_request(request, payload);
    async move {
        let read = tokio::time::timeout(BODY_TIMEOUT, bytes).await;
        read.map_err(|_| ApiError::Timeout)?.map_err(|error| unreadable(&error))
    }
}

fn unreadable(error: &actix_web::Error) -> ApiError {
    match error.as_error::<PayloadError>() {
        Some(PayloadError::Overflow) => ApiError::PayloadTooLarge,
        _ => ApiError::BadRequest(FieldError::general(format!("the body cannot be read: {error}"))),
    }
}
