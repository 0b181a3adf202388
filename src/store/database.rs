//! Connections to the database, all set up the same way.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgConnection, PgPool, Postgres};
use tokio::sync::Notify;
use uuid::Uuid;

use super::migrations;
use super::pools::{Division, SharedPool};
use super::probe::Probe;
use super::session::{self, ACQUIRE_TIMEOUT};
use super::staleness::Staleness;
use crate::error::{ApiError, is_connection_lost};
use crate::telemetry::activity::Activity;
use crate::telemetry::metrics::Usage;

/// The longest time that a readiness check takes. It is longer than [`ACQUIRE_TIMEOUT`], so that a
/// check that waits for others is not mistaken for a database that hangs.
const READINESS_TIMEOUT: Duration = Duration::from_secs(4);
/// The time between two searches for sessions that hang.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// The longest time that such a search takes. Readiness checks share its connection, and wait for it
/// for longer than that.
const WATCH_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest time that returning a connection takes whose statements are lookups.
const LOOKUP_RELEASE_LIMIT: Duration = Duration::from_secs(1);
/// The longest time that returning a connection takes whose statements can be long: until the limit
/// of a statement ends the last one of a request that was dropped. Closing the connection earlier
/// would let it run on beside its successors.
const RELEASE_LIMIT: Duration = Duration::from_secs(6);
/// How long a statement and its commit may take: longer than any limit of a statement.
const HANG_LIMIT: Duration = Duration::from_secs(10);
/// The same for maintenance, whose statements have no limit: longer than a run of it.
const MAINTENANCE_HANG_LIMIT: Duration = Duration::from_secs(35);
/// The longest time that one call of the store takes. Every statement has a shorter limit; this one
/// holds if the database hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// The database of a service, and the connections of this instance.
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    options: PgConnectOptions,
    staleness: Staleness,
    /// Identifies the sessions of this instance in `pg_stat_activity`.
    session_name: String,
    division: Division,
    probe: Probe,
    authentication: PgPool,
    lists: SharedPool,
    transactions: SharedPool,
    /// Connections that several workers share, if there are fewer than workers.
    batches: Option<SharedBatches>,
    /// The number of connections that workers have of their own.
    own: AtomicU32,
    /// The number of those that are in use.
    own_used: AtomicU32,
    activity: Activity,
    commits: Notify,
}

/// The connections for batches that workers share. A commit that hangs takes none of the reads.
struct SharedBatches {
    reads: PgPool,
    updates: PgPool,
}

/// What a worker does with its connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    Reads,
    Updates,
}

impl Database {
    /// The database with these options, of which this instance uses at most `connections`, opened
    /// as they are needed. `workers` is the number of workers that run batches.
    ///
    /// # Errors
    /// If there are too few connections to divide.
    pub fn new(options: PgConnectOptions, connections: u32, workers: u32) -> anyhow::Result<Self> {
        let division = Division::of(connections)?;
        let session_name = format!("shortline {}", Uuid::new_v4());
        let options = options.application_name(&session_name).disable_statement_logging();
        let staleness = Staleness::default();
        let activity = Activity::new()?;
        let new_pool = |max, settings, release_limit| {
            pool(options.clone(), staleness.clone(), max, settings, release_limit)
        };
        let batches = (division.reads + division.updates < workers).then(|| SharedBatches {
            reads: new_pool(division.reads, session::BATCHES, RELEASE_LIMIT),
            updates: new_pool(division.updates, session::BATCHES, RELEASE_LIMIT),
        });
        Ok(Self(Arc::new(Inner {
            probe: Probe::new(options.clone(), staleness.clone()),
            authentication: new_pool(division.authentication, "", LOOKUP_RELEASE_LIMIT),
            lists: SharedPool::new(
                new_pool(division.lists, "", RELEASE_LIMIT),
                division.lists,
                activity.waits("lists"),
            ),
            transactions: SharedPool::new(
                new_pool(division.transactions, "", RELEASE_LIMIT),
                division.transactions,
                activity.waits("transactions"),
            ),
            batches,
            own: AtomicU32::new(0),
            own_used: AtomicU32::new(0),
            activity,
            commits: Notify::new(),
            options,
            staleness,
            session_name,
            division,
        })))
    }

    /// Notified after this instance has committed a change.
    pub(super) fn commits(&self) -> &Notify {
        &self.0.commits
    }

    /// The connections for the lookup of tokens.
    pub fn authentication(&self) -> &PgPool {
        &self.0.authentication
    }

    /// The connections for lists, histories and past objects.
    pub fn lists(&self) -> &SharedPool {
        &self.0.lists
    }

    /// The connections for transactions.
    pub fn transactions(&self) -> &SharedPool {
        &self.0.transactions
    }

    /// The counts of what happens between the requests and the database.
    pub fn activity(&self) -> &Activity {
        &self.0.activity
    }

    /// Which open connections are stale.
    pub fn staleness(&self) -> &Staleness {
        &self.0.staleness
    }

    /// Returns a connection for a batch: one of the worker's own, or a shared one.
    ///
    /// # Errors
    /// If the database is not available or read-only.
    pub(super) async fn batch_connection(
        &self,
        work: Work,
    ) -> Result<BatchConnection, sqlx::Error> {
        if let Some(SharedBatches { reads, updates }) = &self.0.batches {
            let shared = match work {
                Work::Reads => reads,
                Work::Updates => updates,
            };
            return Ok(BatchConnection::Shared(shared.acquire().await?));
        }
        let connection = session::open(&self.0.options, session::BATCHES).await?;
        self.0.own.fetch_add(1, Ordering::Relaxed);
        Ok(BatchConnection::Own(OwnConnection {
            connection,
            database: self.clone(),
            is_used: false,
        }))
    }

    /// Opens the connection for maintenance, which no thread owns.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn maintenance_connection(&self) -> anyhow::Result<PgConnection> {
        let name = maintenance_session(&self.0.session_name);
        session::connect(&self.0.options.clone().application_name(&name)).await
    }

    /// Returns whether the database is writable and its schema up to date. If it is read-only or
    /// does not answer, all open connections become stale.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn is_ready(&self) -> Result<bool, ApiError> {
        let state = self.repeat_if_lost(async || {
            let state = "select current_setting('transaction_read_only') = 'off',
                             (select max(version) from refinery_schema_history)";
            let unavailable = |error| ApiError::Unavailable(Some(error));
            let mut probe = self.0.probe.acquire().await.map_err(unavailable)?;
            let state = sqlx::query_as(state).fetch_one(&mut probe.connection).await;
            let state = state.map_err(unavailable)?;
            probe.release();
            Ok(state)
        });
        let Ok(state) = tokio::time::timeout(READINESS_TIMEOUT, state).await else {
            self.staleness().mark_all_stale();
            return Ok(false);
        };
        let (is_writable, schema): (bool, Option<i32>) = state?;
        if !is_writable {
            self.staleness().mark_all_stale();
        }
        Ok(is_writable && schema >= Some(migrations::newest()))
    }

    /// Runs a read within the limits of a call, once more if its connection was lost.
    ///
    /// # Errors
    /// Those of the read, and of [`within_limit`].
    pub(super) async fn read<T>(
        &self,
        read: impl AsyncFn() -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        within_limit(self.repeat_if_lost(read)).await
    }

    /// Runs a write within the limits of a call, and reports that something was written.
    ///
    /// # Errors
    /// Those of the write, and of [`within_limit`].
    pub(super) async fn write<T>(
        &self,
        write: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let outcome = within_limit(write).await;
        self.commits().notify_one();
        outcome
    }

    /// Runs a read, once more if its connection was lost. Connections that are as old are not used
    /// again, so the second attempt opens one.
    async fn repeat_if_lost<T>(
        &self,
        read: impl AsyncFn() -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        match read().await {
            Err(ApiError::Unavailable(Some(error))) if is_connection_lost(&error) => {
                self.staleness().observe(&error);
                read().await
            }
            outcome => outcome,
        }
    }

    /// Ends the sessions of this instance that hang, every few seconds until it is dropped.
    ///
    /// A statement has a time limit, but not its commit: it waits without end for a synchronous
    /// standby that is gone. Such a session is terminated, never cancelled: PostgreSQL acknowledges
    /// a commit whose wait is cancelled although it was not replicated. Its client gets an error,
    /// and its connection can be replaced.
    pub async fn watch(&self) {
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            match tokio::time::timeout(WATCH_TIMEOUT, self.terminate_hung()).await {
                Ok(Ok(0)) => {}
                Ok(Ok(count)) => tracing::warn!("terminated {count} sessions that hung"),
                // `/readyz` reports a database that is not available.
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    /// Terminates the sessions of this instance that hang, and returns their number.
    async fn terminate_hung(&self) -> Result<i64, sqlx::Error> {
        let mut probe = self.0.probe.acquire().await?;
        let terminated = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where state <> 'idle' and query_start < clock_timestamp() - make_interval(secs =>
                 case application_name when $1 then $2 when $3 then $4 end)",
        )
        .bind(&self.0.session_name)
        .bind(HANG_LIMIT.as_secs_f64())
        .bind(maintenance_session(&self.0.session_name))
        .bind(MAINTENANCE_HANG_LIMIT.as_secs_f64())
        .fetch_one(&mut probe.connection)
        .await?;
        probe.release();
        Ok(terminated)
    }

    /// The state of each part of the connections.
    pub fn usage(&self) -> Vec<Usage> {
        let Inner { division, probe, authentication, lists, transactions, .. } = &*self.0;
        let Inner { batches, own, own_used, .. } = &*self.0;
        let of = |part, max, pool: &PgPool| {
            let (open, idle) = (pool.size(), pool.num_idle() as u32);
            Usage { part, max, idle: idle.min(open), open }
        };
        let (open, idle) = match batches {
            Some(SharedBatches { reads, updates }) => {
                (reads.size() + updates.size(), (reads.num_idle() + updates.num_idle()) as u32)
            }
            None => {
                let open = own.load(Ordering::Relaxed);
                (open, open.saturating_sub(own_used.load(Ordering::Relaxed)))
            }
        };
        let max = division.reads + division.updates;
        let (probes, idle_probes) = probe.usage();
        vec![
            Usage { part: "probe", max: division.probe, idle: idle_probes, open: probes },
            of("authentication", division.authentication, authentication),
            of("lists", division.lists, lists.pool()),
            of("transactions", division.transactions, transactions.pool()),
            Usage { part: "batches", max, idle: idle.min(open), open },
        ]
    }
}

/// The name of the session of maintenance in `pg_stat_activity`.
fn maintenance_session(session_name: &str) -> String {
    format!("{session_name} maintenance")
}

/// A connection for batches.
pub(super) enum BatchConnection {
    /// The worker's own connection. Its socket wakes the worker's own thread.
    Own(OwnConnection),
    /// A connection that is shared with other workers and returned after the batch.
    Shared(PoolConnection<Postgres>),
}

/// A connection of one worker, which is counted.
pub(super) struct OwnConnection {
    connection: PgConnection,
    database: Database,
    is_used: bool,
}

impl OwnConnection {
    /// Counts the connection as used or idle.
    fn set_used(&mut self, is_used: bool) {
        let used = &self.database.0.own_used;
        match (self.is_used, is_used) {
            (false, true) => used.fetch_add(1, Ordering::Relaxed),
            (true, false) => used.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
        self.is_used = is_used;
    }
}

impl Drop for OwnConnection {
    fn drop(&mut self) {
        self.set_used(false);
        self.database.0.own.fetch_sub(1, Ordering::Relaxed);
    }
}

impl BatchConnection {
    /// The connection, which is in use from now on.
    pub fn as_mut(&mut self) -> &mut PgConnection {
        match self {
            Self::Own(own) => {
                own.set_used(true);
                &mut own.connection
            }
            Self::Shared(connection) => connection,
        }
    }

    /// Ends the use of the worker's own connection.
    pub fn rest(&mut self) {
        if let Self::Own(own) = self {
            own.set_used(false);
        }
    }
}

fn pool(
    options: PgConnectOptions,
    staleness: Staleness,
    max_connections: u32,
    settings: &'static str,
    release_limit: Duration,
) -> PgPool {
    let on_release = staleness.clone();
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A connection that was in use until now is not tested: that would cost a round trip a
        // request.
        .test_before_acquire(false)
        .before_acquire(move |connection, metadata| {
            let is_fresh = !staleness.is_stale(metadata.age);
            Box::pin(async move {
                Ok(is_fresh && session::is_usable(connection, metadata.idle_for).await)
            })
        })
        .after_release(move |connection, metadata| {
            // A stale connection may hang, so it is closed without a statement.
            let is_fresh = !on_release.is_stale(metadata.age);
            Box::pin(async move {
                Ok(is_fresh && session::end_transaction(connection, release_limit).await)
            })
        })
        .after_connect(move |connection, _| Box::pin(session::prepare(connection, settings)))
        .connect_lazy_with(options)
}

/// Runs a call of the database for at most `CALL_TIMEOUT`.
///
/// # Errors
/// [`ApiError::Unavailable`] after that time. Its cause marks all open connections as stale,
/// because only a database that hangs takes longer than the limits of its statements.
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
