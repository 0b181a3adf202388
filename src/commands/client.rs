//! `shortline client`.

use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;
use sqlx::PgConnection;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::arguments;
use super::output::{Output, cli_error};
use crate::auth::{Actor, Scope};
use crate::oauth::{OauthClient, revoke_client, rotate_client};
use crate::partners::Partner;
use crate::store;

#[derive(Subcommand)]
pub enum Command {
    /// Create a client of a partner and print its secret, which cannot be shown again
    Create {
        /// Partner that owns the client
        #[arg(long, value_name = "SID", value_parser = arguments::sid)]
        partner: Uuid,
        /// Scope that tokens of the client can carry; can be repeated [default: all scopes of the
        /// partner]
        #[arg(long, value_name = "SCOPE")]
        scope: Vec<Scope>,
    },
    /// List all clients in the order of creation
    List,
    /// Print a client without its secret
    Show {
        /// Sid of the client
        #[arg(value_name = "CLIENT_ID", value_parser = arguments::sid)]
        client_id: Uuid,
    },
    /// Give a client a new secret and print it; it cannot be shown again
    ///
    /// The tokens that were issued through the old secret end when the old secret does.
    Rotate {
        /// Sid of the client
        #[arg(value_name = "CLIENT_ID", value_parser = arguments::sid)]
        client_id: Uuid,
        /// How long the old secret is accepted, such as `30m`, `12h` or `7d`
        #[arg(
            long,
            value_name = "DURATION",
            default_value = "0s",
            value_parser = arguments::duration
        )]
        keep_old: Duration,
    },
    /// Reject the secret of a client permanently, and end the tokens that were issued through it
    Revoke {
        /// Sid of the client
        #[arg(value_name = "CLIENT_ID", value_parser = arguments::sid)]
        client_id: Uuid,
    },
}

pub async fn run(
    command: Command,
    connection: &mut PgConnection,
    output: Output,
) -> anyhow::Result<()> {
    let operator = Actor::operator();
    match command {
        Command::Create { partner, scope } => {
            let partner: Partner =
                store::get(&mut *connection, &operator, partner).await.map_err(cli_error)?.object;
            let (partner_sid, scopes) = (partner.partner_sid, arguments::scopes(&partner, scope)?);
            let (client, secret) =
                spawn_blocking(move || OauthClient::new(partner_sid, scopes)).await??;
            let mut client =
                store::create_one(connection, &operator, client).await.map_err(cli_error)?.object;
            client.client_secret = Some(secret);
            output.document(&client)
        }
        Command::List => {
            let members = ["client_id", "status", "partner_sid", "date_secret_changed", "scopes"];
            output.list(connection, &operator, &members, Listed::of).await
        }
        Command::Show { client_id } => {
            let client = store::get::<OauthClient>(connection, &operator, client_id).await;
            output.document(&Listed::of(client.map_err(cli_error)?.object))
        }
        Command::Rotate { client_id, keep_old } => output
            .document(&rotate_client(connection, client_id, keep_old).await.map_err(cli_error)?),
        Command::Revoke { client_id } => {
            let client = revoke_client(connection, client_id).await.map_err(cli_error)?;
            output.document(&Listed::of(client))
        }
    }
}

/// A client with its status.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    client: OauthClient,
    status: &'static str,
}

impl Listed {
    fn of(client: OauthClient) -> Self {
        Self { status: if client.is_revoked() { "revoked" } else { "active" }, client }
    }
}
