//! Deliveries that have failed at least once, and those that wait behind them. Only these have
//! rows.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::schedule::Answer;
use crate::error::ApiError;
use crate::http::ItemsRequest;
use crate::http::openapi::Viewed;
use crate::input::date;

/// How long a delivery that has ended stays in the list, in days.
const RETENTION_DAYS: i32 = 7;

/// One attempt to deliver an event.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryAttempt {
    /// When the attempt ended.
    #[schema(format = DateTime)]
    pub date: String,
    /// Why there was no answer. `null` if there was one.
    #[schema(required)]
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub milliseconds: i64,
    /// The first KiB of the answer's body.
    pub response: String,
    /// The status of the answer. `null` if there was none.
    #[schema(required)]
    pub status: Option<u16>,
}

impl From<Answer> for DeliveryAttempt {
    fn from(answer: Answer) -> Self {
        let Answer { status, error, milliseconds, response, .. } = answer;
        let date = date::text(date::now());
        Self { date, error, milliseconds, response, status }
    }
}

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(rename_all = "lowercase", type_name = "text")]
pub enum DeliveryStatus {
    /// It is attempted again.
    Pending,
    /// It has succeeded after all.
    Delivered,
    /// It is not attempted again.
    Failed,
}

/// A delivery that has failed at least once, or waits behind one.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Delivery {
    /// The attempts, oldest first.
    #[schema(value_type = Vec<DeliveryAttempt>)]
    attempts: Json<Vec<DeliveryAttempt>>,
    /// When the first attempt failed, or when the delivery began to wait.
    #[serde(with = "date")]
    date_created: OffsetDateTime,
    /// When it succeeded or failed finally.
    #[serde(with = "date::option")]
    #[schema(required)]
    date_ended: Option<OffsetDateTime>,
    /// When it is attempted again.
    #[serde(with = "date::option")]
    #[schema(required)]
    date_next_attempt: Option<OffsetDateTime>,
    /// The `webhook-id` of the event.
    event_id: String,
    /// The object of the event.
    sid: Uuid,
    /// The state.
    status: DeliveryStatus,
    /// The type of the event.
    #[serde(rename = "type")]
    #[sqlx(rename = "type")]
    name: String,
    /// The version of the object.
    version: i64,
}

impl Viewed for Delivery {}

impl Delivery {
    const MEMBERS: [&str; 9] = [
        "attempts",
        "date_created",
        "date_ended",
        "date_next_attempt",
        "event_id",
        "sid",
        "status",
        "type",
        "version",
    ];

    /// Returns at most `limit` deliveries of an endpoint, newest first, after the first `offset`,
    /// and the number of all.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn list(
        connection: &mut PgConnection,
        endpoint_sid: Uuid,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<Self>, i64), ApiError> {
        let total = "select count(*) from event_deliveries where endpoint_sid = $1";
        let total =
            sqlx::query_scalar(total).bind(endpoint_sid).fetch_one(&mut *connection).await?;
        let deliveries = sqlx::query_as(
            "select log as attempts, date_created, date_ended,
                 next_attempt_at as date_next_attempt,
                 'msg_' || object_sid || '_' || version as event_id, object_sid as sid, status,
                 type, version
             from event_deliveries where endpoint_sid = $1
             order by ordinal desc limit $2 offset $3",
        )
        .bind(endpoint_sid)
        .bind(limit)
        .bind(offset)
        .fetch_all(connection)
        .await?;
        Ok((deliveries, total))
    }
}

/// A request for the deliveries of an endpoint.
pub struct DeliveriesRequest(pub ItemsRequest);

impl IntoParams for DeliveriesRequest {
    fn into_params(parameter_in: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        ItemsRequest::into_params(parameter_in)
    }
}

impl FromRequest for DeliveriesRequest {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let is_known = |name: &str| Delivery::MEMBERS.contains(&name);
        let list = "deliveries, which are in order of time, newest first";
        ready(ItemsRequest::parse(request, list, is_known).map(Self))
    }
}

/// Deletes the deliveries that ended some days ago, in small batches, and the instances that have
/// ended.
///
/// # Errors
/// If the database is not available.
pub async fn purge_deliveries(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    const BATCH: i64 = 1_000;
    let statement = "
        delete from event_deliveries
        where ctid = any(array(
            select ctid from event_deliveries
            where status <> 'pending' and date_ended <= now() - make_interval(days => $2) limit $1
        ))";
    let instances = "delete from event_dispatchers where seen_at < now() - interval '1 hour'";
    sqlx::query(instances).execute(&mut *connection).await?;
    loop {
        let purged = sqlx::query(statement)
            .bind(BATCH)
            .bind(RETENTION_DAYS)
            .execute(&mut *connection)
            .await?;
        if purged.rows_affected() < BATCH as u64 {
            return Ok(());
        }
    }
}
