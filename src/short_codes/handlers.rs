//! The endpoints of short codes.

use actix_web::{get, patch, put, web};
use sqlx::PgPool;

use super::{ShortCode, ShortCodeChanges};
use crate::auth::{Caller, PhonenumberRead, PhonenumberUpdate};
use crate::error::{ApiError, ErrorBody};
use crate::fields::Nested;
use crate::http::{MergePatch, Replacement, Sid, WriteArguments};
use crate::store::{self, Stored};

/// The short code of that sid.
#[utoipa::path(
    tag = "Short codes",
    params(("short_code_sid" = Uuid, Path, description = "The short code secure ID")),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = ShortCode), (status = "default", body = ErrorBody)),
)]
#[get("/phonenumber/short_codes/{short_code_sid}")]
pub async fn get_short_code(
    caller: Caller<PhonenumberRead>,
    sid: Sid,
    db: web::Data<PgPool>,
) -> Result<Stored<ShortCode>, ApiError> {
    store::get(&**db, &caller, sid.0).await
}

/// Changes the members that are sent: a JSON merge patch, RFC 7396.
#[utoipa::path(
    tag = "Short codes",
    params(
        ("short_code_sid" = Uuid, Path, description = "The short code secure ID"),
        ("nested_objects" = Option<String>, Query, description = "`replace`: sent attributes replace the stored ones"),
    ),
    request_body(
        description = "The members to change",
        content((ShortCodeChanges = "application/json"), (ShortCodeChanges = "application/merge-patch+json")),
    ),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = ShortCode), (status = "default", body = ErrorBody)),
)]
#[patch("/phonenumber/short_codes/{short_code_sid}")]
pub async fn patch_short_code(
    caller: Caller<PhonenumberUpdate>,
    sid: Sid,
    arguments: WriteArguments,
    body: MergePatch<ShortCodeChanges>,
    db: web::Data<PgPool>,
) -> Result<Stored<ShortCode>, ApiError> {
    store::update(&**db, &caller, sid.0, |code: &mut ShortCode| {
        code.change(body.0.against(code)?, arguments.nested)
    })
    .await
}

/// Replaces the short code: every writable member must be sent.
#[utoipa::path(
    tag = "Short codes",
    params(
        ("short_code_sid" = Uuid, Path, description = "The short code secure ID"),
        ("nested_objects" = Option<String>, Query, description = "Only `replace`, which a PUT does anyway"),
    ),
    request_body = ShortCodeChanges,
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = ShortCode), (status = "default", body = ErrorBody)),
)]
#[put("/phonenumber/short_codes/{short_code_sid}")]
pub async fn put_short_code(
    caller: Caller<PhonenumberUpdate>,
    sid: Sid,
    _: WriteArguments,
    body: Replacement<ShortCodeChanges>,
    db: web::Data<PgPool>,
) -> Result<Stored<ShortCode>, ApiError> {
    store::update(&**db, &caller, sid.0, |code: &mut ShortCode| {
        code.change(body.0.against(code)?, Nested::Replace)
    })
    .await
}
