//! What a reader wants to see of an object: some of its members, its owner.

use std::future::{Ready, ready};

use actix_web::body::BoxBody;
use actix_web::dev::Payload;
use actix_web::http::header::{self, ContentType};
use actix_web::{FromRequest, HttpRequest, HttpResponse, Responder};
use time::OffsetDateTime;
use utoipa::IntoParams;
use uuid::Uuid;

use super::conditional::{self, entity_tag};
use super::fields::View;
use super::query::Arguments;
use crate::auth::Actor;
use crate::error::ApiError;
use crate::input::date;
use crate::store::{Precondition, Resource, Store, Stored, WriteResponse};

/// The committed row is the answer.
impl Responder for WriteResponse {
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

/// A GET of one object of kind `R`.
pub struct ObjectRequest<R> {
    view: View<R>,
    /// The time at which it is to be shown, where that is not now.
    at: Option<OffsetDateTime>,
    /// The versions that the client has already.
    known: Precondition,
}

impl<R: Resource> ObjectRequest<R> {
    /// Returns the object: with an entity tag if it is plain, or 304 if the client has that version.
    ///
    /// # Errors
    /// As [`Store::get`] and [`Store::at`].
    pub async fn respond(
        self,
        store: &Store<R>,
        actor: &Actor,
        sid: Uuid,
    ) -> Result<HttpResponse, ApiError> {
        let Self { view, at, known } = self;
        if let Some(date) = at {
            let past = store.at(actor, sid, date).await?;
            return Ok(HttpResponse::Ok().json(&view.show(store, actor, vec![past]).await?[0]));
        }
        let Stored { object, version, .. } = store.get(actor, sid).await?;
        if !view.is_plain() {
            let shown = view.show(store, actor, vec![object.representation()?]).await?;
            return Ok(HttpResponse::Ok().json(&shown[0]));
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
