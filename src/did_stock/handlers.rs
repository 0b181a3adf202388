//! The endpoints of the stock: the numbers that a partner can rent, and their coverage.

use actix_web::web::Json;
use actix_web::{HttpResponse, delete, get, post, web};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::coverage::{CoverageItem, CoverageRequest};
use super::{AvailableDid, NewAvailableDid};
use crate::auth::{Actor, AdminCreate, AdminDelete, PhonenumberRead};
use crate::error::ApiError;
use crate::http::{
    Caller, List, ListRequest, NewObject, ObjectRequest, Query, Sid, View, WriteArguments, some,
};
use crate::store::{Store, WriteOptions, WriteResponse};

// The names of the bodies in the OpenAPI document.
type AvailableDidList = List<AvailableDid>;
type AvailableDidView = View<AvailableDid>;
type CoverageItemList = List<CoverageItem>;
type NewAvailableDidBody = NewObject<NewAvailableDid>;

/// The further arguments of the list.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub struct StockArguments {
    /// `available`, the default: the numbers that the token's partner can rent. `aging`: the
    /// released numbers of its own stock that cannot be rented yet.
    #[serde(deserialize_with = "some")]
    #[param(inline)]
    status: Option<StockStatus>,
}

/// The status of the numbers in a list.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StockStatus {
    /// Numbers that can be rented.
    Available,
    /// Numbers that cannot be rented yet.
    Aging,
}

impl StockArguments {
    /// Returns the list of the numbers with that status, and the actor that sees them.
    fn select(
        self,
        list: ListRequest<AvailableDid>,
        caller: &Actor,
    ) -> Result<(ListRequest<AvailableDid>, Actor), ApiError> {
        let list = list.uncounted();
        match self.status.unwrap_or(StockStatus::Available) {
            StockStatus::Available => {
                Ok((list.with_constant("status", "available"), caller.seeing_ancestors()?))
            }
            StockStatus::Aging => Ok((list.with_constant("status", "aging"), caller.seeing_own()?)),
        }
    }
}

/// Returns a page of the numbers that the token's partner can rent. They are not counted.
#[utoipa::path(
    tag = "DIDs",
    params(ListRequest<AvailableDid>, StockArguments),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = AvailableDidList)),
)]
#[get("/phonenumber/available_dids")]
pub async fn list_available_dids(
    caller: Caller<PhonenumberRead>,
    list: ListRequest<AvailableDid>,
    Query(arguments): Query<StockArguments>,
    store: web::Data<Store<AvailableDid>>,
) -> Result<Json<List<AvailableDid>>, ApiError> {
    let (list, actor) = arguments.select(list, &caller)?;
    list.respond(&store, &actor).await
}

/// Returns a page of the numbers that can be rented: an older name of `available_dids`.
#[utoipa::path(
    tag = "DIDs",
    params(ListRequest<AvailableDid>, StockArguments),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = AvailableDidList)),
)]
#[get("/phonenumber/dids/inventory")]
pub async fn list_inventory(
    caller: Caller<PhonenumberRead>,
    list: ListRequest<AvailableDid>,
    Query(arguments): Query<StockArguments>,
    store: web::Data<Store<AvailableDid>>,
) -> Result<Json<List<AvailableDid>>, ApiError> {
    let (list, actor) = arguments.select(list, &caller)?;
    list.respond(&store, &actor).await
}

/// Puts a number into the stock of the token's own partner or of a descendant.
#[utoipa::path(
    tag = "DIDs",
    params(WriteArguments),
    request_body = NewAvailableDidBody,
    security(("bearer" = ["admin.manage"]), ("bearer" = ["admin.create"])),
    responses((status = OK, body = AvailableDid)),
)]
#[post("/phonenumber/available_dids")]
pub async fn post_available_did(
    caller: Caller<AdminCreate>,
    body: NewObject<NewAvailableDid>,
    store: web::Data<Store<AvailableDid>>,
) -> Result<WriteResponse, ApiError> {
    let NewObject { input, options } = body;
    store.create(&caller, &options, async |tx| input.build_for(tx, &caller).await).await
}

/// Returns the number of that sid in a stock that the token's partner can rent from.
#[utoipa::path(
    tag = "DIDs",
    params(
        ("did_sid" = Uuid, Path, description = "The secure ID of the number in the stock"),
        ObjectRequest<AvailableDid>,
    ),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = AvailableDidView)),
)]
#[get("/phonenumber/available_dids/{did_sid}")]
pub async fn get_available_did(
    caller: Caller<PhonenumberRead>,
    sid: Sid,
    object: ObjectRequest<AvailableDid>,
    store: web::Data<Store<AvailableDid>>,
) -> Result<HttpResponse, ApiError> {
    object.respond(&store, &caller.seeing_ancestors()?, sid.0).await
}

/// Returns the number of that sid in a stock: an older name of `available_dids`.
#[utoipa::path(
    tag = "DIDs",
    params(
        ("did_sid" = Uuid, Path, description = "The secure ID of the number in the stock"),
        ObjectRequest<AvailableDid>,
    ),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = AvailableDidView)),
)]
#[get("/phonenumber/dids/inventory/{did_sid}")]
pub async fn get_inventory_did(
    caller: Caller<PhonenumberRead>,
    sid: Sid,
    object: ObjectRequest<AvailableDid>,
    store: web::Data<Store<AvailableDid>>,
) -> Result<HttpResponse, ApiError> {
    object.respond(&store, &caller.seeing_ancestors()?, sid.0).await
}

/// Takes a number out of the stock of the token's own partner or of a descendant.
#[utoipa::path(
    tag = "DIDs",
    params(
        ("did_sid" = Uuid, Path, description = "The secure ID of the number in the stock"),
        WriteArguments,
    ),
    security(("bearer" = ["admin.manage"]), ("bearer" = ["admin.delete"])),
    responses((status = NO_CONTENT)),
)]
#[delete("/phonenumber/available_dids/{did_sid}")]
pub async fn delete_available_did(
    caller: Caller<AdminDelete>,
    sid: Sid,
    options: WriteOptions,
    store: web::Data<Store<AvailableDid>>,
) -> Result<WriteResponse, ApiError> {
    store.delete(&caller, sid.0, &options).await
}

/// Counts the numbers that the token's partner can rent, by state, place, area code or country.
#[utoipa::path(
    tag = "DIDs",
    params(CoverageRequest),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses((status = OK, body = CoverageItemList)),
)]
#[get("/phonenumber/coverage")]
pub async fn get_coverage(
    caller: Caller<PhonenumberRead>,
    coverage: CoverageRequest,
    store: web::Data<Store<AvailableDid>>,
) -> Result<Json<List<CoverageItem>>, ApiError> {
    let partner_sid = caller.own_partner_sid()?;
    let count = async |connection: &mut _| coverage.count(connection, partner_sid).await;
    let (items, total) = store.query(&caller, count).await?;
    coverage.items.respond(&items, total).await
}
