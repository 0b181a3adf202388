//! The texts of the statements that read, each written once for all resources from the names that a
//! [`Resource`] states. Their first three parameters are the actor's visibility.

use super::resource::{Reference, Resource};

/// Reads the visible row of sid `$4`.
pub fn select<R: Resource>() -> String {
    visible_rows::<R>("") + " and sid = $4"
}

/// Reads the visible rows of sids `$4`.
pub fn select_many<R: Resource>() -> String {
    visible_rows::<R>("") + " and sid = any($4)"
}

/// Opens a cursor over all visible rows.
pub fn open_list<R: Resource>() -> String {
    format!("declare list cursor with hold for {} order by ordinal", visible_rows::<R>(""))
}

/// Reads the next rows of the cursor.
pub const NEXT_BATCH: &str = "fetch 1000 from list";

/// Reads the visible row of sid `$4` and locks it against other writers until the transaction ends.
/// References to it are not blocked.
pub fn lock<R: Resource>() -> String {
    rows_to_change::<R>() + " for no key update"
}

/// Reads the visible row of sid `$4` and locks it, also against new references.
pub fn lock_to_delete<R: Resource>() -> String {
    rows_to_change::<R>() + " for update"
}

/// Reads the visible rows of sids `$4` and locks them against other writers until the transaction
/// ends.
pub fn lock_many<R: Resource>() -> String {
    // Every statement locks in the same order, which makes deadlocks rare.
    locked_rows::<R>() + " and sid = any($4) order by sid for no key update"
}

/// Reads the visible rows of sids `$4` that are not locked, and locks them, also against new
/// references.
pub fn lock_many_to_delete<R: Resource>() -> String {
    locked_rows::<R>() + " and sid = any($4) order by sid for update skip locked"
}

fn rows_to_change<R: Resource>() -> String {
    locked_rows::<R>() + " and sid = $4"
}

fn locked_rows<R: Resource>() -> String {
    let (table, owner) = (R::TABLE, R::OWNER);
    let more = format!(
        ", ordinal, date_trunc('milliseconds', clock_timestamp()) as now,
         (select requires_if_match from partners as owner where owner.sid = {table}.{owner}) as if_match_required"
    );
    visible_rows::<R>(&more)
}

fn visible_rows<R: Resource>(more: &str) -> String {
    let (table, columns, visible) = (R::TABLE, columns::<R>(), visible_to_actor(R::OWNER));
    format!("select {columns}, version, changed_at, head{more} from {table} where {visible}")
}

/// Counts the objects that refer to sid `$2` of partner `$1`, and returns the sid of the oldest.
pub fn referring(Reference { table, column, .. }: Reference) -> String {
    format!(
        "select count(*), (array_agg(sid order by ordinal))[1] from {table}
         where partner_sid = $1 and {column} = $2"
    )
}

/// Reads the entry that was the newest of the object of sid `$4` at date `$5`.
pub fn entry_at<R: Resource>() -> String {
    visible_entries::<R>("partner_sid as owner, entry")
        + " and date <= $5 order by version desc limit 1"
}

/// Reads the newest entry of the object of sid `$4`.
pub fn last_entry<R: Resource>() -> String {
    visible_entries::<R>(&format!("version, date, hash, {ORDINAL} as ordinal"))
        + " order by version desc limit 1"
}

/// Reads the versions of the oldest and of the newest entry of the object of sid `$4`, and whether
/// the object exists. Versions are consecutive, so nothing is counted.
pub fn entry_bounds<R: Resource>() -> String {
    let (version, exists) = (visible_entries::<R>("version"), select::<R>());
    format!(
        "select ({version} order by version limit 1), ({version} order by version desc limit 1),
             exists ({exists})"
    )
}

/// Reads at most `$5` entries of the object of sid `$4` from version `$6` on, oldest first, and
/// ends after the entry that reaches `$7` bytes. The sizes are known without reading the texts.
pub fn entries<R: Resource>() -> String {
    let entries = visible_entries::<R>("version, entry");
    format!(
        "select entry from (
             select version, entry,
                 sum(octet_length(entry)) over (order by version) - octet_length(entry) as before
             from ({entries} and version >= $6 order by version limit $5) as entries
         ) as page
         where before < $7 order by version"
    )
}

/// The place in the order of creation that the entry of a deletion records; otherwise null.
pub const ORDINAL: &str = "(entry::json ->> 'ordinal')::bigint";

fn visible_entries<R: Resource>(what: &str) -> String {
    let (kind, visible) = (R::KIND, visible_to_actor("partner_sid"));
    format!("select {what} from history where {visible} and sid = $4 and kind = '{kind}'")
}

/// Counts the objects of the partner `$1`, and of its descendants if `$2` names these. The operator
/// (`$3`) counts none.
pub fn count<R: Resource>() -> String {
    let (table, owner) = (R::TABLE, R::OWNER);
    format!(
        "select count(*) from partner_tree join {table} on {owner} = descendant_sid
         where ancestor_sid = $1 and ($2 = 'descendants' or descendant_sid = $1) and not $3"
    )
}

fn visible_to_actor(owner: &str) -> String {
    visible(owner, "$1", "$2", "$3")
}

/// Whether the partner in column `owner` is visible: the one in `partner`, the relatives of it that
/// `relatives` names, or with `all` every partner.
fn visible(owner: &str, partner: &str, relatives: &str, all: &str) -> String {
    format!(
        "({all} or {owner} = {partner}
          or ({relatives} = 'descendants' and exists (
             select from partner_tree where ancestor_sid = {partner} and descendant_sid = {owner}))
          or ({relatives} = 'ancestors' and exists (
             select from partner_tree where ancestor_sid = {owner} and descendant_sid = {partner})))"
    )
}

/// The rows that a batch asks for, as the table `asked` with the columns `index`, `asked_key` of
/// that type, and the arguments of the visibility.
pub fn asked(key_type: &str) -> String {
    format!(
        "unnest($1::bigint[], $2::{key_type}[], $3::uuid[], $4::text[], $5::boolean[])
             as asked (index, asked_key, asked_partner, asked_relatives, asked_all)"
    )
}

/// Whether the partner in that column is visible to the actor that asked for the row.
pub fn visible_to_asker(owner: &str) -> String {
    visible(owner, "asked_partner", "asked_relatives", "asked_all")
}

/// The columns that make an object.
pub fn columns<R: Resource>() -> String {
    columns_without::<R>(&[])
}

/// The columns that make an object, with empty objects in place of the JSON members `omitted`.
pub fn columns_without<R: Resource>(omitted: &[&str]) -> String {
    let owner = if R::is_owned() { format!(", {}", R::OWNER) } else { String::new() };
    let column = |name: &str| match omitted.contains(&name) {
        true => format!(", '{{}}'::jsonb as {name}"),
        false => format!(", {name}"),
    };
    format!("sid{owner}{}", names::<R>(column))
}

/// The names of the columns, each as `each` writes it.
pub fn names<R: Resource>(each: impl Fn(&str) -> String) -> String {
    R::COLUMNS.iter().map(|column| each(column.name)).collect()
}

/// Returns the first hundred entries that are missing or not as they were written.
pub fn integrity_violations(tables: &[&str]) -> String {
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

/// Reads all objects, each with the text of its newest entry.
pub fn recorded_objects<R: Resource>() -> String {
    let (table, columns) = (R::TABLE, columns::<R>());
    format!(
        "select object.*, history.entry
         from (select {columns}, version, changed_at, head from {table}) as object
         left join history on (history.sid, history.version) = (object.sid, object.version)"
    )
}

/// Counts the entries and their objects up to date `$1`, and hashes the newest entry of each
/// object.
pub const HEAD: &str = "
    select coalesce(sum(entries), 0)::bigint, count(*),
        encode(sha256(coalesce(string_agg(uuid_send(sid) || int8send(version) || hash, '' order by sid), '')), 'hex')
    from (
        select sid, count(*) as entries, max(version) as version, (array_agg(hash order by version desc))[1] as hash
        from history where date <= $1 group by sid
    ) as lasts";
