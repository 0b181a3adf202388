//! The endpoints of DID groups.

use actix_web::{get, patch, put, web};
use sqlx::PgPool;

use super::{DidGroup, DidGroupChanges};
use crate::auth::{Caller, PhonenumberRead, PhonenumberUpdate};
use crate::error::{ApiError, ErrorBody};
use crate::http::{MergePatch, Replacement, Sid, WriteArguments};
use crate::store::{self, Stored};

/// The DID group of that sid.
#[utoipa::path(
    tag = "DID groups",
    params(("did_group_sid" = Uuid, Path, description = "The DID group secure ID")),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = DidGroup), (status = "default", body = ErrorBody)),
)]
#[get("/phonenumber/did_groups/{did_group_sid}")]
pub async fn get_did_group(
    caller: Caller<PhonenumberRead>,
    sid: Sid,
    db: web::Data<PgPool>,
) -> Result<Stored<DidGroup>, ApiError> {
    store::get(&**db, &caller, sid.0).await
}

/// Changes the members that are sent: a JSON merge patch, RFC 7396.
#[utoipa::path(
    tag = "DID groups",
    params(
        ("did_group_sid" = Uuid, Path, description = "The DID group secure ID"),
        ("nested_objects" = Option<String>, Query, description = "Only `replace`; changes nothing here"),
    ),
    request_body(
        description = "The members to change",
        content((DidGroupChanges = "application/json"), (DidGroupChanges = "application/merge-patch+json")),
    ),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = DidGroup), (status = "default", body = ErrorBody)),
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
        ("did_group_sid" = Uuid, Path, description = "The DID group secure ID"),
        ("nested_objects" = Option<String>, Query, description = "Only `replace`; changes nothing here"),
    ),
    request_body = DidGroupChanges,
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = DidGroup), (status = "default", body = ErrorBody)),
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
