//! `shortline history`.

use anyhow::ensure;
use clap::Subcommand;
use sqlx::{Connection, PgConnection};
use time::{Duration, OffsetDateTime};

use super::output::Output;
use crate::did_groups::DidGroup;
use crate::input::date;
use crate::oauth::{OauthClient, OauthToken, PartnerLogin};
use crate::partners::Partner;
use crate::short_codes::ShortCode;
use crate::store::{self, Resource};

/// The tables of all objects that have a history.
pub const TABLES: [&str; 6] = [
    Partner::TABLE,
    OauthClient::TABLE,
    OauthToken::TABLE,
    PartnerLogin::TABLE,
    DidGroup::TABLE,
    ShortCode::TABLE,
];

/// The age of the newest entries in a report. No write takes longer, so no entry is added later
/// with a date that the report covers.
const MIN_AGE: Duration = Duration::minutes(1);

#[derive(Subcommand)]
pub enum Command {
    /// Recompute every hash of the history, and fail if an entry was altered or removed
    ///
    /// Prints a hash (`head`) over all entries up to a minute ago. Store it outside the database:
    /// with the same time in `--as-of`, the command must print the same hash again, unless
    /// retention has deleted entries from before that time.
    Verify {
        /// Date up to which the hash covers entries (ISO 8601) [default: a minute ago]
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
    let as_of = as_of.unwrap_or_else(|| date::now() - MIN_AGE);
    let mut tx = connection.begin_with("begin isolation level repeatable read read only").await?;
    let report = store::verify(&mut tx, &TABLES, as_of).await?;
    tx.commit().await?;
    output.document(&report)?;
    let violations = report.violations.len();
    ensure!(violations == 0, "the history has {violations} violations or more");
    Ok(())
}
