//! The endpoints of DID groups.

use actix_web::web::Json;
use actix_web::{HttpResponse, delete, get, patch, post, put, web};

use super::{DidGroup, DidGroupChanges, sample};
use crate::auth::{PhonenumberCreate, PhonenumberDelete, PhonenumberRead, PhonenumberUpdate};
use crate::error::ApiError;
use crate::http::{
    Caller, EntryList, HistoryParameters, HistoryRequest, ListOf, ListParameters, ListRequest,
    Listing, MergePatch, NewObject, ObjectRequest, Replacement, RevertRequest, Sid,
    UpdateParameters, View, ViewParameters, WriteArguments, WriteParameters,
};
use crate::store::{Store, WriteResponse};

// What the OpenAPI document calls the bodies.
type ReversionBody = NewObject<RevertRequest>;
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
    store: web::Data<Store<DidGroup>>,
) -> Result<Json<Listing>, ApiError> {
    list.respond(&store, &caller).await
}

/// Creates a DID group of the token's own partner; `{}` is enough.
#[utoipa::path(
    tag = "DID groups",
    params(WriteParameters),
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
    object: ObjectRequest<DidGroup>,
    store: web::Data<Store<DidGroup>>,
) -> Result<HttpResponse, ApiError> {
    object.respond(&store, &caller, sid.0).await
}

/// Changes the members that are sent: a JSON merge patch, RFC 7396.
#[utoipa::path(
    tag = "DID groups",
    params(
        ("did_group_sid" = Uuid, Path, description = "The DID group secure ID", example = json!(sample::SID)),
        UpdateParameters,
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

/// Replaces the group: every writable member must be sent.
#[utoipa::path(
    tag = "DID groups",
    params(
        ("did_group_sid" = Uuid, Path, description = "The DID group secure ID", example = json!(sample::SID)),
        UpdateParameters,
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
    params(("did_group_sid" = Uuid, Path, description = "The DID group secure ID"), WriteParameters),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.delete"])),
    responses((status = NO_CONTENT)),
)]
#[delete("/phonenumber/did_groups/{did_group_sid}")]
pub async fn delete_did_group(
    caller: Caller<PhonenumberDelete>,
    sid: Sid,
    arguments: WriteArguments,
    store: web::Data<Store<DidGroup>>,
) -> Result<WriteResponse, ApiError> {
    store.delete(&caller, sid.0, &arguments.options).await
}

/// What happened to the DID group, oldest first, also after it was deleted.
#[utoipa::path(
    tag = "DID groups",
    params(("did_group_sid" = Uuid, Path, description = "The DID group secure ID", example = json!(sample::SID)), HistoryParameters),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = EntryList)),
)]
#[get("/phonenumber/did_groups/{did_group_sid}/history")]
pub async fn get_did_group_history(
    caller: Caller<PhonenumberRead>,
    sid: Sid,
    history: HistoryRequest,
    store: web::Data<Store<DidGroup>>,
) -> Result<Json<Listing>, ApiError> {
    history.respond(&store, &caller, sid.0).await
}

/// Brings the DID group back to a version of its history, as a new version.
///
/// A deleted one comes back under its sid, for a token that also has a scope to create it: `phonenumber.manage` or `phonenumber.create`.
#[utoipa::path(
    tag = "DID groups",
    params(("did_group_sid" = Uuid, Path, description = "The DID group secure ID", example = json!(sample::SID)), WriteParameters),
    request_body(content = ReversionBody, example = json!({"version": 1})),
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
