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
mod counts;
mod database;
mod deleted;
mod feed;
mod history;
mod idempotency;
mod integrity;
pub mod list;
mod lookup;
pub mod migrations;
mod options;
mod pools;
mod probe;
mod read;
mod resource;
mod session;
mod sql;
mod staleness;
mod statement;
mod turn;
mod write;

use serde::de::DeserializeOwned;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use batching::Batcher;
pub use batching::Lookups;
pub use counts::{correct_counts, sum_counts};
pub use database::{Database, within_limit};
pub use feed::{
    Changes, Feed, FeedEntry, FeedPage, IS_EVENT, ObjectPlace, Position, Seat, Selection,
    SnapshotObject, begin_generation, measure_delay, next_exported, objects, open_export, resume,
};
pub use history::{Action, HistoryEntry, HistoryPage, prune, retention_limit};
pub use idempotency::purge_expired;
pub use integrity::{IntegrityReport, Violation, settled_date, verify_chains, verify_objects};
pub use lookup::Lookup;
pub use options::{EntityTags, IdempotencyKey, Preconditions, WriteOptions, WriteResponse};
pub use pools::{Division, Lease};
pub use read::{get, get_many, next_batch, open_list};
pub use resource::{
    Column, Kind, Listed, Reference, Representation, Resource, Stored, bind, in_use,
};
pub use session::{check_sessions, connect};
pub use sql::{asked, visible_to_asker};
pub use staleness::Staleness;
pub use write::{
    NewObjects, create_all, create_one, delete_many, delete_within, encode, insert, now,
    update_many_within, update_within,
};

use crate::auth::Actor;
use crate::error::ApiError;
use list::{Page, Query};

/// The stored objects of one type.
pub struct Store<R: Resource> {
    database: Database,
    batcher: Option<Batcher<R>>,
}

impl<R: Resource> Store<R> {
    /// The number of workers of one thread for a batched store.
    pub const WORKERS: u32 = Batcher::<R>::WORKERS;

    /// A store that runs every call in a statement or transaction of its own.
    pub fn new(database: &Database) -> Self {
        Self { database: database.clone(), batcher: None }
    }

    /// A store that batches concurrent reads by sid and updates of one thread. It must be created
    /// on that thread, inside its runtime.
    pub fn batched(database: &Database) -> Self {
        Self { database: database.clone(), batcher: Some(Batcher::start(database)) }
    }

    /// Returns the object of that sid.
    ///
    /// # Errors
    /// [`ApiError::NoItem`] if no such object is visible to the actor.
    pub async fn get(&self, actor: &Actor, sid: Uuid) -> Result<Stored<R>, ApiError> {
        match &self.batcher {
            Some(batcher) => batcher.get(actor, sid).await,
            None => {
                let read = async || {
                    let mut lease = self.database.transactions().acquire(actor).await?;
                    read::get(&mut *lease.connection, actor, sid).await
                };
                self.database.read(read).await
            }
        }
    }

    /// Returns the owners of these sids that are visible to the actor, in any order.
    ///
    /// # Errors
    /// As this module.
    pub async fn owners(&self, actor: &Actor, sids: &[Uuid]) -> Result<Vec<R::Owner>, ApiError> {
        let read = async || {
            let mut lease = self.database.lists().acquire(actor).await?;
            read::get_many(&mut *lease.connection, actor, sids).await
        };
        self.database.read(read).await
    }

    /// Returns a page of the objects that are visible to the actor.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] if the page starts at a row that is not visible to the actor, or
    /// would exceed 16 MiB.
    pub async fn list(&self, actor: &Actor, query: &Query) -> Result<Page<Listed>, ApiError> {
        let read = async || {
            let mut lease = self.database.lists().acquire(actor).await?;
            read::list::<R>(&mut lease, actor, query).await
        };
        self.database.read(read).await
    }

    /// Returns a page of the deleted objects that were visible to the actor, each as it was last,
    /// the newest deletion first. The query has no order and no conditions.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] if the page starts at an object whose deletion is not visible to
    /// the actor, or would exceed 16 MiB.
    pub async fn list_deleted(
        &self,
        actor: &Actor,
        query: &Query,
    ) -> Result<Page<Listed>, ApiError> {
        let read = async || {
            let mut lease = self.database.lists().acquire(actor).await?;
            deleted::list::<R>(&mut lease.connection, actor, query).await
        };
        self.database.read(read).await
    }

    /// Returns the result of a query of the resource's own, on a connection for lists.
    ///
    /// # Errors
    /// Those of `query`.
    pub async fn query<T>(
        &self,
        actor: &Actor,
        query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let call = async {
            let mut lease = self.database.lists().acquire(actor).await?;
            query(&mut lease.connection).await
        };
        within_limit(call).await
    }

    /// Returns the number of objects that are visible to the actor, which is a partner.
    ///
    /// # Errors
    /// As this module.
    pub async fn count(&self, actor: &Actor) -> Result<u64, ApiError> {
        let read = async || {
            let mut lease = self.database.lists().acquire(actor).await?;
            read::count::<R>(&mut *lease.connection, actor).await
        };
        self.database.read(read).await
    }

    /// Creates the object that `build` returns.
    ///
    /// # Errors
    /// The errors of the options, of `build` and of the table's constraints; nothing is written
    /// then.
    pub async fn create(
        &self,
        actor: &Actor,
        options: &WriteOptions,
        build: impl AsyncFnOnce(&mut PgConnection) -> Result<R, ApiError>,
    ) -> Result<WriteResponse, ApiError> {
        let call = async {
            let mut lease = self.database.transactions().acquire(actor).await?;
            write::create(&mut lease, actor, options, build).await
        };
        self.database.write(call).await
    }

    /// Changes the object of that sid. Nothing is written if nothing changes. `change` can run more
    /// than once, each time on the version it would replace; only the run that is written counts.
    ///
    /// # Errors
    /// [`ApiError::NoItem`] if no such object is visible to the actor; the errors of the options,
    /// of `change` and of the table's constraints. Nothing is written then.
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
            _ => write::update_individually(&self.database, actor, sid, &options, change).await,
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
        self.delete_with(actor, sid, options, async |_, _| Ok(())).await
    }

    /// Deletes the object of that sid, and runs `after` in the same transaction.
    ///
    /// # Errors
    /// As [`Self::delete`], and those of `after`.
    pub async fn delete_with(
        &self,
        actor: &Actor,
        sid: Uuid,
        options: &WriteOptions,
        after: impl AsyncFnOnce(&mut PgConnection, R) -> Result<(), ApiError>,
    ) -> Result<WriteResponse, ApiError> {
        let call = async {
            let mut lease = self.database.transactions().acquire(actor).await?;
            write::delete(&mut lease, actor, sid, options, after).await
        };
        self.database.write(call).await
    }

    /// Writes `version` of the object of that sid as a new version. A deleted object is restored
    /// under its sid by the actor that `restorer` returns; it is called for deleted objects only.
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
        self.revert_with(actor, sid, version, options, restorer, async |_, _| Ok(())).await
    }

    /// Reverts the object of that sid. If it is deleted, `prepare` first runs in the same
    /// transaction, with the object as it will be.
    ///
    /// # Errors
    /// As [`Self::revert`], and those of `prepare`.
    pub async fn revert_with(
        &self,
        actor: &Actor,
        sid: Uuid,
        version: i64,
        options: &WriteOptions,
        restorer: impl FnOnce() -> Result<Actor, ApiError>,
        prepare: impl AsyncFnOnce(&mut PgConnection, &R) -> Result<(), ApiError>,
    ) -> Result<WriteResponse, ApiError>
    where
        R: DeserializeOwned,
    {
        let call = async {
            let mut lease = self.database.transactions().acquire(actor).await?;
            write::revert(&mut lease, actor, sid, version, options, restorer, prepare).await
        };
        self.database.write(Box::pin(call)).await
    }

    /// Returns at most `limit` entries of the history of the object of that sid, oldest first,
    /// after the first `offset`.
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
        let read = async || {
            let mut lease = self.database.lists().acquire(actor).await?;
            history::history::<R>(&mut lease.connection, actor, sid, limit, offset).await
        };
        self.database.read(read).await
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
        let read = async || {
            let mut lease = self.database.lists().acquire(actor).await?;
            history::at::<R>(&mut lease.connection, actor, sid, date).await
        };
        self.database.read(read).await
    }
}
