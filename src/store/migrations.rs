//! Brings the database's schema up to date: refinery's migrations over sqlx's connection.

use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};
use refinery_core::{Migration, Report};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The key of the advisory lock that one starter holds while it migrates: "shortlin" in ASCII.
const LOCK: i64 = 0x7368_6f72_746c_696e;

/// The version that the newest migration brings.
pub fn newest() -> i32 {
    embedded::migrations::runner()
        .get_migrations()
        .iter()
        .map(Migration::version)
        .max()
        .unwrap_or_default()
}

/// Applies the migrations that are missing. Of several starters one works, the others wait.
///
/// # Errors
/// Where the database is away, or its schema is not one of ours.
pub async fn run(mut connection: PgConnection) -> anyhow::Result<Report> {
    // Waiting for another starter may take as long as it takes; waiting for a table must not stop its readers for long.
    sqlx::raw_sql("set statement_timeout = 0; set lock_timeout = 0")
        .execute(&mut connection)
        .await?;
    sqlx::query("select pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await?;
    sqlx::raw_sql("set lock_timeout = '5s'").execute(&mut connection).await?;
    let mut target = Target(connection);
    // What is missing here is newer: migrations suit the release before, which may start again beside the next one.
    let runner = embedded::migrations::runner().set_abort_missing(false);
    let report = runner.run_async(&mut target).await;
    // Closing the connection frees the lock.
    target.0.close().await?;
    Ok(report?)
}

/// What refinery needs of a connection.
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
                let applied_on = OffsetDateTime::parse(&applied_on, &Rfc3339).map_err(decoded)?;
                let checksum = checksum.parse().map_err(decoded)?;
                Ok(Migration::applied(row.try_get(0)?, row.try_get(1)?, applied_on, checksum))
            })
            .collect()
    }
}

fn decoded(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

impl AsyncMigrate for Target {}
