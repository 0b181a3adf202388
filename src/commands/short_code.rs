//! `shortline short-code`.

use std::convert::identity;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::output::{Output, cli_error};
use super::{arguments, import};
use crate::auth::{Actor, Visibility};
use crate::input::{Completeness, Members};
use crate::partners::Partner;
use crate::short_codes::{NewShortCode, ShortCode};
use crate::store;

#[derive(Subcommand)]
pub enum Command {
    /// Create a short code
    Create {
        /// Partner that owns the short code
        #[arg(long, value_name = "SID", value_parser = arguments::sid)]
        partner: Uuid,
        /// Number, 3 to 8 digits
        #[arg(long)]
        short_code: String,
        /// Country of the number (ISO 3166-1 alpha-3) [default: USA]
        #[arg(long)]
        country_code: Option<String>,
        /// State of the number
        #[arg(long)]
        state: Option<String>,
        /// Name of the short code [default: N/A]
        #[arg(long)]
        name: Option<String>,
        /// DID group of the short code
        #[arg(long, value_name = "SID", value_parser = arguments::sid)]
        did_group: Option<Uuid>,
        /// Sid of the short code [default: a new one]
        #[arg(long, value_parser = arguments::sid)]
        sid: Option<Uuid>,
    },
    /// List all short codes, or those of a partner, in the order of creation
    List {
        /// Partner that owns the short codes [default: all partners]
        #[arg(long, value_name = "SID", value_parser = arguments::sid)]
        partner: Option<Uuid>,
    },
    /// Print a short code
    Show {
        /// Sid of the short code
        #[arg(value_parser = arguments::sid)]
        sid: Uuid,
    },
    /// Delete a short code and print what it was; its history remains
    Delete {
        /// Sid of the short code
        #[arg(value_parser = arguments::sid)]
        sid: Uuid,
    },
    /// Create the short codes in a file, all or none
    ///
    /// A CSV file has a header with the names of the columns, an NDJSON file has an object on each
    /// line. The columns and members are: short_code (required), partner_sid (required without
    /// --partner), attributes (a JSON object), callback_url, country_code, did_group_sid, locality,
    /// lrn_sid, name, short_code_sid, state, string_key_1, string_key_2. An empty cell is a member
    /// that is absent.
    Import {
        /// CSV file with a header, or NDJSON file; members are named as in the API
        file: PathBuf,
        /// Partner that owns the short codes for which the file names no partner
        #[arg(long, value_name = "SID", value_parser = arguments::sid)]
        partner: Option<Uuid>,
    },
}

pub async fn run(
    command: Command,
    connection: &mut PgConnection,
    output: Output,
) -> anyhow::Result<()> {
    match command {
        Command::Create { partner, short_code, country_code, state, name, did_group, sid } => {
            let members = [
                ("partner_sid", Some(partner.to_string())),
                ("short_code", Some(short_code)),
                ("country_code", country_code),
                ("state", state),
                ("name", name),
                ("did_group_sid", did_group.map(|sid| sid.to_string())),
            ];
            let members: Map<_, _> = members
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))))
                .collect();
            let parsed = Members::parse::<NewShortCode>(members, Completeness::Partial, false)
                .map_err(cli_error)?;
            let code = parsed.input.build(sid.unwrap_or_else(Uuid::now_v7)).map_err(cli_error)?;
            let code =
                store::create_one(connection, &Actor::operator(), code).await.map_err(cli_error)?;
            output.document(&code.object)
        }
        Command::List { partner } => {
            let operator = Actor::operator();
            let owner = match partner {
                Some(sid) => {
                    let owner = store::get::<Partner>(&mut *connection, &operator, sid).await;
                    owner.map_err(cli_error)?;
                    operator.with_visibility(Visibility::Own(sid))
                }
                None => operator,
            };
            let members = ["short_code_sid", "partner_sid", "country_code", "short_code", "name"];
            output.list::<ShortCode, _>(connection, &owner, &members, identity).await
        }
        Command::Show { sid } => output.show::<ShortCode>(connection, sid).await,
        Command::Delete { sid } => {
            let operator = Actor::operator();
            let deleted = store::delete_within::<ShortCode>(connection, &operator, sid).await;
            output.document(&deleted.map_err(cli_error)?)
        }
        Command::Import { file, partner } => {
            let created = import::run::<ShortCode>(connection, &file, partner).await?;
            let sentence = format!("created {created} short codes");
            output.sentence(&json!({"created": created}), &sentence)
        }
    }
}
