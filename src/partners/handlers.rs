//! The endpoints of partners.

use actix_web::web::Json;
use actix_web::{HttpResponse, get, patch, post, put, web};

use super::{DescendantLimit, NewPartner, Partner, PartnerChanges, Party};
use crate::auth::{PartnersCreate, PartnersRead, PartnersUpdate};
use crate::error::ApiError;
use crate::http::{
    Caller, List, ListRequest, MergePatch, NewObject, ObjectRequest, Replacement, Sid,
    UpdateArguments, View, WriteArguments,
};
use crate::input::types::Nested;
use crate::store::{Store, WriteResponse};

// The names of the bodies in the OpenAPI document.
type PartnerList = List<Partner>;
type PartnerView = View<Partner>;
type NewPartnerBody = NewObject<NewPartner>;
type PartnerPatch = MergePatch<PartnerChanges>;
type PartnerReplacement = Replacement<PartnerChanges>;

/// Returns a page of the caller's own partner and its descendants.
#[utoipa::path(
    tag = "Partners",
    params(ListRequest<Partner>),
    security(("bearer" = ["partners.manage"]), ("bearer" = ["partners.read"])),
    responses((status = OK, body = PartnerList)),
)]
#[get("/partners")]
pub async fn list_partners(
    caller: Caller<PartnersRead>,
    list: ListRequest<Partner>,
    store: web::Data<Store<Partner>>,
) -> Result<Json<List<Partner>>, ApiError> {
    list.respond(&store, &caller).await
}

/// Returns the partner of that sid: the caller's own partner or a descendant.
#[utoipa::path(
    tag = "Partners",
    params(
        ("partner_sid" = Uuid, Path, description = "The partner secure ID"),
        ObjectRequest<Partner>,
    ),
    security(("bearer" = ["partners.manage"]), ("bearer" = ["partners.read"])),
    responses((status = OK, body = PartnerView)),
)]
#[get("/partners/{partner_sid}")]
pub async fn get_partner(
    caller: Caller<PartnersRead>,
    sid: Sid,
    object: ObjectRequest<Partner>,
    store: web::Data<Store<Partner>>,
) -> Result<HttpResponse, ApiError> {
    object.respond(&store, &caller, sid.0).await
}

/// Creates a sub-partner.
#[utoipa::path(
    tag = "Partners",
    params(WriteArguments),
    request_body = NewPartnerBody,
    security(("bearer" = ["partners.manage"]), ("bearer" = ["partners.create"])),
    responses((status = OK, body = Partner)),
)]
#[post("/partners")]
pub async fn post_partner(
    caller: Caller<PartnersCreate>,
    body: NewObject<NewPartner>,
    store: web::Data<Store<Partner>>,
    limit: web::Data<DescendantLimit>,
) -> Result<WriteResponse, ApiError> {
    let NewObject { input, options } = body;
    store.create(&caller, &options, async |tx| input.build(tx, &caller, **limit).await).await
}

/// Changes the members that are sent: a JSON merge patch, RFC 7396.
#[utoipa::path(
    tag = "Partners",
    params(("partner_sid" = Uuid, Path, description = "The partner secure ID"), UpdateArguments),
    request_body = PartnerPatch,
    security(("bearer" = ["partners.manage"]), ("bearer" = ["partners.update"])),
    responses((status = OK, body = Partner)),
)]
#[patch("/partners/{partner_sid}")]
pub async fn patch_partner(
    caller: Caller<PartnersUpdate>,
    sid: Sid,
    body: MergePatch<PartnerChanges>,
    store: web::Data<Store<Partner>>,
) -> Result<WriteResponse, ApiError> {
    let party = Party::of(&caller, sid.0);
    let MergePatch { changes, nested, options } = body;
    let change = move |partner: &mut Partner| {
        partner.change(changes.check_read_only(partner)?, nested, &party)
    };
    store.update(&caller, sid.0, options, change).await
}

/// Replaces the partner. Every writable member is required, except those that only an ancestor can
/// change.
#[utoipa::path(
    tag = "Partners",
    params(("partner_sid" = Uuid, Path, description = "The partner secure ID"), UpdateArguments),
    request_body = PartnerReplacement,
    security(("bearer" = ["partners.manage"]), ("bearer" = ["partners.update"])),
    responses((status = OK, body = Partner)),
)]
#[put("/partners/{partner_sid}")]
pub async fn put_partner(
    caller: Caller<PartnersUpdate>,
    sid: Sid,
    body: Replacement<PartnerChanges>,
    store: web::Data<Store<Partner>>,
) -> Result<WriteResponse, ApiError> {
    let party = Party::of(&caller, sid.0);
    let Replacement { changes, options } = body;
    let change = move |partner: &mut Partner| {
        let mut changes = changes.check_read_only(partner)?;
        // An ancestor that sends back what it read does not take over the suspension of another
        // one.
        changes.status = changes.status.filter(|status| *status != partner.status);
        partner.change(changes, Nested::Replace, &party)
    };
    store.update(&caller, sid.0, options, change).await
}
