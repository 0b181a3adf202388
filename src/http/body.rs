//! JSON bodies: read within limits, parsed once, and validated member by member.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::{Method, header};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use serde_json::{Map, Value};

use super::content_coding::is_plain;
use super::memory::{MemoryBudget, Reservation};
use super::prefer::Handling;
use super::write::update_options;
use crate::error::{ApiError, FieldError};
use crate::input::json::parse_object;
use crate::input::types::Nested;
use crate::input::{Completeness, Input, Members, Parsed, parse_sid};
use crate::store::{IdempotencyKey, Resource, WriteOptions};

/// The size of the largest body that is read, in bytes.
pub const BODY_LIMIT: usize = 256 * 1024;
/// The longest time that a body takes to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
/// The media types of a PATCH, for `Accept-Patch` (RFC 5789).
const PATCH_FORMATS: &str = "application/json, application/merge-patch+json";

/// The body of a PATCH: a JSON merge patch (RFC 7396) over the writable members of `T`.
pub struct MergePatch<T> {
    /// The changes.
    pub changes: Validated<T>,
    /// The effect of a nested object on the stored one.
    pub nested: Nested,
    /// The options of the write.
    pub options: WriteOptions,
}

/// The body of a PUT: every writable member of `T`.
pub struct Replacement<T> {
    /// The new values of all writable members.
    pub changes: Validated<T>,
    /// The options of the write.
    pub options: WriteOptions,
}

/// The body of a POST: a new `T`. Read-only members have no effect.
pub struct NewObject<T> {
    /// The members of the new object.
    pub input: T,
    /// The options of the write.
    pub options: WriteOptions,
}

/// A body that is valid as a `T`.
pub struct Validated<T> {
    input: T,
    /// Read-only members that must equal the stored ones: `Prefer: handling=strict`.
    must_equal: Map<String, Value>,
}

impl<T> Validated<T> {
    /// Returns the input, if the read-only members that were sent back equal those of `stored`.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with one entry for each that differs, with `Prefer: handling=strict`.
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
            .filter(|(name, sent)| !is_same(sent, stored.get(*name).unwrap_or(&Value::Null)))
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

/// Whether two values are equal. A sid may be in upper case.
fn is_same(sent: &Value, stored: &Value) -> bool {
    let sid = |value: &Value| value.as_str().and_then(parse_sid);
    sent == stored || sid(sent).is_some_and(|sent| sid(stored) == Some(sent))
}

impl<T: Input + Send + 'static> FromRequest for MergePatch<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let options = update_options(request);
        let body = JsonBody::of(request, payload);
        Box::pin(async {
            let (nested, mut options) = options?;
            let changes = body.read(Completeness::Partial, options.key.as_mut()).await?;
            Ok(Self { changes, nested, options })
        })
    }
}

impl<T: Input + Send + 'static> FromRequest for Replacement<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let options = update_options(request);
        let body = JsonBody::of(request, payload);
        Box::pin(async {
            let (_, mut options) = options?;
            let changes = body.read(Completeness::Whole, options.key.as_mut()).await?;
            Ok(Self { changes, options })
        })
    }
}

impl<T: Input + Send + 'static> FromRequest for NewObject<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let options = WriteOptions::from_request(request, payload);
        let body = JsonBody::of(request, payload);
        Box::pin(async {
            let mut options = options.await?;
            let body = body.read(Completeness::Partial, options.key.as_mut()).await?;
            Ok(Self { input: body.input, options })
        })
    }
}

/// A body that is to be read once the arguments and headers of the request are found to be valid.
struct JsonBody<B> {
    bytes: B,
    handling: Option<Handling>,
}

impl JsonBody<()> {
    fn of(
        request: &HttpRequest,
        payload: &mut Payload,
    ) -> JsonBody<impl Future<Output = Result<Body, ApiError>> + use<>> {
        JsonBody { bytes: json(request, payload), handling: Handling::preferred(request.headers()) }
    }
}

impl<B: Future<Output = Result<Body, ApiError>>> JsonBody<B> {
    /// Reads the body as a `T`, and binds the idempotency key to it.
    async fn read<T: Input + Send + 'static>(
        self,
        completeness: Completeness,
        key: Option<&mut IdempotencyKey>,
    ) -> Result<Validated<T>, ApiError> {
        let (body, memory) = self.bytes.await?;
        if let Some(key) = key {
            key.add(&body);
        }
        let lenient = self.handling == Some(Handling::Lenient);
        let parse = move || Members::parse(parse_object(&body)?, completeness, lenient);
        let Parsed { input, echoed } = match memory {
            Some(memory) => parse_off_thread(parse, memory).await?,
            None => parse()?,
        };
        let is_strict = self.handling == Some(Handling::Strict);
        Ok(Validated { input, must_equal: if is_strict { echoed } else { Map::new() } })
    }
}

/// Parses a large body off the serving threads. The task holds its memory and its permits, also if
/// the request has been dropped.
async fn parse_off_thread<T: Send + 'static>(
    parse: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    memory: Reservation,
) -> Result<T, ApiError> {
    let permits = memory.parser().await.map_err(|error| ApiError::Internal(error.into()))?;
    let parsed = tokio::task::spawn_blocking(move || {
        let _held = (memory, permits);
        parse()
    });
    parsed.await.map_err(|error| ApiError::Internal(error.into()))?
}

/// Reads the body: 415 if its media type is not JSON.
fn json(
    request: &HttpRequest,
    payload: &mut Payload,
) -> impl Future<Output = Result<Body, ApiError>> + use<> {
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

/// The bytes of a body, with its memory if it is large.
pub(super) type Body = (web::Bytes, Option<Reservation>);

/// Reads the bytes of the body: 415 if they have a content coding, 413 if there are too many, 408
/// if they do not arrive in time, 429 or 503 if there is no memory for them.
pub(super) fn read(
    request: &HttpRequest,
    payload: &mut Payload,
) -> impl Future<Output = Result<Body, ApiError>> + use<> {
    let is_plain = is_plain(request.headers());
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let largest = length.unwrap_or(u64::MAX).min(BODY_LIMIT as u64);
    let reservation = MemoryBudget::reserve(request, largest);
    let bytes = web::Bytes::from_request(request, payload);
    async move {
        if !is_plain {
            return Err(ApiError::UnsupportedContentCoding);
        }
        let reservation = reservation?;
        let read = tokio::time::timeout(BODY_TIMEOUT, bytes).await;
        let bytes = read.map_err(|_| ApiError::Timeout)?.map_err(|error| unreadable(&error))?;
        Ok((bytes, reservation))
    }
}

fn unreadable(error: &actix_web::Error) -> ApiError {
    match error.as_error::<PayloadError>() {
        Some(PayloadError::Overflow) => ApiError::PayloadTooLarge,
        _ => ApiError::BadRequest(FieldError::general(format!("the body cannot be read: {error}"))),
    }
}
