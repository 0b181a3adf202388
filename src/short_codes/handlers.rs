//! The endpoints of short codes.

use actix_web::web::Json;
use actix_web::{HttpResponse, delete, get, patch, post, put, web};

use super::{NewShortCode, ShortCode, ShortCodeChanges, sample};
use crate::auth::{AdminCreate, AdminDelete, PhonenumberRead, PhonenumberUpdate};
use crate::error::ApiError;
use crate::http::{
    Caller, HistoryRequest, List, ListRequest, MergePatch, NewObject, ObjectRequest, Replacement,
    RevertRequest, Sid, UpdateArguments, View, WriteArguments,
};
use crate::input::types::Nested;
use crate::store::{HistoryEntry, Store, WriteOptions, WriteResponse};

// The names of the bodies in the OpenAPI document.
type HistoryEntryList = List<HistoryEntry>;
type RevertBody = NewObject<RevertRequest>;
type ShortCodeList = List<ShortCode>;
type ShortCodeView = View<ShortCode>;
type NewShortCodeBody = NewObject<NewShortCode>;
type ShortCodePatch = MergePatch<ShortCodeChanges>;
type ShortCodeReplacement = Replacement<ShortCodeChanges>;

/// Returns a page of the short codes that are visible to the token.
#[utoipa::path(
    tag = "Short codes",
    params(ListRequest<ShortCode>),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = ShortCodeList)),
)]
#[get("/phonenumber/short_codes")]
pub async fn list_short_codes(
    caller: Caller<PhonenumberRead>,
    list: ListRequest<ShortCode>,
    store: web::Data<Store<ShortCode>>,
) -> Result<Json<List<ShortCode>>, ApiError> {
    list.respond(&store, &caller).await
}

/// Creates a short code of the token's own partner or of a descendant.
#[utoipa::path(
    tag = "Short codes",
    params(WriteArguments),
    request_body = NewShortCodeBody,
    security(("bearer" = ["admin.manage"]), ("bearer" = ["admin.create"])),
    responses((status = OK, body = ShortCode)),
)]
#[post("/phonenumber/short_codes")]
pub async fn post_short_code(
    caller: Caller<AdminCreate>,
    body: NewObject<NewShortCode>,
    store: web::Data<Store<ShortCode>>,
) -> Result<WriteResponse, ApiError> {
    let NewObject { input, options } = body;
    store.create(&caller, &options, async |tx| input.build_for(tx, &caller).await).await
}

/// Returns the short code of that sid.
#[utoipa::path(
    tag = "Short codes",
    params(
        (
            "short_code_sid" = Uuid, Path, description = "The short code secure ID",
            example = json!(sample::SID),
        ),
        ObjectRequest<ShortCode>,
    ),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = ShortCodeView)),
)]
#[get("/phonenumber/short_codes/{short_code_sid}")]
pub async fn get_short_code(
    caller: Caller<PhonenumberRead>,
    sid: Sid,
    object: ObjectRequest<ShortCode>,
    store: web::Data<Store<ShortCode>>,
) -> Result<HttpResponse, ApiError> {
    object.respond(&store, &caller, sid.0).await
}

/// Changes the members that are sent: a JSON merge patch, RFC 7396.
#[utoipa::path(
    tag = "Short codes",
    params(
        (
            "short_code_sid" = Uuid, Path, description = "The short code secure ID",
            example = json!(sample::SID),
        ),
        UpdateArguments,
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
    store: web::Data<Store<ShortCode>>,
) -> Result<WriteResponse, ApiError> {
    let MergePatch { changes, nested, options } = body;
    let change = move |code: &mut ShortCode| code.change(changes.check_read_only(code)?, nested);
    store.update(&caller, sid.0, options, change).await
}

/// Replaces the short code. Every writable member is required.
#[utoipa::path(
    tag = "Short codes",
    params(
        (
            "short_code_sid" = Uuid, Path, description = "The short code secure ID",
            example = json!(sample::SID),
        ),
        UpdateArguments,
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
    store: web::Data<Store<ShortCode>>,
) -> Result<WriteResponse, ApiError> {
    let Replacement { changes, options } = body;
    let change =
        move |code: &mut ShortCode| code.change(changes.check_read_only(code)?, Nested::Replace);
    store.update(&caller, sid.0, options, change).await
}

/// Deletes a short code of the token's own partner or of a descendant.
#[utoipa::path(
    tag = "Short codes",
    params(
        ("short_code_sid" = Uuid, Path, description = "The short code secure ID"),
        WriteArguments,
    ),
    security(("bearer" = ["admin.manage"]), ("bearer" = ["admin.delete"])),
    responses((status = NO_CONTENT)),
)]
#[delete("/phonenumber/short_codes/{short_code_sid}")]
pub async fn delete_short_code(
    caller: Caller<AdminDelete>,
    sid: Sid,
    options: WriteOptions,
    store: web::Data<Store<ShortCode>>,
) -> Result<WriteResponse, ApiError> {
    store.delete(&caller, sid.0, &options).await
}

/// Returns the history of the short code, oldest entry first. It remains after the short code is
/// deleted.
#[utoipa::path(
    tag = "Short codes",
    params(
        (
            "short_code_sid" = Uuid, Path, description = "The short code secure ID",
            example = json!(sample::SID),
        ),
        HistoryRequest,
    ),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = HistoryEntryList)),
)]
#[get("/phonenumber/short_codes/{short_code_sid}/history")]
pub async fn get_short_code_history(
    caller: Caller<PhonenumberRead>,
    sid: Sid,
    history: HistoryRequest,
    store: web::Data<Store<ShortCode>>,
) -> Result<Json<List<HistoryEntry>>, ApiError> {
    history.respond(&store, &caller, sid.0).await
}

/// Writes a version of the history as a new version.
///
/// A deleted short code is restored under its sid. This also requires the scope `admin.manage` or
/// `admin.create`.
#[utoipa::path(
    tag = "Short codes",
    params(
        (
            "short_code_sid" = Uuid, Path, description = "The short code secure ID",
            example = json!(sample::SID),
        ),
        WriteArguments,
    ),
    request_body(content = RevertBody, example = json!({"version": 1})),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = ShortCode)),
)]
#[post("/phonenumber/short_codes/{short_code_sid}/revert")]
pub async fn post_short_code_revert(
    caller: Caller<PhonenumberUpdate>,
    sid: Sid,
    body: NewObject<RevertRequest>,
    store: web::Data<Store<ShortCode>>,
) -> Result<WriteResponse, ApiError> {
    let NewObject { input, options } = body;
    let restorer = || caller.require::<AdminCreate>();
    store.revert(&caller, sid.0, input.version(), &options, restorer).await
}
