//! `shortline partner`.

use std::convert::identity;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Subcommand};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::arguments;
use super::output::{Output, cli_error};
use crate::auth::{Actor, PartnerAncestry, Scope, Scopes};
use crate::input::types::Name;
use crate::partners::{Partner, Status};
use crate::store;

#[derive(Subcommand)]
pub enum Command {
    /// Create a partner
    Create {
        /// Name of the partner
        #[arg(long, value_parser = arguments::name)]
        name: Name,
        /// Partner above the new one in the tree [default: none]
        #[arg(long, value_name = "SID", value_parser = arguments::sid)]
        parent: Option<Uuid>,
        /// Scope that tokens of the partner can carry; can be repeated [default: phonenumber.manage
        /// oauth.manage partners.manage]
        #[arg(long, value_name = "SCOPE")]
        scope: Vec<Scope>,
        /// Sid of the partner [default: a new one]
        #[arg(long, value_parser = arguments::sid)]
        sid: Option<Uuid>,
    },
    /// List all partners in the order of creation
    List,
    /// Print a partner
    Show {
        /// Sid of the partner
        #[arg(value_parser = arguments::sid)]
        sid: Uuid,
    },
    /// Print the scopes of a partner, or set them
    ///
    /// `effective_scopes` are those that all its ancestors have too: tokens carry no others. Tokens
    /// that were issued before do not lose the scopes that the partner gets again.
    Scopes {
        /// Sid of the partner
        #[arg(value_parser = arguments::sid)]
        sid: Uuid,
        /// All scopes that the partner has from now on [default: print those that it has]
        #[arg(value_name = "SCOPE")]
        scopes: Vec<Scope>,
    },
    /// Reject all tokens of a partner and its descendants
    Suspend {
        /// Sid of the partner
        #[arg(value_parser = arguments::sid)]
        sid: Uuid,
    },
    /// Accept the tokens of a suspended partner again
    Activate {
        /// Sid of the partner
        #[arg(value_parser = arguments::sid)]
        sid: Uuid,
    },
    /// Require If-Match for writes to objects of a partner, or stop requiring it
    RequireIfMatch {
        /// Sid of the partner
        #[arg(value_parser = arguments::sid)]
        sid: Uuid,
        /// Whether If-Match is required
        #[arg(
            value_name = "on|off",
            action = ArgAction::Set,
            hide_possible_values = true,
            value_parser = BoolishValueParser::new()
        )]
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
            output.document(&partner.object)
        }
        Command::List => {
            let members = ["partner_sid", "display_id", "status", "name", "available_scopes"];
            let operator = Actor::operator();
            output.list::<Partner, _>(connection, &operator, &members, identity).await
        }
        Command::Show { sid } => output.show::<Partner>(connection, sid).await,
        Command::Scopes { sid, scopes } if scopes.is_empty() => {
            print_scopes(connection, sid, output).await
        }
        Command::Scopes { sid, scopes } => {
            let scopes = scopes.into_iter().collect();
            update(connection, sid, output, |partner| partner.available_scopes = scopes).await
        }
        Command::Suspend { sid } => {
            update(connection, sid, output, |partner| {
                partner.set_status_as_operator(Status::Suspended)
            })
            .await
        }
        Command::Activate { sid } => {
            update(connection, sid, output, |partner| {
                partner.set_status_as_operator(Status::Active)
            })
            .await
        }
        Command::RequireIfMatch { sid, required } => {
            update(connection, sid, output, |partner| partner.requires_if_match = required).await
        }
    }
}

async fn print_scopes(
    connection: &mut PgConnection,
    sid: Uuid,
    output: Output,
) -> anyhow::Result<()> {
    let partner = store::get::<Partner>(&mut *connection, &Actor::operator(), sid).await;
    let available = partner.map_err(cli_error)?.object.available_scopes;
    let ancestry = PartnerAncestry::of(connection, sid).await?;
    let effective: Scopes =
        ancestry.map(|ancestry| ancestry.scopes).unwrap_or_default().into_iter().collect();
    output.document(&json!({"available_scopes": available, "effective_scopes": effective}))
}

async fn update(
    connection: &mut PgConnection,
    sid: Uuid,
    output: Output,
    change: impl FnOnce(&mut Partner),
) -> anyhow::Result<()> {
    let change = |partner: &mut Partner| {
        change(partner);
        Ok(())
    };
    let partner = store::update_within(connection, &Actor::operator(), sid, change)
        .await
        .map_err(cli_error)?;
    output.document(&partner.object)
}
