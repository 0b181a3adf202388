//! Migrations of the database's schema, run by refinery over a connection of sqlx, and the check of
//! the schema by instances that do not migrate.

use std::time::{Duration, Instant};

use anyhow::ensure;
use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};
use refinery_core::{Migration, Report, Target};
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::settings::Settings;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The key of the advisory lock that an instance holds while it migrates: "shortlin" in ASCII.
const LOCK: i64 = 0x7368_6f72_746c_696e;
/// The time between two attempts to take it.
const LOCK_POLL: Duration = Duration::from_millis(100);
/// The longest time that a statement of a migration waits for a lock. Others wait behind it.
const LOCK_TIMEOUT: &str = "set lock_timeout = '200ms'";
/// How long a migration that gets no lock is repeated, and how long the lock of another instance is
/// waited for.
const LOCK_LIMIT: Duration = Duration::from_secs(60);
/// The time between two attempts, in which the sessions that have waited continue.
const LOCK_PAUSE: Duration = Duration::from_millis(500);

/// Returns the version of the newest migration.
pub fn newest() -> i32 {
    embedded::migrations::runner()
        .get_migrations()
        .iter()
        .map(Migration::version)
        .max()
        .unwrap_or_default()
}

/// Prepares the database for the service: checks its schema or migrates it, as the settings say.
///
/// # Errors
/// See [`check`] and [`run`].
pub async fn prepare(connection: PgConnection, settings: &Settings) -> anyhow::Result<()> {
    if settings.no_migrate {
        check(connection).await
    } else {
        migrate(connection, settings).await.map(drop)
    }
}

/// Applies the migrations that are missing, and stores the limit of retention if one is set.
///
/// # Errors
/// See [`run`].
pub async fn migrate(connection: PgConnection, settings: &Settings) -> anyhow::Result<Report> {
    apply(connection, Target::Latest, settings.history_months).await
}

/// Applies the migrations that are missing. If several instances start, one applies them and the
/// others wait.
///
/// # Errors
/// If the database is not available, another session holds a lock or migrates for too long, or the
/// schema is not one of Shortline.
pub async fn run(connection: PgConnection) -> anyhow::Result<Report> {
    apply(connection, Target::Latest, None).await
}

/// Applies the missing migrations up to that version: the schema of an older release.
///
/// # Errors
/// See [`run`].
pub async fn run_until(connection: PgConnection, version: i32) -> anyhow::Result<Report> {
    apply(connection, Target::Version(version), None).await
}

/// Checks that the schema is not older than this release, without any right to change it.
///
/// # Errors
/// If it is older, or the database is not available.
pub async fn check(mut connection: PgConnection) -> anyhow::Result<()> {
    let exists = "select to_regclass('refinery_schema_history') is not null";
    let version: Option<i32> = if sqlx::query_scalar(exists).fetch_one(&mut connection).await? {
        let version = "select max(version) from refinery_schema_history";
        sqlx::query_scalar(version).fetch_one(&mut connection).await?
    } else {
        None
    };
    let (version, newest) = (version.unwrap_or_default(), newest());
    ensure!(
        version >= newest,
        "the schema of the database has version {version}, and this release needs {newest}; run \
         `shortline migrate` as the owner of the schema"
    );
    Ok(connection.close().await?)
}

/// Allows retention to delete history entries that are older than that, for every role that the
/// owner of the schema lets call it. Needs the rights of the owner.
///
/// # Errors
/// If the database is not available or the role lacks the rights.
pub async fn allow_retention(connection: &mut PgConnection, months: u32) -> anyhow::Result<()> {
    let statement = "
        insert into history_retention as limits (months) values ($1)
        on conflict (is_only) do update set months = excluded.months
        where limits.months <> excluded.months";
    sqlx::query(statement).bind(i64::from(months) as i32).execute(connection).await?;
    Ok(())
}

async fn apply(
    mut connection: PgConnection,
    target: Target,
    history_months: Option<u32>,
) -> anyhow::Result<Report> {
    lock(&mut connection).await?;
    sqlx::raw_sql(LOCK_TIMEOUT).execute(&mut connection).await?;
    let mut session = Session(connection);
    // Migrations that are unknown here belong to a newer release. They keep this release working,
    // so it may start while the newer one runs.
    let runner = embedded::migrations::runner().set_abort_missing(false).set_target(target);
    let report = runner.run_async(&mut session).await?;
    if let Some(months) = history_months {
        allow_retention(&mut session.0, months).await?;
    }
    // Closing the connection releases the lock, here and after an error.
    session.0.close().await?;
    Ok(report)
}

/// Takes the lock that only one session has while it migrates.
///
/// # Errors
/// If another session holds it for too long.
async fn lock(connection: &mut PgConnection) -> anyhow::Result<()> {
    let (began, mut is_logged) = (Instant::now(), false);
    loop {
        let locked = sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(LOCK);
        if locked.fetch_one(&mut *connection).await? {
            return Ok(());
        }
        let holder = holder(connection).await?;
        ensure!(
            began.elapsed() < LOCK_LIMIT,
            "another session has held the lock for migrations for {LOCK_LIMIT:?}: {holder}; wait \
             until it has ended, or end it by `select pg_terminate_backend(<process>)`"
        );
        if !is_logged {
            tracing::warn!(
                "waiting for the lock for migrations, for at most {LOCK_LIMIT:?}, which another \
                 session holds: {holder}"
            );
        }
        is_logged = true;
        tokio::time::sleep(LOCK_POLL).await;
    }
}

/// Describes the session that migrates.
async fn holder(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    let holder = "
        select concat_ws(', ', format('process %s', pid), nullif(application_name, ''),
            'from ' || host(client_addr))
        from pg_locks join pg_stat_activity using (pid)
        where locktype = 'advisory' and granted and objsubid = 1
            and (classid::bigint << 32) | objid::bigint = $1
            and pg_locks.database = (select oid from pg_database where datname = current_database())";
    let holder: Option<String> =
        sqlx::query_scalar(holder).bind(LOCK).fetch_optional(connection).await?;
    Ok(holder.unwrap_or_else(|| "it has just ended".to_owned()))
}

/// A connection as refinery uses it.
struct Session(PgConnection);

impl Session {
    /// Runs the statements in one transaction.
    async fn attempt(&mut self, statements: &[&str]) -> Result<(), sqlx::Error> {
        let mut tx = self.0.begin().await?;
        for statement in statements {
            sqlx::raw_sql(AssertSqlSafe(*statement)).execute(&mut *tx).await?;
        }
        tx.commit().await
    }
}

/// True if the statement got no lock in time, or caused a deadlock.
fn is_blocked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| ["55P03", "40P01"].contains(&&*code))
}

impl AsyncTransaction for Session {
    type Error = sqlx::Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, sqlx::Error> {
        let (statements, began): (Vec<_>, _) = (queries.collect(), Instant::now());
        let mut is_logged = false;
        loop {
            match self.attempt(&statements).await {
                Ok(()) => return Ok(statements.len()),
                Err(error) if is_blocked(&error) && began.elapsed() < LOCK_LIMIT => {
                    if !is_logged {
                        tracing::warn!(
                            "a migration waits for a lock of another session, for at most \
                             {LOCK_LIMIT:?}: {error}"
                        );
                    }
                    is_logged = true;
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsyncQuery<Vec<Migration>> for Session {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, sqlx::Error> {
        let rows = sqlx::raw_sql(AssertSqlSafe(query)).fetch_all(&mut self.0).await?;
        rows.iter()
            .map(|row| {
                let (applied_on, checksum): (String, String) = (row.try_get(2)?, row.try_get(3)?);
                let applied_on =
                    OffsetDateTime::parse(&applied_on, &Rfc3339).map_err(decode_error)?;
                let checksum = checksum.parse().map_err(decode_error)?;
                Ok(Migration::applied(row.try_get(0)?, row.try_get(1)?, applied_on, checksum))
            })
            .collect()
    }
}

fn decode_error(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

impl AsyncMigrate for Session {}
