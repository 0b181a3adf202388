//! What a reader wants to see of an object: some of its members, its owner.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::marker::PhantomData;

use actix_web::body::BoxBody;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, HttpResponse, Responder};
use serde_json::{Map, Value};
use sqlx::PgPool;
use utoipa::IntoParams;
use uuid::Uuid;

use super::arguments::Arguments;
use crate::auth::Actor;
use crate::error::ApiError;
use crate::list::Selection;
use crate::partners::Partner;
use crate::store::{self, Resource, Stored};

/// The row is the answer.
impl<R: Resource> Responder for Stored<R> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::Ok().json(self.object)
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
}

/// What a reader wants to see of objects of kind `R`.
pub struct View<R> {
    selection: Selection,
    with_related: bool,
    of: PhantomData<R>,
}

impl<R: Resource> View<R> {
    pub(super) fn parse(arguments: &Arguments) -> Result<Self, ApiError> {
        let with_related = arguments.flag("with_related")? && R::is_owned();
        let shows = |name: &str| {
            let related = name.strip_prefix("partner").map(|key| key.strip_prefix('.'));
            R::shows(name)
                || (with_related && related.is_some_and(|key| key.is_none_or(Partner::shows)))
        };
        let mut selection = Selection::default();
        for name in ["include_fields", "includeFields"] {
            if let Some(names) = arguments.get(name)? {
                selection
                    .include(names, shows)
                    .map_err(|message| ApiError::bad_argument(name, message))?;
            }
        }
        for name in ["exclude_fields", "excludeFields"] {
            if let Some(names) = arguments.get(name)? {
                selection
                    .exclude(names, shows)
                    .map_err(|message| ApiError::bad_argument(name, message))?;
            }
        }
        Ok(Self { selection, with_related, of: PhantomData })
    }

    /// The answer to a GET of one object.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn answer(
        self,
        db: &PgPool,
        actor: &Actor,
        stored: Stored<R>,
    ) -> Result<HttpResponse, ApiError> {
        if self.selection.is_everything() && !self.with_related {
            return Ok(HttpResponse::Ok().json(stored.object));
        }
        Ok(HttpResponse::Ok().json(&self.show(db, actor, &[stored.object]).await?[0]))
    }

    /// What is shown of each of `objects`.
    pub(super) async fn show(
        &self,
        db: &PgPool,
        actor: &Actor,
        objects: &[R],
    ) -> Result<Vec<Map<String, Value>>, ApiError> {
        let owners =
            if self.with_related { owners(db, actor, objects).await? } else { HashMap::new() };
        objects
            .iter()
            .map(|object| {
                let mut members = object.members()?;
                if self.with_related {
                    let owner = owners.get(&object.partner_sid()).cloned();
                    members.insert("partner".to_owned(), owner.unwrap_or(Value::Null));
                }
                Ok(self.selection.apply(members))
            })
            .collect()
    }
}

/// The owners of these objects, all of which the actor reaches, by their sids.
async fn owners<R: Resource>(
    db: &PgPool,
    actor: &Actor,
    objects: &[R],
) -> Result<HashMap<Uuid, Value>, ApiError> {
    let mut sids: Vec<Uuid> = objects.iter().map(Resource::partner_sid).collect();
    sids.sort();
    sids.dedup();
    let owners = store::some::<Partner>(db, actor, &sids).await?;
    owners
        .into_iter()
        .map(|owner| Ok((owner.partner_sid, Value::Object(owner.members()?))))
        .collect()
}

impl<R: Resource> FromRequest for View<R> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::parse(&Arguments::of(request)))
    }
}
