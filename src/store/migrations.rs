//! Migrations of the database's schema, run by refinery over a connection of sqlx.

use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};
use refinery_core::{Migration, Report};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The key of the advisory lock that an instance holds while it migrates: "shortlin" in ASCII.
const LOCK: i64 = 0x7368_6f72_746c_696e;

/// Returns the version of the newest migration.
pub fn newest() -> i32 {
    embedded::migrations::runner()
        .get_migrations()
        .iter()
        .map(Migration::version)
        .max()
        .unwrap_or_default()
}

/// Applies the migrations that are missing. If several instances start together, one of them
/// migrates and the others wait.
///
/// # Errors
/// If the database is not available, or its schema differs from that of the migrations.
pub async fn run(mut connection: PgConnection) -> anyhow::Result<Report> {
    // The wait for another instance has no limit. The wait for a table must be short, since it
    // blocks the table's readers.
    sqlx::raw_sql("set statement_timeout = 0; set lock_timeout = 0")
        .execute(&mut connection)
        .await?;
    sqlx::query("select pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await?;
    sqlx::raw_sql("set lock_timeout = '5s'").execute(&mut connection).await?;
    let mut target = Target(connection);
    // Migrations that are unknown here belong to a newer release. They keep this release working,
    // so it may start while the newer one runs.
    let runner = embedded::migrations::runner().set_abort_missing(false);
    let report = runner.run_async(&mut target).await;
    // Closing the connection releases the lock.
    target.0.close().await?;
    Ok(report?)
}

/// A connection with the traits that refinery requires.
struct Target(PgConnection);

impl AsyncTransaction for Target {
    type Error = sqlx::Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, sqlx::Error> {
        let mut tx = self.0.begin().await?;
        let mut count = 0;
        for query in queries {
            sqlx::raw_sql(AssertSqlSafe(query)).execute(&mut *tx).await?;
            count += 1;
        }
        tx.commit().await?;
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for Target {
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

impl AsyncMigrate for Target {}
