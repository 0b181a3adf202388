//! What every resource shares on the wire: the parts of a request, and the edge that every answer passes.

mod arguments;
mod body;
mod edge;
mod form;
mod preferences;
mod proxies;

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use uuid::Uuid;

pub use arguments::WriteArguments;
pub use body::{BODY_LIMIT, MergePatch, NewObject, Replacement, parse_object};
pub use edge::{ClientIp, Draining, RequestId, edge, no_store, private, unmatched};
pub use form::Form;
pub use proxies::TrustedProxies;

use crate::error::ApiError;
use crate::input::parse_sid;

/// The sid in the path, its only parameter. A malformed one names nothing.
pub struct Sid(pub Uuid);

impl FromRequest for Sid {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let text = request.match_info().iter().next().map(|(_, text)| text);
        ready(text.and_then(parse_sid).map(Self).ok_or(ApiError::NoItem))
    }
}
