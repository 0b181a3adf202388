//! Lists of deleted objects: each as it was last, from the history, the newest deletion first.
//!
//! The entry of a deletion names the owner of the object. An index finds the deletions of a partner
//! (`migrations/V20__deleted_objects.sql`). An object that was restored has a later entry.

use serde::Deserialize;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use time::OffsetDateTime;
use uuid::Uuid;

use super::list::{Owners, Page, Query, Start, push_visible};
use super::read::{no_such_row, page_of};
use super::resource::{Listed, Resource};
use crate::auth::{Actor, Visibility};
use crate::error::ApiError;

/// Whether an entry is that of a deletion: the condition of the index, besides the kinds that can
/// be restored.
const IS_DELETION: &str = "substr(entry, 1, 18) = '{\"action\":\"delete\"'";

/// The entry of a deletion.
#[derive(FromRow)]
struct Deletion {
    sid: Uuid,
    partner_sid: Uuid,
    entry: String,
}

#[derive(Deserialize)]
struct Text {
    object: Map<String, Value>,
}

impl Deletion {
    /// Returns the object as it was last, without the nested members `omitted`.
    fn listed<R: Resource>(self, omitted: &[&str]) -> Result<Listed, ApiError> {
        let Self { sid, partner_sid, entry } = self;
        let internal = |error: serde_json::Error| ApiError::Internal(error.into());
        let Text { mut object } = serde_json::from_str(&entry).map_err(internal)?;
        object.retain(|name, _| R::shows(name) && !omitted.contains(&&**name));
        Ok(Listed { sid, partner_sid, text: to_raw_value(&object).map_err(internal)? })
    }
}

/// Returns a page of the deleted objects that were visible to the actor. The query has no order and
/// no conditions.
///
/// # Errors
/// [`ApiError::BadRequest`] if the page starts at an object whose deletion is not visible to the
/// actor, or would exceed 16 MiB.
pub(super) async fn list<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    query: &Query,
) -> Result<Page<Listed>, ApiError> {
    let visibility = actor.visibility();
    let (total, anchor, beyond): (Option<i64>, Option<OffsetDateTime>, bool) = match query.start {
        Start::Offset(skipped) if !query.counts => (None, None, skipped > 0),
        _ => around::<R>(query, visibility).build_query_as().fetch_one(&mut *connection).await?,
    };
    let start = match (query.start, anchor) {
        (Start::Offset(_), _) => None,
        (Start::After(sid), Some(date)) => Some(("<", date, sid)),
        (Start::Before(sid), Some(date)) => Some((">", date, sid)),
        (Start::After(_), None) => return Err(not_deleted("after")),
        (Start::Before(_), None) => return Err(not_deleted("before")),
    };
    let mut page = page::<R>(query, visibility, start);
    let rows = page.build_query_as::<Deletion>().fetch(connection);
    let listed = |deletion: Deletion| deletion.listed::<R>(&query.omitted);
    page_of(rows, listed, query, beyond, total).await
}

fn not_deleted(argument: &'static str) -> ApiError {
    no_such_row(argument, "a deleted object whose deletion the history still contains")
}

/// The statement that reads the position of the page: the number of all deleted objects, if they
/// are counted; the date of the deletion that the page starts at, if it was visible; and whether
/// deletions precede it, in the direction of the page.
fn around<R: Resource>(query: &Query, visibility: Visibility) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new("");
    let (sid, side) = match query.start {
        Start::Offset(skipped) => {
            sql.push("select (");
            push_count::<R>(&mut sql, query, visibility);
            sql.push("), null::timestamptz, ").push_bind(skipped > 0);
            return sql;
        }
        Start::After(sid) => (sid, ">="),
        Start::Before(sid) => (sid, "<="),
    };
    sql.push(format_args!(
        "with anchor as materialized (
             select date from history where kind = '{}' and {IS_DELETION} and sid = ",
        R::KIND
    ));
    sql.push_bind(sid);
    push_visible(&mut sql, visibility, "partner_sid");
    sql.push(" order by version desc limit 1) select (");
    push_count::<R>(&mut sql, query, visibility);
    sql.push("), (select date from anchor), exists (select from ");
    push_owners(&mut sql, visibility);
    sql.push(" cross join lateral (select");
    push_deletions::<R>(&mut sql);
    sql.push(format_args!(" and (date, sid) {side} ((select date from anchor), "));
    sql.push_bind(sid).push(") limit 1) as deletions)");
    sql
}

/// The statement that reads the page and one more deletion. `start` is the side of the deletion
/// that the page starts after or ends before, with its date and the sid of its object.
fn page<R: Resource>(
    query: &Query,
    visibility: Visibility,
    start: Option<(&str, OffsetDateTime, Uuid)>,
) -> QueryBuilder<Postgres> {
    let order = match query.start {
        Start::Before(_) => "order by date, sid",
        Start::After(_) | Start::Offset(_) => "order by date desc, sid desc",
    };
    let (rows, skipped) = (query.limit + 1, query.offset());
    // Merges a page of each partner. Only the entries of the page itself are read.
    let mut sql = QueryBuilder::new(
        "select sid, partner_sid, entry
         from (select deletions.* from ",
    );
    push_owners(&mut sql, visibility);
    sql.push(" cross join lateral (select sid, version, date");
    push_deletions::<R>(&mut sql);
    if let Some((side, date, sid)) = start {
        sql.push(format_args!(" and (date, sid) {side} (")).push_bind(date).push(", ");
        sql.push_bind(sid).push(")");
    }
    sql.push(format_args!(" {order} limit ")).push_bind(rows.saturating_add(skipped));
    sql.push(format_args!(") as deletions {order} limit ")).push_bind(rows);
    sql.push(" offset ").push_bind(skipped);
    sql.push(format_args!(") as page join history using (sid, version, date) {order}"));
    sql
}

fn push_count<R: Resource>(
    sql: &mut QueryBuilder<Postgres>,
    query: &Query,
    visibility: Visibility,
) {
    if !query.counts {
        sql.push("null::bigint");
        return;
    }
    sql.push("select coalesce(sum(deletions.count), 0)::bigint from ");
    push_owners(sql, visibility);
    sql.push(" cross join lateral (select count(*)");
    push_deletions::<R>(sql);
    sql.push(") as deletions");
}

/// Appends the table of the visible partners, one row for each.
fn push_owners(sql: &mut QueryBuilder<Postgres>, visibility: Visibility) {
    match Owners::of(visibility) {
        Owners::One(partner_sid) => sql.push("(select ").push_bind(partner_sid).push(" as owner)"),
        Owners::Relatives { partner_sid, of, each } => {
            sql.push(format_args!("(select {each} as owner from partner_tree where {of} = "));
            sql.push_bind(partner_sid).push(")")
        }
        Owners::All => sql.push("(select sid as owner from partners)"),
    };
    sql.push(" as owners");
}

/// Appends the deletions of the partner `owner` that nothing has followed. The later entry is
/// looked up for one deletion at a time, whatever the planner expects.
fn push_deletions<R: Resource>(sql: &mut QueryBuilder<Postgres>) {
    sql.push(format_args!(
        " from history as deletion
         where partner_sid = owner and kind = '{}' and {IS_DELETION} and (
             select version from history as later
             where later.sid = deletion.sid and later.version = deletion.version + 1
         ) is null",
        R::KIND
    ));
}
