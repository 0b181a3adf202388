//! All objects of a partner, as a reader of the feed begins with them.

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

use crate::error::ApiError;
use crate::input::date;
use crate::store::resource::{Listed, Resource, Stored};
use crate::store::sql::columns;
use crate::store::turn::Turn;

/// The size of a page of objects, in bytes of JSON text, at which it ends.
const PAGE_BYTES: usize = 1024 * 1024;

/// The place of an object among those of its kind: by owner, and by order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectPlace {
    /// The owner.
    pub partner_sid: Uuid,
    /// The place in the order of creation.
    pub ordinal: i64,
}

impl ObjectPlace {
    /// The place before every object.
    pub const START: Self = Self { partner_sid: Uuid::nil(), ordinal: i64::MIN };
}

/// An object with its version and its place.
#[derive(Debug)]
pub struct SnapshotObject {
    /// The object.
    pub object: Listed,
    /// The version.
    pub version: i64,
    /// When that version was written, as JSON shows it.
    pub changed_at: String,
    /// The place.
    pub place: ObjectPlace,
}

#[derive(FromRow)]
struct Row<T> {
    #[sqlx(flatten)]
    stored: Stored<T>,
    ordinal: i64,
}

impl<R: Resource> Row<R> {
    fn object(&self) -> Result<SnapshotObject, ApiError> {
        let Self { stored: Stored { object, version, changed_at, .. }, ordinal } = self;
        Ok(SnapshotObject {
            object: Listed::of(object)?,
            version: *version,
            changed_at: date::text(*changed_at),
            place: ObjectPlace { partner_sid: object.partner_sid(), ordinal: *ordinal },
        })
    }
}

/// Reads the objects of partner `$1`, and if `$2` those of its descendants.
fn visible<R: Resource>() -> String {
    let (table, owner, columns) = (R::TABLE, R::OWNER, columns::<R>());
    format!(
        "select object.* from partner_tree cross join lateral (
             select {columns}, version, changed_at, head, ordinal from {table}
             where {owner} = descendant_sid"
    )
}

/// Returns at most `limit` objects after that place, and whether more follow.
///
/// # Errors
/// If the database is not available.
pub async fn objects<R: Resource>(
    connection: &mut PgConnection,
    partner_sid: Uuid,
    descendants: bool,
    after: ObjectPlace,
    limit: i64,
) -> Result<(Vec<SnapshotObject>, bool), ApiError> {
    let visible = visible::<R>();
    // Each partner's rows are read in order, up to the limit.
    let statement = format!(
        "{visible} and (descendant_sid > $3 or ordinal > $4) order by ordinal limit $5
         ) as object
         where ancestor_sid = $1 and descendant_sid >= $3 and ($2 or descendant_sid = $1)
         order by descendant_sid, ordinal limit $5"
    );
    let mut rows = sqlx::query_as::<_, Row<R>>(AssertSqlSafe(statement))
        .bind(partner_sid)
        .bind(descendants)
        .bind(after.partner_sid)
        .bind(after.ordinal)
        .bind(limit + 1)
        .fetch(connection);
    let (mut objects, mut size, mut turn) = (Vec::new(), 0, Turn::default());
    while let Some(row) = rows.try_next().await? {
        if objects.len() as i64 == limit || size >= PAGE_BYTES {
            return Ok((objects, true));
        }
        let object = row.object()?;
        size += object.object.text.get().len();
        objects.push(object);
        turn.pause().await;
    }
    Ok((objects, false))
}

/// Opens an export of all objects of the partner and its descendants, in the order of their sids.
/// [`next_exported`] reads it, also after the transaction: PostgreSQL holds the result, and ends no
/// session whose client reads slowly.
///
/// # Errors
/// If the database is not available.
pub async fn open_export<R: Resource>(
    connection: &mut PgConnection,
    partner_sid: Uuid,
) -> Result<(), ApiError> {
    let objects = visible::<R>() + ") as object where ancestor_sid = $1 order by object.sid";
    let kind = R::KIND;
    let statement = format!("declare export_{kind} no scroll cursor with hold for {objects}");
    sqlx::query(AssertSqlSafe(statement)).bind(partner_sid).execute(connection).await?;
    Ok(())
}

/// Returns the next objects of the export that [`open_export`] has opened: none at its end.
///
/// # Errors
/// If the database is not available.
pub async fn next_exported<R: Resource>(
    connection: &mut PgConnection,
) -> Result<Vec<SnapshotObject>, ApiError> {
    let statement = format!("fetch 1000 from export_{}", R::KIND);
    let rows: Vec<Row<R>> = sqlx::query_as(AssertSqlSafe(statement)).fetch_all(connection).await?;
    rows.iter().map(Row::object).collect()
}
