//! On what terms a write is made: which version it may change, under which key its answer is kept, whether it is made at all.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use sqlx::{Acquire, PgConnection, PgPool};
use uuid::Uuid;

use super::Resource;
use crate::auth::Actor;
use crate::error::{ApiError, FieldError};

/// On what terms a write is made. By default whatever the version, without a key, and in earnest.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// The versions that it may change.
    pub precondition: Precondition,
    /// The key under which a success is kept for retries.
    pub key: Option<IdempotencyKey>,
    /// Whether everything is judged and nothing is stored.
    pub validate_only: bool,
}

/// Versions of an object: those that a write may change (`If-Match`; RFC 9110, section 13.1.1), or that a reader has already
/// (`If-None-Match`, section 13.1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Any, or none: nothing was said.
    #[default]
    None,
    /// Any that exists: `*`.
    Exists,
    /// Those of these entity tags.
    OneOf(Vec<String>),
}

impl Precondition {
    /// Whether that version is among them.
    pub fn names(&self, version: i64) -> bool {
        match self {
            Self::None => false,
            Self::Exists => true,
            Self::OneOf(tags) => tags.contains(&version.to_string()),
        }
    }

    /// Judges an object of that version.
    ///
    /// # Errors
    /// [`ApiError::PreconditionFailed`] where it is another one; [`ApiError::PreconditionRequired`] where nothing was said and
    /// `is_required`.
    pub(super) fn judge(&self, version: i64, is_required: bool) -> Result<(), ApiError> {
        match self {
            Self::None if is_required => Err(ApiError::PreconditionRequired),
            Self::None => Ok(()),
            named if named.names(version) => Ok(()),
            _ => Err(ApiError::PreconditionFailed),
        }
    }

    /// Judges an object that is not there.
    pub(super) fn judge_absent(&self) -> Result<(), ApiError> {
        if *self == Self::None { Ok(()) } else { Err(ApiError::PreconditionFailed) }
    }
}

/// The key of a request that may be sent again, with what makes it the same request.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    key: String,
    request: Sha256,
}

impl IdempotencyKey {
    /// The key of a request whose parts are still to be [added](Self::add).
    pub fn new(key: String) -> Self {
        Self { key, request: Sha256::new() }
    }

    /// Adds a part of the request.
    pub fn add(&mut self, part: &[u8]) {
        // With its length, so that no two requests have the same parts.
        self.request.update(part.len().to_le_bytes());
        self.request.update(part);
    }

    /// The key itself.
    pub(super) fn text(&self) -> &str {
        &self.key
    }

    /// What makes it the same request.
    ///
    /// How far the caller reaches is part of it: who reaches less is not told what another one has changed.
    pub(super) fn request(&self, actor: &Actor) -> [u8; 32] {
        let (_, tree, _) = actor.reach().arguments();
        self.request.clone().chain_update([u8::from(tree)]).finalize().into()
    }
}

/// What a write answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The object as it is now, as JSON; none where it is gone.
    pub body: Option<String>,
    /// Its version; none where it is gone, and where nothing was stored.
    pub version: Option<i64>,
    /// Whether it was kept from an earlier request under the same key.
    pub is_replayed: bool,
}

impl Answer {
    /// The answer that shows `object`, now of that version.
    pub(super) fn of<R: Resource>(object: &R, version: i64) -> Result<Self, ApiError> {
        let body =
            serde_json::to_string(object).map_err(|error| ApiError::Internal(error.into()))?;
        Ok(Self { body: Some(body), version: Some(version), is_replayed: false })
    }

    /// The answer to a deletion.
    pub(super) fn gone() -> Self {
        Self { body: None, version: None, is_replayed: false }
    }
}

/// Makes a write in a transaction of its own, on these terms: commits it with its answer under the key; or undoes it, where it
/// was refused or only to be judged.
///
/// Two requests under one key at once: the key is unique, so the later one waits for the earlier to commit, is undone, and finds
/// the answer. So a refusal is told only where there is none: the earlier request may be the very cause of it.
pub(super) async fn on_terms(
    db: &PgPool,
    actor: &Actor,
    terms: &Terms,
    write: impl AsyncFnOnce(&mut PgConnection) -> Result<Answer, ApiError>,
) -> Result<Answer, ApiError> {
    let mut connection = db.acquire().await?;
    if terms.validate_only {
        let mut tx = connection.begin().await?;
        let answer = write(&mut tx).await?;
        tx.rollback().await?;
        return Ok(Answer { version: None, ..answer });
    }
    let Some(key) = &terms.key else {
        let mut tx = connection.begin().await?;
        let answer = write(&mut tx).await?;
        tx.commit().await?;
        return Ok(answer);
    };
    let partner_sid = actor.own_partner_sid()?;
    if let Some(kept) = kept(&mut connection, partner_sid, actor, key).await? {
        return Ok(kept);
    }
    let outcome = async {
        let mut tx = connection.begin().await?;
        let answer = write(&mut tx).await?;
        keep(&mut tx, partner_sid, key, key.request(actor), &answer).await?;
        tx.commit().await?;
        Ok(answer)
    };
    match outcome.await {
        Err(refusal) => kept(&mut connection, partner_sid, actor, key).await?.ok_or(refusal),
        answer => answer,
    }
}

/// An answer that is kept.
#[derive(sqlx::FromRow)]
pub(super) struct Kept {
    partner_sid: Uuid,
    key: String,
    request: Vec<u8>,
    version: Option<i64>,
    body: Option<String>,
    /// Its day is over.
    is_over: bool,
}

impl Kept {
    /// What is told to a request under that key.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] where it is the answer to another request.
    pub(super) fn answer(self, key: &IdempotencyKey, actor: &Actor) -> Result<Answer, ApiError> {
        if self.request == key.request(actor) {
            return Ok(Answer { body: self.body, version: self.version, is_replayed: true });
        }
        let message = "was used for another request (method, path, query or body)";
        Err(ApiError::invalid("Idempotency-Key", message))
    }
}

/// The answer that is kept under the key.
async fn kept(
    connection: &mut PgConnection,
    partner_sid: Uuid,
    actor: &Actor,
    key: &IdempotencyKey,
) -> Result<Option<Answer>, ApiError> {
    let keys = [(partner_sid, key.key.clone())];
    let kept = kept_under(connection, &keys).await?.into_values().next();
    kept.map(|kept| kept.answer(key, actor)).transpose()
}

/// The answers that are kept under these keys of these partners. Those whose day is over are forgotten.
pub(super) async fn kept_under(
    connection: &mut PgConnection,
    keys: &[(Uuid, String)],
) -> Result<HashMap<(Uuid, String), Kept>, sqlx::Error> {
    let partners: Vec<_> = keys.iter().map(|(partner_sid, _)| *partner_sid).collect();
    let keys: Vec<_> = keys.iter().map(|(_, key)| &**key).collect();
    let kept: Vec<Kept> = sqlx::query_as(
        "select partner_sid, key, request, version, body, date <= now() - interval '24 hours' as is_over
         from unnest($1::uuid[], $2::text[]) as asked (partner_sid, key) join idempotency_keys using (partner_sid, key)",
    )
    .bind(&partners)
    .bind(&keys)
    .fetch_all(&mut *connection)
    .await?;
    if kept.iter().any(|kept| kept.is_over) {
        // Unless somebody else is just about to.
        let forget = "delete from idempotency_keys where ctid = any(array(
                          select idempotency_keys.ctid
                          from unnest($1::uuid[], $2::text[]) as asked (partner_sid, key)
                          join idempotency_keys using (partner_sid, key)
                          where date <= now() - interval '24 hours' for update of idempotency_keys skip locked))";
        sqlx::query(forget).bind(&partners).bind(&keys).execute(connection).await?;
    }
    let kept = kept.into_iter().filter(|kept| !kept.is_over);
    Ok(kept.map(|kept| ((kept.partner_sid, kept.key.clone()), kept)).collect())
}

/// Keeps the answer under the key.
///
/// # Errors
/// [`ApiError::Conflict`] where another request under the key is in flight, or was until now.
async fn keep(
    connection: &mut PgConnection,
    partner_sid: Uuid,
    key: &IdempotencyKey,
    request: [u8; 32],
    answer: &Answer,
) -> Result<(), ApiError> {
    let statement = "insert into idempotency_keys (partner_sid, key, request, version, body)
                     values ($1, $2, $3, $4, $5)";
    let kept = sqlx::query(statement)
        .bind(partner_sid)
        .bind(&key.key)
        .bind(request)
        .bind(answer.version)
        .bind(&answer.body)
        .execute(connection)
        .await;
    match kept {
        Ok(_) => Ok(()),
        Err(error) if is_taken(&error) => {
            let message = "a request with this key is still in flight";
            Err(ApiError::InFlight(FieldError::new("Idempotency-Key", message)))
        }
        Err(error) => Err(error.into()),
    }
}

/// The key is unique, or its owner took too long (lock_not_available).
fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.constraint() == Some("idempotency_keys_pkey")
            || error.code().as_deref() == Some("55P03")
    })
}

/// Forgets the answers whose day is over, some at a time.
///
/// # Errors
/// Where the database is away.
pub async fn forget_old_keys(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    const SOME: i64 = 1_000;
    let statement = "
        delete from idempotency_keys
        where ctid = any(array(
            select ctid from idempotency_keys where date <= now() - interval '24 hours' limit $1
        ))";
    loop {
        let forgotten = sqlx::query(statement).bind(SOME).execute(&mut *connection).await?;
        if forgotten.rows_affected() < SOME as u64 {
            return Ok(());
        }
    }
}
