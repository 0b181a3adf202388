//! The history of every object: who changed what, chained by hashes; how it is read, and how it grows old.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgPool};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Resource, Stored, reached, sql};
use crate::auth::Actor;
use crate::date;
use crate::error::ApiError;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It was created.
    Create,
    /// It was changed.
    Update,
    /// It was brought back to what it was.
    Revert,
    /// It was deleted; its entry keeps it as it was.
    Delete,
}

/// A member before and after, as JSON text.
#[derive(Serialize)]
struct Change<'a> {
    after: &'a RawValue,
    before: &'a RawValue,
}

/// What becomes of an object: its members that differ, and itself as it became or last was.
pub(super) struct Changes<'a> {
    members: BTreeMap<&'a str, Change<'a>>,
    object: &'a RawValue,
}

impl<'a> Changes<'a> {
    /// From the one to the other, both as [`Resource::recorded`] tells them. One that does not exist has no members.
    ///
    /// # Errors
    /// None that a client could cause.
    pub fn between(old: Option<&'a RawValue>, new: Option<&'a RawValue>) -> Result<Self, ApiError> {
        let (before, after) = (members(old)?, members(new)?);
        let value = |members: &BTreeMap<&'a str, &'a RawValue>, name| {
            members.get(name).copied().unwrap_or(RawValue::NULL)
        };
        let change =
            |name| (name, Change { after: value(&after, name), before: value(&before, name) });
        let differs = |(_, change): &(_, Change<'_>)| change.after.get() != change.before.get();
        let members = before.keys().chain(after.keys()).copied().map(change).filter(differs);
        Ok(Self { members: members.collect(), object: new.or(old).unwrap_or(RawValue::NULL) })
    }

    /// Whether a member of that name differs.
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }
}

fn members(object: Option<&RawValue>) -> Result<BTreeMap<&str, &RawValue>, ApiError> {
    object.map_or_else(
        || Ok(BTreeMap::new()),
        |object| {
            serde_json::from_str(object.get()).map_err(|error| ApiError::Internal(error.into()))
        },
    )
}

/// What the text of an entry says.
#[derive(Serialize)]
struct Text<'a> {
    action: Action,
    changes: &'a BTreeMap<&'a str, Change<'a>>,
    #[serde(with = "date")]
    date: OffsetDateTime,
    ip: Option<IpAddr>,
    kind: &'static str,
    /// The object as it became, or last was.
    object: &'a RawValue,
    /// The partner of the token that made the change.
    partner_sid: Option<Uuid>,
    request_id: Option<&'a str>,
    sid: Uuid,
    token_sid: Option<Uuid>,
    version: i64,
}

impl<R: Resource> Stored<R> {
    /// The entry for what became of the row, which is now as it became. The row's head, until now that of the entry before,
    /// becomes the hash of the new one.
    pub(super) fn record(
        &mut self,
        actor: &Actor,
        action: Action,
        changes: &Changes<'_>,
    ) -> Result<Entry, ApiError> {
        let text = Text {
            action,
            changes: &changes.members,
            date: self.changed_at,
            ip: actor.ip(),
            kind: R::KIND,
            object: changes.object,
            partner_sid: actor.partner_sid(),
            request_id: actor.request_id(),
            sid: self.object.sid(),
            token_sid: actor.token_sid(),
            version: self.version,
        };
        let text =
            serde_json::to_string(&text).map_err(|error| ApiError::Internal(error.into()))?;
        self.head = Sha256::new().chain_update(&self.head).chain_update(&text).finalize().to_vec();
        Ok(Entry { version: self.version, hash: self.head.clone(), text })
    }
}

/// An entry that is to be written.
pub(super) struct Entry {
    pub version: i64,
    pub hash: Vec<u8>,
    pub text: String,
}

/// An object as it was.
#[derive(FromRow)]
struct Past {
    /// Its owner.
    owner: Uuid,
    /// The text of the entry that made it so.
    entry: String,
}

/// What is read of the text of an entry.
#[derive(Deserialize)]
struct Read<T> {
    action: Action,
    object: T,
}

impl Past {
    /// The object's members; none where it was gone.
    fn members(&self) -> Result<Option<Map<String, Value>>, ApiError> {
        let read: Read<Map<String, Value>> = parsed(&self.entry)?;
        Ok((read.action != Action::Delete).then_some(read.object))
    }
}

fn parsed<T: DeserializeOwned>(entry: &str) -> Result<T, ApiError> {
    serde_json::from_str(entry).map_err(|error| ApiError::Internal(error.into()))
}

/// The owner and the members of the object of that sid, as it was at that time.
///
/// # Errors
/// [`ApiError::NoItem`] where the actor reaches none, and where there was none, as far as the history goes back.
pub async fn at<R: Resource>(
    db: &PgPool,
    actor: &Actor,
    sid: Uuid,
    at: OffsetDateTime,
) -> Result<(Uuid, Map<String, Value>), ApiError> {
    let past: Option<Past> =
        reached(sql::at::<R>(), actor).bind(sid).bind(at).fetch_optional(db).await?;
    if let Some(past) = past {
        let mut members = past.members()?.ok_or(ApiError::NoItem)?;
        members.retain(|name, _| R::shows(name));
        return Ok((past.owner, members));
    }
    // Its entries may have been dropped since it became what it is.
    let stored: Stored<R> = super::get(db, actor, sid).await?;
    if stored.changed_at > at {
        return Err(ApiError::NoItem);
    }
    Ok((stored.object.partner_sid(), stored.object.members()?))
}

/// The last entry of an object, which the next one is chained to.
#[derive(FromRow)]
pub(super) struct Last {
    pub version: i64,
    pub date: OffsetDateTime,
    pub hash: Vec<u8>,
}

/// The last entry of an object of that kind and sid, where the actor reaches its owner.
pub(super) async fn last<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    sid: Uuid,
) -> Result<Option<Last>, sqlx::Error> {
    reached(sql::last_entry::<R>(), actor).bind(sid).fetch_optional(connection).await
}

/// The object of that sid as it was at `version`.
///
/// # Errors
/// [`ApiError::Invalid`] where the history has no such version, or it is the one in which the object was deleted.
pub(super) async fn object<R: Resource + DeserializeOwned>(
    connection: &mut PgConnection,
    sid: Uuid,
    version: i64,
) -> Result<R, ApiError> {
    let entry: Option<String> =
        sqlx::query_scalar("select entry from history where sid = $1 and version = $2")
            .bind(sid)
            .bind(version)
            .fetch_optional(connection)
            .await?;
    let entry =
        entry.ok_or_else(|| ApiError::invalid("version", "must be a version in the history"))?;
    match parsed::<Read<R>>(&entry)? {
        Read { action: Action::Delete, .. } => {
            Err(ApiError::invalid("version", "must be a version in which the object existed"))
        }
        Read { object, .. } => Ok(object),
    }
}

/// Some entries of an object's history, oldest first.
pub struct Chronicle {
    /// The entries, as their readers see them.
    pub entries: Vec<Map<String, Value>>,
    /// How many there are in all.
    pub total: i64,
}

/// The entries of the object of that sid from the `offset`th on, `limit` at most.
///
/// # Errors
/// [`ApiError::NoItem`] where the actor reaches no such object, and no trace of one.
pub async fn chronicle<R: Resource>(
    db: &PgPool,
    actor: &Actor,
    sid: Uuid,
    (limit, offset): (i64, i64),
) -> Result<Chronicle, ApiError> {
    let (total, exists): (i64, bool) =
        reached(sql::count_entries::<R>(), actor).bind(sid).fetch_one(db).await?;
    if total == 0 && !exists {
        return Err(ApiError::NoItem);
    }
    let entries: Vec<(String,)> = reached(sql::entries::<R>(), actor)
        .bind(sid)
        .bind(limit)
        .bind(offset)
        .fetch_all(db)
        .await?;
    let entries = entries.into_iter().map(|(entry,)| shown(&entry)).collect::<Result<_, _>>()?;
    Ok(Chronicle { entries, total })
}

/// The members of an entry that are shown.
fn shown(entry: &str) -> Result<Map<String, Value>, ApiError> {
    let mut entry: Map<String, Value> = parsed(entry)?;
    // The object is read by `at`, and the reader has named it.
    entry.retain(|name, _| !["kind", "object", "sid"].contains(&name.as_str()));
    Ok(entry)
}

/// Drops some of the entries from before that time, and says how many. The hash of the last that is dropped of an object stays,
/// so that the rest can be verified.
///
/// # Errors
/// Where the database is away.
pub async fn drop_before(
    connection: &mut PgConnection,
    date: OffsetDateTime,
    at_most: i64,
) -> Result<i64, sqlx::Error> {
    // Whatever is older of an object than an entry found, goes with it: a history loses its beginning, never its middle.
    let statement = "
        with found as (
            select sid, max(version) as version
            from (select sid, version from history where date < $1 limit $2) as found
            group by sid
        ), dropped as (
            delete from history using found
            where history.sid = found.sid and history.version <= found.version
            returning history.sid, history.version, history.hash
        ), anchored as (
            insert into history_anchors as anchor (sid, version, hash)
            select distinct on (sid) sid, version, hash from dropped order by sid, version desc
            on conflict (sid) do update set version = excluded.version, hash = excluded.hash
            where excluded.version > anchor.version
        )
        select count(*) from dropped";
    sqlx::query_scalar(statement).bind(date).bind(at_most).fetch_one(connection).await
}

/// What is wrong with the history of an object.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize)]
pub struct Broken {
    /// The object.
    pub sid: Uuid,
    /// The version at which it shows.
    pub version: i64,
    /// What shows.
    pub problem: String,
}

/// What a verification found.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// The time up to which entries are in the head.
    #[serde(with = "date")]
    pub as_of: OffsetDateTime,
    /// Everything that is wrong, the first hundred.
    pub broken: Vec<Broken>,
    /// How many entries were read.
    pub entries: i64,
    /// The SHA-256 over the last hash of every object until then, in the order of their sids; hexadecimal.
    pub head: String,
    /// How many objects they are of, deleted ones included.
    pub objects: i64,
}

/// Reads the whole history and computes every hash anew. `tables` are those of all kinds of objects.
///
/// # Errors
/// Where the database is away.
pub async fn verify(
    connection: &mut PgConnection,
    tables: &[&str],
    as_of: OffsetDateTime,
) -> Result<Verified, sqlx::Error> {
    let broken = sqlx::query_as(AssertSqlSafe(sql::broken_entries(tables)));
    let broken: Vec<Broken> = broken.fetch_all(&mut *connection).await?;
    let (entries, objects, head): (i64, i64, String) =
        sqlx::query_as(sql::HEAD).bind(as_of).fetch_one(connection).await?;
    Ok(Verified { as_of, broken, entries, head, objects })
}
