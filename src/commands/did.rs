//! `shortline did`.

use std::convert::identity;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::import::{Imported, sid_of};
use super::output::{Output, cli_error};
use super::{arguments, import};
use crate::auth::{Actor, Visibility};
use crate::did_stock::{AvailableDid, NewAvailableDid};
use crate::dids::Did;
use crate::error::ApiError;
use crate::input::phone_number::PhoneNumber;
use crate::input::{Completeness, FromMember, Members};
use crate::store::{self, Resource};

#[derive(Subcommand)]
pub enum Command {
    /// Put the phone numbers in a file into a stock, all or none
    ///
    /// A CSV file has a header with the names of the columns, an NDJSON file has an object on each
    /// line. The columns and members are: phonenumber (required), stock_partner_sid (required
    /// without --stock), active_capabilities, campaign_sid, capabilities, classification_sid,
    /// country_code, did_sid, lata, locality, lrn_sid, ocn, porting_pin, price, state. An empty
    /// cell is a member that is absent. The members that a number has only while it is rented are
    /// ignored.
    Import {
        /// CSV file with a header, or NDJSON file; members are named as in the API
        file: PathBuf,
        /// Partner whose stock the numbers join for which the file names no `stock_partner_sid`
        #[arg(long, value_name = "SID", value_parser = arguments::sid)]
        stock: Option<Uuid>,
    },
    /// List the rented phone numbers, or the numbers of a stock
    List {
        /// Partner that rents the numbers
        #[arg(long, value_name = "SID", value_parser = arguments::sid, conflicts_with = "stock")]
        partner: Option<Uuid>,
        /// Partner whose stock is listed
        #[arg(long, value_name = "SID", value_parser = arguments::sid)]
        stock: Option<Uuid>,
    },
    /// Show a phone number in the stock, with its rental
    Show {
        /// Phone number, such as 15162065574
        number: String,
    },
    /// Take a phone number that is not rented out of its stock and print what it was
    ///
    /// Its history remains.
    Delete {
        /// Phone number, such as 15162065574
        number: String,
    },
}

impl Imported for AvailableDid {
    const NOUN: &'static str = "phone numbers";

    fn cell(name: &str, cell: &str) -> Result<Value, ApiError> {
        let is_integer = ["active_capabilities", "capabilities"].contains(&name);
        let integer = cell.parse::<i64>().ok().filter(|_| is_integer);
        Ok(integer.map_or_else(|| Value::from(cell), Value::from))
    }

    fn read(mut members: Map<String, Value>, stock: Option<Uuid>) -> Result<Self, ApiError> {
        let parsed =
            Members::parse::<NewAvailableDid>(members.clone(), Completeness::Partial, false)?;
        let named = members.remove("stock_partner_sid").map(Uuid::from_member);
        let Some(stock) = named.and_then(Result::ok).or(stock) else {
            let message = "must be present, unless --stock names the partner";
            return Err(ApiError::invalid("stock_partner_sid", message));
        };
        Ok(parsed.input.build(sid_of("did_sid", &parsed.echoed)?, stock))
    }
}

pub async fn run(
    command: Command,
    connection: &mut PgConnection,
    output: Output,
) -> anyhow::Result<()> {
    match command {
        Command::Import { file, stock } => {
            let created = import::run::<AvailableDid>(connection, &file, stock).await?;
            let sentence = format!("put {created} phone numbers into stock");
            output.sentence(&json!({"created": created}), &sentence)
        }
        Command::List { stock: Some(stock), .. } => {
            let members = ["did_sid", "phonenumber", "status", "locality", "state"];
            output
                .list::<AvailableDid, _>(connection, &seeing(Some(stock)), &members, identity)
                .await
        }
        Command::List { partner, .. } => {
            let members = ["did_sid", "phonenumber", "partner_sid", "did_group_sid", "name"];
            output.list::<Did, _>(connection, &seeing(partner), &members, identity).await
        }
        Command::Show { number } => {
            let (number, stock) = in_stock(connection, &number).await?;
            let rental = Did::find(connection, &number).await?;
            let shown = json!({
                "rental": rental,
                "stock": stock,
                "stock_partner_sid": stock.partner_sid(),
            });
            output.document(&shown)
        }
        Command::Delete { number } => {
            let (_, stock) = in_stock(connection, &number).await?;
            let operator = Actor::operator();
            let deleted =
                store::delete_within::<AvailableDid>(connection, &operator, stock.sid()).await;
            output.document(&deleted.map_err(cli_error)?)
        }
    }
}

/// Returns a phone number in the stock.
async fn in_stock(
    connection: &mut PgConnection,
    number: &str,
) -> anyhow::Result<(PhoneNumber, AvailableDid)> {
    let number = PhoneNumber::parse(number).context(PhoneNumber::EXPECTED)?;
    let Some(stock) = AvailableDid::find(connection, &number).await? else {
        bail!("{} is in no stock", number.as_str());
    };
    Ok((number, stock))
}

/// The operator, who sees the objects of one partner or of all.
fn seeing(partner: Option<Uuid>) -> Actor {
    let visibility = partner.map_or(Visibility::All, Visibility::Own);
    Actor::operator().with_visibility(visibility)
}
