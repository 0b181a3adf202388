//! The endpoints of short codes.

use actix_web::web::Json;
use actix_web::{HttpResponse, delete, get, patch, post, put, web};
use sqlx::PgPool;

use super::{NewShortCode, ShortCode, ShortCodeChanges, sample};
use crate::auth::{AdminCreate, AdminDelete, Caller, PhonenumberRead, PhonenumberUpdate};
use crate::error::ApiError;
use crate::fields::Nested;
use crate::http::{
    ListOf, ListParameters, ListRequest, Listing, MergePatch, NewObject, NoArguments, Replacement,
    Sid, View, ViewParameters, WriteArguments, WriteParameters,
};
use crate::openapi::Conflict;
use crate::store::{self, Stored};

// What the OpenAPI document calls the bodies.
type ShortCodeList = ListOf<ShortCode>;
type ShortCodeView = View<ShortCode>;
type NewShortCodeBody = NewObject<NewShortCode>;
type ShortCodePatch = MergePatch<ShortCodeChanges>;
type ShortCodeReplacement = Replacement<ShortCodeChanges>;

/// The short codes that the token reaches, a page at a time.
#[utoipa::path(
    tag = "Short codes",
    params(ListParameters),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = ShortCodeList)),
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
    request_body = NewShortCodeBody,
    security(("bearer" = ["admin.manage"]), ("bearer" = ["admin.create"])),
    responses((status = OK, body = ShortCode), Conflict),
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
    params(
        ("short_code_sid" = Uuid, Path, description = "The short code secure ID", example = json!(sample::SID)),
        ViewParameters,
    ),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = ShortCodeView)),
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
        ("short_code_sid" = Uuid, Path, description = "The short code secure ID", example = json!(sample::SID)),
        WriteParameters,
    ),
    request_body(content = ShortCodePatch, example = json!(sample::patch())),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = ShortCode, example = json!(sample::answer()))),
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
        ("short_code_sid" = Uuid, Path, description = "The short code secure ID", example = json!(sample::SID)),
        WriteParameters,
    ),
    request_body(content = ShortCodeReplacement, example = json!(sample::answer())),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = ShortCode, example = json!(sample::answer()))),
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
    responses((status = NO_CONTENT)),
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
