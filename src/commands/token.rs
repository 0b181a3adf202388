//! `shortline token`.

use std::convert::identity;
use std::time::Duration;

use clap::Subcommand;
use sqlx::PgConnection;
use uuid::Uuid;

use super::arguments;
use super::output::{Output, cli_error};
use crate::auth::{Actor, Keys, Scope};
use crate::oauth::{DEFAULT_EXPIRES_IN, MAX_EXPIRES_IN, OauthToken};
use crate::partners::Partner;
use crate::settings::{Settings, TokenFormat};
use crate::store;

#[derive(Subcommand)]
pub enum Command {
    /// Issue a token for a partner and print its secret, which cannot be shown again
    Issue {
        /// Partner of the token
        #[arg(long, value_name = "SID", value_parser = arguments::sid)]
        partner: Uuid,
        /// Scope that the token carries; can be repeated [default: all scopes of the partner]
        #[arg(long, value_name = "SCOPE")]
        scope: Vec<Scope>,
        /// Lifetime of the token
        #[arg(
            long,
            value_name = "SECONDS",
            default_value_t = DEFAULT_EXPIRES_IN,
            value_parser = clap::value_parser!(u64).range(1..=MAX_EXPIRES_IN)
        )]
        expires_in: u64,
        /// Issue a random UUID instead of a JWT
        #[arg(long)]
        opaque: bool,
    },
    /// List all tokens in the order of creation
    List,
    /// Print a token without its secrets
    Show {
        /// Sid of the token
        #[arg(value_parser = arguments::sid)]
        token_sid: Uuid,
    },
    /// Revoke a token
    Revoke {
        /// Sid of the token
        #[arg(value_parser = arguments::sid)]
        token_sid: Uuid,
    },
}

pub async fn run(
    command: Command,
    connection: &mut PgConnection,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<()> {
    let operator = Actor::operator();
    match command {
        Command::Issue { partner, scope, expires_in, opaque } => {
            let partner: Partner =
                store::get(&mut *connection, &operator, partner).await.map_err(cli_error)?.object;
            let scopes = arguments::scopes(&partner, scope)?;
            let keys = Keys::from_settings(settings)?;
            let format = if opaque { TokenFormat::Opaque } else { settings.token_format };
            let lifetime = Duration::from_secs(expires_in);
            let (token, secret) =
                OauthToken::issue(&keys, format, partner.partner_sid, scopes, lifetime)?;
            let mut token =
                store::create_one(connection, &operator, token).await.map_err(cli_error)?.object;
            token.access_token = Some(secret);
            output.document(&token)
        }
        Command::List => {
            let members = ["token_sid", "partner_sid", "date_expiration_access_token", "scopes"];
            output.list::<OauthToken, _>(connection, &operator, &members, identity).await
        }
        Command::Show { token_sid } => output.show::<OauthToken>(connection, token_sid).await,
        Command::Revoke { token_sid } => {
            let revoke = |token: &mut OauthToken| {
                token.revoke();
                Ok(())
            };
            let token = store::update_within(connection, &operator, token_sid, revoke)
                .await
                .map_err(cli_error)?;
            output.document(&token.object)
        }
    }
}
