//! `shortline history`.

use anyhow::ensure;
use clap::Subcommand;
use sqlx::{Connection, PgConnection};
use time::{Duration, OffsetDateTime};

use super::{Output, TABLES};
use crate::input::date;
use crate::store;

/// Longer than any write takes: what an entry dated before this was going to be, it is.
const SETTLED: Duration = Duration::minutes(1);

#[derive(Subcommand)]
pub enum Command {
    /// Compute every hash of the history anew, and fail where an entry was altered or removed
    ///
    /// Prints a head over all entries until a minute ago. Keep it elsewhere: as long as no later retention has dropped
    /// entries from before that time, `--as-of` with the same time must print the same head again.
    Verify {
        /// The time up to which entries are in the head, ISO 8601 [default: a minute ago]
        #[arg(long, value_name = "DATE", value_parser = date::parse)]
        as_of: Option<OffsetDateTime>,
    },
}

pub async fn run(
    command: Command,
    connection: &mut PgConnection,
    output: Output,
) -> anyhow::Result<()> {
    let Command::Verify { as_of } = command;
    let as_of = as_of.unwrap_or_else(|| date::now() - SETTLED);
    let mut tx = connection.begin_with("begin isolation level repeatable read read only").await?;
    let verified = store::verify(&mut tx, &TABLES, as_of).await?;
    tx.commit().await?;
    output.value(&verified)?;
    let broken = verified.violations.len();
    ensure!(broken == 0, "the history is broken in {broken} places or more");
    Ok(())
}
