//! The history of every object: who changed what, in entries that are chained by hashes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures_util::TryStreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::read::{self, visible_to};
use super::resource::{Representation, Resource, Stored};
use super::sql;
use super::turn::Turn;
use crate::auth::{Actor, TraceParent};
use crate::error::ApiError;
use crate::input::date;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It was created.
    Create,
    /// It was changed.
    Update,
    /// It was reverted to an earlier version, or restored.
    Revert,
    /// It was deleted. The entry holds the object as it was last.
    Delete,
}

/// A member before and after a change, as JSON text.
#[derive(Serialize)]
struct RawChange<'a> {
    after: &'a RawValue,
    before: &'a RawValue,
}

/// The difference between two versions of an object, and the newer version.
pub(super) struct Changes<'a> {
    members: BTreeMap<&'a str, RawChange<'a>>,
    object: &'a RawValue,
    /// The place in the order of creation of an object that is deleted.
    ordinal: Option<i64>,
}

impl<'a> Changes<'a> {
    /// The difference between two snapshots ([`Resource::snapshot`]). `None` stands for an object
    /// that does not exist.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if a snapshot is no JSON object.
    pub fn between(old: Option<&'a RawValue>, new: Option<&'a RawValue>) -> Result<Self, ApiError> {
        let (before, after) = (members(old)?, members(new)?);
        let value = |members: &BTreeMap<&'a str, &'a RawValue>, name| {
            members.get(name).copied().unwrap_or(RawValue::NULL)
        };
        let change =
            |name| (name, RawChange { after: value(&after, name), before: value(&before, name) });
        let differs = |(_, change): &(_, RawChange<'_>)| change.after.get() != change.before.get();
        let members = before.keys().chain(after.keys()).copied().map(change).filter(differs);
        let object = new.or(old).unwrap_or(RawValue::NULL);
        Ok(Self { members: members.collect(), object, ordinal: None })
    }

    /// The deletion of an object at that place in the order of creation. Lists can still start
    /// there, and a restored object returns to it.
    ///
    /// # Errors
    /// As [`Self::between`].
    pub fn deletion(old: &'a RawValue, ordinal: i64) -> Result<Self, ApiError> {
        Ok(Self { ordinal: Some(ordinal), ..Self::between(Some(old), None)? })
    }

    /// Whether the member of that name differs.
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

/// The text of an entry.
#[derive(Serialize)]
struct Text<'a> {
    action: Action,
    changes: &'a BTreeMap<&'a str, RawChange<'a>>,
    #[serde(with = "date")]
    date: OffsetDateTime,
    /// The digest of the columns that are no members.
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden: Option<String>,
    ip: Option<IpAddr>,
    kind: &'static str,
    /// The object after the change, or before its deletion.
    object: &'a RawValue,
    /// The operator who ran the command that made the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<&'a str>,
    /// The place in the order of creation, in the entry of a deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    ordinal: Option<i64>,
    /// The partner of the token that made the change.
    partner_sid: Option<Uuid>,
    request_id: Option<&'a str>,
    sid: Uuid,
    token_sid: Option<Uuid>,
    /// The trace of the request, for the deliveries of its events.
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    version: i64,
}

/// An entry to write.
pub(super) struct Entry {
    pub version: i64,
    pub date: OffsetDateTime,
    pub hash: Vec<u8>,
    pub text: String,
}

impl<R: Resource> Stored<R> {
    /// Returns the entry for the row's newest version, and extends the row's hash chain with it.
    pub(super) fn record(
        &mut self,
        actor: &Actor,
        action: Action,
        changes: &Changes<'_>,
    ) -> Result<Entry, ApiError> {
        let (version, date) = (self.version, self.changed_at);
        let text = Text {
            action,
            changes: &changes.members,
            date,
            hidden: hidden_digest(&self.object),
            ip: actor.ip(),
            kind: R::KIND,
            object: changes.object,
            operator: actor.operator_name(),
            ordinal: changes.ordinal,
            partner_sid: actor.partner_sid(),
            request_id: actor.request_id(),
            sid: self.object.sid(),
            token_sid: actor.token_sid(),
            traceparent: actor.traceparent().map(TraceParent::as_str),
            version,
        };
        let text =
            serde_json::to_string(&text).map_err(|error| ApiError::Internal(error.into()))?;
        let hash = Sha256::new().chain_update(&self.chain_hash).chain_update(&text).finalize();
        self.chain_hash = hash.to_vec();
        Ok(Entry { version, date, hash: self.chain_hash.clone(), text })
    }
}

/// The SHA-256 of the object's hidden columns, in hexadecimal digits.
pub(super) fn hidden_digest<R: Resource>(object: &R) -> Option<String> {
    let hidden = object.hidden()?.to_string();
    Some(Sha256::digest(hidden).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The entry that was the newest at some date.
#[derive(FromRow)]
struct PastEntry {
    /// The owner of the object.
    owner: Uuid,
    /// The text of the entry.
    entry: String,
}

/// The members that are read from the text of an entry.
#[derive(Deserialize)]
struct ParsedEntry<T> {
    action: Action,
    object: T,
}

fn parse<T: DeserializeOwned>(entry: &str) -> Result<T, ApiError> {
    serde_json::from_str(entry).map_err(|error| ApiError::Internal(error.into()))
}

/// Returns the object of that sid as it was at that date.
pub(super) async fn at<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    sid: Uuid,
    date: OffsetDateTime,
) -> Result<Representation, ApiError> {
    let past: Option<PastEntry> = visible_to(actor, sql::entry_at::<R>())
        .bind(sid)
        .bind(date)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(PastEntry { owner, entry }) = past {
        let ParsedEntry::<Map<String, Value>> { action, object: mut members } = parse(&entry)?;
        if action == Action::Delete {
            return Err(ApiError::NoItem);
        }
        members.retain(|name, _| R::shows(name));
        return Ok(Representation { partner_sid: owner, members });
    }
    // Its entries may have been pruned since its last change.
    let stored: Stored<R> = read::get(connection, actor, sid).await?;
    if stored.changed_at > date {
        return Err(ApiError::NoItem);
    }
    stored.object.representation()
}

/// The newest entry of an object, to which the next one is chained.
#[derive(FromRow)]
pub(super) struct LastEntry {
    pub version: i64,
    pub date: OffsetDateTime,
    pub hash: Vec<u8>,
    /// The place in the order of creation. `None` unless the entry is that of a deletion, and if a
    /// release that did not record the place has deleted the object.
    pub ordinal: Option<i64>,
}

/// Returns the newest entry of the object of that sid, if its owner is visible to the actor.
pub(super) async fn last_entry<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    sid: Uuid,
) -> Result<Option<LastEntry>, sqlx::Error> {
    visible_to(actor, sql::last_entry::<R>()).bind(sid).fetch_optional(connection).await
}

/// Returns the object of that sid as it was at `version`.
///
/// # Errors
/// [`ApiError::Invalid`] if the history has no such version, or the object did not exist in it.
pub(super) async fn object_at_version<R: Resource + DeserializeOwned>(
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
    match parse::<ParsedEntry<R>>(&entry)? {
        ParsedEntry { action: Action::Delete, .. } => {
            Err(ApiError::invalid("version", "must be a version in which the object existed"))
        }
        ParsedEntry { object, .. } => Ok(object),
    }
}

/// One change of an object: who made it, when, and the changed members.
///
/// The stored entry also contains the whole object; `?at=` returns it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HistoryEntry {
    /// The kind of change.
    action: Action,
    /// The changed members.
    changes: BTreeMap<String, Change>,
    /// When the change was made.
    #[schema(format = DateTime)]
    date: String,
    /// The address that the request came from. `null` for a command.
    #[schema(required)]
    ip: Option<String>,
    /// The operator who made the change by a command. Absent for a request.
    #[schema(required = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
    /// The partner of the token that made the change. `null` for a command.
    #[schema(required)]
    partner_sid: Option<Uuid>,
    /// The `X-Request-Id` of the request. `null` for a command.
    #[schema(required)]
    request_id: Option<String>,
    /// The token that made the change. `null` if the token has no sid.
    #[schema(required)]
    token_sid: Option<Uuid>,
    /// The version after the change.
    version: i64,
}

/// A member before and after a change, as the text that is stored.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// The value after the change.
    #[schema(value_type = Value)]
    after: Box<RawValue>,
    /// The value before the change.
    #[schema(value_type = Value)]
    before: Box<RawValue>,
}

impl HistoryEntry {
    /// The names of the members.
    pub const MEMBERS: [&str; 9] = [
        "action",
        "changes",
        "date",
        "ip",
        "operator",
        "partner_sid",
        "request_id",
        "token_sid",
        "version",
    ];
}

/// Some entries of an object's history, oldest first.
pub struct HistoryPage {
    /// The entries.
    pub entries: Vec<HistoryEntry>,
    /// The number of all entries.
    pub total: i64,
}

/// The size of a page, in bytes of stored text, at which it ends.
const PAGE_BYTES: i64 = 4 * 1024 * 1024;

/// Returns at most `limit` entries of the object of that sid, after the first `offset`. A page ends
/// after [`PAGE_BYTES`], with at least one entry.
pub(super) async fn history<R: Resource>(
    connection: &mut PgConnection,
    actor: &Actor,
    sid: Uuid,
    limit: i64,
    offset: i64,
) -> Result<HistoryPage, ApiError> {
    let (oldest, newest, exists): (Option<i64>, Option<i64>, bool) =
        visible_to(actor, sql::entry_bounds::<R>()).bind(sid).fetch_one(&mut *connection).await?;
    let Some((oldest, newest)) = oldest.zip(newest) else {
        let none = HistoryPage { entries: Vec::new(), total: 0 };
        return if exists { Ok(none) } else { Err(ApiError::NoItem) };
    };
    let mut texts = visible_to::<(String,)>(actor, sql::entries::<R>())
        .bind(sid)
        .bind(limit)
        .bind(oldest.saturating_add(offset))
        .bind(PAGE_BYTES)
        .fetch(connection);
    let (mut entries, mut turn) = (Vec::new(), Turn::default());
    while let Some((text,)) = texts.try_next().await? {
        entries.push(parse(&text)?);
        turn.pause().await;
    }
    Ok(HistoryPage { entries, total: newest - oldest + 1 })
}

/// Deletes about `limit` entries from before that date, and returns their number. The hash of an
/// object's newest deleted entry is stored as an anchor, so that the rest can be verified.
///
/// A function of the schema's owner does it, which deletes only what the owner's limit allows:
/// `migrations/V17__events.sql`.
///
/// # Errors
/// If the database is not available.
pub async fn prune(
    connection: &mut PgConnection,
    date: OffsetDateTime,
    limit: i64,
) -> Result<i64, sqlx::Error> {
    let statement = "select prune_history($1, $2)";
    sqlx::query_scalar(statement).bind(date).bind(limit).fetch_one(connection).await
}

/// Returns the age in months below which [`prune`] deletes no entry; `None` if it deletes none.
///
/// # Errors
/// If the database is not available.
pub async fn retention_limit(connection: &mut PgConnection) -> Result<Option<i32>, sqlx::Error> {
    sqlx::query_scalar("select months from history_retention").fetch_optional(connection).await
}
