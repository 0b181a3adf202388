//! The endpoints of rented phone numbers.

use actix_web::web::Json;
use actix_web::{HttpResponse, delete, get, patch, post, put, web};
use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::IntoParams;
use uuid::Uuid;

use super::{Did, DidChanges, NewDid, RentalRules, sample};
use crate::auth::{DidRelease, PhonenumberCreate, PhonenumberRead, PhonenumberUpdate};
use crate::error::ApiError;
use crate::http::{
    Caller, HistoryRequest, List, ListRequest, MergePatch, NewObject, ObjectRequest, Query,
    Replacement, RevertRequest, Sid, UpdateArguments, View, WriteArguments, member,
};
use crate::input::types::Nested;
use crate::store::{HistoryEntry, Store, WriteOptions, WriteResponse};

// The names of the bodies in the OpenAPI document.
type HistoryEntryList = List<HistoryEntry>;
type RevertBody = NewObject<RevertRequest>;
type DidList = List<Did>;
type DidView = View<Did>;
type NewDidBody = NewObject<NewDid>;
type DidPatch = MergePatch<DidChanges>;
type DidReplacement = Replacement<DidChanges>;

/// The further arguments of the list.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub struct DidArguments {
    /// The trunk group of the numbers.
    #[serde(deserialize_with = "member")]
    trunk_group_sid: Option<Uuid>,
}

/// Returns a page of the rented numbers that are visible to the token.
#[utoipa::path(
    tag = "DIDs",
    params(ListRequest<Did>, DidArguments),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = DidList)),
)]
#[get("/phonenumber/dids")]
pub async fn list_dids(
    caller: Caller<PhonenumberRead>,
    list: ListRequest<Did>,
    Query(arguments): Query<DidArguments>,
    store: web::Data<Store<Did>>,
) -> Result<Json<List<Did>>, ApiError> {
    let list = list.with_sid("trunk_group_sid", arguments.trunk_group_sid)?;
    list.respond(&store, &caller).await
}

/// Rents a number for the token's own partner. With `{}` it is the first available one.
#[utoipa::path(
    tag = "DIDs",
    params(WriteArguments),
    request_body = NewDidBody,
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.create"])),
    responses((status = OK, body = Did, example = json!(sample::answer()))),
)]
#[post("/phonenumber/dids")]
pub async fn post_did(
    caller: Caller<PhonenumberCreate>,
    body: NewObject<NewDid>,
    store: web::Data<Store<Did>>,
    rules: web::Data<RentalRules>,
) -> Result<WriteResponse, ApiError> {
    let NewObject { input, options } = body;
    store.create(&caller, &options, async |tx| input.rent(tx, &caller, &rules).await).await
}

/// Returns the DID of that sid.
#[utoipa::path(
    tag = "DIDs",
    params(
        (
            "did_sid" = Uuid, Path, description = "The DID secure ID",
            example = json!(sample::SID),
        ),
        ObjectRequest<Did>,
    ),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = DidView)),
)]
#[get("/phonenumber/dids/{did_sid}")]
pub async fn get_did(
    caller: Caller<PhonenumberRead>,
    sid: Sid,
    object: ObjectRequest<Did>,
    store: web::Data<Store<Did>>,
) -> Result<HttpResponse, ApiError> {
    object.respond(&store, &caller, sid.0).await
}

/// Changes the members that are sent: a JSON merge patch, RFC 7396.
#[utoipa::path(
    tag = "DIDs",
    params(
        (
            "did_sid" = Uuid, Path, description = "The DID secure ID",
            example = json!(sample::SID),
        ),
        UpdateArguments,
    ),
    request_body(content = DidPatch, example = json!(sample::patch())),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = Did, example = json!(sample::answer()))),
)]
#[patch("/phonenumber/dids/{did_sid}")]
pub async fn patch_did(
    caller: Caller<PhonenumberUpdate>,
    sid: Sid,
    body: MergePatch<DidChanges>,
    store: web::Data<Store<Did>>,
) -> Result<WriteResponse, ApiError> {
    let MergePatch { changes, nested, options } = body;
    let change = move |did: &mut Did| did.change(changes.check_read_only(did)?, nested);
    store.update(&caller, sid.0, options, change).await
}

/// Replaces the DID. Every writable member is required.
#[utoipa::path(
    tag = "DIDs",
    params(
        (
            "did_sid" = Uuid, Path, description = "The DID secure ID",
            example = json!(sample::SID),
        ),
        UpdateArguments,
    ),
    request_body(content = DidReplacement, example = json!(sample::replacement())),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = Did, example = json!(sample::answer()))),
)]
#[put("/phonenumber/dids/{did_sid}")]
pub async fn put_did(
    caller: Caller<PhonenumberUpdate>,
    sid: Sid,
    body: Replacement<DidChanges>,
    store: web::Data<Store<Did>>,
) -> Result<WriteResponse, ApiError> {
    let Replacement { changes, options } = body;
    let change = move |did: &mut Did| did.change(changes.check_read_only(did)?, Nested::Replace);
    store.update(&caller, sid.0, options, change).await
}

/// Releases the number. It is aging for some days before it can be rented again.
#[utoipa::path(
    tag = "DIDs",
    params(("did_sid" = Uuid, Path, description = "The DID secure ID"), WriteArguments),
    security(
        ("bearer" = ["phonenumber.manage"]),
        ("bearer" = ["phonenumber.delete"]),
        ("bearer" = ["admin.manage"]),
        ("bearer" = ["admin.delete"]),
    ),
    responses((status = NO_CONTENT)),
)]
#[delete("/phonenumber/dids/{did_sid}")]
pub async fn delete_did(
    caller: Caller<DidRelease>,
    sid: Sid,
    options: WriteOptions,
    store: web::Data<Store<Did>>,
    rules: web::Data<RentalRules>,
) -> Result<WriteResponse, ApiError> {
    let release = async |tx: &mut PgConnection, did: Did| rules.release(tx, &did).await;
    store.delete_with(&caller, sid.0, &options, release).await
}

/// Returns the history of the rental, oldest entry first. It remains after the number is released.
#[utoipa::path(
    tag = "DIDs",
    params(
        (
            "did_sid" = Uuid, Path, description = "The DID secure ID",
            example = json!(sample::SID),
        ),
        HistoryRequest,
    ),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = HistoryEntryList)),
)]
#[get("/phonenumber/dids/{did_sid}/history")]
pub async fn get_did_history(
    caller: Caller<PhonenumberRead>,
    sid: Sid,
    history: HistoryRequest,
    store: web::Data<Store<Did>>,
) -> Result<Json<List<HistoryEntry>>, ApiError> {
    history.respond(&store, &caller, sid.0).await
}

/// Writes a version of the history as a new version.
///
/// While a released number is aging, its last renter can restore the rental under its sid. This
/// also requires the scope `phonenumber.manage` or `phonenumber.create`.
#[utoipa::path(
    tag = "DIDs",
    params(
        (
            "did_sid" = Uuid, Path, description = "The DID secure ID",
            example = json!(sample::SID),
        ),
        WriteArguments,
    ),
    request_body(content = RevertBody, example = json!({"version": 1})),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = Did)),
)]
#[post("/phonenumber/dids/{did_sid}/revert")]
pub async fn post_did_revert(
    caller: Caller<PhonenumberUpdate>,
    sid: Sid,
    body: NewObject<RevertRequest>,
    store: web::Data<Store<Did>>,
    rules: web::Data<RentalRules>,
) -> Result<WriteResponse, ApiError> {
    let NewObject { input, options } = body;
    let restorer = || caller.require::<PhonenumberCreate>();
    let prepare = async |tx: &mut PgConnection, did: &Did| rules.take_back(tx, did).await;
    store.revert_with(&caller, sid.0, input.version(), &options, restorer, prepare).await
}
