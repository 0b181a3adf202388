//! The statement that reads a page of events.

use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

use super::{Position, Selection};
use crate::auth::Actor;
use crate::error::ApiError;

/// The size of a page, in bytes of stored text, at which it ends.
const PAGE_BYTES: i64 = 1024 * 1024;
/// The condition of the indexes of events, which every statement repeats.
pub(super) const IS_EVENT: &str =
    "epoch > 0 and kind in ('did', 'did_group', 'partner', 'short_code')";
/// The newest generation, and the epoch from which on events can still appear.
pub(super) const HORIZON: &str = "
    select generation,
        (generation << 48) + pg_snapshot_xmin(pg_current_snapshot())::text::bigint as horizon
    from event_generations order by generation desc limit 1";
/// The columns of a place, and the order of events.
const PLACE: &str = "epoch, sid, version";

/// An entry of the history that a reader gets as an event.
#[derive(Debug)]
pub struct FeedEntry {
    /// Its place.
    pub position: Position,
    /// The owner of the object.
    pub partner_sid: Uuid,
    /// The kind of the object, by its name in the history.
    pub kind: String,
    /// The JSON text of the entry.
    pub text: String,
}

/// A page of events.
#[derive(Debug)]
pub struct FeedPage {
    /// The newest generation.
    pub generation: i64,
    /// The events.
    pub entries: Vec<FeedEntry>,
    /// The place up to which all events have been read: that of a committed entry.
    pub end: Position,
    /// Whether events follow the page.
    pub has_more: bool,
}

/// A row of the page, with the state of the feed in the same snapshot. A feed without events has
/// one row without an entry.
#[derive(FromRow)]
struct Row {
    generation: i64,
    newest_epoch: Option<i64>,
    newest_sid: Option<Uuid>,
    newest_version: Option<i64>,
    floor_epoch: Option<i64>,
    floor_sid: Option<Uuid>,
    floor_version: Option<i64>,
    epoch: Option<i64>,
    sid: Option<Uuid>,
    version: Option<i64>,
    kind: Option<String>,
    partner_sid: Option<Uuid>,
    /// `None` if the reader does not get events of this kind.
    entry: Option<String>,
    /// The number of entries up to the limit, also those beyond the size of a page.
    examined: Option<i64>,
}

impl Row {
    fn newest(&self) -> Option<Position> {
        position(self.newest_epoch, self.newest_sid, self.newest_version)
    }

    fn floor(&self) -> Option<Position> {
        position(self.floor_epoch, self.floor_sid, self.floor_version)
    }

    fn position(&self) -> Option<Position> {
        position(self.epoch, self.sid, self.version)
    }
}

fn position(epoch: Option<i64>, sid: Option<Uuid>, version: Option<i64>) -> Option<Position> {
    Some(Position { epoch: epoch?, sid: sid?, version: version? })
}

/// Returns the statement for the events of partner `$1`, whose kinds are in `$2`, and those of its
/// descendants, whose kinds are in `$3`: after the place `$4, $5, $6`, at most `$7`, up to `$8`
/// bytes.
fn statement(descendants: bool) -> String {
    let event = "epoch, sid, version, kind, partner_sid, entry";
    let range = format!("{IS_EVENT} and epoch < state.horizon and ({PLACE}) > ($4, $5, $6)");
    let order = format!("order by {PLACE} limit $7");
    let events = if descendants {
        format!(
            "select event.* from partner_tree cross join lateral (
                 select {event} from history
                 where partner_sid = descendant_sid and {range} {order}
             ) as event
             where ancestor_sid = $1 {order}"
        )
    } else {
        format!("select {event} from history where partner_sid = $1 and {range} {order}")
    };
    format!(
        "with state as materialized ({HORIZON})
         select state.generation,
             newest.epoch as newest_epoch, newest.sid as newest_sid,
             newest.version as newest_version,
             floor.epoch as floor_epoch, floor.sid as floor_sid, floor.version as floor_version,
             page.epoch, page.sid, page.version, page.kind, page.partner_sid, page.entry,
             page.examined
         from state
         left join lateral (
             select {PLACE} from history where {IS_EVENT} and epoch < state.horizon
             order by epoch desc, sid desc, version desc limit 1
         ) as newest on true
         left join event_floor as floor on true
         left join lateral (
             select * from (
                 select {PLACE}, kind, partner_sid, entry, count(*) over () as examined,
                     coalesce(sum(octet_length(entry)) over (
                         order by {PLACE} rows between unbounded preceding and 1 preceding
                     ), 0) as size_before
                 from (
                     select {PLACE}, kind, partner_sid, case
                         when kind = any(case when partner_sid = $1 then $2 else $3 end)
                         then entry
                     end as entry
                     from ({events}) as event
                 ) as selected
             ) as sized
             where size_before < $8
         ) as page on true
         order by page.epoch, page.sid, page.version"
    )
}

/// Reads a page of events: see [`super::Feed::page`].
pub(super) async fn read(
    connection: &mut PgConnection,
    actor: &Actor,
    selection: &Selection,
    after: Option<Position>,
    limit: i64,
) -> Result<FeedPage, ApiError> {
    let start = after.unwrap_or(Position::START);
    let rows: Vec<Row> =
        sqlx::query_as(AssertSqlSafe(statement(!selection.descendants.is_empty())))
            .bind(actor.own_partner_sid()?)
            .bind(&selection.own)
            .bind(&selection.descendants)
            .bind(start.epoch)
            .bind(start.sid)
            .bind(start.version)
            .bind(if after.is_some() { limit + 1 } else { 0 })
            .bind(PAGE_BYTES)
            .fetch_all(connection)
            .await?;
    let Some(first) = rows.first() else {
        return Err(ApiError::Internal(anyhow::anyhow!("no generation of events has begun")));
    };
    let (generation, examined) = (first.generation, first.examined.unwrap_or_default());
    // The newest entry of all can be one that was deleted since.
    let newest = first.newest().max(first.floor()).unwrap_or(Position::START);
    let after = after.unwrap_or(newest);
    if first.floor().is_some_and(|floor| after < floor) {
        return Err(ApiError::Resync("events after this cursor have been deleted"));
    }
    if after > newest {
        return Err(ApiError::Resync("is beyond the newest event"));
    }
    let shown = rows.iter().filter(|row| row.epoch.is_some()).count();
    let has_more = examined > limit || (shown as i64) < examined;
    let (mut entries, mut end) = (Vec::new(), if has_more { after } else { newest });
    for row in rows.into_iter().take(limit as usize) {
        let Some(position) = row.position() else { continue };
        end = if has_more { position } else { end };
        if let (Some(kind), Some(partner_sid), Some(text)) = (row.kind, row.partner_sid, row.entry)
        {
            entries.push(FeedEntry { position, partner_sid, kind, text });
        }
    }
    Ok(FeedPage { generation, entries, end, has_more })
}
