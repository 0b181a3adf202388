//! `shortline login`.

use anyhow::Context;
use clap::Subcommand;
use serde::Serialize;
use sqlx::{Connection, PgConnection};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::arguments;
use super::output::{Output, cli_error};
use crate::auth::Actor;
use crate::input::types::Name;
use crate::oauth::{PartnerLogin, Password, disable_login, set_password};
use crate::partners::Partner;
use crate::store;

#[derive(Subcommand)]
pub enum Command {
    /// Create the login of a partner; the password is read from standard input
    Create {
        /// Partner that owns the login
        #[arg(long, value_name = "SID", value_parser = arguments::sid)]
        partner: Uuid,
        /// Name of the login
        #[arg(long, value_name = "NAME", value_parser = arguments::name)]
        login: Name,
    },
    /// Set the password of a login, which is read from standard input, and end the tokens that were
    /// issued with the old one
    SetPassword {
        /// Name of the login
        #[arg(long, value_name = "NAME")]
        login: String,
    },
    /// List all logins in the order of creation
    List,
    /// Print a login without its password
    Show {
        /// Name of the login
        #[arg(long, value_name = "NAME")]
        login: String,
    },
    /// Reject the password of a login until it is set again, and end the tokens that were issued
    /// for the login
    Disable {
        /// Name of the login
        #[arg(long, value_name = "NAME")]
        login: String,
    },
}

pub async fn run(
    command: Command,
    connection: &mut PgConnection,
    output: Output,
) -> anyhow::Result<()> {
    match command {
        Command::Create { partner, login } => create(connection, partner, login, output).await,
        Command::SetPassword { login } => {
            let (sid, password) = (sid_of(connection, &login).await?, read_password()?);
            let login = set_password(connection, sid, &password).await.map_err(cli_error)?;
            output.document(&login)
        }
        Command::List => {
            let members = ["login_sid", "status", "partner_sid", "date_password_changed", "login"];
            output.list(connection, &Actor::operator(), &members, Listed::of).await
        }
        Command::Show { login } => {
            let sid = sid_of(connection, &login).await?;
            let login = store::get::<PartnerLogin>(connection, &Actor::operator(), sid).await;
            output.document(&Listed::of(login.map_err(cli_error)?.object))
        }
        Command::Disable { login } => {
            let sid = sid_of(connection, &login).await?;
            let login = disable_login(connection, sid).await.map_err(cli_error)?;
            output.document(&Listed::of(login))
        }
    }
}

async fn create(
    connection: &mut PgConnection,
    partner_sid: Uuid,
    name: Name,
    output: Output,
) -> anyhow::Result<()> {
    let (operator, password) = (Actor::operator(), read_password()?);
    let login_name = name.clone();
    let login =
        spawn_blocking(move || PartnerLogin::new(partner_sid, login_name, &password)).await??;
    let mut tx = connection.begin().await?;
    let login = store::create_one(&mut tx, &operator, login).await.map_err(cli_error)?;
    let set = |partner: &mut Partner| {
        partner.login = Some(name);
        Ok(())
    };
    store::update_within(&mut tx, &operator, partner_sid, set).await.map_err(cli_error)?;
    tx.commit().await?;
    output.document(&login.object)
}

async fn sid_of(connection: &mut PgConnection, login: &str) -> anyhow::Result<Uuid> {
    let sid = sqlx::query_scalar("select sid from partner_logins where login = $1").bind(login);
    let sid: Option<Uuid> = sid.fetch_optional(connection).await?;
    sid.with_context(|| format!("the login `{login}` does not exist"))
}

/// A login with its status.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    login: PartnerLogin,
    status: &'static str,
}

impl Listed {
    fn of(login: PartnerLogin) -> Self {
        Self { status: if login.is_disabled() { "disabled" } else { "active" }, login }
    }
}

fn read_password() -> anyhow::Result<Password> {
    let text = std::io::read_to_string(std::io::stdin())
        .context("cannot read the password from standard input")?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Password::new(line.strip_suffix('\r').unwrap_or(line))
}
