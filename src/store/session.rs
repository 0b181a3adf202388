//! Sessions of the database: how they are set up and checked.

use std::time::Duration;

use anyhow::{Context, ensure};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

/// The longest time that opening a connection, or waiting for one, takes.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// The settings of every session, also that of a command, so that defaults of the server, the
/// database or the role do not matter.
///
/// A client that is frozen, or a network that drops everything, must not hold locks: its session
/// ends, even if PostgreSQL is sending to it. A session that waits for the next request does not.
/// Statements of the service read standard strings and the dates of UTC, a commit is durable when it
/// returns, and triggers fire. Only a superuser can set the last of these.
///
/// The limits of statements come first: until then those of the database hold.
const COMMON: &str = "
    set statement_timeout = 0;
    set lock_timeout = '10s';
    set idle_in_transaction_session_timeout = '5s';
    set tcp_keepalives_idle = 5;
    set tcp_keepalives_interval = 2;
    set tcp_keepalives_count = 3;
    set tcp_user_timeout = '8s';
    set default_transaction_isolation = 'read committed';
    set default_transaction_deferrable = off;
    set standard_conforming_strings = on;
    set time zone 'UTC';
    select set_config('synchronous_commit', 'on', false)
    where current_setting('synchronous_commit') = 'off';
    select set_config('session_replication_role', 'origin', false)
    where current_setting('session_replication_role') <> 'origin'";
/// Settings that older servers do not have, with the first version that has them.
const NEWER: [(u32, &str); 2] =
    [(140_000, "set idle_session_timeout = 0"), (170_000, "set transaction_timeout = 0")];
/// The further settings of a session of the service.
///
/// A list reads the rows of its partner through an index, even if the partner owns most of a table,
/// and never the rows of other tenants. It runs on one processor and is not compiled: the cost that
/// PostgreSQL assigns to a disabled scan would otherwise make it compile.
const SERVICE: &str = "
    set statement_timeout = '5s';
    set lock_timeout = '500ms';
    set plan_cache_mode = auto;
    set enable_seqscan = off;
    set max_parallel_workers_per_gather = 0;
    set jit = off";
/// The further settings of a session that runs batches: a plan is the same for arrays of any
/// length, and planning costs more than the execution.
pub(super) const BATCHES: &str = "set plan_cache_mode = force_generic_plan";

/// Begins a generation of events if the database is another one than before: see
/// `migrations/V17__events.sql`. A session that is open does not survive such a change.
const BEGIN_GENERATION: &str = "select begin_event_generation()";

/// The longest time for which a connection can be idle and is then used without a test.
const MAX_UNTESTED: Duration = Duration::from_secs(1);
/// The longest time that the test of an idle connection takes: a network that has dropped the
/// connection does not respond.
const TEST_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens a connection for a command.
///
/// # Errors
/// If the database is not available, or its encoding is not UTF8.
pub async fn connect(options: &PgConnectOptions) -> anyhow::Result<PgConnection> {
    let connecting = async {
        let mut connection = PgConnection::connect_with(options).await?;
        apply(&mut connection, &[COMMON]).await?;
        let encoding: String =
            ask(&mut connection, "select current_setting('server_encoding')").await?;
        // A schema that is not migrated yet has no events.
        let has_events = "select to_regprocedure('begin_event_generation()') is not null
            and current_setting('transaction_read_only') = 'off'";
        if ask(&mut connection, has_events).await? {
            sqlx::raw_sql(BEGIN_GENERATION).execute(&mut connection).await?;
        }
        Ok((connection, encoding))
    };
    let connected = within_limit(connecting).await;
    let (connection, encoding) = connected.with_context(|| cannot_connect(options))?;
    ensure!(
        encoding == "UTF8",
        "the database has the encoding {encoding}, and Shortline needs UTF8; create it by `create \
         database ... encoding 'UTF8' template template0`"
    );
    Ok(connection)
}

/// Checks that each connection has a session of its own. A connection pooler in transaction mode
/// gives each transaction another session, with other settings, statements and locks.
///
/// # Errors
/// If there is such a pooler, or the database is not available.
pub async fn check_sessions(options: &PgConnectOptions) -> anyhow::Result<()> {
    let has_own = within_limit(has_own_sessions(options)).await;
    ensure!(
        has_own.with_context(|| cannot_connect(options))?,
        "the connections to PostgreSQL share sessions, as with a connection pooler in transaction \
         mode; Shortline needs session mode (PgBouncer: `pool_mode = session`)"
    );
    Ok(())
}

/// Whether two connections have different sessions, and the same ones again after transactions of
/// both.
async fn has_own_sessions(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    const ROUNDS: usize = 3;
    const PID: &str = "select pg_backend_pid()";
    let mut first = PgConnection::connect_with(options).await?;
    let mut second = PgConnection::connect_with(options).await?;
    // Otherwise limits of the database could end the transactions below.
    apply(&mut first, &[COMMON]).await?;
    apply(&mut second, &[COMMON]).await?;
    let pids: (i32, i32) = (ask(&mut first, PID).await?, ask(&mut second, PID).await?);
    let mut has_own = pids.0 != pids.1;
    for _ in 0..ROUNDS {
        if has_own {
            // Each transaction of the first takes the session that the second has released last.
            let (mut tx, mut other) = (first.begin().await?, second.begin().await?);
            has_own = pids == (ask(&mut tx, PID).await?, ask(&mut other, PID).await?);
            tx.rollback().await?;
            other.rollback().await?;
        }
    }
    first.close().await?;
    second.close().await?;
    Ok(has_own)
}

/// Returns the value of a query without a prepared statement, which a pooler may not support.
async fn ask<T>(connection: &mut PgConnection, query: &'static str) -> Result<T, sqlx::Error>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    sqlx::raw_sql(query).fetch_one(connection).await?.try_get(0)
}

fn cannot_connect(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => format!("cannot connect to PostgreSQL at {}", socket.display()),
        None => {
            let (host, port) = (options.get_host(), options.get_port());
            format!("cannot connect to PostgreSQL at {host}:{port}")
        }
    }
}

/// Opens a connection of the service with these further settings.
///
/// # Errors
/// If the database is not available or read-only.
pub(super) async fn open(
    options: &PgConnectOptions,
    settings: &str,
) -> Result<PgConnection, sqlx::Error> {
    let connecting = async {
        let mut connection = PgConnection::connect_with(options).await?;
        prepare(&mut connection, settings).await?;
        Ok(connection)
    };
    within_limit(connecting).await
}

async fn within_limit<T>(
    connecting: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let connected = tokio::time::timeout(ACQUIRE_TIMEOUT, connecting).await;
    connected.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Applies the settings of a session of the service, and rejects a read-only server: after a
/// failover the address may still lead to the old primary.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    settings: &str,
) -> Result<(), sqlx::Error> {
    apply(connection, &[COMMON, SERVICE, settings]).await?;
    let is_writable: bool =
        sqlx::query_scalar("select current_setting('transaction_read_only') = 'off'")
            .fetch_one(&mut *connection)
            .await?;
    if !is_writable {
        return Err(sqlx::Error::Protocol("the database server is read only".to_owned()));
    }
    sqlx::raw_sql(BEGIN_GENERATION).execute(connection).await?;
    Ok(())
}

/// Applies settings in one round trip.
async fn apply(connection: &mut PgConnection, settings: &[&str]) -> Result<(), sqlx::Error> {
    let version = connection.server_version_num().unwrap_or_default();
    let newer = NEWER.iter().filter(|(since, _)| version >= *since).map(|(_, setting)| *setting);
    let settings: Vec<_> = settings.iter().copied().chain(newer).collect();
    sqlx::raw_sql(AssertSqlSafe(settings.join(";\n"))).execute(connection).await?;
    Ok(())
}

/// Whether a connection that was idle for that time can be used. It is tested if it was idle for
/// more than a second: the server, or a network in between, can have closed it.
pub(super) async fn is_usable(connection: &mut PgConnection, idle: Duration) -> bool {
    idle <= MAX_UNTESTED
        || tokio::time::timeout(TEST_TIMEOUT, connection.ping())
            .await
            .is_ok_and(|test| test.is_ok())
}

/// Ends the transaction of a connection that is returned: a request that was dropped just as its
/// transaction began has left it open. Returns whether the connection can be used again: without a
/// limit, one that a network has dropped would be waited for, and missing in its pool, for minutes.
pub(super) async fn end_transaction(connection: &mut PgConnection, limit: Duration) -> bool {
    let ended = sqlx::raw_sql("begin; rollback").execute(connection);
    tokio::time::timeout(limit, ended).await.is_ok_and(|ended| ended.is_ok())
}
