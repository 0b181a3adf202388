//! The endpoints of partners.

use actix_web::web::Json;
use actix_web::{HttpResponse, get, patch, post, put, web};
use sqlx::PgPool;

use super::{NewPartner, Partner, PartnerChanges, Party};
use crate::auth::{Caller, PartnersCreate, PartnersRead, PartnersUpdate};
use crate::error::ApiError;
use crate::fields::Nested;
use crate::http::{
    ListOf, ListParameters, ListRequest, Listing, MergePatch, NewObject, ObjectRequest,
    Replacement, Sid, UpdateParameters, View, ViewParameters, WriteParameters,
};
use crate::store::{self, Answer};

// What the OpenAPI document calls the bodies.
type PartnerList = ListOf<Partner>;
type PartnerView = View<Partner>;
type NewPartnerBody = NewObject<NewPartner>;
type PartnerPatch = MergePatch<PartnerChanges>;
type PartnerReplacement = Replacement<PartnerChanges>;

/// The caller's own partner and its descendants, a page at a time.
#[utoipa::path(
    tag = "Partners",
    params(ListParameters),
    security(("bearer" = ["partners.manage"]), ("bearer" = ["partners.read"])),
    responses((status = OK, body = PartnerList)),
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
    responses((status = OK, body = PartnerView)),
)]
#[get("/partners/{partner_sid}")]
pub async fn get_partner(
    caller: Caller<PartnersRead>,
    sid: Sid,
    object: ObjectRequest<Partner>,
    db: web::Data<PgPool>,
) -> Result<HttpResponse, ApiError> {
    object.answer(&db, &caller, sid.0, store::get(&**db, &caller, sid.0)).await
}

/// Creates a sub-partner.
#[utoipa::path(
    tag = "Partners",
    params(WriteParameters),
    request_body = NewPartnerBody,
    security(("bearer" = ["partners.manage"]), ("bearer" = ["partners.create"])),
    responses((status = OK, body = Partner)),
)]
#[post("/partners")]
pub async fn post_partner(
    caller: Caller<PartnersCreate>,
    body: NewObject<NewPartner>,
    db: web::Data<PgPool>,
) -> Result<Answer, ApiError> {
    let NewObject { input, terms } = body;
    store::create(&db, &caller, &terms, async |tx| input.build(tx, &caller).await).await
}

/// Changes the members that are sent: a JSON merge patch, RFC 7396.
#[utoipa::path(
    tag = "Partners",
    params(("partner_sid" = Uuid, Path, description = "The partner secure ID"), UpdateParameters),
    request_body = PartnerPatch,
    security(("bearer" = ["partners.manage"]), ("bearer" = ["partners.update"])),
    responses((status = OK, body = Partner)),
)]
#[patch("/partners/{partner_sid}")]
pub async fn patch_partner(
    caller: Caller<PartnersUpdate>,
    sid: Sid,
    body: MergePatch<PartnerChanges>,
    db: web::Data<PgPool>,
) -> Result<Answer, ApiError> {
    let party = Party::of(&caller, sid.0, &**db).await?;
    let MergePatch { changes, nested, terms } = body;
    let change =
        move |partner: &mut Partner| partner.change(changes.against(partner)?, nested, &party);
    store::update_alone(&db, &caller, sid.0, &terms, change).await
}

/// Replaces the partner: every writable member must be sent, but for those that only an ancestor changes.
#[utoipa::path(
    tag = "Partners",
    params(("partner_sid" = Uuid, Path, description = "The partner secure ID"), UpdateParameters),
    request_body = PartnerReplacement,
    security(("bearer" = ["partners.manage"]), ("bearer" = ["partners.update"])),
    responses((status = OK, body = Partner)),
)]
#[put("/partners/{partner_sid}")]
pub async fn put_partner(
    caller: Caller<PartnersUpdate>,
    sid: Sid,
    body: Replacement<PartnerChanges>,
    db: web::Data<PgPool>,
) -> Result<Answer, ApiError> {
    let party = Party::of(&caller, sid.0, &**db).await?;
    let Replacement { changes, terms } = body;
    let change = move |partner: &mut Partner| {
        partner.change(changes.against(partner)?, Nested::Replace, &party)
    };
    store::update_alone(&db, &caller, sid.0, &terms, change).await
}
