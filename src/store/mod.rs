//! The one place where stored objects are read, created and changed, the same way for every resource.
//!
//! Every function asks for an [`Actor`] and sees only what that actor reaches. A change and its history entry are one
//! statement, so that neither can stand without the other.

mod history;
mod lanes;
mod sql;
mod terms;
mod write;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryAs;
use sqlx::{AssertSqlSafe, FromRow, PgExecutor, PgPool, Postgres};
use time::OffsetDateTime;
use uuid::Uuid;

pub use history::{Action, Broken, Chronicle, Verified, at, chronicle, drop_before, verify};
pub use lanes::Lanes;
pub use sql::Column;
pub(crate) use sql::columns;
pub use terms::{Answer, IdempotencyKey, Precondition, Terms, forget_old_keys};
pub use write::{change, create, create_all, create_one, delete, revert, update, update_alone};

use crate::auth::Actor;
use crate::error::ApiError;
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
    /// Its members that refer to other objects, and that an update can change: the database checks them.
    const REFERENCES: &'static [&'static str] = &[];
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

    /// The object as JSON text, as the history keeps it: what the API shows of it, unless there is more.
    ///
    /// # Errors
    /// None that a client could cause.
    fn recorded(&self) -> Result<Box<RawValue>, ApiError> {
        to_raw_value(self).map_err(|error| ApiError::Internal(error.into()))
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
    db: impl PgExecutor<'_>,
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
