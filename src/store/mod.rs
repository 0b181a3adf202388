//! The one place where stored objects are read, created and changed, the same way for every resource.
//!
//! Every function asks for an [`Actor`] and sees only what that actor reaches. A change and its history entry are one
//! statement, so that neither can stand without the other.

mod history;
mod sql;

use actix_web::body::BoxBody;
use actix_web::{HttpRequest, HttpResponse, Responder};
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Acquire, AssertSqlSafe, FromRow, PgConnection, PgExecutor, Postgres};
use time::OffsetDateTime;
use uuid::Uuid;

pub use history::Action;
pub use sql::Column;

use crate::auth::Actor;
use crate::error::ApiError;

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
    /// Its columns besides `sid`, the owner and those that every object has, in the order of [`Self::bind`].
    const COLUMNS: &'static [Column];

    /// The object's own sid.
    fn sid(&self) -> Uuid;

    /// The partner that owns it.
    fn partner_sid(&self) -> Uuid;

    /// Binds one array for each of [`Self::COLUMNS`], with an element for each of `objects`.
    fn bind(objects: &[&Self], arguments: &mut PgArguments)
    -> Result<(), sqlx::error::BoxDynError>;

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

/// The row is the answer.
impl<R: Resource> Responder for Stored<R> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::Ok().json(self.object)
    }
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
    let (partner_sid, tree, everything) = actor.reach().arguments();
    let rows = sqlx::query_as(AssertSqlSafe(sql::all::<R>()))
        .bind(partner_sid)
        .bind(tree)
        .bind(everything)
        .fetch_all(db)
        .await?;
    Ok(rows)
}

async fn fetch<T: for<'r> FromRow<'r, PgRow> + Send + Unpin>(
    db: impl PgExecutor<'_>,
    actor: &Actor,
    sid: Uuid,
    statement: String,
) -> Result<T, ApiError> {
    let (partner_sid, tree, everything) = actor.reach().arguments();
    sqlx::query_as(AssertSqlSafe(statement))
        .bind(partner_sid)
        .bind(tree)
        .bind(everything)
        .bind(sid)
        .fetch_optional(db)
        .await?
        .ok_or(ApiError::NoItem)
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
