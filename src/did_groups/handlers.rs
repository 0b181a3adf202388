//! The endpoints of DID groups.

use actix_web::web::Json;
use actix_web::{HttpResponse, delete, get, patch, post, put, web};
use sqlx::PgPool;

use super::{DidGroup, DidGroupChanges, sample};
use crate::auth::{
    Caller, PhonenumberCreate, PhonenumberDelete, PhonenumberRead, PhonenumberUpdate,
};
use crate::error::ApiError;
use crate::http::{
    ListOf, ListParameters, ListRequest, Listing, MergePatch, NewObject, NoArguments, Replacement,
    Sid, View, ViewParameters, WriteArguments, WriteParameters,
};
use crate::openapi::Conflict;
use crate::store::{self, Stored};

// What the OpenAPI document calls the bodies.
type DidGroupList = ListOf<DidGroup>;
type DidGroupView = View<DidGroup>;
type NewDidGroupBody = NewObject<DidGroupChanges>;
type DidGroupPatch = MergePatch<DidGroupChanges>;
type DidGroupReplacement = Replacement<DidGroupChanges>;

/// The DID groups that the token reaches, a page at a time.
#[utoipa::path(
    tag = "DID groups",
    params(ListParameters),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = DidGroupList)),
)]
#[get("/phonenumber/did_groups")]
pub async fn list_did_groups(
    caller: Caller<PhonenumberRead>,
    list: ListRequest<DidGroup>,
    db: web::Data<PgPool>,
) -> Result<Json<Listing>, ApiError> {
    list.answer(&db, &caller).await
}

/// Creates a DID group of the token's own partner; `{}` is enough.
#[utoipa::path(
    tag = "DID groups",
    request_body = NewDidGroupBody,
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.create"])),
    responses((status = OK, body = DidGroup, example = json!(sample::answer()))),
)]
#[post("/phonenumber/did_groups")]
pub async fn post_did_group(
    caller: Caller<PhonenumberCreate>,
    _: NoArguments,
    body: NewObject<DidGroupChanges>,
    db: web::Data<PgPool>,
) -> Result<Stored<DidGroup>, ApiError> {
    let mut group = DidGroup::new(caller.own_partner_sid()?);
    group.change(body.0)?;
    store::create_one(&mut *db.acquire().await?, &caller, group).await
}

/// The DID group of that sid.
#[utoipa::path(
    tag = "DID groups",
    params(
        ("did_group_sid" = Uuid, Path, description = "The DID group secure ID", example = json!(sample::SID)),
        ViewParameters,
    ),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = DidGroupView)),
)]
#[get("/phonenumber/did_groups/{did_group_sid}")]
pub async fn get_did_group(
    caller: Caller<PhonenumberRead>,
    sid: Sid,
    view: View<DidGroup>,
    db: web::Data<PgPool>,
) -> Result<HttpResponse, ApiError> {
    view.answer(&db, &caller, store::get(&**db, &caller, sid.0).await?).await
}

/// Changes the members that are sent: a JSON merge patch, RFC 7396.
#[utoipa::path(
    tag = "DID groups",
    params(
        ("did_group_sid" = Uuid, Path, description = "The DID group secure ID", example = json!(sample::SID)),
        WriteParameters,
    ),
    request_body(content = DidGroupPatch, example = json!(sample::patch())),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = DidGroup, example = json!(sample::answer()))),
)]
#[patch("/phonenumber/did_groups/{did_group_sid}")]
pub async fn patch_did_group(
    caller: Caller<PhonenumberUpdate>,
    sid: Sid,
    _: WriteArguments,
    body: MergePatch<DidGroupChanges>,
    db: web::Data<PgPool>,
) -> Result<Stored<DidGroup>, ApiError> {
    store::update(&**db, &caller, sid.0, |group: &mut DidGroup| {
        group.change(body.0.against(group)?)
    })
    .await
}

/// Replaces the group: every writable member must be sent.
#[utoipa::path(
    tag = "DID groups",
    params(
        ("did_group_sid" = Uuid, Path, description = "The DID group secure ID", example = json!(sample::SID)),
        WriteParameters,
    ),
    request_body(content = DidGroupReplacement, example = json!(sample::answer())),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = DidGroup, example = json!(sample::answer()))),
)]
#[put("/phonenumber/did_groups/{did_group_sid}")]
pub async fn put_did_group(
    caller: Caller<PhonenumberUpdate>,
    sid: Sid,
    _: WriteArguments,
    body: Replacement<DidGroupChanges>,
    db: web::Data<PgPool>,
) -> Result<Stored<DidGroup>, ApiError> {
    store::update(&**db, &caller, sid.0, |group: &mut DidGroup| {
        group.change(body.0.against(group)?)
    })
    .await
}

/// Deletes a DID group that no short code uses.
#[utoipa::path(
    tag = "DID groups",
    params(("did_group_sid" = Uuid, Path, description = "The DID group secure ID")),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.delete"])),
    responses((status = NO_CONTENT), Conflict),
)]
#[delete("/phonenumber/did_groups/{did_group_sid}")]
pub async fn delete_did_group(
    caller: Caller<PhonenumberDelete>,
    sid: Sid,
    _: NoArguments,
    db: web::Data<PgPool>,
) -> Result<HttpResponse, ApiError> {
    store::delete::<DidGroup>(&db, &caller, sid.0).await?;
    Ok(HttpResponse::NoContent().finish())
}
