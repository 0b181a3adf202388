//! Writing: every change of a stored object, with its history entry in the same statement.

use serde::de::DeserializeOwned;
use serde_json::Map;
use sqlx::postgres::PgArguments;
use sqlx::{Acquire, AssertSqlSafe, FromRow, PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::terms::{Answer, Terms, on_terms};
use super::{Action, Reference, Resource, Stored, history, reached, sql};
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
        let members = object.recorded()?;
        let mut row = Stored { object, version: 1, head: Vec::new(), changed_at };
        entries.push(row.record(actor, Action::Create, &Map::new(), &members)?);
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
        let mut last = before.next(now);
        let entry = last.record(actor, Action::Delete, &old, &Map::new())?;
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
    let members = object.recorded()?;
    let changed_at = now(tx).await?.max(last.date);
    let mut row = Stored { object, version: last.version + 1, head: last.hash, changed_at };
    let entry = row.record(&restorer, Action::Revert, &Map::new(), &members)?;
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
        if old == new {
            return Ok(before);
        }
        let mut after = Stored { object, ..before.next(now) };
        let entry = after.record(actor, action, &old, &new)?;
        write(tx, sql::update::<R>(), std::slice::from_ref(&after), &[entry]).await?;
        Ok(after)
    }
}

impl<R> Stored<R> {
    /// The row at its next version, which came at `now` at the earliest.
    fn next(self, now: OffsetDateTime) -> Self {
        Self { version: self.version + 1, changed_at: now.max(self.changed_at), ..self }
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

/// Runs a statement that writes objects and their history entries, and takes all of them or none.
async fn write<R: Resource>(
    connection: &mut PgConnection,
    statement: String,
    rows: &[Stored<R>],
    entries: &[String],
) -> Result<(), ApiError> {
    let arguments = arguments(rows, entries).map_err(sqlx::Error::Encode)?;
    let written = sqlx::query_with(AssertSqlSafe(statement), arguments)
        .execute(connection)
        .await
        .map_err(|error| refusal(rows, error))?
        .rows_affected();
    if written == rows.len() as u64 {
        Ok(())
    } else {
        let expected = rows.len();
        Err(ApiError::Internal(anyhow::anyhow!(
            "{written} of {expected} rows of {} took",
            R::TABLE
        )))
    }
}

/// The answer to a broken constraint, as the noun tells it.
fn refusal<R: Resource>(rows: &[Stored<R>], error: sqlx::Error) -> ApiError {
    let broken = error.as_database_error().and_then(|error| error.constraint());
    if broken == Some("history_pkey") {
        let message = "is that of another object, or of one that was deleted and can be reverted";
        return ApiError::Conflict(FieldError::new(R::SID, message));
    }
    let told = broken.zip(rows.first()).and_then(|(name, row)| row.object.broken(name));
    told.unwrap_or_else(|| error.into())
}

fn arguments<R: Resource>(
    rows: &[Stored<R>],
    entries: &[String],
) -> Result<PgArguments, sqlx::error::BoxDynError> {
    use sqlx::Arguments;
    let objects: Vec<&R> = rows.iter().map(|row| &row.object).collect();
    let mut arguments = PgArguments::default();
    arguments.add(objects.iter().map(|object| object.sid()).collect::<Vec<_>>())?;
    arguments.add(objects.iter().map(|object| object.partner_sid()).collect::<Vec<_>>())?;
    arguments.add(rows.iter().map(|row| row.version).collect::<Vec<_>>())?;
    arguments.add(rows.iter().map(|row| row.changed_at).collect::<Vec<_>>())?;
    arguments.add(rows.iter().map(|row| &*row.head).collect::<Vec<_>>())?;
    arguments.add(entries)?;
    R::bind(&objects, &mut arguments)?;
    Ok(arguments)
}
