//! Reading objects that are visible to an actor.

use futures_util::{Stream, TryStreamExt};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryAs;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgExecutor, Postgres};
use uuid::Uuid;

use super::list::{Page, PageSize, Query, Start};
use super::pools::Lease;
use super::resource::{Listed, Resource, Stored};
use super::sql;
use super::turn::Turn;
use crate::auth::Actor;
use crate::error::ApiError;

/// Returns the object of that sid.
///
/// # Errors
/// [`ApiError::NoItem`] if no such object is visible to the actor.
pub async fn get<R: Resource>(
    db: impl PgExecutor<'_>,
    actor: &Actor,
    sid: Uuid,
) -> Result<Stored<R>, ApiError> {
    let found = visible_to(actor, sql::select::<R>()).bind(sid).fetch_optional(db).await?;
    found.ok_or(ApiError::NoItem)
}

/// Opens a list of all objects that are visible to the actor, in the order of creation.
/// [`next_batch`] reads it.
///
/// The cursor belongs to the session and not to a transaction: PostgreSQL holds the result, and
/// ends no session whose client reads slowly.
///
/// # Errors
/// If the database is not available.
pub async fn open_list<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
) -> Result<(), ApiError> {
    visible_to::<()>(actor, sql::open_list::<R>()).fetch_optional(connection).await?;
    Ok(())
}

/// Returns the next objects of the list that [`open_list`] has opened: none at its end.
///
/// # Errors
/// If the database is not available.
pub async fn next_batch<R: Resource>(connection: &mut PgConnection) -> Result<Vec<R>, ApiError> {
    Ok(sqlx::query_as(sql::NEXT_BATCH).fetch_all(connection).await?)
}

/// Returns the number of objects that are visible to the actor, which is a partner.
///
/// # Errors
/// If the database is not available.
pub(super) async fn count<R: Resource>(
    db: impl PgExecutor<'_>,
    actor: &Actor,
) -> Result<u64, ApiError> {
    let (count,): (i64,) = visible_to(actor, sql::count::<R>()).fetch_one(db).await?;
    Ok(count.max(0) as u64)
}

/// Returns the objects of these sids that are visible to the actor, in any order.
///
/// # Errors
/// If the database is not available.
pub async fn get_many<R: Resource>(
    db: impl PgExecutor<'_>,
    actor: &Actor,
    sids: &[Uuid],
) -> Result<Vec<R>, ApiError> {
    Ok(visible_to(actor, sql::select_many::<R>()).bind(sids).fetch_all(db).await?)
}

/// Returns a page of the objects that are visible to the actor.
///
/// A list that takes too long is a 400 if it cannot use an index and ran alone, since a retry would
/// take as long. Otherwise it is a 503: other sessions may be the cause.
pub(super) async fn list<R: Resource>(
    lease: &mut Lease,
    actor: &Actor,
    query: &Query,
) -> Result<Page<Listed>, ApiError> {
    let error = match read_page::<R>(&mut lease.connection, actor, query).await {
        Err(ApiError::Unavailable(Some(error))) if is_timeout(&error) => error,
        page => return page,
    };
    if let Some((argument, message)) = query.unindexed::<R>()
        && lease.is_alone()
        && is_server_idle(&mut lease.connection).await?
    {
        return Err(ApiError::bad_argument(argument, message));
    }
    Err(error.into())
}

/// Whether the statement was cancelled by `statement_timeout`.
fn is_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).as_deref() == Some("57014")
}

/// Whether no other session of the database runs a statement: of another instance, or of another
/// program.
async fn is_server_idle(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select not exists (
             select from pg_stat_activity
             where state = 'active' and pid <> pg_backend_pid() and datname = current_database())",
    )
    .fetch_one(connection)
    .await
}

/// Reads the page, each object as its JSON text. An object is parsed and written one at a time:
/// parsed, a page could take ten times its size.
async fn read_page<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    query: &Query,
) -> Result<Page<Listed>, ApiError> {
    let visibility = actor.visibility();
    let (total, anchor, beyond): (Option<i64>, Option<i64>, bool) = match query.start {
        Start::Offset(skipped) if !query.counts => (None, None, skipped > 0),
        _ => query.around::<R>(visibility).build_query_as().fetch_one(&mut *connection).await?,
    };
    match query.start {
        Start::After(_) if anchor.is_none() => return Err(not_visible("after")),
        Start::Before(_) if anchor.is_none() => return Err(not_visible("before")),
        Start::Offset(_) | Start::After(_) | Start::Before(_) => {}
    }
    let mut page = query.page::<R>(visibility, anchor);
    let rows = page.build_query_as::<R>().fetch(connection);
    page_of(rows, |object| Listed::of(&object), query, beyond, total).await
}

/// Returns the page of these rows, of which `beyond` says whether others precede them in the
/// direction of the page. At most one row more than the page is read.
pub(super) async fn page_of<T>(
    mut rows: impl Stream<Item = Result<T, sqlx::Error>> + Unpin,
    listed: impl Fn(T) -> Result<Listed, ApiError>,
    query: &Query,
    beyond: bool,
    total: Option<i64>,
) -> Result<Page<Listed>, ApiError> {
    let (mut items, mut size, mut more) = (Vec::new(), PageSize::default(), false);
    let mut turn = Turn::default();
    while let Some(row) = rows.try_next().await? {
        if items.len() as i64 == query.limit {
            more = true;
            break;
        }
        let listed = listed(row)?;
        size.add(listed.text.get().len())?;
        items.push(listed);
        turn.pause().await;
    }
    let (has_previous, has_next) = match query.start {
        Start::Before(_) => {
            items.reverse();
            (more, beyond)
        }
        Start::After(_) | Start::Offset(_) => (beyond, more),
    };
    Ok(Page { items, has_previous, has_next, total })
}

fn not_visible(argument: &'static str) -> ApiError {
    no_such_row(argument, "a visible object, or of a deleted one that the history still contains")
}

/// The error for a page that starts at another row than one of these.
pub(super) fn no_such_row(argument: &'static str, row: &str) -> ApiError {
    ApiError::bad_argument(argument, format!("must be the sid of {row}"))
}

/// A statement over the objects that are visible to the actor, which are its first three arguments.
pub(super) fn visible_to<'q, T: for<'r> FromRow<'r, PgRow>>(
    actor: &Actor,
    statement: String,
) -> QueryAs<'q, Postgres, T, PgArguments> {
    let (partner_sid, relatives, all) = actor.visibility().arguments();
    sqlx::query_as(AssertSqlSafe(statement)).bind(partner_sid).bind(relatives).bind(all)
}
