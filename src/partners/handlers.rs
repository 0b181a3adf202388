//! The endpoints of partners.

use actix_web::web::Json;
use actix_web::{HttpResponse, get, patch, post, put, web};
use sqlx::PgPool;

use super::{NewPartner, Partner, PartnerChanges, Party};
use crate::auth::{Caller, PartnersCreate, PartnersRead, PartnersUpdate};
use crate::error::{ApiError, ErrorBody};
use crate::fields::Nested;
use crate::http::{
    ListOf, ListParameters, ListRequest, Listing, MergePatch, NewObject, NoArguments, Replacement,
    Sid, View, ViewParameters, WriteArguments,
};
use crate::store::{self, Stored};

/// The caller's own partner and its descendants, a page at a time.
#[utoipa::path(
    tag = "Partners",
    params(ListParameters),
    security(("bearer" = ["partners.manage"]), ("bearer" = ["partners.read"])),
    responses((status = OK, body = ListOf<Partner>), (status = "default", body = ErrorBody)),
)]
#[get("/partners")]
pub async fn list_partners(
    caller: Caller<PartnersRead>,
    list: ListRequest<Partner>,
    db: web::Data<PgPool>,
) -> Result<Json<Listing>, ApiError> {
    list.answer(&db, &caller).await
}

/// The partner of that sid: the caller's own, or a descendant of it.
#[utoipa::path(
    tag = "Partners",
    params(("partner_sid" = Uuid, Path, description = "The partner secure ID"), ViewParameters),
    security(("bearer" = ["partners.manage"]), ("bearer" = ["partners.read"])),
    responses((status = OK, body = Partner), (status = "default", body = ErrorBody)),
)]
#[get("/partners/{partner_sid}")]
pub async fn get_partner(
    caller: Caller<PartnersRead>,
    sid: Sid,
    view: View<Partner>,
    db: web::Data<PgPool>,
) -> Result<HttpResponse, ApiError> {
    view.answer(&db, &caller, store::get(&**db, &caller, sid.0).await?).await
}

/// Creates a sub-partner.
#[utoipa::path(
    tag = "Partners",
    request_body = NewPartner,
    security(("bearer" = ["partners.manage"]), ("bearer" = ["partners.create"])),
    responses((status = OK, body = Partner), (status = "default", body = ErrorBody)),
)]
#[post("/partners")]
pub async fn post_partner(
    caller: Caller<PartnersCreate>,
    _: NoArguments,
    body: NewObject<NewPartner>,
    db: web::Data<PgPool>,
) -> Result<Stored<Partner>, ApiError> {
    let mut tx = db.begin().await?;
    let partner = body.0.build(&mut tx, &caller).await?;
    let created = store::create_one(&mut tx, &caller, partner).await?;
    tx.commit().await?;
    Ok(created)
}

/// Changes the members that are sent: a JSON merge patch, RFC 7396.
#[utoipa::path(
    tag = "Partners",
    params(
        ("partner_sid" = Uuid, Path, description = "The partner secure ID"),
        ("nested_objects" = Option<String>, Query, description = "`replace`: sent objects replace the stored ones"),
    ),
    request_body(
        description = "The members to change",
        content((PartnerChanges = "application/json"), (PartnerChanges = "application/merge-patch+json")),
    ),
    security(("bearer" = ["partners.manage"]), ("bearer" = ["partners.update"])),
    responses((status = OK, body = Partner), (status = "default", body = ErrorBody)),
)]
#[patch("/partners/{partner_sid}")]
pub async fn patch_partner(
    caller: Caller<PartnersUpdate>,
    sid: Sid,
    arguments: WriteArguments,
    body: MergePatch<PartnerChanges>,
    db: web::Data<PgPool>,
) -> Result<Stored<Partner>, ApiError> {
    let party = Party::of(&caller, sid.0, &**db).await?;
    store::update(&**db, &caller, sid.0, |partner: &mut Partner| {
        partner.change(body.0.against(partner)?, arguments.nested, &party)
    })
    .await
}

/// Replaces the partner: every writable member must be sent, but for those that only an ancestor changes.
#[utoipa::path(
    tag = "Partners",
    params(
        ("partner_sid" = Uuid, Path, description = "The partner secure ID"),
        ("nested_objects" = Option<String>, Query, description = "Only `replace`, which a PUT does anyway"),
    ),
    request_body = PartnerChanges,
    security(("bearer" = ["partners.manage"]), ("bearer" = ["partners.update"])),
    responses((status = OK, body = Partner), (status = "default", body = ErrorBody)),
)]
#[put("/partners/{partner_sid}")]
pub async fn put_partner(
    caller: Caller<PartnersUpdate>,
    sid: Sid,
    _: WriteArguments,
    body: Replacement<PartnerChanges>,
    db: web::Data<PgPool>,
) -> Result<Stored<Partner>, ApiError> {
    let party = Party::of(&caller, sid.0, &**db).await?;
    store::update(&**db, &caller, sid.0, |partner: &mut Partner| {
        partner.change(body.0.against(partner)?, Nested::Replace, &party)
    })
    .await
}
