//! Writing: every change of a stored object, with its history entry in the same statement.

use serde::de::DeserializeOwned;
use sqlx::postgres::PgArguments;
use sqlx::{Acquire, AssertSqlSafe, FromRow, PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::history::{self, Changes, Entry};
use super::lanes::Lanes;
use super::terms::{Answer, IdempotencyKey, Terms, on_terms};
use super::{Action, Reference, Resource, Stored, reached, sql};
use crate::auth::Actor;
use crate::error::{ApiError, FieldError};

/// A row as it is locked for a change.
#[derive(FromRow)]
struct Locked<T> {
    #[sqlx(flatten)]
    stored: Stored<T>,
    /// The database's clock when it was read, to the millisecond: dates are told no finer.
    now: OffsetDateTime,
    /// Whether its owner wants every change to say which version it is for.
    must_match: bool,
}

/// Changes the object of that sid as `change` says. What changes nothing is not written.
///
/// # Errors
/// [`ApiError::NoItem`] where the actor reaches none; what the terms, `change` and the table's constraints refuse. Nothing is
/// written then.
pub async fn update<R: Resource>(
    lanes: &Lanes<R>,
    actor: &Actor,
    sid: Uuid,
    terms: Terms,
    change: impl Fn(&mut R) -> Result<(), ApiError> + 'static,
) -> Result<Answer, ApiError> {
    lanes.update(actor, sid, terms, change).await
}

/// The same in a transaction of its own, which locks the row: for kinds of objects that are seldom changed.
///
/// # Errors
/// As [`update`].
pub async fn update_alone<R: Resource>(
    db: &PgPool,
    actor: &Actor,
    sid: Uuid,
    terms: &Terms,
    change: impl FnOnce(&mut R) -> Result<(), ApiError>,
) -> Result<Answer, ApiError> {
    on_terms(db, actor, terms, async |tx| {
        let locked = lock(tx, actor, sid, sql::lock::<R>()).await?.ok_or(ApiError::NoItem)?;
        terms.precondition.judge(locked.stored.version, locked.must_match)?;
        let after = locked.change(tx, actor, Action::Update, change).await?;
        Answer::of(&after.object, after.version)
    })
    .await
}

/// The same within a transaction of the caller's, whatever the version.
///
/// # Errors
/// As [`update`].
pub async fn change<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    sid: Uuid,
    change: impl FnOnce(&mut R) -> Result<(), ApiError>,
) -> Result<Stored<R>, ApiError> {
    let mut tx = connection.begin().await?;
    let locked = lock(&mut tx, actor, sid, sql::lock::<R>()).await?.ok_or(ApiError::NoItem)?;
    let after = locked.change(&mut tx, actor, Action::Update, change).await?;
    tx.commit().await?;
    Ok(after)
}

/// Creates the object that `build` makes.
///
/// # Errors
/// What the terms, `build` and the table's constraints refuse; nothing is written then.
pub async fn create<R: Resource>(
    db: &PgPool,
    actor: &Actor,
    terms: &Terms,
    build: impl AsyncFnOnce(&mut PgConnection) -> Result<R, ApiError>,
) -> Result<Answer, ApiError> {
    on_terms(db, actor, terms, async |tx| {
        let object = build(tx).await?;
        let created = create_one(tx, actor, object).await?;
        Answer::of(&created.object, created.version)
    })
    .await
}

/// Creates one object within a transaction of the caller's.
///
/// # Errors
/// As [`create_all`].
pub async fn create_one<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    object: R,
) -> Result<Stored<R>, ApiError> {
    let created = create_all(connection, actor, vec![object]).await?.pop();
    created.ok_or_else(|| ApiError::Internal(anyhow::anyhow!("one object was to be created")))
}

/// Creates the objects in the order given, in one statement within a transaction of the caller's.
///
/// # Errors
/// What the table's constraints refuse, told of the first object where there are several; nothing is written then.
pub async fn create_all<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    objects: Vec<R>,
) -> Result<Vec<Stored<R>>, ApiError> {
    let changed_at = now(connection).await?;
    let mut entries = Vec::with_capacity(objects.len());
    let mut created = Vec::with_capacity(objects.len());
    for object in objects {
        let new = object.recorded()?;
        let mut row = Stored { object, version: 1, head: Vec::new(), changed_at };
        let changes = Changes::between(None, Some(&new))?;
        entries.push(row.record(actor, Action::Create, &changes)?);
        created.push(row);
    }
    write(connection, sql::insert::<R>(), &created, &entries).await?;
    Ok(created)
}

/// Deletes the object of that sid. Its history stays.
///
/// # Errors
/// [`ApiError::NoItem`] where the actor reaches none, [`ApiError::Conflict`] where other objects refer to it, and what the terms
/// refuse; nothing is written then.
pub async fn delete<R: Resource>(
    db: &PgPool,
    actor: &Actor,
    sid: Uuid,
    terms: &Terms,
) -> Result<Answer, ApiError> {
    on_terms(db, actor, terms, async |tx| {
        let locked = lock(tx, actor, sid, sql::lock_to_delete::<R>()).await?;
        let Locked::<R> { stored: before, now, must_match } = locked.ok_or(ApiError::NoItem)?;
        terms.precondition.judge(before.version, must_match)?;
        if let Some(referring) = R::REFERRED_BY {
            refuse_referred(tx, referring, &before.object).await?;
        }
        let old = before.object.recorded()?;
        let mut last = before.next(before.object.clone(), now);
        let changes = Changes::between(Some(&old), None)?;
        let entry = last.record(actor, Action::Delete, &changes)?;
        write(tx, sql::delete::<R>(), &[last], &[entry]).await?;
        Ok(Answer::gone())
    })
    .await
}

/// Brings the object of that sid back to what it was at `version`, as a new version. One that was deleted comes back under its
/// sid, by `restorer`: who may create it, or why nobody may.
///
/// # Errors
/// [`ApiError::NoItem`] where the actor reaches none, [`ApiError::Invalid`] where the history has no such version; else as
/// [`update`] and [`create`].
pub async fn revert<R: Resource + DeserializeOwned>(
    db: &PgPool,
    actor: &Actor,
    restorer: Result<Actor, ApiError>,
    (sid, version): (Uuid, i64),
    terms: &Terms,
) -> Result<Answer, ApiError> {
    on_terms(db, actor, terms, async |tx| {
        let Some(locked) = lock(tx, actor, sid, sql::lock::<R>()).await? else {
            let restored = restore::<R>(tx, actor, restorer, (sid, version), terms).await?;
            return Answer::of(&restored.object, restored.version);
        };
        terms.precondition.judge(locked.stored.version, locked.must_match)?;
        let past = history::object::<R>(tx, sid, version).await?;
        let back = |object: &mut R| {
            *object = past;
            Ok(())
        };
        let after = locked.change(tx, actor, Action::Revert, back).await?;
        Answer::of(&after.object, after.version)
    })
    .await
}

/// Creates a deleted object anew, as it was at `version`. Its versions and its history go on.
async fn restore<R: Resource + DeserializeOwned>(
    tx: &mut PgConnection,
    actor: &Actor,
    restorer: Result<Actor, ApiError>,
    (sid, version): (Uuid, i64),
    terms: &Terms,
) -> Result<Stored<R>, ApiError> {
    let last = history::last::<R>(tx, actor, sid).await?.ok_or(ApiError::NoItem)?;
    let restorer = restorer?;
    // It may reach less than the actor does.
    history::last::<R>(tx, &restorer, sid).await?.ok_or(ApiError::NoItem)?;
    terms.precondition.judge_absent()?;
    let object = history::object::<R>(tx, sid, version).await?;
    let new = object.recorded()?;
    let changed_at = now(tx).await?.max(last.date);
    let mut row = Stored { object, version: last.version + 1, head: last.hash, changed_at };
    let changes = Changes::between(None, Some(&new))?;
    let entry = row.record(&restorer, Action::Revert, &changes)?;
    write(tx, sql::insert::<R>(), std::slice::from_ref(&row), &[entry]).await?;
    Ok(row)
}

/// The database's clock, to the millisecond.
async fn now(connection: &mut PgConnection) -> Result<OffsetDateTime, sqlx::Error> {
    let now = sqlx::query_scalar("select date_trunc('milliseconds', clock_timestamp())");
    now.fetch_one(connection).await
}

async fn lock<R: Resource>(
    tx: &mut PgConnection,
    actor: &Actor,
    sid: Uuid,
    statement: String,
) -> Result<Option<Locked<R>>, sqlx::Error> {
    reached(statement, actor).bind(sid).fetch_optional(tx).await
}

impl<R: Resource> Locked<R> {
    /// Writes the row as `change` leaves it, and returns it as it is then.
    async fn change(
        self,
        tx: &mut PgConnection,
        actor: &Actor,
        action: Action,
        change: impl FnOnce(&mut R) -> Result<(), ApiError>,
    ) -> Result<Stored<R>, ApiError> {
        let Self { stored: before, now, .. } = self;
        let old = before.object.recorded()?;
        let mut object = before.object.clone();
        change(&mut object)?;
        let new = object.recorded()?;
        if old.get() == new.get() {
            return Ok(before);
        }
        let mut after = before.next(object, now);
        let entry = after.record(actor, action, &Changes::between(Some(&old), Some(&new))?)?;
        let mut batch = Batch::default();
        batch.add(before.version, &after, std::slice::from_ref(&entry));
        let written = batch.write(tx, &sql::apply::<R>(false)).await;
        let written = written.map_err(|error| refusal(&after.object, error))?;
        expect_written::<R>(written.len(), 1)?;
        Ok(after)
    }
}

impl<R> Stored<R> {
    /// The row at its next version, as `object`, which it became at `now` at the earliest.
    pub(super) fn next(&self, object: R, now: OffsetDateTime) -> Self {
        let (version, head) = (self.version + 1, self.head.clone());
        Self { object, version, head, changed_at: now.max(self.changed_at) }
    }
}

/// The lock on the row keeps new references away until it is gone.
async fn refuse_referred<R: Resource>(
    connection: &mut PgConnection,
    referring: Reference,
    object: &R,
) -> Result<(), ApiError> {
    let statement = AssertSqlSafe(sql::referring(referring));
    let (count, reference_sid): (i64, Option<Uuid>) = sqlx::query_as(statement)
        .bind(object.partner_sid())
        .bind(object.sid())
        .fetch_one(connection)
        .await?;
    if count == 0 {
        return Ok(());
    }
    let message = format!("{} that still refer to it: {count}", referring.nouns);
    Err(ApiError::Conflict(FieldError { reference_sid, ..FieldError::general(message) }))
}

/// Runs a statement that creates or deletes objects and writes their history entries, and takes all of them or none.
async fn write<R: Resource>(
    connection: &mut PgConnection,
    statement: String,
    rows: &[Stored<R>],
    entries: &[Entry],
) -> Result<(), ApiError> {
    let arguments = arguments(rows, entries).map_err(sqlx::Error::Encode)?;
    let written = sqlx::query_with(AssertSqlSafe(statement), arguments).execute(connection).await;
    match (written, rows.first()) {
        (Ok(written), _) => expect_written::<R>(written.rows_affected() as usize, rows.len()),
        (Err(error), Some(row)) => Err(refusal(&row.object, error)),
        (Err(error), None) => Err(error.into()),
    }
}

fn expect_written<R: Resource>(written: usize, expected: usize) -> Result<(), ApiError> {
    if written == expected {
        return Ok(());
    }
    let table = R::TABLE;
    Err(ApiError::Internal(anyhow::anyhow!("{written} of {expected} rows of {table} took")))
}

/// The answer to a broken constraint, as the noun tells it.
fn refusal<R: Resource>(object: &R, error: sqlx::Error) -> ApiError {
    let taken = |message| Some(ApiError::Conflict(FieldError::new(R::SID, message)));
    let told = match error.as_database_error().and_then(|error| error.constraint()) {
        Some("history_pkey") => {
            taken("is taken by another object, or by one that was deleted and can be reverted")
        }
        Some(name) if name.strip_suffix("_pkey") == Some(R::TABLE) => taken("is taken"),
        Some(constraint) => object.broken(constraint),
        None => None,
    };
    told.unwrap_or_else(|| error.into())
}

fn arguments<R: Resource>(
    rows: &[Stored<R>],
    entries: &[Entry],
) -> Result<PgArguments, sqlx::error::BoxDynError> {
    use sqlx::Arguments;
    let objects: Vec<&R> = rows.iter().map(|row| &row.object).collect();
    let mut arguments = PgArguments::default();
    arguments.add(objects.iter().map(|object| object.sid()).collect::<Vec<_>>())?;
    arguments.add(objects.iter().map(|object| object.partner_sid()).collect::<Vec<_>>())?;
    arguments.add(rows.iter().map(|row| row.version).collect::<Vec<_>>())?;
    arguments.add(rows.iter().map(|row| row.changed_at).collect::<Vec<_>>())?;
    arguments.add(rows.iter().map(|row| &*row.head).collect::<Vec<_>>())?;
    arguments.add(entries.iter().map(|entry| &*entry.text).collect::<Vec<_>>())?;
    R::bind(&objects, &mut arguments)?;
    Ok(arguments)
}

/// Changed rows to write in one statement, where they are still at the version seen; with their history, and the answers that are
/// kept with them.
pub(super) struct Batch<'a, R> {
    rows: Vec<(i64, &'a Stored<R>)>,
    entries: Vec<(&'a Stored<R>, &'a Entry)>,
    kept: Vec<(Uuid, Uuid, &'a IdempotencyKey, [u8; 32], &'a Answer)>,
}

impl<R> Default for Batch<'_, R> {
    fn default() -> Self {
        Self { rows: Vec::new(), entries: Vec::new(), kept: Vec::new() }
    }
}

impl<'a, R: Resource> Batch<'a, R> {
    /// Adds a row as it is to become, and the entries that made it so.
    pub fn add(&mut self, seen: i64, row: &'a Stored<R>, entries: &'a [Entry]) {
        self.rows.push((seen, row));
        self.entries.extend(entries.iter().map(|entry| (row, entry)));
    }

    /// Adds an answer that is kept under the caller's key, where the row of that sid is written.
    pub fn keep(
        &mut self,
        sid: Uuid,
        partner_sid: Uuid,
        key: &'a IdempotencyKey,
        request: [u8; 32],
        answer: &'a Answer,
    ) {
        self.kept.push((sid, partner_sid, key, request, answer));
    }

    /// Whether any answer is kept: the statement is another one then.
    pub fn has_keys(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Writes the rows by [`sql::apply`], and returns the sids of those that were still at the version seen.
    pub async fn write(
        self,
        connection: &mut PgConnection,
        statement: &str,
    ) -> Result<Vec<Uuid>, sqlx::Error> {
        let arguments = self.arguments().map_err(sqlx::Error::Encode)?;
        let statement = AssertSqlSafe(statement.to_owned());
        sqlx::query_scalar_with(statement, arguments).fetch_all(connection).await
    }

    fn arguments(&self) -> Result<PgArguments, sqlx::error::BoxDynError> {
        use sqlx::Arguments;
        let Self { rows, entries, kept } = self;
        let objects: Vec<&R> = rows.iter().map(|(_, row)| &row.object).collect();
        let mut arguments = PgArguments::default();
        arguments.add(objects.iter().map(|object| object.sid()).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|(seen, _)| *seen).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|(_, row)| row.version).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|(_, row)| row.changed_at).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|(_, row)| &*row.head).collect::<Vec<_>>())?;
        arguments.add(entries.iter().map(|(row, _)| row.object.sid()).collect::<Vec<_>>())?;
        arguments
            .add(entries.iter().map(|(row, _)| row.object.partner_sid()).collect::<Vec<_>>())?;
        arguments.add(entries.iter().map(|(_, entry)| entry.version).collect::<Vec<_>>())?;
        arguments.add(entries.iter().map(|(row, _)| row.changed_at).collect::<Vec<_>>())?;
        arguments.add(entries.iter().map(|(_, entry)| &*entry.text).collect::<Vec<_>>())?;
        arguments.add(entries.iter().map(|(_, entry)| &*entry.hash).collect::<Vec<_>>())?;
        R::bind(&objects, &mut arguments)?;
        if self.has_keys() {
            arguments.add(kept.iter().map(|(sid, ..)| *sid).collect::<Vec<_>>())?;
            arguments
                .add(kept.iter().map(|(_, partner_sid, ..)| *partner_sid).collect::<Vec<_>>())?;
            arguments.add(kept.iter().map(|(_, _, key, ..)| key.text()).collect::<Vec<_>>())?;
            arguments.add(kept.iter().map(|(.., request, _)| &request[..]).collect::<Vec<_>>())?;
            arguments.add(kept.iter().map(|(.., answer)| answer.version).collect::<Vec<_>>())?;
            arguments
                .add(kept.iter().map(|(.., answer)| answer.body.as_deref()).collect::<Vec<_>>())?;
        }
        Ok(arguments)
    }
}
