//! The history of an object: the list of its entries, and the revert to an earlier version.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::web::Json;
use actix_web::{FromRequest, HttpRequest};
use serde_json::Value;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::arguments::Arguments;
use super::fields::{FieldArguments, Selection};
use super::page::{Envelope, Links, List, PageArguments};
use super::view::View;
use crate::auth::Actor;
use crate::error::ApiError;
use crate::input::{FromMember, Input, Members, ValidationError};
use crate::store::{HistoryEntry, HistoryPage, Resource, Store};

/// A request for the history of an object.
pub struct HistoryRequest {
    limit: i64,
    offset: i64,
    counts: bool,
    selection: Selection,
    links: Links,
}

impl IntoParams for HistoryRequest {
    fn into_params(parameter_in: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let page = PageArguments::into_params(&parameter_in);
        [page, FieldArguments::into_params(&parameter_in)].concat()
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
        let Self { limit, offset, counts, selection, links } = self;
        let HistoryPage { entries, total } = store.history(actor, sid, limit, offset).await?;
        let has_more = offset.saturating_add(entries.len() as i64) < total && !entries.is_empty();
        let mut items = Vec::with_capacity(entries.len());
        for entry in &entries {
            items.push(if selection.is_everything() {
                View::new(entry)?
            } else {
                View::new(&selection.apply(entry.members()?))?
            });
            tokio::task::yield_now().await;
        }
        // The page may end before its limit.
        let next = offset.saturating_add(items.len() as i64);
        Ok(Json(List(Envelope {
            count: entries.len(),
            has_more,
            items,
            limit,
            offset,
            pagination: links.by_offset(limit, offset, has_more.then_some(next)),
            total: counts.then_some(total),
        })))
    }

    fn parse(request: &HttpRequest) -> Result<Self, ApiError> {
        let arguments = Arguments::of(request)?;
        for name in ["after", "before", "filter", "order"] {
            if arguments.contains(name) {
                let message = "does not apply to a history, whose entries are in order of version";
                return Err(ApiError::bad_argument(name, message));
            }
        }
        let PageArguments { limit, offset, total } = arguments.read()?;
        let is_known =
            |name: &str| HistoryEntry::MEMBERS.contains(&name) || name.starts_with("changes.");
        Ok(Self {
            limit: limit.0,
            offset: offset.0,
            counts: total.0,
            selection: arguments.read::<FieldArguments>()?.selection(is_known)?,
            links: Links::of(request, &arguments),
        })
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
        match value.as_i64() {
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
