//! The endpoints of DID groups.

use actix_web::web::Json;
use actix_web::{HttpResponse, delete, get, patch, post, put, web};

use super::{DidGroup, DidGroupChanges, sample};
use crate::auth::{PhonenumberCreate, PhonenumberDelete, PhonenumberRead, PhonenumberUpdate};
use crate::error::ApiError;
use crate::http::{
    Caller, HistoryRequest, List, ListRequest, MergePatch, NewObject, ObjectRequest, Replacement,
    RevertRequest, Sid, UpdateArguments, View, WriteArguments,
};
use crate::store::{HistoryEntry, Store, WriteOptions, WriteResponse};

// The names of the bodies in the OpenAPI document.
type HistoryEntryList = List<HistoryEntry>;
type RevertBody = NewObject<RevertRequest>;
type DidGroupList = List<DidGroup>;
type DidGroupView = View<DidGroup>;
type NewDidGroupBody = NewObject<DidGroupChanges>;
type DidGroupPatch = MergePatch<DidGroupChanges>;
type DidGroupReplacement = Replacement<DidGroupChanges>;

/// Returns a page of the DID groups that are visible to the token.
#[utoipa::path(
    tag = "DID groups",
    params(ListRequest<DidGroup>),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = DidGroupList)),
)]
#[get("/phonenumber/did_groups")]
pub async fn list_did_groups(
    caller: Caller<PhonenumberRead>,
    list: ListRequest<DidGroup>,
    store: web::Data<Store<DidGroup>>,
) -> Result<Json<List<DidGroup>>, ApiError> {
    list.respond(&store, &caller).await
}

/// Creates a DID group of the token's own partner. `{}` is a valid body.
#[utoipa::path(
    tag = "DID groups",
    params(WriteArguments),
    request_body = NewDidGroupBody,
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.create"])),
    responses((status = OK, body = DidGroup, example = json!(sample::answer()))),
)]
#[post("/phonenumber/did_groups")]
pub async fn post_did_group(
    caller: Caller<PhonenumberCreate>,
    body: NewObject<DidGroupChanges>,
    store: web::Data<Store<DidGroup>>,
) -> Result<WriteResponse, ApiError> {
    let NewObject { input, options } = body;
    let mut group = DidGroup::new(caller.own_partner_sid()?);
    group.change(input)?;
    store.create(&caller, &options, async |_| Ok(group)).await
}

/// Returns the DID group of that sid.
#[utoipa::path(
    tag = "DID groups",
    params(
        (
            "did_group_sid" = Uuid, Path, description = "The DID group secure ID",
            example = json!(sample::SID),
        ),
        ObjectRequest<DidGroup>,
    ),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = DidGroupView)),
)]
#[get("/phonenumber/did_groups/{did_group_sid}")]
pub async fn get_did_group(
    caller: Caller<PhonenumberRead>,
    sid: Sid,
    object: ObjectRequest<DidGroup>,
    store: web::Data<Store<DidGroup>>,
) -> Result<HttpResponse, ApiError> {
    object.respond(&store, &caller, sid.0).await
}

/// Changes the members that are sent: a JSON merge patch, RFC 7396.
#[utoipa::path(
    tag = "DID groups",
    params(
        (
            "did_group_sid" = Uuid, Path, description = "The DID group secure ID",
            example = json!(sample::SID),
        ),
        UpdateArguments,
    ),
    request_body(content = DidGroupPatch, example = json!(sample::patch())),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = DidGroup, example = json!(sample::answer()))),
)]
#[patch("/phonenumber/did_groups/{did_group_sid}")]
pub async fn patch_did_group(
    caller: Caller<PhonenumberUpdate>,
    sid: Sid,
    body: MergePatch<DidGroupChanges>,
    store: web::Data<Store<DidGroup>>,
) -> Result<WriteResponse, ApiError> {
    let MergePatch { changes, options, .. } = body;
    let change = move |group: &mut DidGroup| group.change(changes.check_read_only(group)?);
    store.update(&caller, sid.0, options, change).await
}

/// Replaces the DID group. Every writable member is required.
#[utoipa::path(
    tag = "DID groups",
    params(
        (
            "did_group_sid" = Uuid, Path, description = "The DID group secure ID",
            example = json!(sample::SID),
        ),
        UpdateArguments,
    ),
    request_body(content = DidGroupReplacement, example = json!(sample::answer())),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = DidGroup, example = json!(sample::answer()))),
)]
#[put("/phonenumber/did_groups/{did_group_sid}")]
pub async fn put_did_group(
    caller: Caller<PhonenumberUpdate>,
    sid: Sid,
    body: Replacement<DidGroupChanges>,
    store: web::Data<Store<DidGroup>>,
) -> Result<WriteResponse, ApiError> {
    let Replacement { changes, options } = body;
    let change = move |group: &mut DidGroup| group.change(changes.check_read_only(group)?);
    store.update(&caller, sid.0, options, change).await
}

/// Deletes a DID group that no short code uses.
#[utoipa::path(
    tag = "DID groups",
    params(("did_group_sid" = Uuid, Path, description = "The DID group secure ID"), WriteArguments),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.delete"])),
    responses((status = NO_CONTENT)),
)]
#[delete("/phonenumber/did_groups/{did_group_sid}")]
pub async fn delete_did_group(
    caller: Caller<PhonenumberDelete>,
    sid: Sid,
    options: WriteOptions,
    store: web::Data<Store<DidGroup>>,
) -> Result<WriteResponse, ApiError> {
    store.delete(&caller, sid.0, &options).await
}

/// Returns the history of the DID group, oldest entry first. It remains after the DID group is
/// deleted.
#[utoipa::path(
    tag = "DID groups",
    params(
        (
            "did_group_sid" = Uuid, Path, description = "The DID group secure ID",
            example = json!(sample::SID),
        ),
        HistoryRequest,
    ),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = HistoryEntryList)),
)]
#[get("/phonenumber/did_groups/{did_group_sid}/history")]
pub async fn get_did_group_history(
    caller: Caller<PhonenumberRead>,
    sid: Sid,
    history: HistoryRequest,
    store: web::Data<Store<DidGroup>>,
) -> Result<Json<List<HistoryEntry>>, ApiError> {
    history.respond(&store, &caller, sid.0).await
}

/// Writes a version of the history as a new version.
///
/// A deleted DID group is restored under its sid. This also requires the scope `phonenumber.manage`
/// or `phonenumber.create`.
#[utoipa::path(
    tag = "DID groups",
    params(
        (
            "did_group_sid" = Uuid, Path, description = "The DID group secure ID",
            example = json!(sample::SID),
        ),
        WriteArguments,
    ),
    request_body(content = RevertBody, example = json!({"version": 1})),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.update"])),
    responses((status = OK, body = DidGroup)),
)]
#[post("/phonenumber/did_groups/{did_group_sid}/revert")]
pub async fn post_did_group_revert(
    caller: Caller<PhonenumberUpdate>,
    sid: Sid,
    body: NewObject<RevertRequest>,
    store: web::Data<Store<DidGroup>>,
) -> Result<WriteResponse, ApiError> {
    let NewObject { input, options } = body;
    let restorer = || caller.require::<PhonenumberCreate>();
    store.revert(&caller, sid.0, input.version(), &options, restorer).await
}
