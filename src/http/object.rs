//! Single objects.

use std::future::{Ready, ready};

use actix_web::body::BoxBody;
use actix_web::dev::Payload;
use actix_web::http::header::{ContentType, HeaderName};
use actix_web::{FromRequest, HttpRequest, HttpResponse, Responder};
use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use uuid::Uuid;

use super::arguments::{Arguments, date};
use super::conditional::{KnownTags, entity_tag};
use super::view::ViewRequest;
use crate::auth::Actor;
use crate::error::ApiError;
use crate::store::{Resource, Store, Stored, WriteResponse};

/// The header of a response that is a stored response.
pub(super) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Returns the committed object.
impl Responder for WriteResponse {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        let Self { body, version, is_replayed } = self;
        let mut response = match body {
            Some(_) => HttpResponse::Ok(),
            None => HttpResponse::NoContent(),
        };
        if let Some(version) = version {
            response.insert_header(entity_tag(&version.to_string()));
        }
        if is_replayed {
            response.insert_header((IDEMPOTENCY_REPLAYED, "true"));
        }
        match body {
            Some(body) => response.content_type(ContentType::json()).body(body),
            None => response.finish(),
        }
    }
}

/// The arguments of a GET of one object, except those of its view.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct ObjectArguments {
    /// The date and time, in ISO 8601, for which to return the object as it was then.
    #[serde(deserialize_with = "date")]
    #[param(example = "2026-11-22T12:00:00.000Z")]
    at: Option<OffsetDateTime>,
}

/// A request for one object of type `R`.
pub struct ObjectRequest<R> {
    view: ViewRequest<R>,
    /// The date of the version to return; `None` for the current version.
    at: Option<OffsetDateTime>,
    /// The versions that the client already has.
    known: KnownTags,
}

impl<R> IntoParams for ObjectRequest<R> {
    fn into_params(parameter_in: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let view = ViewRequest::<R>::into_params(&parameter_in);
        [view, ObjectArguments::into_params(&parameter_in)].concat()
    }
}

impl<R: Resource> ObjectRequest<R> {
    /// Returns the object. A plain object has an entity tag; the response is 304 if the client
    /// already has that version.
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
            return Ok(HttpResponse::Ok().json(&view.of_one(store, actor, past).await?));
        }
        let Stored { object, version, .. } = store.get(actor, sid).await?;
        if !view.is_plain() {
            let object = object.representation()?;
            return Ok(HttpResponse::Ok().json(view.of_one(store, actor, object).await?));
        }
        if !R::has_entity_tag() {
            return Ok(HttpResponse::Ok().json(object));
        }
        Ok(known.respond(&version.to_string(), || object))
    }

    fn parse(request: &HttpRequest) -> Result<Self, ApiError> {
        let arguments = Arguments::of(request)?;
        let ObjectArguments { at } = arguments.read()?;
        let known = KnownTags::of(request)?;
        Ok(Self { view: ViewRequest::of(&arguments)?, at, known })
    }
}

impl<R: Resource> FromRequest for ObjectRequest<R> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::parse(request))
    }
}
