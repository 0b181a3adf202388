//! The rows of deliveries that are not complete. Every function takes part in the transaction of
//! its caller, who holds the lock of the endpoint's row.

use std::collections::HashSet;

use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::delivery::DeliveryAttempt;
use super::schedule::Verdict;
use crate::store::Position;

/// A delivery that is not complete.
#[derive(Clone, Debug, FromRow)]
pub struct Pending {
    /// The object of the event.
    pub object_sid: Uuid,
    /// The version of the object.
    pub version: i64,
    /// The number of attempts that have failed.
    pub attempts: i32,
    /// Whether later events of the object wait for it.
    pub is_blocking: bool,
}

/// The end of one attempt of a delivery.
pub struct Settled {
    /// The event.
    pub sid: Uuid,
    /// The version of the object.
    pub version: i64,
    /// The type of the event.
    pub name: String,
    /// The attempt.
    pub attempt: DeliveryAttempt,
    /// What follows.
    pub verdict: Verdict,
}

/// Returns the places of the deliveries of these objects that are not complete.
///
/// # Errors
/// If the database is not available.
pub async fn of_objects(
    connection: &mut PgConnection,
    endpoint_sid: Uuid,
    objects: &[Uuid],
) -> Result<HashSet<(Uuid, i64)>, sqlx::Error> {
    let statement = "select object_sid, version from event_deliveries
                     where endpoint_sid = $1 and object_sid = any($2) and status = 'pending'";
    let places: Vec<(Uuid, i64)> =
        sqlx::query_as(statement).bind(endpoint_sid).bind(objects).fetch_all(connection).await?;
    Ok(places.into_iter().collect())
}

/// Returns at most `limit` deliveries whose next attempt is due.
///
/// # Errors
/// If the database is not available.
pub async fn due(
    connection: &mut PgConnection,
    endpoint_sid: Uuid,
    limit: i64,
) -> Result<Vec<Pending>, sqlx::Error> {
    sqlx::query_as(
        "select object_sid, version, attempts, is_blocking from event_deliveries
         where endpoint_sid = $1 and status = 'pending' and next_attempt_at <= clock_timestamp()
         order by next_attempt_at limit $2",
    )
    .bind(endpoint_sid)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// Adds a delivery whose first attempt has failed. A delivery of the same event that is complete
/// begins again.
///
/// # Errors
/// If the database is not available.
pub async fn add(
    connection: &mut PgConnection,
    endpoint_sid: Uuid,
    is_blocking: bool,
    settled: &Settled,
) -> Result<(), sqlx::Error> {
    let Settled { sid, version, name, attempt, verdict } = settled;
    let Verdict::Retry(delay) = verdict else { return Ok(()) };
    sqlx::query(
        "insert into event_deliveries as delivery (endpoint_sid, object_sid, version, type, status,
             is_blocking, next_attempt_at, attempts, log)
         values ($1, $2, $3, $4, 'pending', $5,
             clock_timestamp() + make_interval(secs => $6), 1, jsonb_build_array($7::jsonb))
         on conflict (endpoint_sid, object_sid, version) do update
         set status = 'pending', is_blocking = delivery.is_blocking or excluded.is_blocking,
             next_attempt_at = excluded.next_attempt_at, attempts = 1, date_ended = null,
             log = excluded.log",
    )
    .bind(endpoint_sid)
    .bind(sid)
    .bind(version)
    .bind(name)
    .bind(is_blocking)
    .bind(delay.as_secs_f64())
    .bind(Json(attempt))
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes later events of these objects wait for the last delivery of each that is not complete.
///
/// # Errors
/// If the database is not available.
pub async fn block(
    connection: &mut PgConnection,
    endpoint_sid: Uuid,
    objects: &[Uuid],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update event_deliveries as delivery set is_blocking = true
         where endpoint_sid = $1 and object_sid = any($2) and status = 'pending'
           and not is_blocking and not exists (
               select from event_deliveries as later
               where later.endpoint_sid = $1 and later.object_sid = delivery.object_sid
                 and later.status = 'pending' and later.version > delivery.version)",
    )
    .bind(endpoint_sid)
    .bind(objects)
    .execute(connection)
    .await?;
    Ok(())
}

/// Records an attempt of a delivery that has a row. If that ends the delivery, the object's next
/// event up to the cursor follows.
///
/// # Errors
/// If the database is not available.
pub async fn settle(
    connection: &mut PgConnection,
    endpoint_sid: Uuid,
    cursor: Position,
    pending: &Pending,
    settled: &Settled,
) -> Result<(), sqlx::Error> {
    let Settled { attempt, verdict, name, .. } = settled;
    let (status, delay) = match verdict {
        Verdict::Retry(delay) => ("pending", Some(delay.as_secs_f64())),
        Verdict::Delivered if pending.attempts == 0 => {
            return end(connection, endpoint_sid, cursor, pending).await;
        }
        Verdict::Delivered => ("delivered", None),
        Verdict::Failed => ("failed", None),
    };
    sqlx::query(
        "update event_deliveries
         set status = $4, next_attempt_at = clock_timestamp() + make_interval(secs => $5),
             attempts = attempts + 1, type = $7, log = log || jsonb_build_array($6::jsonb),
             date_ended = case when $4 <> 'pending' then clock_timestamp() end
         where endpoint_sid = $1 and object_sid = $2 and version = $3 and status = 'pending'",
    )
    .bind(endpoint_sid)
    .bind(pending.object_sid)
    .bind(pending.version)
    .bind(status)
    .bind(delay)
    .bind(Json(attempt))
    .bind(name)
    .execute(&mut *connection)
    .await?;
    if status == "pending" {
        return Ok(());
    }
    follow(connection, endpoint_sid, cursor, pending).await
}

/// Ends a delivery without a trace: it has never failed, or the endpoint does not get the event.
///
/// # Errors
/// If the database is not available.
pub async fn end(
    connection: &mut PgConnection,
    endpoint_sid: Uuid,
    cursor: Position,
    pending: &Pending,
) -> Result<(), sqlx::Error> {
    let statement = "delete from event_deliveries
                     where endpoint_sid = $1 and object_sid = $2 and version = $3";
    sqlx::query(statement)
        .bind(endpoint_sid)
        .bind(pending.object_sid)
        .bind(pending.version)
        .execute(&mut *connection)
        .await?;
    follow(connection, endpoint_sid, cursor, pending).await
}

/// Adds the object's next event up to the cursor, which has waited for that delivery.
async fn follow(
    connection: &mut PgConnection,
    endpoint_sid: Uuid,
    cursor: Position,
    pending: &Pending,
) -> Result<(), sqlx::Error> {
    if !pending.is_blocking {
        return Ok(());
    }
    sqlx::query(
        "insert into event_deliveries as delivery (endpoint_sid, object_sid, version, type, status,
             is_blocking, next_attempt_at, attempts, log)
         select $1, sid, version, kind, 'pending', true, clock_timestamp(), 0, '[]' from history
         where sid = $2 and version > $3 and (epoch, sid, version) <= ($4, $5, $6)
         order by version limit 1
         on conflict (endpoint_sid, object_sid, version) do update
         set status = 'pending', is_blocking = true, date_ended = null,
             next_attempt_at = coalesce(delivery.next_attempt_at, excluded.next_attempt_at)",
    )
    .bind(endpoint_sid)
    .bind(pending.object_sid)
    .bind(pending.version)
    .bind(cursor.epoch)
    .bind(cursor.sid)
    .bind(cursor.version)
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes all retries of these endpoints due.
///
/// # Errors
/// If the database is not available.
pub async fn make_due(
    connection: &mut PgConnection,
    endpoints: &[Uuid],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update event_deliveries set next_attempt_at = clock_timestamp()
         where endpoint_sid = any($1) and status = 'pending'",
    )
    .bind(endpoints)
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds the event that an endpoint was disabled to the partner's other endpoints.
///
/// # Errors
/// If the database is not available.
pub async fn announce(
    connection: &mut PgConnection,
    partner_sid: Uuid,
    disabled_sid: Uuid,
    version: i64,
    name: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into event_deliveries (endpoint_sid, object_sid, version, type, status,
             is_blocking, next_attempt_at, attempts, log)
         select sid, $2, $3, $4, 'pending', false, clock_timestamp(), 0, '[]'
         from event_endpoints
         where partner_sid = $1 and sid <> $2 and enabled
           and $4 = any(string_to_array(types, ' '))
         on conflict do nothing",
    )
    .bind(partner_sid)
    .bind(disabled_sid)
    .bind(version)
    .bind(name)
    .execute(connection)
    .await?;
    Ok(())
}

/// Since when an endpoint has been failing, by the database's clock.
#[derive(Debug, FromRow)]
pub struct State {
    /// The cursor.
    #[sqlx(flatten)]
    pub cursor: Position,
    /// Since when no delivery has succeeded.
    pub failing_since: Option<OffsetDateTime>,
    /// The database's clock.
    pub now: OffsetDateTime,
}

/// Locks the row of an endpoint and moves its cursor, if given. Returns `None` if another instance
/// delivers now, or the endpoint is disabled or deleted.
///
/// # Errors
/// If the database is not available.
pub async fn advance(
    connection: &mut PgConnection,
    endpoint_sid: Uuid,
    dispatcher_sid: Uuid,
    cursor: Option<Position>,
    outcome: Option<bool>,
) -> Result<Option<State>, sqlx::Error> {
    sqlx::query_as(
        "update event_endpoints
         set cursor_epoch = coalesce($3, cursor_epoch), cursor_sid = coalesce($4, cursor_sid),
             cursor_version = coalesce($5, cursor_version),
             failing_since = case $6
                 when true then null
                 when false then coalesce(failing_since, clock_timestamp())
                 else failing_since
             end
         where sid = $1 and dispatcher_sid = $2
         returning cursor_epoch, cursor_sid, cursor_version, failing_since,
             clock_timestamp() as now",
    )
    .bind(endpoint_sid)
    .bind(dispatcher_sid)
    .bind(cursor.map(|cursor| cursor.epoch))
    .bind(cursor.map(|cursor| cursor.sid))
    .bind(cursor.map(|cursor| cursor.version))
    .bind(outcome)
    .fetch_optional(connection)
    .await
}
