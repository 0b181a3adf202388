//! `shortline login`.

use anyhow::Context;
use clap::Subcommand;
use sqlx::{Connection, PgConnection};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::arguments;
use super::output::{Output, cli_error};
use crate::auth::Actor;
use crate::error::ApiError;
use crate::input::types::Name;
use crate::oauth::{PartnerLogin, Password};
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
    /// Change the password of a login; it is read from standard input
    SetPassword {
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
        Command::SetPassword { login } => set_password(connection, &login, output).await,
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

async fn set_password(
    connection: &mut PgConnection,
    name: &str,
    output: Output,
) -> anyhow::Result<()> {
    let sid = sqlx::query_scalar("select sid from partner_logins where login = $1").bind(name);
    let sid: Option<Uuid> = sid.fetch_optional(&mut *connection).await?;
    let (sid, password) =
        (sid.with_context(|| format!("the login `{name}` does not exist"))?, read_password()?);
    let set = |login: &mut PartnerLogin| login.set_password(&password).map_err(ApiError::Internal);
    let login =
        store::update_within(connection, &Actor::operator(), sid, set).await.map_err(cli_error)?;
    output.document(&login.object)
}

fn read_password() -> anyhow::Result<Password> {
    let text = std::io::read_to_string(std::io::stdin())
        .context("cannot read the password from standard input")?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Password::new(line.strip_suffix('\r').unwrap_or(line))
}
