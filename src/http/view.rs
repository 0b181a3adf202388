//! What a reader wants to see of an object: some of its members, its owner.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::marker::PhantomData;

use actix_web::body::BoxBody;
use actix_web::dev::Payload;
use actix_web::http::header::{self, ContentType};
use actix_web::{FromRequest, HttpRequest, HttpResponse, Responder};
use serde_json::{Map, Value};
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::IntoParams;
use uuid::Uuid;

use super::arguments::Arguments;
use super::conditional::{self, entity_tag};
use crate::auth::Actor;
use crate::date;
use crate::error::ApiError;
use crate::list::Selection;
use crate::partners::Partner;
use crate::store::{self, Answer, Precondition, Resource, Stored};

/// The committed row is the answer.
impl Responder for Answer {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        let Self { body, version, is_replayed } = self;
        let mut response = match body {
            Some(_) => HttpResponse::Ok(),
            None => HttpResponse::NoContent(),
        };
        if let Some(version) = version {
            response.insert_header((header::ETAG, entity_tag(version)));
        }
        if is_replayed {
            response.insert_header(("Idempotency-Replayed", "true"));
        }
        match body {
            Some(body) => response.content_type(ContentType::json()).body(body),
            None => response.finish(),
        }
    }
}

/// The query arguments of a GET of one object.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a schema alone: arguments are read one by one")]
pub struct ViewParameters {
    /// Whether to add `partner`, the owner.
    with_related: Option<bool>,
    /// The members to show, with commas between them; a dot leads into a nested object.
    #[param(example = "name,callback_url")]
    include_fields: Option<String>,
    /// The members to hide.
    #[param(example = "partner_sid")]
    exclude_fields: Option<String>,
    /// Shows the object as it was at that time, ISO 8601.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-11-22T12:00:00.000Z")]
    at: Option<String>,
}

/// What a reader wants to see of objects of kind `R`.
pub struct View<R> {
    selection: Selection,
    with_related: bool,
    of: PhantomData<R>,
}

/// A GET of one object of kind `R`.
pub struct ObjectRequest<R> {
    view: View<R>,
    /// The time at which it is to be shown, where that is not now.
    at: Option<OffsetDateTime>,
    /// The versions that the client has already.
    known: Precondition,
}

impl<R: Resource> ObjectRequest<R> {
    /// The answer: of a plain request with an entity tag, or 304 where the client has that version. `now` reads the object as it
    /// is now.
    ///
    /// # Errors
    /// As [`store::get`] and [`store::at`].
    pub async fn answer(
        self,
        db: &PgPool,
        actor: &Actor,
        sid: Uuid,
        now: impl Future<Output = Result<Stored<R>, ApiError>>,
    ) -> Result<HttpResponse, ApiError> {
        let Self { view, at, known } = self;
        if let Some(at) = at {
            let past = store::at::<R>(db, actor, sid, at).await?;
            return Ok(HttpResponse::Ok().json(&view.show(db, actor, vec![past]).await?[0]));
        }
        let Stored { object, version, .. } = now.await?;
        if !view.is_plain() {
            let shown = view.show(db, actor, vec![(object.partner_sid(), object.members()?)]);
            return Ok(HttpResponse::Ok().json(&shown.await?[0]));
        }
        let tag = (header::ETAG, entity_tag(version));
        Ok(if known.names(version) {
            HttpResponse::NotModified().insert_header(tag).finish()
        } else {
            HttpResponse::Ok().insert_header(tag).json(object)
        })
    }

    fn parse(request: &HttpRequest) -> Result<Self, ApiError> {
        let arguments = Arguments::of(request);
        let at = arguments.get("at")?.map(date::parse).transpose();
        let at = at.map_err(|message| ApiError::bad_argument("at", message))?;
        let known = conditional::if_none_match(request.headers())?;
        Ok(Self { view: View::parse(&arguments)?, at, known })
    }
}

impl<R: Resource> FromRequest for ObjectRequest<R> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::parse(request))
    }
}

impl<R: Resource> View<R> {
    pub(super) fn parse(arguments: &Arguments) -> Result<Self, ApiError> {
        let with_related = arguments.flag("with_related")? && R::is_owned();
        let shows = |name: &str| {
            let related = name.strip_prefix("partner").map(|key| key.strip_prefix('.'));
            R::shows(name)
                || (with_related && related.is_some_and(|key| key.is_none_or(Partner::shows)))
        };
        let selection = arguments.selection(shows)?;
        Ok(Self { selection, with_related, of: PhantomData })
    }

    /// Whether everything of an object is shown, and nothing else.
    fn is_plain(&self) -> bool {
        self.selection.is_everything() && !self.with_related
    }

    /// What is shown of each of `objects`, given as their owners and members.
    pub(super) async fn show(
        &self,
        db: &PgPool,
        actor: &Actor,
        objects: Vec<(Uuid, Map<String, Value>)>,
    ) -> Result<Vec<Map<String, Value>>, ApiError> {
        let owners = if self.with_related {
            owners(db, actor, objects.iter().map(|(owner, _)| *owner).collect()).await?
        } else {
            HashMap::new()
        };
        let shown = objects.into_iter().map(|(owner, mut members)| {
            if self.with_related {
                let owner = owners.get(&owner).cloned();
                members.insert("partner".to_owned(), owner.unwrap_or(Value::Null));
            }
            self.selection.apply(members)
        });
        Ok(shown.collect())
    }
}

/// The partners of these sids, as far as the actor reaches them.
async fn owners(
    db: &PgPool,
    actor: &Actor,
    mut sids: Vec<Uuid>,
) -> Result<HashMap<Uuid, Value>, ApiError> {
    sids.sort();
    sids.dedup();
    let owners = store::some::<Partner>(db, actor, &sids).await?;
    owners
        .into_iter()
        .map(|owner| Ok((owner.partner_sid, Value::Object(owner.members()?))))
        .collect()
}
