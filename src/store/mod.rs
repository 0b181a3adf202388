//! The one place where stored objects are read, created and changed, the same way for every resource.
//!
//! Every function asks for an [`Actor`] and sees only what that actor reaches. A change and its history entry are one
//! statement, so that neither can stand without the other.

mod history;
mod sql;

use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryAs;
use sqlx::{Acquire, AssertSqlSafe, FromRow, PgConnection, PgExecutor, PgPool, Postgres};
use time::OffsetDateTime;
use uuid::Uuid;

pub use history::Action;
pub use sql::Column;
pub(crate) use sql::columns;

use crate::auth::Actor;
use crate::error::{ApiError, FieldError};
use crate::list::{Kind, Page, Query, Start};

/// The facts that make a type a stored object. The rules stand in this module.
pub trait Resource:
    Clone + Serialize + for<'r> FromRow<'r, PgRow> + Send + Sync + Unpin + 'static
{
    /// What it is called in the history.
    const KIND: &'static str;
    /// Its table.
    const TABLE: &'static str;
    /// The column that names the owner, a partner.
    const OWNER: &'static str = "partner_sid";
    /// Who may refer to it, and keeps it from being deleted.
    const REFERRED_BY: Option<Reference> = None;
    /// What its sid is called as a member.
    const SID: &'static str;
    /// Members that are shown without being stored.
    const UNSTORED: &'static [&'static str] = &[];
    /// Its columns besides `sid`, the owner and those that every object has, in the order of [`Self::bind`].
    const COLUMNS: &'static [Column];

    /// The object's own sid.
    fn sid(&self) -> Uuid;

    /// The partner that owns it.
    fn partner_sid(&self) -> Uuid;

    /// Binds one array for each of [`Self::COLUMNS`], with an element for each of `objects`.
    fn bind(objects: &[&Self], arguments: &mut PgArguments)
    -> Result<(), sqlx::error::BoxDynError>;

    /// Whether its owner is another object: a partner is its own.
    fn is_owned() -> bool {
        Self::OWNER != "sid"
    }

    /// The column of the member of that name, and how its values compare.
    fn comparable(member: &str) -> Option<(&'static str, Kind)> {
        if member == Self::SID {
            return Some(("sid", Kind::Sid));
        }
        if member == Self::OWNER && Self::is_owned() {
            return Some((Self::OWNER, Kind::Sid));
        }
        let column = Self::COLUMNS.iter().find(|column| column.name == member)?;
        Some((column.name, column.kind()?))
    }

    /// Whether the object shows a member of that name; with a key after a dot, a nested object.
    fn shows(name: &str) -> bool {
        match name.split_once('.') {
            None => Self::UNSTORED.contains(&name) || Self::comparable(name).is_some(),
            Some((member, _)) => {
                Self::comparable(member).is_some_and(|(_, kind)| kind == Kind::Json)
            }
        }
    }

    /// The answer to a write that broke the constraint of that name.
    fn broken(&self, _constraint: &str) -> Option<ApiError> {
        None
    }

    /// The object's members, as the API shows them.
    ///
    /// # Errors
    /// None that a client could cause.
    fn members(&self) -> Result<Map<String, Value>, ApiError> {
        match serde_json::to_value(self) {
            Ok(Value::Object(members)) => Ok(members),
            Ok(other) => {
                Err(ApiError::Internal(anyhow::anyhow!("{} is no object: {other}", Self::KIND)))
            }
            Err(error) => Err(ApiError::Internal(error.into())),
        }
    }
}

/// Objects that refer to others of the same owner.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// What they are called.
    pub nouns: &'static str,
    /// Their table.
    pub table: &'static str,
    /// The column that refers.
    pub column: &'static str,
}

/// An object as it stands in the database.
#[derive(Clone, Debug, FromRow)]
pub struct Stored<T> {
    /// The object itself.
    #[sqlx(flatten)]
    pub object: T,
    /// How often it was changed, its creation included.
    pub version: i64,
    /// The hash of its newest history entry.
    head: Vec<u8>,
    /// The time of that entry.
    changed_at: OffsetDateTime,
}

/// A row with the database's clock at the time it was read, to the millisecond: dates are told no finer.
#[derive(FromRow)]
struct Locked<T> {
    #[sqlx(flatten)]
    stored: Stored<T>,
    now: OffsetDateTime,
}

/// The object of that sid.
///
/// # Errors
/// [`ApiError::NoItem`] where the actor reaches none.
pub async fn get<R: Resource>(
    db: impl PgExecutor<'_>,
    actor: &Actor,
    sid: Uuid,
) -> Result<Stored<R>, ApiError> {
    fetch(db, actor, sid, sql::select::<R>()).await
}

/// Changes the object of that sid as `change` says, and commits. What changes nothing is not written.
///
/// # Errors
/// [`ApiError::NoItem`] where the actor reaches none, and what `change` and the table's constraints refuse; nothing is
/// written then.
pub async fn update<R: Resource>(
    db: impl Acquire<'_, Database = Postgres>,
    actor: &Actor,
    sid: Uuid,
    change: impl FnOnce(&mut R) -> Result<(), ApiError>,
) -> Result<Stored<R>, ApiError> {
    let mut tx = db.begin().await?;
    let Locked::<R> { stored: before, now } = fetch(&mut *tx, actor, sid, sql::lock::<R>()).await?;
    let mut object = before.object.clone();
    change(&mut object)?;
    let (old, new) = (before.object.members()?, object.members()?);
    if old == new {
        return Ok(before);
    }
    let mut after = Stored {
        object,
        version: before.version + 1,
        head: before.head,
        changed_at: now.max(before.changed_at),
    };
    let entry = after.record(actor, Action::Update, &old, &new)?;
    write(&mut tx, sql::update::<R>(), std::slice::from_ref(&after), &[entry]).await?;
    tx.commit().await?;
    Ok(after)
}

/// Creates the objects in the order given, in one statement.
///
/// # Errors
/// What the table's constraints refuse, told of the first object where there are several; nothing is written then.
pub async fn create<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    objects: Vec<R>,
) -> Result<Vec<Stored<R>>, ApiError> {
    let now = sqlx::query_scalar("select date_trunc('milliseconds', clock_timestamp())");
    let changed_at = now.fetch_one(&mut *connection).await?;
    let nothing = Map::new();
    let mut entries = Vec::with_capacity(objects.len());
    let mut created = Vec::with_capacity(objects.len());
    for object in objects {
        let members = object.members()?;
        let mut row = Stored { object, version: 1, head: Vec::new(), changed_at };
        entries.push(row.record(actor, Action::Create, &nothing, &members)?);
        created.push(row);
    }
    write(connection, sql::insert::<R>(), &created, &entries).await?;
    Ok(created)
}

/// Creates one object.
///
/// # Errors
/// As [`create`].
pub async fn create_one<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    object: R,
) -> Result<Stored<R>, ApiError> {
    let created = create(connection, actor, vec![object]).await?.pop();
    created.ok_or_else(|| ApiError::Internal(anyhow::anyhow!("one object was to be created")))
}

/// All objects that the actor reaches, in the order of their creation.
///
/// # Errors
/// Where the database is away.
pub async fn all<R: Resource>(db: impl PgExecutor<'_>, actor: &Actor) -> Result<Vec<R>, ApiError> {
    Ok(reached(sql::all::<R>(), actor).fetch_all(db).await?)
}

/// Those of the objects of these sids that the actor reaches, in no order.
///
/// # Errors
/// Where the database is away.
pub async fn some<R: Resource>(
    db: &PgPool,
    actor: &Actor,
    sids: &[Uuid],
) -> Result<Vec<R>, ApiError> {
    Ok(reached(sql::some::<R>(), actor).bind(sids).fetch_all(db).await?)
}

/// A page of the objects that the actor reaches.
///
/// # Errors
/// [`ApiError::BadRequest`] where the page begins at a row that the actor does not reach.
pub async fn list<R: Resource>(
    db: &PgPool,
    actor: &Actor,
    query: &Query,
) -> Result<Page<R>, ApiError> {
    let reach = actor.reach();
    let (total, anchor, beyond): (i64, Option<i64>, bool) =
        query.around::<R>(reach).build_query_as().fetch_one(db).await?;
    match query.start {
        Start::After(_) if anchor.is_none() => return Err(no_such_row("after")),
        Start::Before(_) if anchor.is_none() => return Err(no_such_row("before")),
        Start::Offset(_) | Start::After(_) | Start::Before(_) => {}
    }
    let mut items: Vec<R> = query.page::<R>(reach, anchor).build_query_as().fetch_all(db).await?;
    let more = items.len() as i64 > query.limit;
    items.truncate(query.limit as usize);
    let (has_previous, has_next) = match query.start {
        Start::Before(_) => {
            items.reverse();
            (more, beyond)
        }
        Start::After(_) | Start::Offset(_) => (beyond, more),
    };
    Ok(Page { items, has_previous, has_next, total })
}

fn no_such_row(argument: &'static str) -> ApiError {
    ApiError::bad_argument(argument, "must be the sid of an object in the list")
}

/// Deletes the object of that sid, and commits. Its history stays.
///
/// # Errors
/// [`ApiError::NoItem`] where the actor reaches none, [`ApiError::Conflict`] where other objects refer to it; nothing is
/// written then.
pub async fn delete<R: Resource>(db: &PgPool, actor: &Actor, sid: Uuid) -> Result<(), ApiError> {
    let mut tx = db.begin().await?;
    let Locked::<R> { stored: before, now } =
        fetch(&mut *tx, actor, sid, sql::lock_to_delete::<R>()).await?;
    if let Some(referring) = R::REFERRED_BY {
        refuse_referred(&mut tx, referring, &before.object).await?;
    }
    let changed_at = now.max(before.changed_at);
    let old = before.object.members()?;
    let mut last = Stored { version: before.version + 1, changed_at, ..before };
    let entry = last.record(actor, Action::Delete, &old, &Map::new())?;
    write(&mut tx, sql::delete::<R>(), std::slice::from_ref(&last), &[entry]).await?;
    Ok(tx.commit().await?)
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

async fn fetch<T: for<'r> FromRow<'r, PgRow> + Send + Unpin>(
    db: impl PgExecutor<'_>,
    actor: &Actor,
    sid: Uuid,
    statement: String,
) -> Result<T, ApiError> {
    reached(statement, actor).bind(sid).fetch_optional(db).await?.ok_or(ApiError::NoItem)
}

/// A statement over what the actor reaches: its first three arguments.
fn reached<'q, T: for<'r> FromRow<'r, PgRow>>(
    statement: String,
    actor: &Actor,
) -> QueryAs<'q, Postgres, T, PgArguments> {
    let (partner_sid, tree, everything) = actor.reach().arguments();
    sqlx::query_as(AssertSqlSafe(statement)).bind(partner_sid).bind(tree).bind(everything)
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
