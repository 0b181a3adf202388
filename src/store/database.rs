//! Connections to the database, all set up the same way.

use std::future::ready;
use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};

use super::migrations;
use super::staleness::Staleness;

/// The longest time that a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest time that a readiness check takes. It is longer than [`ACQUIRE_TIMEOUT`], so that a
/// busy pool is not mistaken for a database that hangs.
const READINESS_TIMEOUT: Duration = Duration::from_secs(4);
/// The settings of every session of the service.
///
/// A list reads the rows of its partner through an index, even if the partner owns most of a table,
/// and never the rows of other tenants. It runs on one processor and is not compiled: the cost that
/// PostgreSQL assigns to a disabled scan would otherwise make it compile.
const SESSION: &str = "
    set statement_timeout = '5s';
    set lock_timeout = '500ms';
    set time zone 'UTC';
    set enable_seqscan = off;
    set max_parallel_workers_per_gather = 0;
    set jit = off";

/// Opens a connection for a command or for maintenance.
///
/// # Errors
/// If the database is not available.
pub async fn connect(options: &PgConnectOptions) -> anyhow::Result<PgConnection> {
    let connecting = PgConnection::connect_with(options);
    let connected = tokio::time::timeout(ACQUIRE_TIMEOUT, connecting)
        .await
        .map_err(|_| sqlx::Error::PoolTimedOut);
    connected.flatten().with_context(|| {
        let (host, port) = (options.get_host(), options.get_port());
        format!("cannot connect to PostgreSQL at {host}:{port}")
    })
}

/// The database of a service: a pool of connections, and further connections outside the pool.
#[derive(Clone)]
pub struct Database {
    options: PgConnectOptions,
    staleness: Staleness,
    pool: PgPool,
}

impl Database {
    /// The database with these options, and a pool of at most `max_connections`, opened as they are
    /// needed.
    pub fn new(options: PgConnectOptions, max_connections: u32) -> Self {
        let options = options.disable_statement_logging();
        let staleness = Staleness::default();
        let pool = pool(options.clone(), staleness.clone(), max_connections);
        Self { options, staleness, pool }
    }

    /// The pool.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Which open connections are stale.
    pub fn staleness(&self) -> &Staleness {
        &self.staleness
    }

    /// Opens a connection outside the pool.
    ///
    /// # Errors
    /// If the database is not available or read-only.
    pub async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let connecting = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            prepare(&mut connection).await?;
            Ok(connection)
        };
        let connected = tokio::time::timeout(ACQUIRE_TIMEOUT, connecting).await;
        connected.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Returns whether the database is writable and its schema up to date. If it is read-only or does
    /// not answer, all open connections become stale.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn is_ready(&self) -> Result<bool, sqlx::Error> {
        let state = sqlx::query_as(
            "select current_setting('transaction_read_only') = 'off',
                 (select max(version) from refinery_schema_history)",
        )
        .fetch_one(&self.pool);
        let Ok(state) = tokio::time::timeout(READINESS_TIMEOUT, state).await else {
            self.staleness.mark_all_stale();
            return Ok(false);
        };
        let (is_writable, schema): (bool, Option<i32>) = state?;
        if !is_writable {
            self.staleness.mark_all_stale();
        }
        Ok(is_writable && schema >= Some(migrations::newest()))
    }
}

fn pool(options: PgConnectOptions, staleness: Staleness, max_connections: u32) -> PgPool {
    let on_release = staleness.clone();
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A broken connection is detected when it is used: a test would cost a round trip a request.
        .test_before_acquire(false)
        .before_acquire(move |_, connection| {
            Box::pin(ready(Ok(!staleness.is_stale(connection.age))))
        })
        .after_release(move |connection, metadata| {
            // A stale connection may hang, so it is closed without a statement.
            let is_fresh = !on_release.is_stale(metadata.age);
            Box::pin(async move {
                // A request that was dropped just as its transaction began has left it open.
                if is_fresh {
                    sqlx::raw_sql("begin; rollback").execute(connection).await?;
                }
                Ok(is_fresh)
            })
        })
        .after_connect(|connection, _| Box::pin(prepare(connection)))
        .connect_lazy_with(options)
}

/// Applies the settings of a session, and rejects a read-only server: after a failover the address may
/// still lead to the old primary.
async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(SESSION).execute(&mut *connection).await?;
    let is_writable: bool =
        sqlx::query_scalar("select current_setting('transaction_read_only') = 'off'")
            .fetch_one(connection)
            .await?;
    let read_only = || sqlx::Error::Protocol("the database server is read only".to_owned());
    if is_writable { Ok(()) } else { Err(read_only()) }
}
