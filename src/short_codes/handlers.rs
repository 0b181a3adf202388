//! The endpoints of short codes.

use actix_web::web::Json;
use actix_web::{HttpResponse, delete, get, patch, post, put, web};
use sqlx::PgPool;

use super::{NewShortCode, ShortCode, ShortCodeChanges, sample};
use crate::auth::{AdminCreate, AdminDelete, Caller, PhonenumberRead, PhonenumberUpdate};
use crate::error::ApiError;
use crate::fields::Nested;
use crate::http::{
    EntryList, HistoryParameters, HistoryRequest, ListOf, ListParameters, ListRequest, Listing,
    MergePatch, NewObject, ObjectRequest, Replacement, Reversion, Sid, UpdateParameters, View,
    ViewParameters, WriteArguments, WriteParameters,
};
use crate::store::{self, Answer, Lanes};

// What the OpenAPI document calls the bodies.
type ReversionBody = NewObject<Reversion>;
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
    params(WriteParameters),
    request_body = NewShortCodeBody,
    security(("bearer" = ["admin.manage"]), ("bearer" = ["admin.create"])),
    responses((status = OK, body = ShortCode)),
)]
#[post("/phonenumber/short_codes")]
pub async fn post_short_code(
    caller: Caller<AdminCreate>,
    body: NewObject<NewShortCode>,
    db: web::Data<PgPool>,
) -> Result<Answer, ApiError> {
    let NewObject { input, terms } = body;
    store::create(&db, &caller, &terms, async |tx| input.build_for(tx, &caller).await).await
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
    object: ObjectRequest<ShortCode>,
    lanes: web::Data<Lanes<ShortCode>>,
    db: web::Data<PgPool>,
) -> Result<HttpResponse, ApiError> {
    object.answer(&db, &caller, sid.0, lanes.get(&caller, sid.0)).await
}

/// Changes the members that are sent: a JSON merge patch, RFC 7396.
#[utoipa::path(
    tag = "Short codes",
    params(
        ("short_code_sid" = Uuid, Path, description = "The short code secure ID", example = json!(sample::SID)),
        UpdateParameters,
    ),
    request_body(content = ShortCodePatch, example = json!(sample::patch())),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = ShortCode, example = json!(sample::answer()))),
)]
#[patch("/phonenumber/short_codes/{short_code_sid}")]
pub async fn patch_short_code(
    caller: Caller<PhonenumberUpdate>,
    sid: Sid,
    body: MergePatch<ShortCodeChanges>,
    lanes: web::Data<Lanes<ShortCode>>,
) -> Result<Answer, ApiError> {
    let MergePatch { changes, nested, terms } = body;
    let change = move |code: &mut ShortCode| code.change(changes.against(code)?, nested);
    store::update(&lanes, &caller, sid.0, terms, change).await
}

/// Replaces the short code: every writable member must be sent.
#[utoipa::path(
    tag = "Short codes",
    params(
        ("short_code_sid" = Uuid, Path, description = "The short code secure ID", example = json!(sample::SID)),
        UpdateParameters,
    ),
    request_body(content = ShortCodeReplacement, example = json!(sample::answer())),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = ShortCode, example = json!(sample::answer()))),
)]
#[put("/phonenumber/short_codes/{short_code_sid}")]
pub async fn put_short_code(
    caller: Caller<PhonenumberUpdate>,
    sid: Sid,
    body: Replacement<ShortCodeChanges>,
    lanes: web::Data<Lanes<ShortCode>>,
) -> Result<Answer, ApiError> {
    let Replacement { changes, terms } = body;
    let change = move |code: &mut ShortCode| code.change(changes.against(code)?, Nested::Replace);
    store::update(&lanes, &caller, sid.0, terms, change).await
}

/// Deletes a short code of a partner that the operator's token reaches.
#[utoipa::path(
    tag = "Short codes",
    params(("short_code_sid" = Uuid, Path, description = "The short code secure ID"), WriteParameters),
    security(("bearer" = ["admin.manage"]), ("bearer" = ["admin.delete"])),
    responses((status = NO_CONTENT)),
)]
#[delete("/phonenumber/short_codes/{short_code_sid}")]
pub async fn delete_short_code(
    caller: Caller<AdminDelete>,
    sid: Sid,
    arguments: WriteArguments,
    db: web::Data<PgPool>,
) -> Result<Answer, ApiError> {
    store::delete::<ShortCode>(&db, &caller, sid.0, &arguments.terms).await
}

/// What happened to the short code, oldest first, also after it was deleted.
#[utoipa::path(
    tag = "Short codes",
    params(("short_code_sid" = Uuid, Path, description = "The short code secure ID", example = json!(sample::SID)), HistoryParameters),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = EntryList)),
)]
#[get("/phonenumber/short_codes/{short_code_sid}/history")]
pub async fn get_short_code_history(
    caller: Caller<PhonenumberRead>,
    sid: Sid,
    history: HistoryRequest,
    db: web::Data<PgPool>,
) -> Result<Json<Listing>, ApiError> {
    history.answer::<ShortCode>(&db, &caller, sid.0).await
}

/// Brings the short code back to a version of its history, as a new version.
///
/// A deleted one comes back under its sid, for a token that also has a scope to create it: `admin.manage` or `admin.create`.
#[utoipa::path(
    tag = "Short codes",
    params(("short_code_sid" = Uuid, Path, description = "The short code secure ID", example = json!(sample::SID)), WriteParameters),
    request_body(content = ReversionBody, example = json!({"version": 1})),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = ShortCode)),
)]
#[post("/phonenumber/short_codes/{short_code_sid}/revert")]
pub async fn post_short_code_revert(
    caller: Caller<PhonenumberUpdate>,
    sid: Sid,
    body: NewObject<Reversion>,
    db: web::Data<PgPool>,
) -> Result<Answer, ApiError> {
    let to = (sid.0, body.input.version());
    store::revert::<ShortCode>(&db, &caller, caller.also::<AdminCreate>(), to, &body.terms).await
}
