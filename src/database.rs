//! Connections to the database, each set up the same way.

use std::future::ready;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};

use crate::cutoff::Cutoff;

/// How long a request waits for a connection to the database.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How every session of the service runs.
///
/// A list reads its partner's rows through an index even where a partner owns most of a table, never the rows of other tenants
/// beside them. It takes one processor, and is not compiled: a scan that is off, where there is no other way, seems to cost so
/// much that PostgreSQL would.
const SESSION: &str = "
    set statement_timeout = '5s';
    set lock_timeout = '500ms';
    set time zone 'UTC';
    set enable_seqscan = off;
    set max_parallel_workers_per_gather = 0;
    set jit = off";

/// The database of a service.
#[derive(Clone)]
pub struct Database {
    options: PgConnectOptions,
    cutoff: Cutoff,
}

impl Database {
    /// The database at that address, its connections good until `cutoff`.
    pub fn new(options: PgConnectOptions, cutoff: Cutoff) -> Self {
        Self { options: options.disable_statement_logging(), cutoff }
    }

    /// A pool of `max` connections at most, opened as they are needed.
    pub fn pool(&self, max: u32) -> PgPool {
        let (on_use, on_release) = (self.cutoff.clone(), self.cutoff.clone());
        PgPoolOptions::new()
            .max_connections(max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A broken connection is found when it is used, and closed then: no question a request.
            .test_before_acquire(false)
            .before_acquire(move |_, connection| {
                Box::pin(ready(Ok(!on_use.has_passed(connection.age))))
            })
            .after_release(move |connection, metadata| {
                // One that says nothing would not say either that it is fit to be kept.
                let is_good = !on_release.has_passed(metadata.age);
                Box::pin(async move {
                    // A request that was given up just as its transaction began has left it open.
                    if is_good {
                        sqlx::raw_sql("begin; rollback").execute(connection).await?;
                    }
                    Ok(is_good)
                })
            })
            .after_connect(|connection, _| Box::pin(prepare(connection)))
            .connect_lazy_with(self.options.clone())
    }

    /// A connection outside the pool.
    ///
    /// # Errors
    /// Where the database is away, or takes no writes.
    pub async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let connecting = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            prepare(&mut connection).await?;
            Ok(connection)
        };
        let connected = tokio::time::timeout(ACQUIRE_TIMEOUT, connecting).await;
        connected.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Since when connections are good.
    pub fn cutoff(&self) -> &Cutoff {
        &self.cutoff
    }
}

/// Sets a session up. After a switch of the database server, the address may still lead to the old one, which takes no writes any
/// more: that one is refused.
async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(SESSION).execute(&mut *connection).await?;
    let writable: bool =
        sqlx::query_scalar("select current_setting('transaction_read_only') = 'off'")
            .fetch_one(connection)
            .await?;
    let read_only = || sqlx::Error::Protocol("the database server is read only".to_owned());
    if writable { Ok(()) } else { Err(read_only()) }
}
