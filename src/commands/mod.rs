//! The command line.
//!
//! Each command is a function in a file of its own. Changes go through the store, with the operator
//! as the actor, so that they have a history.

mod arguments;
mod client;
mod did;
mod environment;
mod events;
mod export;
mod healthcheck;
mod history;
mod import;
mod login;
mod migrate;
mod output;
mod partner;
mod serve;
mod short_code;
mod token;

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use sqlx::{ConnectOptions, PgConnection};
use uuid::Uuid;

pub use history::verify as verify_history;

use crate::http::PublicUrl;
use crate::input::types::Name;
use crate::settings::{SETTINGS, Settings};
use crate::{auth, dev, routes, signals, store, telemetry};
use output::Output;

/// DID groups and short codes behind the CarrierX Core API v2, on your own PostgreSQL
#[derive(Parser)]
#[command(version, name = "shortline")]
pub struct Cli {
    #[command(flatten)]
    settings: Settings,
    /// Print results as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Name that the history records for changes by the command [default: the user and the host, as
    /// in `ann@host`]
    ///
    /// Partners see it in the histories of their objects.
    #[arg(long = "as", value_name = "NAME", value_parser = arguments::name, global = true)]
    operator: Option<Name>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service with a private PostgreSQL and the data of CarrierX's samples
    Dev(dev::Options),
    /// Run the service on the database at DATABASE_URL
    Serve,
    /// Migrate the database's schema to this release
    Migrate,
    /// Check whether the service at SHORTLINE_LISTEN is ready
    Healthcheck,
    /// Print the OpenAPI 3.1 document
    Openapi,
    /// Follow the events of a partner, and prepare them after a restore
    #[command(subcommand)]
    Events(events::Command),
    /// Print all objects of a partner and its descendants, one JSON object a line
    Export {
        /// Partner
        #[arg(long, value_name = "SID", value_parser = arguments::sid)]
        partner: Uuid,
    },
    /// Verify the history of all objects
    #[command(subcommand)]
    History(history::Command),
    /// Create, list, show, suspend and activate partners, and set their scopes
    #[command(subcommand)]
    Partner(partner::Command),
    /// Create, list, show, rotate and revoke OAuth clients
    #[command(subcommand)]
    Client(client::Command),
    /// Create, list, show and disable logins of partners, and set their passwords
    #[command(subcommand)]
    Login(login::Command),
    /// Issue, list, show and revoke tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Import phone numbers into a stock, and list them
    #[command(subcommand)]
    Did(did::Command),
    /// Create, import, list, show and delete short codes
    #[command(subcommand)]
    ShortCode(short_code::Command),
}

impl Cli {
    /// Parses the arguments and environment of this process. An empty variable counts as not set.
    pub fn from_process() -> Self {
        let mut command =
            Self::command().mut_args(|argument| match argument.get_env().map(std::env::var_os) {
                Some(Some(value)) if value.is_empty() => argument.env(Resettable::Reset),
                _ => argument,
            });
        let is_subcommand = |word: &OsString| command.find_subcommand(word).is_some();
        if std::env::args_os().skip(1).any(|word| is_subcommand(&word)) {
            command = command.mut_args(|argument| match argument.get_help_heading() {
                Some(SETTINGS) => argument.hide(true),
                _ => argument,
            });
            command = command.mut_subcommands(refer_to_settings);
        }
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }

    /// Runs the command.
    ///
    /// # Errors
    /// A message of one line for the operator.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { settings, json, operator, command } = self;
        if let Command::Dev(_) = command {
            environment::without_postgresql()?;
        }
        signals::end_process()?;
        let operator = operator.map_or_else(environment::user_and_host, String::from);
        auth::name_operator(operator);
        let output = Output { json };
        // Until the command ends, so that its last lines are written.
        let _log = telemetry::start(&settings)?;
        match command {
            Command::Dev(options) => dev::run(settings, options).await,
            Command::Serve => serve::run(&settings).await,
            Command::Migrate => migrate::run(connect(&settings).await?, &settings, output).await,
            Command::Healthcheck => healthcheck::run(settings.listen).await,
            Command::Openapi => {
                output.document(&routes::openapi_of(&PublicUrl(settings.public_url)))
            }
            Command::Events(command) => {
                events::run(command, &mut connect(&settings).await?, &settings, output).await
            }
            Command::Export { partner } => {
                export::run(&mut connect(&settings).await?, partner).await
            }
            Command::History(command) => {
                history::run(command, &mut connect(&settings).await?, output).await
            }
            Command::Partner(command) => {
                partner::run(command, &mut connect(&settings).await?, output).await
            }
            Command::Client(command) => {
                client::run(command, &mut connect(&settings).await?, output).await
            }
            Command::Login(command) => {
                login::run(command, &mut connect(&settings).await?, output).await
            }
            Command::Token(command) => {
                token::run(command, &mut connect(&settings).await?, &settings, output).await
            }
            Command::Did(command) => {
                did::run(command, &mut connect(&settings).await?, output).await
            }
            Command::ShortCode(command) => {
                short_code::run(command, &mut connect(&settings).await?, output).await
            }
        }
    }
}

/// Ends the help of a subcommand with one line about the settings, instead of all of them.
fn refer_to_settings(command: clap::Command) -> clap::Command {
    let line = "Every setting is an option too, such as --database-url: see `shortline --help`";
    command.mut_subcommands(refer_to_settings).after_help(line)
}

/// A statement of a command may take long; that is no event of the log.
async fn connect(settings: &Settings) -> anyhow::Result<PgConnection> {
    let options = settings.database()?.disable_statement_logging();
    store::check_sessions(&options).await?;
    store::connect(&options).await
}
