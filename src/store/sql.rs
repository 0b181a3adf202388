//! The statements, each written once for all resources, from the names that a [`Resource`] states as facts.

use super::{Reference, Resource};
use crate::list::Kind;

/// A column of an object's table, with its PostgreSQL type.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub(super) name: &'static str,
    pub(super) sql_type: &'static str,
    is_hidden: bool,
}

impl Column {
    /// The column of the member called `name`, of that type.
    pub const fn new(name: &'static str, sql_type: &'static str) -> Self {
        Self { name, sql_type, is_hidden: false }
    }

    /// A column that is no member: a secret's hash, or what only we need.
    pub const fn hidden(name: &'static str, sql_type: &'static str) -> Self {
        Self { name, sql_type, is_hidden: true }
    }

    /// How its values compare, where clients may know.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.sql_type {
            _ if self.is_hidden => None,
            "text" => Some(Kind::Text),
            "uuid" => Some(Kind::Sid),
            "timestamptz" => Some(Kind::Date),
            "jsonb" => Some(Kind::Json),
            _ => None,
        }
    }
}

/// The row of sid `$4` that an actor reaches.
pub fn select<R: Resource>() -> String {
    reached::<R>("") + " and sid = $4"
}

/// The same row with what a change has to know, kept from other writers until the transaction ends. References to it stay free.
pub fn lock<R: Resource>() -> String {
    locked::<R>() + " for no key update"
}

/// The same for a row that is about to go: references to it wait.
pub fn lock_to_delete<R: Resource>() -> String {
    locked::<R>() + " for update"
}

fn locked<R: Resource>() -> String {
    let (table, owner) = (R::TABLE, R::OWNER);
    let more = format!(
        ", date_trunc('milliseconds', clock_timestamp()) as now,
         (select requires_if_match from partners as owner where owner.sid = {table}.{owner}) as must_match"
    );
    reached::<R>(&more) + " and sid = $4"
}

/// Deletes rows that were read at the version before, and records it.
pub fn delete<R: Resource>() -> String {
    let table = R::TABLE;
    format!(
        "with {new}, written as (
             delete from {table} as old using new
             where old.sid = new.sid and old.version = new.version - 1
             returning old.sid
         )
         {record}",
        new = new::<R>(),
        record = record::<R>(),
    )
}

/// How many objects refer to sid `$2` of partner `$1`, and the first of them.
pub fn referring(Reference { table, column, .. }: Reference) -> String {
    format!(
        "select count(*), (array_agg(sid order by ordinal))[1] from {table} where partner_sid = $1 and {column} = $2"
    )
}

/// Those of the rows of sids `$4` that an actor reaches.
pub fn some<R: Resource>() -> String {
    reached::<R>("") + " and sid = any($4)"
}

/// All rows that an actor reaches.
pub fn all<R: Resource>() -> String {
    reached::<R>("") + " order by ordinal"
}

/// The rows that an actor reaches, with what every object has.
fn reached<R: Resource>(more: &str) -> String {
    let (table, columns) = (R::TABLE, columns::<R>());
    format!(
        "select {columns}, version, changed_at, head{more} from {table} where {}",
        within_reach::<R>()
    )
}

/// The entries of the object of kind `R` and sid `$4`, where an actor reaches its owner.
fn entries_of<R: Resource>(what: &str) -> String {
    let (kind, reach) = (R::KIND, owner_within_reach("partner_sid"));
    format!("select {what} from history where {reach} and sid = $4 and kind = '{kind}'")
}

/// The entry that made the object what it was at time `$5`.
pub fn at<R: Resource>() -> String {
    entries_of::<R>("partner_sid as owner, entry") + " and date <= $5 order by version desc limit 1"
}

/// The object's last entry.
pub fn last_entry<R: Resource>() -> String {
    entries_of::<R>("version, date, hash") + " order by version desc limit 1"
}

/// How many entries there are, and whether the object itself is still there.
pub fn count_entries<R: Resource>() -> String {
    let exists = format!("exists ({})", select::<R>());
    let count = entries_of::<R>("count(*)");
    format!("select ({count}), {exists}")
}

/// `$5` entries from the `$6`th on, oldest first.
pub fn entries<R: Resource>() -> String {
    entries_of::<R>("entry") + " order by version limit $5 offset $6"
}

/// The first hundred entries that are not what was written, or are missing.
pub fn broken_entries(tables: &[&str]) -> String {
    let objects: Vec<_> =
        tables.iter().map(|table| format!("select sid, version, head from {table}")).collect();
    let objects = objects.join(" union all ");
    format!(
        "with objects as materialized ({objects}), entries as (
             select history.*,
                 coalesce(lag(history.hash) over chain, anchor.hash, '') as previous,
                 coalesce(lag(history.version) over chain, anchor.version, 0) as previous_version,
                 lead(history.version) over chain is null as is_last
             from history left join history_anchors as anchor using (sid)
             window chain as (partition by sid order by history.version)
         )
         select sid, version, 'the entry before it is missing' as problem from entries
         where version <> previous_version + 1
         union all
         select sid, version, 'it was altered, or the entry before it' from entries
         where version = previous_version + 1
           and case
               when hash <> sha256(previous || convert_to(entry, 'UTF8')) then true
               else (entry::json ->> 'sid', entry::json ->> 'version', entry::json #>> '{{object,partner_sid}}',
                       (entry::json ->> 'date')::timestamptz, coalesce(entry::json ->> 'kind', kind))
                   is distinct from (sid::text, version::text, partner_sid::text, date, kind)
           end
         union all
         select sid, version, 'the entry after it is missing' from entries
         where is_last and entry not like '{{\"action\":\"delete\",%'
           and not exists (select from objects where objects.sid = entries.sid)
         union all
         select objects.sid, objects.version, 'the object is at another version than its last entry'
         from objects
         left join entries on entries.sid = objects.sid and entries.is_last
         left join history_anchors as anchor on anchor.sid = objects.sid
         where (objects.version, objects.head) is distinct from
             (coalesce(entries.version, anchor.version), coalesce(entries.hash, anchor.hash))
         order by sid, version limit 100"
    )
}

/// How many entries of how many objects there were at time `$1`, and the hash over the last of each.
pub const HEAD: &str = "
    select coalesce(sum(entries), 0)::bigint, count(*),
        encode(sha256(coalesce(string_agg(uuid_send(sid) || int8send(version) || hash, '' order by sid), '')), 'hex')
    from (
        select sid, count(*) as entries, max(version) as version, (array_agg(hash order by version desc))[1] as hash
        from history where date <= $1 group by sid
    ) as lasts";

/// What an actor of partner `$1` reaches: its own, those of its descendants too (`$2`), or everything (`$3`).
fn within_reach<R: Resource>() -> String {
    owner_within_reach(R::OWNER)
}

/// The same, of rows whose owner is in that column.
fn owner_within_reach(owner: &str) -> String {
    format!(
        "($3 or {owner} = $1 or ($2 and exists (
             select from partner_tree where ancestor_sid = $1 and descendant_sid = {owner})))"
    )
}

/// The columns that make the object.
pub fn columns<R: Resource>() -> String {
    let owner = if R::is_owned() { ", partner_sid" } else { "" };
    format!("sid{owner}{}", names::<R>(|name| format!(", {name}")))
}

/// The rows of sids `$2`, each where it is within the reach of the caller who asks for it: partner `$3`, with its descendants too
/// (`$4`), or everything (`$5`). Told by the number (`$1`) of what was asked, with what a change has to know.
pub fn find<R: Resource>(locked: bool) -> String {
    let (table, owner, columns) = (R::TABLE, R::OWNER, columns::<R>());
    // In one order everywhere, so that no two statements wait for each other.
    let lock =
        if locked { format!("order by sid for no key update of {table}") } else { String::new() };
    format!(
        "select asked_number as number, {columns}, version, changed_at, head,
             date_trunc('milliseconds', clock_timestamp()) as now,
             case when {owner} is distinct from asked_partner
                 then (select requires_if_match from partners as owner where owner.sid = {table}.{owner})
                 else false
             end as must_match
         from unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::boolean[], $5::boolean[])
             as asked (asked_number, asked_sid, asked_partner, asked_tree, asked_everything)
         join {table} on {table}.sid = asked_sid
         where asked_everything or {owner} = asked_partner or (asked_tree and exists (
             select from partner_tree where ancestor_sid = asked_partner and descendant_sid = {owner}))
         {lock}"
    )
}

/// Writes the rows that are still at the version seen, with their history and, `with_keys`, the answers that are kept. Tells their
/// sids.
pub fn apply<R: Resource>(with_keys: bool) -> String {
    let (table, kind) = (R::TABLE, R::KIND);
    let names = |each: fn(&str) -> String| names::<R>(each);
    let (columns, set) =
        (names(|name| format!(", {name}")), names(|name| format!(", {name} = new.{name}")));
    let arrays = arrays::<R>(12);
    let keys = 12 + R::COLUMNS.len();
    let kept = if with_keys {
        format!(
            ", kept as (
                 insert into idempotency_keys (partner_sid, key, request, version, body)
                 select partner_sid, key, request, version, body
                 from unnest(${}::uuid[], ${}::uuid[], ${}::text[], ${}::bytea[], ${}::bigint[], ${}::text[])
                     as key (sid, partner_sid, key, request, version, body)
                 join written using (sid)
             )",
            keys, keys + 1, keys + 2, keys + 3, keys + 4, keys + 5
        )
    } else {
        String::new()
    };
    format!(
        "with new as (
             select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::bytea[]{arrays})
                 as new (sid, seen, version, date, hash{columns})
         ), written as (
             update {table} as old
             set version = new.version, changed_at = new.date, head = new.hash {set}
             from new
             where old.sid = new.sid and old.version = new.seen
             returning old.sid
         ), recorded as (
             insert into history (sid, version, kind, partner_sid, date, entry, hash)
             select sid, version, '{kind}', owner, date, entry, hash
             from unnest($6::uuid[], $7::uuid[], $8::bigint[], $9::timestamptz[], $10::text[], $11::bytea[])
                 as entry (sid, owner, version, date, entry, hash)
             join written using (sid)
         ){kept}
         select sid from written"
    )
}

/// Writes new rows, with their history.
pub fn insert<R: Resource>() -> String {
    let table = R::TABLE;
    let (owner, from_owner) = if R::is_owned() { (", partner_sid", ", owner") } else { ("", "") };
    let columns: String = names::<R>(|name| format!(", {name}"));
    format!(
        "with {new}, written as (
             insert into {table} (sid, version, changed_at, head {owner} {columns})
             select sid, version, date, hash {from_owner} {columns} from new
             returning sid
         ), forgotten as (
             -- All that was known of an earlier object of this sid had been dropped.
             delete from history_anchors using new where history_anchors.sid = new.sid and new.version = 1
         )
         {record}",
        new = new::<R>(),
        record = record::<R>(),
    )
}

/// The rows to write, as arrays: one statement, whatever their number.
fn new<R: Resource>() -> String {
    let shared = "$1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::bytea[], $6::text[]";
    let arrays = arrays::<R>(7);
    let columns: String = names::<R>(|name| format!(", {name}"));
    format!(
        "new as (
             select * from unnest({shared}{arrays}) as new (sid, owner, version, date, hash, entry{columns})
         )"
    )
}

/// The arrays of an object's columns, as parameters from that number on.
fn arrays<R: Resource>(first: usize) -> String {
    (first..)
        .zip(R::COLUMNS)
        .map(|(number, Column { sql_type, .. })| format!(", ${number}::{sql_type}[]"))
        .collect()
}

/// Records the rows that were written.
fn record<R: Resource>() -> String {
    let kind = R::KIND;
    format!(
        "insert into history (sid, version, kind, partner_sid, date, entry, hash)
         select sid, version, '{kind}', owner, date, entry, hash from new join written using (sid)"
    )
}

fn names<R: Resource>(each: impl Fn(&str) -> String) -> String {
    R::COLUMNS.iter().map(|column| each(column.name)).collect()
}
