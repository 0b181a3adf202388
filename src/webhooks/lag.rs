//! How far endpoints are behind, for the metrics.

use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

use crate::store::IS_EVENT;
use crate::telemetry::activity::Activity;

/// The most events of an endpoint that are counted.
const MAX_EVENTS: i64 = 1_000;
/// The most endpoints that have metrics: those that are behind most.
const MAX_ENDPOINTS: i64 = 100;

/// How far an endpoint is behind.
#[derive(FromRow)]
struct Lag {
    sid: Uuid,
    /// The events that were not attempted, and the deliveries that are not complete.
    events: i64,
    /// The age of the oldest of them, in seconds.
    seconds: f64,
}

/// Returns a query of the dates of the first events after the cursor of the row `endpoint` and
/// below the horizon of the row `state`, at most `limit` of each partner.
pub fn events_after_cursor(limit: i64) -> String {
    let next = format!(
        "select date from history
         where {IS_EVENT} and epoch < state.horizon
           and (history.epoch, history.sid, history.version) >
               (endpoint.cursor_epoch, endpoint.cursor_sid, endpoint.cursor_version)"
    );
    let order = format!("order by history.epoch, history.sid, history.version limit {limit}");
    format!(
        "({next} and not endpoint.descendants and history.partner_sid = endpoint.partner_sid {order})
         union all
         (select event.date
          from partner_tree cross join lateral (
              {next} and history.partner_sid = descendant_sid {order}
          ) as event
          where endpoint.descendants and ancestor_sid = endpoint.partner_sid)"
    )
}

/// Measures the lag of all endpoints that are enabled.
///
/// # Errors
/// If the database is not available.
pub async fn measure_lag(
    connection: &mut PgConnection,
    activity: &Activity,
) -> Result<(), sqlx::Error> {
    let (events, first) = (events_after_cursor(MAX_EVENTS), events_after_cursor(1));
    let statement = format!(
        "with state as materialized (select event_horizon() as horizon)
         select endpoint.sid, least(new.events + failed.events, {MAX_EVENTS}) as events,
             coalesce(extract(
                 epoch from clock_timestamp() - least(new.oldest, failed.oldest)
             ), 0)::float8 as seconds
         from event_endpoints as endpoint cross join state
         cross join lateral (
             select
                 (select count(*) from (
                     select from ({events}) as event limit {MAX_EVENTS}
                 ) as counted) as events,
                 (select min(date) from ({first}) as event) as oldest
         ) as new
         cross join lateral (
             select count(*) as events, min(date_created) as oldest from event_deliveries
             where endpoint_sid = endpoint.sid and status = 'pending'
         ) as failed
         where endpoint.enabled
         order by seconds desc limit {MAX_ENDPOINTS}"
    );
    let lags: Vec<Lag> = sqlx::query_as(AssertSqlSafe(statement)).fetch_all(connection).await?;
    activity.set_webhook_lags(lags.iter().map(|lag| (lag.sid, lag.events, lag.seconds)));
    Ok(())
}
