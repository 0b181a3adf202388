//! The endpoints of short codes.

use actix_web::web::Json;
use actix_web::{HttpResponse, delete, get, patch, post, put, web};
use sqlx::PgPool;

use super::{NewShortCode, ShortCode, ShortCodeChanges};
use crate::auth::{AdminCreate, AdminDelete, Caller, PhonenumberRead, PhonenumberUpdate};
use crate::error::{ApiError, ErrorBody};
use crate::fields::Nested;
use crate::http::{
    ListOf, ListParameters, ListRequest, Listing, MergePatch, NewObject, NoArguments, Replacement,
    Sid, View, ViewParameters, WriteArguments,
};
use crate::store::{self, Stored};

/// The short codes that the token reaches, a page at a time.
#[utoipa::path(
    tag = "Short codes",
    params(ListParameters),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = ListOf<ShortCode>), (status = "default", body = ErrorBody)),
)]
#[get("/phonenumber/short_codes")]
pub async fn list_short_codes(
    caller: Caller<PhonenumberRead>,
    list: ListRequest<ShortCode>,
    db: web::Data<PgPool>,
) -> Result<Json<Listing>, ApiError> {
    list.answer(&db, &caller).await
}

/// Creates a short code of a partner that the operator's token reaches.
#[utoipa::path(
    tag = "Short codes",
    request_body = NewShortCode,
    security(("bearer" = ["admin.manage"]), ("bearer" = ["admin.create"])),
    responses((status = OK, body = ShortCode), (status = "default", body = ErrorBody)),
)]
#[post("/phonenumber/short_codes")]
pub async fn post_short_code(
    caller: Caller<AdminCreate>,
    _: NoArguments,
    body: NewObject<NewShortCode>,
    db: web::Data<PgPool>,
) -> Result<Stored<ShortCode>, ApiError> {
    body.0.create(&db, &caller).await
}

/// The short code of that sid.
#[utoipa::path(
    tag = "Short codes",
    params(("short_code_sid" = Uuid, Path, description = "The short code secure ID"), ViewParameters),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = ShortCode), (status = "default", body = ErrorBody)),
)]
#[get("/phonenumber/short_codes/{short_code_sid}")]
pub async fn get_short_code(
    caller: Caller<PhonenumberRead>,
    sid: Sid,
    view: View<ShortCode>,
    db: web::Data<PgPool>,
) -> Result<HttpResponse, ApiError> {
    view.answer(&db, &caller, store::get(&**db, &caller, sid.0).await?).await
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

/// Deletes a short code of a partner that the operator's token reaches.
#[utoipa::path(
    tag = "Short codes",
    params(("short_code_sid" = Uuid, Path, description = "The short code secure ID")),
    security(("bearer" = ["admin.manage"]), ("bearer" = ["admin.delete"])),
    responses((status = NO_CONTENT), (status = "default", body = ErrorBody)),
)]
#[delete("/phonenumber/short_codes/{short_code_sid}")]
pub async fn delete_short_code(
    caller: Caller<AdminDelete>,
    sid: Sid,
    _: NoArguments,
    db: web::Data<PgPool>,
) -> Result<HttpResponse, ApiError> {
    store::delete::<ShortCode>(&db, &caller, sid.0).await?;
    Ok(HttpResponse::NoContent().finish())
}
