//! The endpoints of short codes.

use actix_web::web::Json;
use actix_web::{HttpResponse, delete, get, patch, post, put, web};

use super::{NewShortCode, ShortCode, ShortCodeChanges, sample};
use crate::auth::{AdminCreate, AdminDelete, PhonenumberRead, PhonenumberUpdate};
use crate::error::ApiError;
use crate::http::{
    Caller, EntryList, HistoryParameters, HistoryRequest, ListOf, ListParameters, ListRequest,
    Listing, MergePatch, NewObject, ObjectRequest, Replacement, RevertRequest, Sid,
    UpdateParameters, View, ViewParameters, WriteArguments, WriteParameters,
};
use crate::input::types::Nested;
use crate::store::{Store, WriteResponse};

// What the OpenAPI document calls the bodies.
type ReversionBody = NewObject<RevertRequest>;
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
    store: web::Data<Store<ShortCode>>,
) -> Result<Json<Listing>, ApiError> {
    list.respond(&store, &caller).await
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
    store: web::Data<Store<ShortCode>>,
) -> Result<WriteResponse, ApiError> {
    let NewObject { input, options } = body;
    store.create(&caller, &options, async |tx| input.build_for(tx, &caller).await).await
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
    store: web::Data<Store<ShortCode>>,
) -> Result<HttpResponse, ApiError> {
    object.respond(&store, &caller, sid.0).await
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
    store: web::Data<Store<ShortCode>>,
) -> Result<WriteResponse, ApiError> {
    let MergePatch { changes, nested, options } = body;
    let change = move |code: &mut ShortCode| code.change(changes.check_read_only(code)?, nested);
    store.update(&caller, sid.0, options, change).await
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
    store: web::Data<Store<ShortCode>>,
) -> Result<WriteResponse, ApiError> {
    let Replacement { changes, options } = body;
    let change =
        move |code: &mut ShortCode| code.change(changes.check_read_only(code)?, Nested::Replace);
    store.update(&caller, sid.0, options, change).await
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
    store: web::Data<Store<ShortCode>>,
) -> Result<WriteResponse, ApiError> {
    store.delete(&caller, sid.0, &arguments.options).await
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
    store: web::Data<Store<ShortCode>>,
) -> Result<Json<Listing>, ApiError> {
    history.respond(&store, &caller, sid.0).await
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
    body: NewObject<RevertRequest>,
    store: web::Data<Store<ShortCode>>,
) -> Result<WriteResponse, ApiError> {
    let NewObject { input, options } = body;
    let restorer = || caller.require::<AdminCreate>();
    store.revert(&caller, sid.0, input.version(), &options, restorer).await
}
