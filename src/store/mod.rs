//! Stored objects: the one place where they are read, created, changed and deleted, with their
//! history.
//!
//! Handlers use [`Store`]. Functions that take part in a caller's transaction, such as
//! [`create_one`], are free functions over a connection. Every function takes an [`Actor`] and
//! returns only objects that are visible to it. A change and its history entry are written by one
//! statement.
//!
//! Unless they say otherwise, functions fail with [`ApiError::Unavailable`] if the database is not
//! available.

mod batching;
mod database;
mod history;
mod idempotency;
pub mod list;
pub mod migrations;
mod options;
mod read;
mod resource;
mod sql;
mod staleness;
mod statement;
mod write;

use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use batching::Batcher;
pub use database::{Database, connect};
pub use history::{Action, HistoryEntry, HistoryPage, IntegrityReport, Violation, prune, verify};
pub use idempotency::{IdempotencyKey, purge_expired};
pub use options::{Precondition, WriteOptions, WriteResponse};
pub use read::{all, get, get_many};
pub use resource::{Column, Kind, Reference, Representation, Resource, Stored, bind};
pub use staleness::Staleness;
pub use write::{create_all, create_one, update_within};

use crate::auth::Actor;
use crate::error::ApiError;
use list::{Page, Query};

/// The longest time that one call of the store takes. Every statement has a shorter limit; this one
/// holds if the database hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// The stored objects of one type.
pub struct Store<R> {
    pool: PgPool,
    batcher: Option<Batcher<R>>,
}

impl<R: Resource> Store<R> {
    /// A store that runs every call in a statement or transaction of its own.
    pub fn new(database: &Database) -> Self {
        Self { pool: database.pool().clone(), batcher: None }
    }

    /// A store that batches concurrent reads by sid and updates of one thread. It must be created on
    /// that thread, inside its runtime.
    pub fn batched(database: &Database) -> Self {
        Self { pool: database.pool().clone(), batcher: Some(Batcher::start(database)) }
    }

    /// Returns the object of that sid.
    ///
    /// # Errors
    /// [`ApiError::NoItem`] if no such object is visible to the actor.
    pub async fn get(&self, actor: &Actor, sid: Uuid) -> Result<Stored<R>, ApiError> {
        match &self.batcher {
            Some(batcher) => batcher.get(actor, sid).await,
            None => within_limit(read::get(&self.pool, actor, sid)).await,
        }
    }

    /// Returns the owners of these sids that are visible to the actor, in any order.
    ///
    /// # Errors
    /// As this module.
    pub async fn owners(&self, actor: &Actor, sids: &[Uuid]) -> Result<Vec<R::Owner>, ApiError> {
        within_limit(read::get_many(&self.pool, actor, sids)).await
    }

    /// Returns a page of the objects that are visible to the actor.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] if the page starts at a row that is not visible to the actor.
    pub async fn list(&self, actor: &Actor, query: &Query) -> Result<Page<R>, ApiError> {
        within_limit(read::list(&self.pool, actor, query)).await
    }

    /// Creates the object that `build` returns.
    ///
    /// # Errors
    /// The errors of the options, of `build` and of the table's constraints; nothing is written then.
    pub async fn create(
        &self,
        actor: &Actor,
        options: &WriteOptions,
        build: impl AsyncFnOnce(&mut PgConnection) -> Result<R, ApiError>,
    ) -> Result<WriteResponse, ApiError> {
        within_limit(write::create(&self.pool, actor, options, build)).await
    }

    /// Changes the object of that sid. Nothing is written if nothing changes. `change` can run more
    /// than once, each time on the newest version.
    ///
    /// # Errors
    /// [`ApiError::NoItem`] if no such object is visible to the actor; the errors of the options, of
    /// `change` and of the table's constraints. Nothing is written then.
    pub async fn update(
        &self,
        actor: &Actor,
        sid: Uuid,
        options: WriteOptions,
        change: impl Fn(&mut R) -> Result<(), ApiError> + 'static,
    ) -> Result<WriteResponse, ApiError> {
        match &self.batcher {
            // A dry run has to see the constraints of the table, in a transaction of its own.
            Some(batcher) if !options.validate_only => {
                batcher.update(actor, sid, options, change).await
            }
            _ => {
                let update = write::update_in_transaction(&self.pool, actor, sid, &options, change);
                within_limit(update).await
            }
        }
    }

    /// Deletes the object of that sid. Its history remains.
    ///
    /// # Errors
    /// [`ApiError::NoItem`] if no such object is visible to the actor, [`ApiError::Conflict`] if
    /// others refer to it; the errors of the options. Nothing is written then.
    pub async fn delete(
        &self,
        actor: &Actor,
        sid: Uuid,
        options: &WriteOptions,
    ) -> Result<WriteResponse, ApiError> {
        within_limit(write::delete::<R>(&self.pool, actor, sid, options)).await
    }

    /// Writes `version` of the object of that sid as a new version. A deleted object is restored under
    /// its sid by the actor that `restorer` returns; it is called for deleted objects only.
    ///
    /// # Errors
    /// [`ApiError::NoItem`] if no such object is visible to the actor, [`ApiError::Invalid`] if the
    /// history has no such version; the errors of `restorer`, of the options and of the table's
    /// constraints. Nothing is written then.
    pub async fn revert(
        &self,
        actor: &Actor,
        sid: Uuid,
        version: i64,
        options: &WriteOptions,
        restorer: impl FnOnce() -> Result<Actor, ApiError>,
    ) -> Result<WriteResponse, ApiError>
    where
        R: DeserializeOwned,
    {
        let revert = write::revert::<R>(&self.pool, actor, sid, version, options, restorer);
        within_limit(revert).await
    }

    /// Returns at most `limit` entries of the history of the object of that sid, oldest first, after
    /// the first `offset`.
    ///
    /// # Errors
    /// [`ApiError::NoItem`] if neither such an object nor its history is visible to the actor.
    pub async fn history(
        &self,
        actor: &Actor,
        sid: Uuid,
        limit: i64,
        offset: i64,
    ) -> Result<HistoryPage, ApiError> {
        within_limit(history::history::<R>(&self.pool, actor, sid, limit, offset)).await
    }

    /// Returns the object of that sid as it was at that date.
    ///
    /// # Errors
    /// [`ApiError::NoItem`] if no such object was visible to the actor, as far as the history goes
    /// back.
    pub async fn at(
        &self,
        actor: &Actor,
        sid: Uuid,
        date: OffsetDateTime,
    ) -> Result<Representation, ApiError> {
        within_limit(history::at::<R>(&self.pool, actor, sid, date)).await
    }
}

/// Runs a call of the database for at most [`CALL_TIMEOUT`].
///
/// # Errors
/// [`ApiError::Unavailable`] after that time. Its cause marks all open connections as stale, because
/// only a database that hangs takes longer than the limits of its statements.
pub async fn within_limit<T>(
    call: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let hangs = || {
        let message = format!("the database did not answer within {CALL_TIMEOUT:?}");
        sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, message))
    };
    tokio::time::timeout(CALL_TIMEOUT, call)
        .await
        .unwrap_or_else(|_| Err(ApiError::Unavailable(Some(hangs()))))
}
