//! The events of an endpoint, read from the history in their order: see
//! `migrations/V17__events.sql`.

use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::store::{IS_EVENT, Position};

/// The most entries that are read at once, also those that are no events of the endpoint.
pub const LIMIT: usize = 200;
/// The size of the entries that are read at once, in bytes of stored text.
const BYTES: i64 = 1024 * 1024;

/// Which entries an endpoint gets.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The partner of the endpoint.
    pub partner_sid: Uuid,
    /// Whether it gets those of descendants' objects too.
    pub descendants: bool,
    /// The kinds of objects.
    pub kinds: Vec<&'static str>,
    /// The dates between which they were written, exclusively.
    pub dates: (Option<OffsetDateTime>, Option<OffsetDateTime>),
}

/// An entry of the history.
#[derive(Clone, Debug, FromRow)]
pub struct Entry {
    #[sqlx(flatten)]
    pub position: Position,
    /// The kind of the object, by its name in the history.
    pub kind: String,
    /// The owner of the object.
    pub partner_sid: Uuid,
    /// The JSON text. `None` if the endpoint does not get the entry.
    pub entry: Option<String>,
}

/// Returns the entries after that place that are below the horizon, in their order. There is one
/// for each entry of these partners, so that a reader can pass those that it does not get.
///
/// # Errors
/// If the database is not available.
pub async fn next(
    connection: &mut PgConnection,
    selection: &Selection,
    after: Position,
) -> Result<Vec<Entry>, sqlx::Error> {
    let Selection { partner_sid, descendants, kinds, dates } = selection;
    let range = format!(
        "{IS_EVENT} and epoch < event_horizon() and (epoch, sid, version) > ($2, $3, $4)
         and ($6::timestamptz is null or date > $6) and ($7::timestamptz is null or date < $7)"
    );
    let columns = "epoch, sid, version, kind, partner_sid";
    let order = format!("order by epoch, sid, version limit {LIMIT}");
    let events = if *descendants {
        // Only the entries that are returned are read whole.
        format!(
            "select event.*, (
                 select entry from history as stored
                 where (stored.sid, stored.version) = (event.sid, event.version)
             ) as entry
             from (
                 select event.* from partner_tree cross join lateral (
                     select {columns} from history
                     where partner_sid = descendant_sid and {range} {order}
                 ) as event
                 where ancestor_sid = $1 {order}
             ) as event"
        )
    } else {
        format!("select {columns}, entry from history where partner_sid = $1 and {range} {order}")
    };
    let statement = format!(
        "select epoch as cursor_epoch, sid as cursor_sid, version as cursor_version, kind,
             partner_sid, case when kind = any($5) then entry end as entry
         from (
             select event.*, coalesce(sum(
                 case when kind = any($5) then octet_length(entry) end
             ) over (
                 order by epoch, sid, version rows between unbounded preceding and 1 preceding
             ), 0) as size_before
             from ({events}) as event
         ) as sized
         where size_before < {BYTES} order by epoch, sid, version"
    );
    sqlx::query_as(AssertSqlSafe(statement))
        .bind(partner_sid)
        .bind(after.epoch)
        .bind(after.sid)
        .bind(after.version)
        .bind(kinds)
        .bind(dates.0)
        .bind(dates.1)
        .fetch_all(connection)
        .await
}

/// Returns the entry of that version of an object, of any kind.
///
/// # Errors
/// If the database is not available.
pub async fn entry(
    connection: &mut PgConnection,
    sid: Uuid,
    version: i64,
) -> Result<Option<Entry>, sqlx::Error> {
    let statement = "select epoch as cursor_epoch, sid as cursor_sid, version as cursor_version,
                         kind, partner_sid, entry
                     from history where sid = $1 and version = $2";
    sqlx::query_as(statement).bind(sid).bind(version).fetch_optional(connection).await
}
