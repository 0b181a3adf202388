//! The history of an object: the list of its entries, and the revert to an earlier version.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::web::Json;
use actix_web::{FromRequest, HttpRequest};
use serde_json::Value;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::items::ItemsRequest;
use super::page::List;
use crate::auth::Actor;
use crate::error::ApiError;
use crate::input::number::whole_number;
use crate::input::{FromMember, Input, Members, ValidationError};
use crate::store::{HistoryEntry, HistoryPage, Resource, Store};

/// A request for the history of an object.
pub struct HistoryRequest(ItemsRequest);

impl IntoParams for HistoryRequest {
    fn into_params(parameter_in: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        ItemsRequest::into_params(parameter_in)
    }
}

impl HistoryRequest {
    /// Returns the requested page of the history of the object of that sid.
    ///
    /// # Errors
    /// As [`Store::history`].
    pub async fn respond<R: Resource>(
        self,
        store: &Store<R>,
        actor: &Actor,
        sid: Uuid,
    ) -> Result<Json<List<HistoryEntry>>, ApiError> {
        let Self(request) = self;
        let (limit, offset) = (request.limit(), request.offset());
        let HistoryPage { entries, total } = store.history(actor, sid, limit, offset).await?;
        request.respond(&entries, total).await
    }

    fn parse(request: &HttpRequest) -> Result<Self, ApiError> {
        let is_known =
            |name: &str| HistoryEntry::MEMBERS.contains(&name) || name.starts_with("changes.");
        ItemsRequest::parse(request, "a history, whose entries are in order of version", is_known)
            .map(Self)
    }
}

impl FromRequest for HistoryRequest {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::parse(request))
    }
}

/// A request to restore an earlier version.
#[derive(Debug, ToSchema)]
pub struct RevertRequest {
    /// A version in the object's history.
    #[schema(value_type = i64, minimum = 1)]
    version: Version,
}

impl RevertRequest {
    /// The version to restore.
    pub fn version(&self) -> i64 {
        self.version.0
    }
}

/// The number of a version.
#[derive(Debug)]
struct Version(i64);

impl FromMember for Version {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        match whole_number(&value) {
            Some(version) if version >= 1 => Ok(Self(version)),
            _ => Err("must be a whole number of at least 1".into()),
        }
    }
}

impl Input for RevertRequest {
    const READ_ONLY: &'static [&'static str] = &[];

    fn take(members: &mut Members) -> Option<Self> {
        Some(Self { version: members.required("version")? })
    }
}
