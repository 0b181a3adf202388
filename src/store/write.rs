//! Creating, changing, deleting and reverting objects, each in a transaction that locks its row.
//!
//! Batched updates run outside this module, but the same statement ([`Batch`]) writes them: see
//! `batching`.

use serde::de::DeserializeOwned;
use sqlx::{Acquire, AssertSqlSafe, FromRow, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::database::Database;
use super::history::{self, Action, Changes, Entry};
use super::idempotency::run_write;
use super::options::{WriteOptions, WriteResponse};
use super::pools::Lease;
use super::read::visible_to;
use super::resource::{Resource, Stored, in_use};
use super::sql;
use super::statement::{Batch, Write, write};
use crate::auth::Actor;
use crate::error::{ApiError, FieldError};

/// A row that is locked for a change.
#[derive(FromRow)]
struct LockedRow<T> {
    #[sqlx(flatten)]
    stored: Stored<T>,
    /// The place in the order of creation.
    ordinal: i64,
    /// The database's clock, in milliseconds.
    now: OffsetDateTime,
    /// Whether the owner requires `If-Match`.
    if_match_required: bool,
}

/// Changes the object with that sid in a transaction of its own, within the limits of a call.
///
/// # Errors
/// As [`update_within`], and the errors of the options.
pub(super) async fn update_individually<R: Resource>(
    database: &Database,
    actor: &Actor,
    sid: Uuid,
    options: &WriteOptions,
    change: impl FnOnce(&mut R) -> Result<(), ApiError>,
) -> Result<WriteResponse, ApiError> {
    let update = async {
        let mut lease = database.transactions().acquire(actor).await?;
        run_write(&mut lease, actor, options, async |tx| {
            let row = lock(tx, actor, sid, sql::lock::<R>()).await?.ok_or(ApiError::NoItem)?;
            options.preconditions.check(row.stored.version, row.if_match_required)?;
            let after = row.apply(tx, actor, Action::Update, change).await?;
            WriteResponse::of(&after.object, after.version)
        })
        .await
    };
    database.write(update).await
}

/// Changes the object of that sid within the caller's transaction, whatever its version.
///
/// # Errors
/// [`ApiError::NoItem`] if no such object is visible to the actor; the errors of `change` and of
/// the table's constraints.
pub async fn update_within<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    sid: Uuid,
    change: impl FnOnce(&mut R) -> Result<(), ApiError>,
) -> Result<Stored<R>, ApiError> {
    let mut tx = connection.begin().await?;
    let row = lock(&mut tx, actor, sid, sql::lock::<R>()).await?.ok_or(ApiError::NoItem)?;
    let after = row.apply(&mut tx, actor, Action::Update, change).await?;
    tx.commit().await?;
    Ok(after)
}

/// Changes the objects of these sids within the caller's transaction, with one statement, whatever
/// their versions. Objects that are not visible to the actor are left out. Returns the number of
/// visible ones.
///
/// # Errors
/// The errors of `change` and of the table's constraints.
pub async fn update_many_within<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    sids: &[Uuid],
    change: impl Fn(&mut R) -> Result<(), ApiError>,
) -> Result<usize, ApiError> {
    let mut tx = connection.begin().await?;
    let rows: Vec<LockedRow<R>> =
        visible_to(actor, sql::lock_many::<R>()).bind(sids).fetch_all(&mut *tx).await?;
    let visible = rows.len();
    let changed = rows.into_iter().map(|row| row.change(actor, Action::Update, &change));
    let changed: Vec<_> = changed.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    if !changed.is_empty() {
        execute(&mut tx, Write::Update, &changed).await?;
    }
    tx.commit().await?;
    Ok(visible)
}

/// Creates the object that `build` returns.
pub(super) async fn create<R: Resource>(
    lease: &mut Lease,
    actor: &Actor,
    options: &WriteOptions,
    build: impl AsyncFnOnce(&mut PgConnection) -> Result<R, ApiError>,
) -> Result<WriteResponse, ApiError> {
    run_write(lease, actor, options, async |tx| {
        let object = build(tx).await?;
        let created = create_one(tx, actor, object).await?;
        WriteResponse::of(&created.object, created.version)
    })
    .await
}

/// Creates one object within the caller's transaction.
///
/// # Errors
/// The errors of the table's constraints; nothing is written then.
pub async fn create_one<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    object: R,
) -> Result<Stored<R>, ApiError> {
    let created = create_all(connection, actor, vec![object]).await?.pop();
    created.ok_or_else(|| ApiError::Internal(anyhow::anyhow!("no object was created")))
}

/// New objects with their first history entries, to be written by [`insert`].
pub struct NewObjects<R>(Vec<(Stored<R>, Entry)>);

/// Encodes new objects, which are created at that date.
///
/// # Errors
/// [`ApiError::Internal`] if an object cannot be serialized.
pub fn encode<R: Resource>(
    actor: &Actor,
    objects: Vec<R>,
    changed_at: OffsetDateTime,
) -> Result<NewObjects<R>, ApiError> {
    let encode = |object: R| {
        let new = object.snapshot()?;
        let mut row = Stored { object, version: 1, chain_hash: Vec::new(), changed_at };
        let entry = row.record(actor, Action::Create, &Changes::between(None, Some(&new))?)?;
        Ok((row, entry))
    };
    objects.into_iter().map(encode).collect::<Result<_, ApiError>>().map(NewObjects)
}

/// Writes new objects in their order, with one statement within the caller's transaction.
///
/// # Errors
/// The errors of the table's constraints, worded for the first object; nothing is written then.
pub async fn insert<R: Resource>(
    connection: &mut PgConnection,
    objects: &NewObjects<R>,
) -> Result<(), ApiError> {
    execute(connection, Write::Insert, &objects.0).await
}

/// Creates the objects in the order given, with one statement within the caller's transaction.
///
/// # Errors
/// As [`insert`].
pub async fn create_all<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    objects: Vec<R>,
) -> Result<Vec<Stored<R>>, ApiError> {
    let created = encode(actor, objects, now(connection).await?)?;
    insert(connection, &created).await?;
    Ok(created.0.into_iter().map(|(row, _)| row).collect())
}

/// Deletes the object of that sid. Its history remains. `after` runs in the same transaction.
pub(super) async fn delete<R: Resource>(
    lease: &mut Lease,
    actor: &Actor,
    sid: Uuid,
    options: &WriteOptions,
    after: impl AsyncFnOnce(&mut PgConnection, R) -> Result<(), ApiError>,
) -> Result<WriteResponse, ApiError> {
    run_write(lease, actor, options, async |tx| {
        let object = delete_if(tx, actor, sid, |row: &LockedRow<R>| {
            options.preconditions.check(row.stored.version, row.if_match_required)
        })
        .await?;
        after(tx, object).await?;
        Ok(WriteResponse::deleted())
    })
    .await
}

/// Deletes the objects of these sids in a transaction of its own, with one statement. Those that
/// are not visible to the actor, and those that another transaction has locked, are left out.
/// Returns the number of deleted ones. Their histories remain.
///
/// # Errors
/// The errors of the table's constraints.
pub async fn delete_many<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    sids: &[Uuid],
) -> Result<usize, ApiError> {
    let mut tx = connection.begin().await?;
    let rows: Vec<LockedRow<R>> =
        visible_to(actor, sql::lock_many_to_delete::<R>()).bind(sids).fetch_all(&mut *tx).await?;
    let deleted = rows.into_iter().map(|row| row.delete(actor));
    let deleted: Vec<_> = deleted.collect::<Result<_, _>>()?;
    execute(&mut tx, Write::Delete, &deleted).await?;
    tx.commit().await?;
    Ok(deleted.len())
}

/// Deletes the object of that sid within the caller's transaction, whatever its version. Returns
/// what it was.
///
/// # Errors
/// [`ApiError::NoItem`] if no such object is visible to the actor, [`ApiError::Conflict`] if others
/// refer to it.
pub async fn delete_within<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    sid: Uuid,
) -> Result<R, ApiError> {
    let mut tx = connection.begin().await?;
    let deleted = delete_if(&mut tx, actor, sid, |_| Ok(())).await?;
    tx.commit().await?;
    Ok(deleted)
}

async fn delete_if<R: Resource>(
    tx: &mut PgConnection,
    actor: &Actor,
    sid: Uuid,
    check: impl FnOnce(&LockedRow<R>) -> Result<(), ApiError>,
) -> Result<R, ApiError> {
    let row = lock(tx, actor, sid, sql::lock_to_delete::<R>()).await?.ok_or(ApiError::NoItem)?;
    check(&row)?;
    let object = row.stored.object.clone();
    check_unreferenced(tx, &object).await?;
    execute(tx, Write::Delete, &[row.delete(actor)?]).await?;
    Ok(object)
}

/// Writes `version` of the object of that sid as a new version. `restorer` authorizes the actor to
/// restore an object that was deleted; `prepare` runs in the transaction before that.
pub(super) async fn revert<R: Resource + DeserializeOwned>(
    lease: &mut Lease,
    actor: &Actor,
    sid: Uuid,
    version: i64,
    options: &WriteOptions,
    restorer: impl FnOnce() -> Result<Actor, ApiError>,
    prepare: impl AsyncFnOnce(&mut PgConnection, &R) -> Result<(), ApiError>,
) -> Result<WriteResponse, ApiError> {
    run_write(lease, actor, options, async |tx| {
        let after = match lock(tx, actor, sid, sql::lock::<R>()).await? {
            Some(row) => {
                options.preconditions.check(row.stored.version, row.if_match_required)?;
                let past = history::object_at_version::<R>(tx, sid, version).await?;
                let replace = |object: &mut R| {
                    *object = past;
                    Ok(())
                };
                row.apply(tx, actor, Action::Revert, replace).await?
            }
            None => {
                let last = history::last_entry::<R>(tx, actor, sid).await?;
                last.ok_or(ApiError::NoItem)?;
                let restorer = restorer()?;
                restore(tx, &restorer, sid, version, options, prepare).await?
            }
        };
        WriteResponse::of(&after.object, after.version)
    })
    .await
}

/// Creates a deleted object again, as it was at `version`. Its versions and its history continue.
async fn restore<R: Resource + DeserializeOwned>(
    tx: &mut PgConnection,
    restorer: &Actor,
    sid: Uuid,
    version: i64,
    options: &WriteOptions,
    prepare: impl AsyncFnOnce(&mut PgConnection, &R) -> Result<(), ApiError>,
) -> Result<Stored<R>, ApiError> {
    // Less may be visible to the restorer than to the actor.
    let last = history::last_entry::<R>(tx, restorer, sid).await?.ok_or(ApiError::NoItem)?;
    options.preconditions.check_absent()?;
    let object: R = history::object_at_version(tx, sid, version).await?;
    prepare(tx, &object).await?;
    let new = object.snapshot()?;
    let changed_at = now(tx).await?.max(last.date);
    let mut row = Stored { object, version: last.version + 1, chain_hash: last.hash, changed_at };
    let entry = row.record(restorer, Action::Revert, &Changes::between(None, Some(&new))?)?;
    let restored = [(row, entry)];
    let write = if last.ordinal.is_some() { Write::Restore } else { Write::Insert };
    execute(tx, write, &restored).await?;
    let [(row, _)] = restored;
    Ok(row)
}

/// The database's clock, in milliseconds.
///
/// # Errors
/// If the database is not available.
pub async fn now(connection: &mut PgConnection) -> Result<OffsetDateTime, sqlx::Error> {
    let now = sqlx::query_scalar("select date_trunc('milliseconds', clock_timestamp())");
    now.fetch_one(connection).await
}

async fn lock<R: Resource>(
    tx: &mut PgConnection,
    actor: &Actor,
    sid: Uuid,
    statement: String,
) -> Result<Option<LockedRow<R>>, sqlx::Error> {
    visible_to(actor, statement).bind(sid).fetch_optional(tx).await
}

impl<R: Resource> LockedRow<R> {
    /// Applies a change to the row and writes it, unless nothing changed.
    async fn apply(
        self,
        tx: &mut PgConnection,
        actor: &Actor,
        action: Action,
        change: impl FnOnce(&mut R) -> Result<(), ApiError>,
    ) -> Result<Stored<R>, ApiError> {
        let before = self.stored.clone();
        let Some(changed) = self.change(actor, action, change)? else { return Ok(before) };
        let written = [changed];
        execute(tx, Write::Update, &written).await?;
        let [(after, _)] = written;
        Ok(after)
    }

    /// Returns the last version of the row with the entry of its deletion.
    fn delete(self, actor: &Actor) -> Result<(Stored<R>, Entry), ApiError> {
        let Self { stored, ordinal, now, .. } = self;
        let old = stored.object.snapshot()?;
        let mut last = stored.next(stored.object.clone(), now);
        let entry = last.record(actor, Action::Delete, &Changes::deletion(&old, ordinal)?)?;
        Ok((last, entry))
    }

    /// Applies a change to the row. Returns the next version with its entry, or `None` if nothing
    /// changed.
    fn change(
        self,
        actor: &Actor,
        action: Action,
        change: impl FnOnce(&mut R) -> Result<(), ApiError>,
    ) -> Result<Option<(Stored<R>, Entry)>, ApiError> {
        let Self { stored: before, now, .. } = self;
        let old = before.object.snapshot()?;
        let mut object = before.object.clone();
        change(&mut object)?;
        let new = object.snapshot()?;
        if old.get() == new.get() && before.object.hidden() == object.hidden() {
            return Ok(None);
        }
        let mut after = before.next(object, now);
        let entry = after.record(actor, action, &Changes::between(Some(&old), Some(&new))?)?;
        Ok(Some((after, entry)))
    }
}

/// Rejects the deletion of an object that others refer to. The lock on the row prevents new
/// references.
async fn check_unreferenced<R: Resource>(
    connection: &mut PgConnection,
    object: &R,
) -> Result<(), ApiError> {
    let (mut referring, mut sid) = (Vec::new(), None);
    for reference in R::REFERRED_BY {
        let statement = AssertSqlSafe(sql::referring(*reference));
        let (count, reference_sid): (i64, Option<Uuid>) = sqlx::query_as(statement)
            .bind(object.partner_sid())
            .bind(object.sid())
            .fetch_one(&mut *connection)
            .await?;
        if count > 0 {
            referring.push((*reference, count));
            sid = sid.or(reference_sid);
        }
    }
    if referring.is_empty() { Ok(()) } else { Err(in_use(&referring, sid)) }
}

/// Writes rows that are new or locked, each with its entry: all of them or none.
async fn execute<R: Resource>(
    connection: &mut PgConnection,
    kind: Write,
    rows: &[(Stored<R>, Entry)],
) -> Result<(), ApiError> {
    let mut batch = Batch::default();
    for (row, entry) in rows {
        batch.add(row.version - 1, row, std::slice::from_ref(entry));
    }
    match (batch.execute(connection, write::<R>(kind, false).into()).await, rows.first()) {
        (Ok(written), _) if written.len() == rows.len() => Ok(()),
        (Ok(written), _) => {
            let (written, expected, table) = (written.len(), rows.len(), R::TABLE);
            let message = format!("{written} of {expected} rows of {table} were written");
            Err(ApiError::Internal(anyhow::Error::msg(message)))
        }
        (Err(error), Some((row, _))) => Err(constraint_error(&row.object, error)),
        (Err(error), None) => Err(error.into()),
    }
}

/// The error for a violated constraint, as the resource words it.
fn constraint_error<R: Resource>(object: &R, error: sqlx::Error) -> ApiError {
    let conflict = |message| Some(ApiError::Conflict(FieldError::new(R::SID, message)));
    let worded = match error.as_database_error().and_then(|error| error.constraint()) {
        Some("history_pkey") => {
            conflict("is taken by another object, or by a deleted one that can be restored")
        }
        Some(name) if name.strip_suffix("_pkey") == Some(R::TABLE) => conflict("is taken"),
        Some(constraint) => object.constraint_error(constraint),
        None => None,
    };
    worded.unwrap_or_else(|| error.into())
}
