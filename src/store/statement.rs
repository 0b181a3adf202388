//! The statements of batches, each for any number of rows: [`load`] reads rows, for reads and for
//! updates, and [`Batch`], which individual writes use too, writes them, together with their
//! history entries and stored responses.
//!
//! Both take arrays, so that a statement has one text and one plan whatever the number of rows.

use std::sync::Arc;

use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::history::Entry;
use super::options::{IdempotencyKey, WriteResponse};
use super::resource::{Resource, Stored, bind};
use super::sql::{ORDINAL, asked, columns, names, visible_to_asker};

/// How concurrent changes to a row are serialized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// No lock: the row is written if its version is still the one that was read.
    Optimistic,
    /// The rows are locked from the reading to the end of the transaction.
    Locked,
}

/// Reads rows for a batch: each sid with the visibility of the actor that asked for it.
///
/// For short codes, in [`Mode::Optimistic`]:
///
/// ```sql
/// select index, sid, partner_sid, attributes, ..., version, changed_at, head,
///     date_trunc('milliseconds', clock_timestamp()) as now,
///     case when partner_sid is distinct from asked_partner
///         then (select requires_if_match from partners as owner where owner.sid = ...)
///         else false
///     end as if_match_required
/// from unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::text[], $5::boolean[])
///     as asked (index, asked_key, asked_partner, asked_relatives, asked_all)
/// join short_codes on short_codes.sid = asked_key
/// where asked_all or partner_sid = asked_partner
///     or (asked_relatives = 'descendants' and exists (...)) or ...
/// ```
///
/// `index` is the position in the arrays. Whether the caller's own partner requires `If-Match` was
/// checked with its token; the statement checks other owners.
pub(super) fn load<R: Resource>(mode: Mode) -> String {
    let (table, owner, columns) = (R::TABLE, R::OWNER, columns::<R>());
    let (asked, visible) = (asked("uuid"), visible_to_asker(owner));
    let lock = match mode {
        Mode::Optimistic => String::new(),
        // Every statement locks in the same order, which makes deadlocks rare.
        Mode::Locked => format!("order by sid for no key update of {table}"),
    };
    format!(
        "select index, {columns}, version, changed_at, head,
             date_trunc('milliseconds', clock_timestamp()) as now,
             case when {owner} is distinct from asked_partner
                 then (select requires_if_match from partners as owner where owner.sid = {table}.{owner})
                 else false
             end as if_match_required
         from {asked} join {table} on {table}.sid = asked_key
         where {visible}
         {lock}"
    )
}

/// What a statement does with the rows of a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// Inserts them.
    Insert,
    /// Inserts them at the places in the order of creation that the entries of their deletions
    /// record.
    Restore,
    /// Updates those that are still at the version that was read.
    Update,
    /// Deletes those that are still at the version that was read.
    Delete,
}

/// Writes the rows of a [`Batch`] and returns the sids of those that were written.
///
/// For short codes, [`Write::Update`] with stored responses:
///
/// ```sql
/// with new as (
///     select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::timestamptz[],
///             $6::bytea[], $12::jsonb[], $13::text[], ...)
///         as new (sid, owner, read_version, version, date, hash, attributes, callback_url, ...)
/// ), written as (
///     update short_codes as old
///     set version = new.version, changed_at = new.date, head = new.hash,
///         epoch = greatest(old.epoch, (select ... from event_generations)),
///         attributes = new.attributes, callback_url = new.callback_url, ...
///     from new
///     where old.sid = new.sid and old.version = new.read_version
///     returning old.sid, new.owner, old.epoch
/// ), recorded as (
///     insert into history (sid, version, kind, partner_sid, date, entry, hash, epoch)
///     select sid, version, 'short_code', owner, date, entry, hash, epoch
///     from unnest($7::uuid[], $8::bigint[], $9::timestamptz[], $10::text[], $11::bytea[])
///         as entry (sid, version, date, entry, hash)
///     join written using (sid)
/// ), stored as (
///     insert into idempotency_keys (partner_sid, key, request, version, body)
///     select partner_sid, key, request, version, body
///     from unnest($23::uuid[], $24::uuid[], $25::text[], $26::bytea[], $27::bigint[], $28::text[])
///         as response (sid, partner_sid, key, request, version, body)
///     join written using (sid)
/// )
/// select sid from written
/// ```
///
/// A row that another session has changed meanwhile is not in `written`; neither are its entries
/// and responses.
pub(super) fn write<R: Resource>(write: Write, with_responses: bool) -> String {
    let (table, kind) = (R::TABLE, R::KIND);
    let arrays: String = (FIRST_COLUMN..)
        .zip(R::COLUMNS)
        .map(|(number, column)| format!(", ${number}::{}[]", column.sql_type))
        .collect();
    let columns = names::<R>(|name| format!(", {name}"));
    let epoch = format!("greatest(old.epoch, {EPOCH})");
    let written = match write {
        Write::Insert => insert::<R>(&columns, "", ""),
        Write::Restore => {
            let ordinal = format!(
                ", (select {ORDINAL} from history
                    where history.sid = new.sid and history.version = new.read_version)"
            );
            insert::<R>(&columns, ", ordinal", &ordinal)
        }
        Write::Update => {
            let set = names::<R>(|name| format!(", {name} = new.{name}"));
            format!(
                "update {table} as old
                 set version = new.version, changed_at = new.date, head = new.hash, epoch = {epoch} {set}
                 from new
                 where old.sid = new.sid and old.version = new.read_version
                 returning old.sid, new.owner, old.epoch"
            )
        }
        Write::Delete => format!(
            "delete from {table} as old using new
             where old.sid = new.sid and old.version = new.read_version
             returning old.sid, new.owner, {epoch} as epoch"
        ),
    };
    let anchors = if write == Write::Insert { DELETE_ANCHORS } else { "" };
    let responses = if with_responses { store_responses::<R>() } else { String::new() };
    format!(
        "with new as (
             select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[],
                     $5::timestamptz[], $6::bytea[]{arrays})
                 as new (sid, owner, read_version, version, date, hash{columns})
         ), written as (
             {written}
         ), recorded as (
             insert into history (sid, version, kind, partner_sid, date, entry, hash, epoch)
             select sid, version, '{kind}', owner, date, entry, hash, epoch
             from unnest($7::uuid[], $8::bigint[], $9::timestamptz[], $10::text[], $11::bytea[])
                 as entry (sid, version, date, entry, hash)
             join written using (sid)
         ){anchors}{responses}
         select sid from written"
    )
}

/// A new object can have the sid of one whose whole history was pruned.
const DELETE_ANCHORS: &str = "
    , unanchored as (
        delete from history_anchors using new
        where history_anchors.sid = new.sid and new.version = 1
    )";
/// The least epoch of what the transaction writes: see `migrations/V17__events.sql`. A restored
/// object needs no more, because the transaction begins to write after the deletion has become
/// visible.
const EPOCH: &str = "(
    select (coalesce(max(generation), 0) << 48) + pg_current_xact_id()::text::bigint
    from event_generations)";
/// The number of the parameter of the first column.
const FIRST_COLUMN: usize = 12;

/// Inserts the new rows, with one more column of that value.
fn insert<R: Resource>(columns: &str, more: &str, value_of_more: &str) -> String {
    let (table, owner) = (R::TABLE, R::OWNER);
    let (column, value) =
        if R::is_owned() { (format!(", {owner}"), ", owner") } else { (String::new(), "") };
    format!(
        "insert into {table} (sid, version, changed_at, head, epoch {column} {columns} {more})
         overriding system value
         select sid, version, date, hash, {EPOCH} {value} {columns} {value_of_more} from new
         returning sid, {owner} as owner, epoch"
    )
}

fn store_responses<R: Resource>() -> String {
    let first = FIRST_COLUMN + R::COLUMNS.len();
    let [sid, partner, key, request, version, body] = [0, 1, 2, 3, 4, 5].map(|index| first + index);
    format!(
        ", stored as (
             insert into idempotency_keys (partner_sid, key, request, version, body)
             select partner_sid, key, request, version, body
             from unnest(${sid}::uuid[], ${partner}::uuid[], ${key}::text[], ${request}::bytea[],
                     ${version}::bigint[], ${body}::text[])
                 as response (sid, partner_sid, key, request, version, body)
             join written using (sid)
         )"
    )
}

/// Rows to write with one statement, with their history entries and the responses to store.
pub(super) struct Batch<'a, R> {
    /// Each row with the version that was read; 0 for a new row.
    rows: Vec<(i64, &'a Stored<R>)>,
    entries: Vec<(Uuid, &'a Entry)>,
    responses: Vec<KeyedResponse<'a>>,
}

/// A response to store under the key of a caller, if the row of that sid is written.
pub(super) struct KeyedResponse<'a> {
    pub sid: Uuid,
    pub partner_sid: Uuid,
    pub key: &'a IdempotencyKey,
    pub fingerprint: [u8; 32],
    pub response: &'a WriteResponse,
}

impl<R> Default for Batch<'_, R> {
    fn default() -> Self {
        Self { rows: Vec::new(), entries: Vec::new(), responses: Vec::new() }
    }
}

impl<'a, R: Resource> Batch<'a, R> {
    /// Adds a row as it is to be written, with the entries of its new versions.
    pub fn add(&mut self, read_version: i64, row: &'a Stored<R>, entries: &'a [Entry]) {
        self.rows.push((read_version, row));
        let sid = row.object.sid();
        self.entries.extend(entries.iter().map(|entry| (sid, entry)));
    }

    /// Adds a response to store.
    pub fn store(&mut self, response: KeyedResponse<'a>) {
        self.responses.push(response);
    }

    /// Whether the batch has responses to store, which the statement must then include.
    pub fn has_responses(&self) -> bool {
        !self.responses.is_empty()
    }

    /// Runs a [`write()`] statement and returns the sids of the rows that were written.
    pub async fn execute(
        self,
        connection: &mut PgConnection,
        statement: Arc<str>,
    ) -> Result<Vec<Uuid>, sqlx::Error> {
        let arguments = self.arguments().map_err(sqlx::Error::Encode)?;
        let statement = AssertSqlSafe(statement);
        sqlx::query_scalar_with(statement, arguments).fetch_all(connection).await
    }

    /// The parameters of [`write()`], in the order of its text.
    fn arguments(&self) -> Result<PgArguments, BoxDynError> {
        let Self { rows, entries, responses } = self;
        let mut arguments = PgArguments::default();
        let to = &mut arguments;
        let stored: Vec<&Stored<R>> = rows.iter().map(|(_, row)| *row).collect();
        let objects: Vec<&R> = stored.iter().map(|row| &row.object).collect();
        bind(to, &objects, Resource::sid)?;
        bind(to, &objects, Resource::partner_sid)?;
        to.add(rows.iter().map(|(read_version, _)| *read_version).collect::<Vec<_>>())?;
        bind(to, &stored, |row| row.version)?;
        bind(to, &stored, |row| row.changed_at)?;
        bind(to, &stored, |row| &*row.chain_hash)?;
        to.add(entries.iter().map(|(sid, _)| *sid).collect::<Vec<_>>())?;
        let entries: Vec<&Entry> = entries.iter().map(|(_, entry)| *entry).collect();
        bind(to, &entries, |entry| entry.version)?;
        bind(to, &entries, |entry| entry.date)?;
        bind(to, &entries, |entry| &*entry.text)?;
        bind(to, &entries, |entry| &*entry.hash)?;
        for column in R::COLUMNS {
            (column.bind)(to, &objects)?;
        }
        if self.has_responses() {
            let responses: Vec<&KeyedResponse<'_>> = responses.iter().collect();
            bind(to, &responses, |response| response.sid)?;
            bind(to, &responses, |response| response.partner_sid)?;
            bind(to, &responses, |response| response.key.text())?;
            bind(to, &responses, |response| &response.fingerprint[..])?;
            bind(to, &responses, |response| response.response.version)?;
            bind(to, &responses, |response| response.response.body.as_deref())?;
        }
        Ok(arguments)
    }
}
