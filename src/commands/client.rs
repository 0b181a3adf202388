//! `shortline client`.

use clap::Subcommand;
use sqlx::PgConnection;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{Output, cli_error, sid, within};
use crate::auth::{Actor, Scope};
use crate::oauth::OauthClient;
use crate::partners::Partner;
use crate::store;

#[derive(Subcommand)]
pub enum Command {
    /// Make a client for a partner; its secret is shown this once
    Create {
        /// The partner whose client it will be
        #[arg(long, value_name = "SID", value_parser = sid)]
        partner: Uuid,
        /// A scope that its tokens can have; may be repeated [default: all scopes of the partner]
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
            let (partner_sid, scopes) = (partner.partner_sid, within(&partner, scope)?);
            let (client, secret) =
                spawn_blocking(move || OauthClient::new(partner_sid, scopes)).await??;
            let mut client =
                store::create_one(connection, &operator, client).await.map_err(cli_error)?.object;
            client.client_secret = Some(secret);
            output.value(&client)
        }
    }
}
