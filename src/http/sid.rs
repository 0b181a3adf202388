//! The sid in the path.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use uuid::Uuid;

use crate::error::ApiError;
use crate::input::parse_sid;

/// The sid in the path, its only parameter. A malformed sid names no object.
pub struct Sid(pub Uuid);

impl FromRequest for Sid {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let text = request.match_info().iter().next().map(|(_, text)| text);
        ready(text.and_then(parse_sid).map(Self).ok_or(ApiError::NoItem))
    }
}
