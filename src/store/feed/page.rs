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
/// The most partners of a tree whose events are merged.
const MERGED: i64 = 32;
/// How many events of all partners are scanned for each event of a page, if a tree has more.
const SCANNED: i64 = 20;
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
    passed_epoch: Option<i64>,
    passed_sid: Option<Uuid>,
    passed_version: Option<i64>,
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

    /// The place up to which events were scanned, if more follow.
    fn passed(&self) -> Option<Position> {
        position(self.passed_epoch, self.passed_sid, self.passed_version)
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
    let (scanned, events) = if descendants { events_of_tree() } else { events_of_partner() };
    format!(
        "with state as materialized ({HORIZON}) {scanned}
         select state.generation,
             newest.epoch as newest_epoch, newest.sid as newest_sid,
             newest.version as newest_version,
             floor.epoch as floor_epoch, floor.sid as floor_sid, floor.version as floor_version,
             passed.epoch as passed_epoch, passed.sid as passed_sid,
             passed.version as passed_version,
             page.epoch, page.sid, page.version, page.kind, page.partner_sid, page.entry,
             page.examined
         from state
         left join lateral (
             select {PLACE} from history where {IS_EVENT} and epoch < state.horizon
             order by epoch desc, sid desc, version desc limit 1
         ) as newest on true
         left join event_floor as floor on true
         left join lateral (
             select * from scanned where (select count(*) from scanned) = $7 * {SCANNED}
             order by epoch desc, sid desc, version desc limit 1
         ) as passed on true
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

/// The events after the place of a reader, up to a limit, with these further columns.
fn events_after(limit: &str, of: &str, columns: &str) -> String {
    format!(
        "select {PLACE}, {columns} from history, state
         where {of} and {IS_EVENT} and epoch < state.horizon and ({PLACE}) > ($4, $5, $6)
         order by {PLACE} limit {limit}"
    )
}

/// The events of the reader's own partner. Nothing else is scanned.
fn events_of_partner() -> (String, String) {
    let scanned = format!(", scanned as (select {PLACE} from history where false)");
    (scanned, events_after("$7", "partner_sid = $1", "kind, partner_sid, entry"))
}

/// The events of a partner and its descendants: those of each partner merged if there are few of
/// them; otherwise the events of all partners are scanned, up to a multiple of the limit.
fn events_of_tree() -> (String, String) {
    let columns = "kind, partner_sid";
    let scan = events_after(&format!("$7 * {SCANNED}"), "(select is_large from tree)", columns);
    let merged = events_after("$7", "partner_sid = descendant_sid", columns);
    let scanned = format!(
        ", tree as materialized (
             select count(*) > {MERGED} as is_large from (
                 select from partner_tree where ancestor_sid = $1 limit {MERGED} + 1
             ) as partner
         ), scanned as materialized ({scan})"
    );
    // Only the entries of the page are read whole.
    let events = format!(
        "select event.*, (
             select entry from history as stored
             where (stored.sid, stored.version) = (event.sid, event.version)
         ) as entry
         from (select * from (
             select event.* from partner_tree cross join lateral ({merged}) as event
             where ancestor_sid = $1 and not (select is_large from tree)
             union all
             select * from scanned where exists (
                 select from partner_tree
                 where ancestor_sid = $1 and descendant_sid = scanned.partner_sid
             )
         ) as event
         order by {PLACE} limit $7) as event"
    );
    (scanned, events)
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
    let is_cut = examined > limit || (shown as i64) < examined;
    let passed = first.passed();
    let mut end = if is_cut { after } else { passed.unwrap_or(newest) };
    let mut entries = Vec::new();
    for row in rows.into_iter().take(limit as usize) {
        let Some(position) = row.position() else { continue };
        end = if is_cut { position } else { end };
        if let (Some(kind), Some(partner_sid), Some(text)) = (row.kind, row.partner_sid, row.entry)
        {
            entries.push(FeedEntry { position, partner_sid, kind, text });
        }
    }
    Ok(FeedPage { generation, entries, end, has_more: is_cut || passed.is_some() })
}
