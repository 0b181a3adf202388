//! The sid in the path.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use crate::error::{ApiError, FieldError};
use crate::input::parse_sid;

const NOT_UTF_8_PATH: &str = "the path must be UTF-8, percent-encoded";

/// The sid in the path, its only parameter. A malformed sid names no object. A path that is not
/// UTF-8 is a 400: the router would replace its bytes.
pub struct Sid(pub Uuid);

impl FromRequest for Sid {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        if percent_decode_str(request.uri().path()).decode_utf8().is_err() {
            return ready(Err(ApiError::BadRequest(FieldError::general(NOT_UTF_8_PATH))));
        }
        let text = request.match_info().iter().next().map(|(_, text)| text);
        ready(text.and_then(parse_sid).map(Self).ok_or(ApiError::NoItem))
    }
}
