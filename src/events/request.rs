//! A request for events: its arguments, its format and its token.

use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use serde::Deserialize;
use utoipa::IntoParams;

use super::cursor::Cursor;
use super::follower::Start;
use super::kind::{ObjectKind, TypeFilter};
use crate::auth::{Actor, EventsRead, PartnersRead, PhonenumberRead, Visibility};
use crate::error::ApiError;
use crate::http::{Caller, Limit, accepts, bearer, flag, number, some};
use crate::store::Selection;

/// The most events of a page if the request does not say.
const DEFAULT_LIMIT: i64 = 100;
/// The longest wait, in seconds: shorter than proxies wait for a response.
const MAX_WAIT: i64 = 30;

/// The arguments of a request for events.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub struct EventArguments {
    /// The cursor behind which the page begins: that of the page before or of an event. Without it,
    /// the page begins at the newest event.
    #[serde(deserialize_with = "some")]
    after: Option<String>,
    /// The most events of a page. 0 means the default. Events of types that are not asked for count
    /// too.
    #[param(value_type = i64, minimum = 0, maximum = 1000, default = 100)]
    limit: Limit<DEFAULT_LIMIT>,
    /// `true`: begins with all visible objects, each as an event whose type ends in `.snapshot`.
    #[serde(deserialize_with = "flag")]
    snapshot: bool,
    /// The types of events, separated by commas. By default all.
    #[serde(deserialize_with = "some")]
    #[param(example = "short_code.updated,did.created")]
    types: Option<String>,
    /// How long the response may wait for an event, in seconds.
    #[param(value_type = i64, minimum = 0, maximum = 30, default = 0)]
    wait: Wait,
}

/// How long a response may wait.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(try_from = "String")]
struct Wait(Duration);

impl TryFrom<String> for Wait {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        number(&text, MAX_WAIT).map(|seconds| Self(Duration::from_secs(seconds as u64)))
    }
}

impl EventArguments {
    /// The most events of a page.
    pub fn limit(&self) -> i64 {
        self.limit.0
    }

    /// How long the response may wait.
    pub fn wait(&self) -> Duration {
        self.wait.0
    }

    /// The types of events.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] for an unknown type.
    pub fn types(&self) -> Result<TypeFilter, ApiError> {
        let types = self.types.as_deref().map(TypeFilter::parse);
        types
            .transpose()
            .map(Option::unwrap_or_default)
            .map_err(|message| ApiError::bad_argument("types", message))
    }

    /// Where the reader begins. The header of a client that continues comes first.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] if the cursor cannot be read.
    pub fn start(&self, last_event_id: Option<&str>) -> Result<Start, ApiError> {
        let cursor = |field: &'static str, text: &str| {
            let cursor = Cursor::decode(text).map(Start::After);
            cursor.ok_or_else(|| ApiError::bad_argument(field, "must be a cursor of this feed"))
        };
        match (&self.after, self.snapshot) {
            _ if let Some(id) = last_event_id => cursor("Last-Event-ID", id),
            (Some(_), true) => {
                Err(ApiError::bad_argument("snapshot", "cannot be combined with `after`"))
            }
            (Some(after), false) => cursor("after", after),
            (None, true) => Ok(Start::Snapshot),
            (None, false) => Ok(Start::Now),
        }
    }
}

/// Returns the kinds of objects whose events the caller gets.
///
/// # Errors
/// [`ApiError::Forbidden`] if its token cannot read a kind that it asks for, or none at all.
pub fn selection(caller: &Caller<EventsRead>, types: &TypeFilter) -> Result<Selection, ApiError> {
    let numbers = [ObjectKind::Did, ObjectKind::DidGroup, ObjectKind::ShortCode];
    let permissions: [(&[ObjectKind], Result<Actor, ApiError>); 2] = [
        (&numbers, caller.require::<PhonenumberRead>()),
        (&[ObjectKind::Partner], caller.require::<PartnersRead>()),
    ];
    let mut selection = Selection { own: Vec::new(), descendants: Vec::new() };
    let mut denied = None;
    for (kinds, actor) in permissions {
        let is_wanted = |kind: &&ObjectKind| types.is_empty() || types.names(**kind);
        let names: Vec<_> = kinds.iter().filter(is_wanted).map(|kind| kind.as_str()).collect();
        match actor {
            _ if names.is_empty() => {}
            Ok(actor) => {
                if let Visibility::Subtree(_) = actor.visibility() {
                    selection.descendants.extend(&names);
                }
                selection.own.extend(names);
            }
            Err(error) if !types.is_empty() => return Err(error),
            Err(error) => denied = denied.or(Some(error)),
        }
    }
    match denied {
        Some(error) if selection.own.is_empty() => Err(error),
        _ => Ok(selection),
    }
}

/// The format of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One page.
    Page,
    /// A stream of JSON objects, one on each line.
    Lines,
    /// A stream of server-sent events (HTML Standard, section 9.2).
    ServerSent,
}

/// The headers of a request for events.
pub struct EventHeaders {
    /// The format that `Accept` names.
    pub format: Format,
    /// The cursor behind which a client of a stream continues.
    pub last_event_id: Option<String>,
    /// The bearer token.
    pub token: String,
}

impl FromRequest for EventHeaders {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let headers = request.headers();
        let format = match () {
            () if accepts(headers, "application/x-ndjson") => Format::Lines,
            () if accepts(headers, "text/event-stream") => Format::ServerSent,
            () => Format::Page,
        };
        let id = headers.get("Last-Event-ID").map(|id| id.to_str().map(str::to_owned));
        ready(match id.transpose() {
            Ok(last_event_id) => Ok(Self {
                format,
                last_event_id: last_event_id.filter(|id| !id.is_empty()),
                token: bearer(request).unwrap_or_default().to_owned(),
            }),
            Err(_) => Err(ApiError::bad_argument("Last-Event-ID", "must be a cursor of this feed")),
        })
    }
}
