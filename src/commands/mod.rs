//! The command line. Each command is one function; what it changes goes through the store, with the operator as the actor.

mod client;
mod healthcheck;
mod history;
mod import;
mod login;
mod partner;
mod short_code;
mod token;

pub use history::verify as verify_history;

use std::io::{ErrorKind, Write, stdout};
use std::path::PathBuf;

use anyhow::{anyhow, ensure};
use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::auth::{Scope, Scopes};
use crate::dev;
use crate::did_groups::DidGroup;
use crate::error::{ApiError, FieldError};
use crate::input::types::Name;
use crate::input::{FromMember, parse_sid};
use crate::oauth::{OauthClient, OauthToken, PartnerLogin};
use crate::partners::Partner;
use crate::settings::Settings;
use crate::short_codes::ShortCode;
use crate::startup::Application;
use crate::store::{self, Resource, migrations};
use crate::{routes, telemetry};

/// The tables of everything that has a history.
pub const TABLES: [&str; 6] = [
    Partner::TABLE,
    OauthClient::TABLE,
    OauthToken::TABLE,
    PartnerLogin::TABLE,
    DidGroup::TABLE,
    ShortCode::TABLE,
];

/// DID groups and short codes behind the CarrierX Core API v2, on your own PostgreSQL
#[derive(Parser)]
#[command(version, name = "shortline")]
pub struct Cli {
    #[command(flatten)]
    settings: Settings,
    /// Write JSON, and nothing else, to standard output
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Try it out: the service with a PostgreSQL of its own and the data of CarrierX's samples
    Dev {
        /// Keep nothing when it ends
        #[arg(long)]
        ephemeral: bool,
        /// Where to keep the data
        #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
        data: Option<PathBuf>,
    },
    /// Run the service on DATABASE_URL
    Serve,
    /// Bring the database's schema up to date
    Migrate,
    /// Ask the service that listens here whether it is ready
    Healthcheck,
    /// Print the OpenAPI 3.1 document
    Openapi,
    /// Verify the history of all changes
    #[command(subcommand)]
    History(history::Command),
    /// Create, list, suspend and activate partners
    #[command(subcommand)]
    Partner(partner::Command),
    /// Create clients, which ask for tokens
    #[command(subcommand)]
    Client(client::Command),
    /// Create the logins of partners, and set their passwords
    #[command(subcommand)]
    Login(login::Command),
    /// Issue, list and revoke tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Create and import short codes
    #[command(subcommand)]
    ShortCode(short_code::Command),
}

impl Cli {
    /// The command line of this process. A variable that is empty counts as one that is not set.
    pub fn from_process() -> Self {
        let command =
            Self::command().mut_args(|argument| match argument.get_env().map(std::env::var_os) {
                Some(Some(value)) if value.is_empty() => argument.env(Resettable::Reset),
                _ => argument,
            });
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }

    /// Runs the command.
    ///
    /// # Errors
    /// With one line that says what to do about it.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { settings, json, command } = self;
        let output = Output { json };
        telemetry::start(&settings)?;
        match command {
            Command::Dev { ephemeral, data } => dev::run(settings, ephemeral, data).await,
            Command::Serve => {
                let application = Application::build(&settings, settings.database()?).await?;
                tracing::info!("listening on http://{}", application.address());
                if let Some(address) = application.metrics_address() {
                    tracing::info!("metrics on http://{address}/metrics");
                }
                application.run_until_stopped().await
            }
            Command::Migrate => {
                let connection = store::connect(&settings.database()?).await?;
                let report = migrations::migrate(connection, &settings).await?;
                let applied: Vec<_> =
                    report.applied_migrations().iter().map(ToString::to_string).collect();
                output.say(
                    &serde_json::json!({"applied": applied}),
                    &match applied.as_slice() {
                        [] => "the schema is up to date".to_owned(),
                        applied => format!("applied {}", applied.join(", ")),
                    },
                )
            }
            Command::Healthcheck => healthcheck::run(settings.listen).await,
            Command::Openapi => output.value(routes::openapi()),
            Command::History(command) => {
                history::run(command, &mut open(&settings).await?, output).await
            }
            Command::Partner(command) => {
                partner::run(command, &mut open(&settings).await?, output).await
            }
            Command::Client(command) => {
                client::run(command, &mut open(&settings).await?, output).await
            }
            Command::Login(command) => {
                login::run(command, &mut open(&settings).await?, output).await
            }
            Command::Token(command) => {
                token::run(command, &mut open(&settings).await?, &settings, output).await
            }
            Command::ShortCode(command) => {
                short_code::run(command, &mut open(&settings).await?, output).await
            }
        }
    }
}

async fn open(settings: &Settings) -> anyhow::Result<PgConnection> {
    store::connect(&settings.database()?).await
}

/// Where the answers of commands go: standard output, for people or as JSON.
#[derive(Clone, Copy)]
struct Output {
    json: bool,
}

impl Output {
    /// A sentence, or what it says as JSON.
    fn say(self, value: &impl Serialize, sentence: &str) -> anyhow::Result<()> {
        if self.json { self.line(&serde_json::to_string(value)?) } else { self.line(sentence) }
    }

    /// A JSON document, indented for people.
    fn value(self, value: &impl Serialize) -> anyhow::Result<()> {
        let indented = serde_json::to_string_pretty(value)?;
        self.say(value, &indented)
    }

    /// Objects, one a line for people, of each the members named.
    fn rows(self, rows: &[impl Serialize], shown: &[&str]) -> anyhow::Result<()> {
        let values = serde_json::to_value(rows)?;
        if self.json {
            return self.line(&values.to_string());
        }
        values.as_array().into_iter().flatten().try_for_each(|row| {
            let cells: Vec<String> = shown.iter().map(|name| cell(&row[name])).collect();
            self.line(&cells.join("  "))
        })
    }

    /// A reader who has seen enough, such as `head`, is no failure.
    fn line(self, text: &str) -> anyhow::Result<()> {
        match writeln!(stdout(), "{text}") {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// A sid on the command line.
fn sid(text: &str) -> Result<Uuid, String> {
    parse_sid(text).ok_or_else(|| "a sid is a hyphenated UUID".to_owned())
}

/// A name on the command line.
fn named(text: &str) -> Result<Name, String> {
    Name::from_member(Value::from(text)).map_err(|refusal| refusal.message)
}

/// What the store refused, in one line.
fn cli_error(error: ApiError) -> anyhow::Error {
    let cause = match error {
        ApiError::Internal(cause) => return cause,
        ApiError::Unavailable(Some(cause)) => return cause.into(),
        ApiError::NoItem => "no such object".to_owned(),
        error => describe_errors(&error.errors()),
    };
    anyhow!(cause)
}

/// Errors of one object, in one line.
fn describe_errors(errors: &[FieldError]) -> String {
    let cli_error = errors.iter().map(|FieldError { field, message, .. }| match field {
        Some(field) => format!("{field}: {message}"),
        None => message.clone(),
    });
    cli_error.collect::<Vec<_>>().join("; ")
}

/// The scopes that were asked for, all of them the partner's own; all of the partner's, where none were.
fn within(partner: &Partner, asked: Vec<Scope>) -> anyhow::Result<Scopes> {
    if asked.is_empty() {
        return Ok(partner.available_scopes.clone());
    }
    for scope in &asked {
        ensure!(
            partner.available_scopes.contains(*scope),
            "the partner does not have the scope {}; it has {}",
            scope.as_str(),
            partner.available_scopes.as_str()
        );
    }
    Ok(asked.into_iter().collect())
}
