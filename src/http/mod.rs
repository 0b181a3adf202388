//! What every resource shares on the wire: the parts of a request, and the edge that every answer passes.

mod arguments;
mod body;
mod conditional;
mod edge;
mod form;
mod histories;
mod listing;
mod preferences;
mod proxies;
mod schemas;
mod view;

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use uuid::Uuid;

pub use arguments::{NoArguments, UpdateParameters, WriteArguments, WriteParameters};
pub use body::{BODY_LIMIT, MergePatch, NewObject, Replacement};
pub use edge::{ClientIp, Draining, RequestId, cors, edge, no_store, private, unmatched};
pub use form::Form;
pub use histories::{EntryList, HistoryParameters, HistoryRequest, Reversion};
pub use listing::{ListOf, ListParameters, ListRequest, Listing, Pagination, PublicUrl};
pub use proxies::TrustedProxies;
pub use view::{ObjectRequest, View, ViewParameters};

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
