//! `shortline history`.

use anyhow::ensure;
use clap::Subcommand;
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;

use super::output::Output;
use crate::did_groups::DidGroup;
use crate::did_stock::AvailableDid;
use crate::dids::Did;
use crate::input::date;
use crate::oauth::{OauthClient, OauthToken, PartnerLogin};
use crate::partners::Partner;
use crate::short_codes::ShortCode;
use crate::store::{self, IntegrityReport, Resource};
use crate::webhooks::EventEndpoint;

/// The tables of all objects that have a history.
const TABLES: [&str; 9] = [
    Partner::TABLE,
    OauthClient::TABLE,
    OauthToken::TABLE,
    PartnerLogin::TABLE,
    DidGroup::TABLE,
    AvailableDid::TABLE,
    Did::TABLE,
    ShortCode::TABLE,
    EventEndpoint::TABLE,
];

#[derive(Subcommand)]
pub enum Command {
    /// Verify every hash of the history, and every object against its newest entry
    ///
    /// Prints a hash (`head`) over all entries up to a date (`as_of`), once the transactions that
    /// can still add some have ended. Store both outside the database: with the same date in
    /// `--as-of`, the command must print the same hash again, unless retention has deleted entries
    /// from before that date.
    Verify {
        /// Date up to which the hash covers entries (ISO 8601) [default: 20 seconds ago]
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
    let is_waiting = || eprintln!("waiting for transactions that began before the verification");
    let settled = store::settled_date(connection, is_waiting).await?;
    let mut tx = connection.begin_with("begin isolation level repeatable read read only").await?;
    let report = verify(&mut tx, as_of.unwrap_or(settled)).await?;
    tx.commit().await?;
    output.document(&report)?;
    let violations = report.violations.len();
    ensure!(violations == 0, "violations found: {violations}");
    Ok(())
}

/// Verifies the history of all types of objects, with a head over the entries until that date.
///
/// # Errors
/// If the database is not available.
pub async fn verify(
    connection: &mut PgConnection,
    as_of: OffsetDateTime,
) -> anyhow::Result<IntegrityReport> {
    let mut report = store::verify_chains(connection, &TABLES, as_of).await?;
    store::verify_objects::<Partner>(connection, &mut report).await?;
    store::verify_objects::<OauthClient>(connection, &mut report).await?;
    store::verify_objects::<OauthToken>(connection, &mut report).await?;
    store::verify_objects::<PartnerLogin>(connection, &mut report).await?;
    store::verify_objects::<DidGroup>(connection, &mut report).await?;
    store::verify_objects::<AvailableDid>(connection, &mut report).await?;
    store::verify_objects::<Did>(connection, &mut report).await?;
    store::verify_objects::<ShortCode>(connection, &mut report).await?;
    store::verify_objects::<EventEndpoint>(connection, &mut report).await?;
    Ok(report)
}
