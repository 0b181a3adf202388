//! `shortline partner`.

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Subcommand};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{Output, cli_error, named, sid};
use crate::auth::{Actor, Scope};
use crate::input::types::Name;
use crate::partners::{Partner, Status};
use crate::store;

#[derive(Subcommand)]
pub enum Command {
    /// Create a partner
    Create {
        /// What it is called
        #[arg(long, value_parser = named)]
        name: Name,
        /// The partner it belongs to
        #[arg(long, value_name = "SID", value_parser = sid)]
        parent: Option<Uuid>,
        /// A scope that its tokens can have; may be repeated [default: phonenumber.manage oauth.manage partners.manage]
        #[arg(long, value_name = "SCOPE")]
        scope: Vec<Scope>,
        /// The sid that it gets [default: a new one]
        #[arg(long, value_parser = sid)]
        sid: Option<Uuid>,
    },
    /// List all partners, in the order of their creation
    List,
    /// Refuse every token of a partner and of its descendants
    Suspend {
        #[arg(value_parser = sid)]
        sid: Uuid,
    },
    /// Accept them again
    Activate {
        #[arg(value_parser = sid)]
        sid: Uuid,
    },
    /// Whether every change of the partner's objects must say which version it is for (If-Match; else 428)
    RequireIfMatch {
        #[arg(value_parser = sid)]
        sid: Uuid,
        #[arg(value_name = "on|off", action = ArgAction::Set, value_parser = BoolishValueParser::new())]
        required: bool,
    },
}

pub async fn run(
    command: Command,
    connection: &mut PgConnection,
    output: Output,
) -> anyhow::Result<()> {
    match command {
        Command::Create { name, parent, scope, sid } => {
            let scopes = if scope.is_empty() { Scope::DEFAULT.to_vec() } else { scope };
            let sid = sid.unwrap_or_else(Uuid::now_v7);
            let mut tx = connection.begin().await?;
            let partner = Partner::new(&mut tx, sid, parent, name, scopes.into_iter().collect())
                .await
                .map_err(cli_error)?;
            let partner =
                store::create_one(&mut tx, &Actor::operator(), partner).await.map_err(cli_error)?;
            tx.commit().await?;
            output.value(&partner.object)
        }
        Command::List => {
            let partners =
                store::all::<Partner>(connection, &Actor::operator()).await.map_err(cli_error)?;
            output.rows(
                &partners,
                &["partner_sid", "display_id", "status", "name", "available_scopes"],
            )
        }
        Command::Suspend { sid } => {
            set(connection, sid, output, |partner| partner.status = Status::Suspended).await
        }
        Command::Activate { sid } => {
            set(connection, sid, output, |partner| partner.status = Status::Active).await
        }
        Command::RequireIfMatch { sid, required } => {
            set(connection, sid, output, |partner| partner.requires_if_match = required).await
        }
    }
}

async fn set(
    connection: &mut PgConnection,
    sid: Uuid,
    output: Output,
    set: impl FnOnce(&mut Partner),
) -> anyhow::Result<()> {
    let change = |partner: &mut Partner| {
        set(partner);
        Ok(())
    };
    let partner = store::update_within(connection, &Actor::operator(), sid, change)
        .await
        .map_err(cli_error)?;
    output.value(&partner.object)
}
