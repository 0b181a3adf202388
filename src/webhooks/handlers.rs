//! The endpoints of webhooks. Creation and rotation ignore `Idempotency-Key`: their responses
//! contain a secret, and are not stored.

use actix_web::http::StatusCode;
use actix_web::web::Json;
use actix_web::{HttpResponse, delete, get, patch, post, put, web};

use super::delivery::{DeliveriesRequest, Delivery, DeliveryAttempt};
use super::endpoint::EventEndpoint;
use super::input::{
    EndpointTestRequest, EventEndpointChanges, NewEventEndpoint, ReplayRequest, RotationRequest,
};
use super::service::Webhooks;
use crate::auth::{EventsCreate, EventsDelete, EventsRead, EventsUpdate};
use crate::error::ApiError;
use crate::http::{
    Caller, HistoryRequest, List, ListRequest, MergePatch, NewObject, ObjectRequest, Replacement,
    Sid, UpdateArguments, View, WriteArguments,
};
use crate::store::{HistoryEntry, Store, WriteOptions, WriteResponse};

// The names of the bodies in the OpenAPI document.
type DeliveryList = List<Delivery>;
type EndpointTestBody = NewObject<EndpointTestRequest>;
type EventEndpointList = List<EventEndpoint>;
type EventEndpointPatch = MergePatch<EventEndpointChanges>;
type EventEndpointReplacement = Replacement<EventEndpointChanges>;
type EventEndpointView = View<EventEndpoint>;
type HistoryEntryList = List<HistoryEntry>;
type NewEventEndpointBody = NewObject<NewEventEndpoint>;
type ReplayBody = NewObject<ReplayRequest>;
type RotationBody = NewObject<RotationRequest>;

/// Returns a page of the partner's webhook endpoints.
#[utoipa::path(
    tag = "Events",
    params(ListRequest<EventEndpoint>),
    security(("bearer" = ["events.manage"]), ("bearer" = ["events.read"])),
    responses((status = OK, body = EventEndpointList)),
)]
#[get("/events/endpoints")]
pub async fn list_endpoints(
    caller: Caller<EventsRead>,
    list: ListRequest<EventEndpoint>,
    store: web::Data<Store<EventEndpoint>>,
) -> Result<Json<List<EventEndpoint>>, ApiError> {
    list.respond(&store, &caller).await
}

/// Creates a webhook endpoint of the token's own partner. Only this response contains the secret.
#[utoipa::path(
    tag = "Events",
    params(WriteArguments),
    request_body = NewEventEndpointBody,
    security(("bearer" = ["events.manage"]), ("bearer" = ["events.create"])),
    responses((status = OK, body = EventEndpoint)),
)]
#[post("/events/endpoints")]
pub async fn post_endpoint(
    caller: Caller<EventsCreate>,
    body: NewObject<NewEventEndpoint>,
    store: web::Data<Store<EventEndpoint>>,
    webhooks: web::Data<Webhooks>,
) -> Result<WriteResponse, ApiError> {
    let NewObject { input, options } = body;
    let rules = webhooks.rules(caller.scopes());
    let build = async |tx: &mut _| input.build(tx, &caller, &rules, webhooks.secrets()).await;
    store.create(&caller, &without_key(options), build).await
}

/// Returns the webhook endpoint of that sid, without its secret.
#[utoipa::path(
    tag = "Events",
    params(
        ("endpoint_sid" = Uuid, Path, description = "The endpoint secure ID"),
        ObjectRequest<EventEndpoint>,
    ),
    security(("bearer" = ["events.manage"]), ("bearer" = ["events.read"])),
    responses((status = OK, body = EventEndpointView)),
)]
#[get("/events/endpoints/{endpoint_sid}")]
pub async fn get_endpoint(
    caller: Caller<EventsRead>,
    sid: Sid,
    object: ObjectRequest<EventEndpoint>,
    store: web::Data<Store<EventEndpoint>>,
) -> Result<HttpResponse, ApiError> {
    object.respond(&store, &caller, sid.0).await
}

/// Changes the members that are sent: a JSON merge patch, RFC 7396.
#[utoipa::path(
    tag = "Events",
    params(
        ("endpoint_sid" = Uuid, Path, description = "The endpoint secure ID"),
        UpdateArguments,
    ),
    request_body = EventEndpointPatch,
    security(("bearer" = ["events.manage"]), ("bearer" = ["events.update"])),
    responses((status = OK, body = EventEndpoint)),
)]
#[patch("/events/endpoints/{endpoint_sid}")]
pub async fn patch_endpoint(
    caller: Caller<EventsUpdate>,
    sid: Sid,
    body: MergePatch<EventEndpointChanges>,
    store: web::Data<Store<EventEndpoint>>,
    webhooks: web::Data<Webhooks>,
) -> Result<WriteResponse, ApiError> {
    let MergePatch { changes, options, .. } = body;
    let rules = webhooks.rules(caller.scopes());
    let change = move |endpoint: &mut EventEndpoint| {
        endpoint.change(changes.check_read_only(endpoint)?, &rules)
    };
    store.update(&caller, sid.0, options, change).await
}

/// Replaces the webhook endpoint. Every writable member is required.
#[utoipa::path(
    tag = "Events",
    params(
        ("endpoint_sid" = Uuid, Path, description = "The endpoint secure ID"),
        UpdateArguments,
    ),
    request_body = EventEndpointReplacement,
    security(("bearer" = ["events.manage"]), ("bearer" = ["events.update"])),
    responses((status = OK, body = EventEndpoint)),
)]
#[put("/events/endpoints/{endpoint_sid}")]
pub async fn put_endpoint(
    caller: Caller<EventsUpdate>,
    sid: Sid,
    body: Replacement<EventEndpointChanges>,
    store: web::Data<Store<EventEndpoint>>,
    webhooks: web::Data<Webhooks>,
) -> Result<WriteResponse, ApiError> {
    let Replacement { changes, options } = body;
    let rules = webhooks.rules(caller.scopes());
    let change = move |endpoint: &mut EventEndpoint| {
        endpoint.change(changes.check_read_only(endpoint)?, &rules)
    };
    store.update(&caller, sid.0, options, change).await
}

/// Deletes the webhook endpoint. Events that were not delivered to it are not delivered any more.
#[utoipa::path(
    tag = "Events",
    params(("endpoint_sid" = Uuid, Path, description = "The endpoint secure ID"), WriteArguments),
    security(("bearer" = ["events.manage"]), ("bearer" = ["events.delete"])),
    responses((status = NO_CONTENT)),
)]
#[delete("/events/endpoints/{endpoint_sid}")]
pub async fn delete_endpoint(
    caller: Caller<EventsDelete>,
    sid: Sid,
    options: WriteOptions,
    store: web::Data<Store<EventEndpoint>>,
) -> Result<WriteResponse, ApiError> {
    store.delete(&caller, sid.0, &options).await
}

/// Returns the history of the webhook endpoint, oldest entry first.
#[utoipa::path(
    tag = "Events",
    params(
        ("endpoint_sid" = Uuid, Path, description = "The endpoint secure ID"),
        HistoryRequest,
    ),
    security(("bearer" = ["events.manage"]), ("bearer" = ["events.read"])),
    responses((status = OK, body = HistoryEntryList)),
)]
#[get("/events/endpoints/{endpoint_sid}/history")]
pub async fn get_endpoint_history(
    caller: Caller<EventsRead>,
    sid: Sid,
    history: HistoryRequest,
    store: web::Data<Store<EventEndpoint>>,
) -> Result<Json<List<HistoryEntry>>, ApiError> {
    history.respond(&store, &caller, sid.0).await
}

/// Gives the webhook endpoint a new secret, which only this response contains. The old one signs
/// too during the grace period.
#[utoipa::path(
    tag = "Events",
    params(("endpoint_sid" = Uuid, Path, description = "The endpoint secure ID"), WriteArguments),
    request_body = RotationBody,
    security(("bearer" = ["events.manage"]), ("bearer" = ["events.update"])),
    responses((status = OK, body = EventEndpoint)),
)]
#[post("/events/endpoints/{endpoint_sid}/rotate")]
pub async fn post_endpoint_rotate(
    caller: Caller<EventsUpdate>,
    sid: Sid,
    body: NewObject<RotationRequest>,
    store: web::Data<Store<EventEndpoint>>,
    webhooks: web::Data<Webhooks>,
) -> Result<WriteResponse, ApiError> {
    let NewObject { input, options } = body;
    let rotate = move |endpoint: &mut EventEndpoint| endpoint.rotate(&input, webhooks.secrets());
    store.update(&caller, sid.0, without_key(options), rotate).await
}

/// Returns the deliveries that have failed at least once, and those that wait behind them, newest
/// first. Deliveries that have ended are listed for 7 days.
#[utoipa::path(
    tag = "Events",
    params(
        ("endpoint_sid" = Uuid, Path, description = "The endpoint secure ID"),
        DeliveriesRequest,
    ),
    security(("bearer" = ["events.manage"]), ("bearer" = ["events.read"])),
    responses((status = OK, body = DeliveryList)),
)]
#[get("/events/endpoints/{endpoint_sid}/deliveries")]
pub async fn list_endpoint_deliveries(
    caller: Caller<EventsRead>,
    sid: Sid,
    deliveries: DeliveriesRequest,
    store: web::Data<Store<EventEndpoint>>,
) -> Result<Json<List<Delivery>>, ApiError> {
    let sid = store.get(&caller, sid.0).await?.object.endpoint_sid;
    let DeliveriesRequest(request) = deliveries;
    let (limit, offset) = (request.limit(), request.offset());
    let list = async |db: &mut _| Delivery::list(db, sid, limit, offset).await;
    let (deliveries, total) = store.query(&caller, list).await?;
    request.respond(&deliveries, total).await
}

/// Delivers past events again.
#[utoipa::path(
    tag = "Events",
    params(("endpoint_sid" = Uuid, Path, description = "The endpoint secure ID")),
    request_body = ReplayBody,
    security(("bearer" = ["events.manage"]), ("bearer" = ["events.update"])),
    responses((status = NO_CONTENT, description = "The events will be delivered again.")),
)]
#[post("/events/endpoints/{endpoint_sid}/replay")]
pub async fn post_endpoint_replay(
    caller: Caller<EventsUpdate>,
    sid: Sid,
    body: NewObject<ReplayRequest>,
    store: web::Data<Store<EventEndpoint>>,
    webhooks: web::Data<Webhooks>,
) -> Result<HttpResponse, ApiError> {
    reject_dry_run(&body.options)?;
    let endpoint = store.get(&caller, sid.0).await?.object;
    webhooks.replay(&caller, &endpoint, body.input).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

/// Sends a signed test event now, and returns the outcome.
#[utoipa::path(
    tag = "Events",
    params(("endpoint_sid" = Uuid, Path, description = "The endpoint secure ID")),
    request_body = EndpointTestBody,
    security(("bearer" = ["events.manage"]), ("bearer" = ["events.update"])),
    responses((status = OK, body = DeliveryAttempt)),
)]
#[post("/events/endpoints/{endpoint_sid}/test")]
pub async fn post_endpoint_test(
    caller: Caller<EventsUpdate>,
    sid: Sid,
    body: NewObject<EndpointTestRequest>,
    store: web::Data<Store<EventEndpoint>>,
    webhooks: web::Data<Webhooks>,
) -> Result<Json<DeliveryAttempt>, ApiError> {
    reject_dry_run(&body.options)?;
    let endpoint = store.get(&caller, sid.0).await?.object;
    webhooks.test(&endpoint).await.map(Json)
}

/// Responses that contain a secret are never stored.
fn without_key(options: WriteOptions) -> WriteOptions {
    WriteOptions { key: None, ..options }
}

fn reject_dry_run(options: &WriteOptions) -> Result<(), ApiError> {
    if options.validate_only {
        return Err(ApiError::bad_argument(
            "validate_only",
            "does not apply: no object is written",
        ));
    }
    Ok(())
}
