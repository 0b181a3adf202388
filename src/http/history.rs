//! The history of an object on the wire: its list, and the way back.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::web::Json;
use actix_web::{FromRequest, HttpRequest};
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::fields::Selection;
use super::list::{Links, Listing};
use super::query::{Arguments, page};
use crate::auth::Actor;
use crate::error::ApiError;
use crate::input::{FromMember, Input, Members, ValidationError};
use crate::store::{Action, HistoryPage, Resource, Store};

/// What happened to an object, as the OpenAPI document shows it: all of it, unless less was asked for.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema alone: entries are shown as they were written")]
pub struct Entry {
    /// What was done.
    #[schema(required = false)]
    action: Action,
    /// The members that it changed.
    #[schema(required = false)]
    changes: std::collections::BTreeMap<String, Change>,
    /// When it was done.
    #[schema(required = false)]
    date: OffsetDateTime,
    /// From where; `null` at the command line.
    ip: Option<String>,
    /// The partner whose token did it; `null` for the operator at the command line.
    partner_sid: Option<Uuid>,
    /// The `X-Request-Id` of the request.
    request_id: Option<String>,
    /// The token that did it, where it has a sid.
    token_sid: Option<Uuid>,
    /// The version that the object had after it.
    #[schema(required = false)]
    version: i64,
}

/// A member before and after.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema alone")]
struct Change {
    /// After the change.
    after: Value,
    /// Before the change.
    before: Value,
}

/// A history as the OpenAPI document shows it.
pub struct EntryList;

/// The query arguments of a history.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a schema alone: arguments are read one by one")]
pub struct HistoryParameters {
    /// How many entries a page has at most; 0 means the default.
    #[param(minimum = 0, maximum = 1000, default = 10)]
    limit: Option<i64>,
    /// How many entries to skip.
    #[param(minimum = 0, maximum = 9_223_372_036_854_775_807_i64)]
    offset: Option<i64>,
    /// The members to show, with commas between them; a dot leads into `changes`.
    #[param(example = "changes,version")]
    include_fields: Option<String>,
    /// The members to hide.
    #[param(example = "ip")]
    exclude_fields: Option<String>,
}

/// A request for the history of an object.
pub struct HistoryRequest {
    limit: i64,
    offset: i64,
    selection: Selection,
    links: Links,
}

const MEMBERS: [&str; 8] =
    ["action", "changes", "date", "ip", "partner_sid", "request_id", "token_sid", "version"];

impl HistoryRequest {
    /// The page that is asked for, of the history of the object of that sid.
    ///
    /// # Errors
    /// As [`Store::history`].
    pub async fn respond<R: Resource>(
        self,
        store: &Store<R>,
        actor: &Actor,
        sid: Uuid,
    ) -> Result<Json<Listing>, ApiError> {
        let Self { limit, offset, selection, links } = self;
        let HistoryPage { entries, total } = store.history(actor, sid, limit, offset).await?;
        let has_more = offset.saturating_add(entries.len() as i64) < total && !entries.is_empty();
        Ok(Json(Listing {
            count: entries.len(),
            has_more,
            items: entries.into_iter().map(|entry| selection.apply(entry)).collect(),
            limit,
            offset,
            pagination: links.by_offset(limit, offset, has_more),
            total,
        }))
    }

    fn parse(request: &HttpRequest) -> Result<Self, ApiError> {
        let arguments = Arguments::of(request);
        for name in ["after", "before", "filter", "order"] {
            if arguments.get(name)?.is_some() {
                let message = "is no argument of a history, which is told oldest first";
                return Err(ApiError::bad_argument(name, message));
            }
        }
        let (limit, offset) = page(&arguments)?;
        let shows = |name: &str| MEMBERS.contains(&name) || name.starts_with("changes.");
        let selection = arguments.selection(shows)?;
        Ok(Self { limit, offset, selection, links: Links::of(request, &arguments) })
    }
}

impl FromRequest for HistoryRequest {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::parse(request))
    }
}

/// The version that an object is to be brought back to.
#[derive(Debug, ToSchema)]
pub struct RevertRequest {
    /// One of its history.
    #[schema(value_type = i64, minimum = 1)]
    version: Version,
}

impl RevertRequest {
    /// The version.
    pub fn version(&self) -> i64 {
        self.version.0
    }
}

#[derive(Debug)]
struct Version(i64);

impl FromMember for Version {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        match value.as_i64() {
            Some(version) if version >= 1 => Ok(Self(version)),
            _ => Err("must be a whole number from 1 on".into()),
        }
    }
}

impl Input for RevertRequest {
    const READ_ONLY: &'static [&'static str] = &[];

    fn take(members: &mut Members) -> Option<Self> {
        Some(Self { version: members.required("version")? })
    }
}
