//! Idempotency keys: a response is stored in the transaction of its write, and replayed to retries.

use std::collections::HashMap;

use sqlx::error::DatabaseError;
use sqlx::{Acquire, PgConnection};
use uuid::Uuid;

use super::options::{IdempotencyKey, WriteOptions, WriteResponse};
use super::pools::Lease;
use crate::auth::Actor;
use crate::error::{
    ApiError, FieldError, has_ended_while_idle, is_connection_lost, is_lock_timeout,
};

/// Runs a write in a transaction of its own with these options: commits it together with the stored
/// response, or rolls it back after an error or a dry run.
///
/// The key is unique, and the second of two requests with the same key waits at its `insert`. If
/// the first commits, the second is rolled back and replays the stored response; if the wait is too
/// long, it gets [`ApiError::InFlight`]. After any error a stored response comes first, since the
/// error may be an effect of the first request.
///
/// If PostgreSQL has ended the session because it was idle, nothing has run, and the transaction
/// begins again on another connection.
pub(super) async fn run_write(
    lease: &mut Lease,
    actor: &Actor,
    options: &WriteOptions,
    write: impl AsyncFnOnce(&mut PgConnection) -> Result<WriteResponse, ApiError>,
) -> Result<WriteResponse, ApiError> {
    let key = match options.key.as_ref().filter(|_| !options.validate_only) {
        Some(key) => Some((actor.own_partner_sid()?, key)),
        None => None,
    };
    if let Some((partner_sid, key)) = key
        && let Some(stored) = replay(lease, partner_sid, actor, key).await?
    {
        return Ok(stored);
    }
    let outcome = async {
        let mut tx = loop {
            let begun = lease.connection.begin().await;
            match begun.as_ref().err() {
                Some(error) if has_ended_while_idle(error) => {}
                _ => break begun?,
            }
            drop(begun);
            lease.reconnect().await?;
        };
        let response = write(&mut tx).await?;
        if options.validate_only {
            tx.rollback().await?;
            return Ok(WriteResponse { version: None, ..response });
        }
        if let Some((partner_sid, key)) = key {
            save_response(&mut tx, partner_sid, key, key.fingerprint(actor), &response).await?;
        }
        tx.commit().await?;
        Ok(response)
    };
    match (outcome.await, key) {
        (Err(error), Some((partner_sid, key))) => {
            replay(lease, partner_sid, actor, key).await?.ok_or(error)
        }
        (outcome, _) => outcome,
    }
}

/// A stored response.
#[derive(sqlx::FromRow)]
pub(super) struct StoredResponse {
    partner_sid: Uuid,
    key: String,
    request: Vec<u8>,
    version: Option<i64>,
    body: Option<String>,
    /// Whether it is older than 24 hours.
    is_expired: bool,
}

impl StoredResponse {
    /// The replayed response to a request with that key.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if it belongs to a different request.
    pub(super) fn replay(
        &self,
        key: &IdempotencyKey,
        actor: &Actor,
    ) -> Result<WriteResponse, ApiError> {
        if self.request == key.fingerprint(actor) {
            return Ok(WriteResponse {
                body: self.body.clone(),
                version: self.version,
                is_replayed: true,
            });
        }
        let message = "was used for a different request (method, path, query or body)";
        Err(ApiError::invalid("Idempotency-Key", message))
    }
}

/// Returns the stored response of a key, if there is one. The connection is replaced if it is lost.
async fn replay(
    lease: &mut Lease,
    partner_sid: Uuid,
    actor: &Actor,
    key: &IdempotencyKey,
) -> Result<Option<WriteResponse>, ApiError> {
    let keys = [(partner_sid, key.text().to_owned())];
    let mut found = find_stored(&mut lease.connection, &keys).await;
    if found.as_ref().is_err_and(is_connection_lost) {
        lease.reconnect().await?;
        found = find_stored(&mut lease.connection, &keys).await;
    }
    let stored = found?.into_values().next();
    stored.map(|stored| stored.replay(key, actor)).transpose()
}

/// Returns the responses that are stored under these keys of these partners, and deletes those that
/// have expired.
pub(super) async fn find_stored(
    connection: &mut PgConnection,
    keys: &[(Uuid, String)],
) -> Result<HashMap<(Uuid, String), StoredResponse>, sqlx::Error> {
    let partners: Vec<_> = keys.iter().map(|(partner_sid, _)| *partner_sid).collect();
    let keys: Vec<_> = keys.iter().map(|(_, key)| &**key).collect();
    let stored: Vec<StoredResponse> = sqlx::query_as(
        "select partner_sid, key, request, version, body,
             date <= now() - interval '24 hours' as is_expired
         from unnest($1::uuid[], $2::text[]) as asked (partner_sid, key)
         join idempotency_keys using (partner_sid, key)",
    )
    .bind(&partners)
    .bind(&keys)
    .fetch_all(&mut *connection)
    .await?;
    if stored.iter().any(|stored| stored.is_expired) {
        // `skip locked`: another session may be deleting them.
        let delete = "delete from idempotency_keys where ctid = any(array(
                          select idempotency_keys.ctid
                          from unnest($1::uuid[], $2::text[]) as asked (partner_sid, key)
                          join idempotency_keys using (partner_sid, key)
                          where date <= now() - interval '24 hours'
                          for update of idempotency_keys skip locked))";
        sqlx::query(delete).bind(&partners).bind(&keys).execute(connection).await?;
    }
    let stored = stored.into_iter().filter(|stored| !stored.is_expired);
    Ok(stored.map(|stored| ((stored.partner_sid, stored.key.clone()), stored)).collect())
}

/// Stores the response under the key.
///
/// # Errors
/// [`ApiError::InFlight`] if another request with the key is in flight, or was until now.
async fn save_response(
    connection: &mut PgConnection,
    partner_sid: Uuid,
    key: &IdempotencyKey,
    fingerprint: [u8; 32],
    response: &WriteResponse,
) -> Result<(), ApiError> {
    let statement = "insert into idempotency_keys (partner_sid, key, request, version, body)
                     values ($1, $2, $3, $4, $5)";
    let saved = sqlx::query(statement)
        .bind(partner_sid)
        .bind(key.text())
        .bind(fingerprint)
        .bind(response.version)
        .bind(&response.body)
        .execute(connection)
        .await;
    match saved {
        Ok(_) => Ok(()),
        Err(error) if is_in_use(&error) => {
            let message = "a request with this key is still in flight";
            Err(ApiError::InFlight(FieldError::new("Idempotency-Key", message)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether another request holds the key: it has committed, or the wait for it took too long.
fn is_in_use(error: &sqlx::Error) -> bool {
    let constraint = error.as_database_error().and_then(DatabaseError::constraint);
    constraint == Some("idempotency_keys_pkey") || is_lock_timeout(error)
}

/// Deletes expired responses in small batches.
///
/// # Errors
/// If the database is not available.
pub async fn purge_expired(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    const BATCH: i64 = 1_000;
    let statement = "
        delete from idempotency_keys
        where ctid = any(array(
            select ctid from idempotency_keys where date <= now() - interval '24 hours' limit $1
        ))";
    loop {
        let purged = sqlx::query(statement).bind(BATCH).execute(&mut *connection).await?;
        if purged.rows_affected() < BATCH as u64 {
            return Ok(());
        }
    }
}
