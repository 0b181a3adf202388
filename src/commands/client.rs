//! `shortline client`.

use clap::Subcommand;
use sqlx::PgConnection;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::arguments;
use super::output::{Output, cli_error};
use crate::auth::{Actor, Scope};
use crate::oauth::OauthClient;
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
    }
}
