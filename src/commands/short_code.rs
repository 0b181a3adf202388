//! `shortline short-code`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Output, cli_error, import, sid};
use crate::auth::Actor;
use crate::input::{Completeness, Members};
use crate::short_codes::NewShortCode;
use crate::store;

#[derive(Subcommand)]
pub enum Command {
    /// Create a short code
    Create {
        /// The partner that owns it
        #[arg(long, value_name = "SID", value_parser = sid)]
        partner: Uuid,
        /// The number, 3 to 8 digits
        #[arg(long)]
        short_code: String,
        /// The country whose number it is [default: USA]
        #[arg(long)]
        country_code: Option<String>,
        /// The state that it belongs to
        #[arg(long)]
        state: Option<String>,
        /// What it is called [default: N/A]
        #[arg(long)]
        name: Option<String>,
        /// The DID group that it belongs to
        #[arg(long, value_name = "SID", value_parser = sid)]
        did_group: Option<Uuid>,
        /// The sid that it gets [default: a new one]
        #[arg(long, value_parser = sid)]
        sid: Option<Uuid>,
    },
    /// Create the short codes of a file, all or none
    Import {
        /// CSV with a line of names, or NDJSON; names as in the API
        file: PathBuf,
        /// The partner that owns those for which the file names none
        #[arg(long, value_name = "SID", value_parser = sid)]
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
            output.value(&code.object)
        }
        Command::Import { file, partner } => {
            let created = import::run(connection, &file, partner).await?;
            output.say(
                &serde_json::json!({"created": created}),
                &format!("created {created} short codes"),
            )
        }
    }
}
