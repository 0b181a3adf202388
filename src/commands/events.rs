//! `shortline events`.

use std::time::Duration;

use anyhow::ensure;
use clap::Subcommand;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::arguments;
use super::output::{Output, cli_error};
use crate::auth::Actor;
use crate::error::ApiError;
use crate::events::{Cursor, Event, EventPage, Follower, ObjectKind, Start, TypeFilter};
use crate::input::FromMember;
use crate::input::types::CallbackUrl;
use crate::partners::Partner;
use crate::settings::Settings;
use crate::store::{self, Database, Division, Feed, Selection};
use crate::webhooks::{DeliveryAttempt, EventEndpoint, Forwarder, Secret, SecretBox};

/// The time between two pages without events.
const INTERVAL: Duration = Duration::from_millis(200);
/// The most events of a page.
const LIMIT: i64 = 1_000;

#[derive(Subcommand)]
pub enum Command {
    /// Print the events of a partner and its descendants as they happen, one JSON object a line
    Tail {
        /// Partner
        #[arg(long, value_name = "SID", value_parser = arguments::sid)]
        partner: Uuid,
        /// Cursor behind which to begin [default: the newest event]
        #[arg(long, value_name = "CURSOR", value_parser = cursor, conflicts_with = "snapshot")]
        after: Option<Cursor>,
        /// Begin with all objects
        #[arg(long)]
        snapshot: bool,
        /// Types of events, separated by commas [default: all]
        #[arg(long, value_name = "TYPES", value_parser = TypeFilter::parse)]
        types: Option<TypeFilter>,
        /// End when there are no more events
        #[arg(long)]
        once: bool,
    },
    /// Deliver the events of a partner and its descendants to a program as they happen
    ///
    /// Each event is sent once, signed as to a webhook endpoint. A line of output has the status or
    /// the error, the milliseconds, the type and the id of the event.
    Listen {
        /// Partner
        #[arg(long, value_name = "SID", value_parser = arguments::sid)]
        partner: Uuid,
        /// URL of the program
        #[arg(long, value_name = "URL", value_parser = url)]
        forward_to: CallbackUrl,
        /// Secret that signs, in the form of an endpoint's [default: a new one, which is printed]
        #[arg(long, value_name = "SECRET", value_parser = secret)]
        secret: Option<Secret>,
        /// Cursor behind which to begin [default: the newest event]
        #[arg(long, value_name = "CURSOR", value_parser = cursor)]
        after: Option<Cursor>,
        /// Types of events, separated by commas [default: all]
        #[arg(long, value_name = "TYPES", value_parser = TypeFilter::parse)]
        types: Option<TypeFilter>,
        /// End when there are no more events
        #[arg(long)]
        once: bool,
    },
    /// Begin a generation of events, after only the data of the database was restored
    ///
    /// Every cursor from before is rejected with 410, so that no reader misses what it cannot know.
    /// Webhooks are paused.
    NewGeneration,
    /// Encrypt the secrets of all webhook endpoints under SHORTLINE_EVENTS_KEY
    ///
    /// SHORTLINE_EVENTS_KEY_PREVIOUS decrypts those that the key before has encrypted.
    Reencrypt,
    /// Let webhooks continue that are paused because the database may be a copy
    Resume,
}

fn cursor(text: &str) -> Result<Cursor, &'static str> {
    Cursor::decode(text).ok_or("expected the cursor of an event or of a page")
}

fn url(text: &str) -> Result<CallbackUrl, String> {
    CallbackUrl::from_member(Value::from(text)).map_err(|error| error.message)
}

fn secret(text: &str) -> Result<Secret, String> {
    Secret::from_member(Value::from(text)).map_err(|error| error.message)
}

pub async fn run(
    command: Command,
    connection: &mut PgConnection,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<()> {
    match command {
        Command::Tail { partner, after, snapshot, types, once } => {
            expect_partner(connection, partner).await?;
            let start = if snapshot { Start::Snapshot } else { start(after) };
            let print = async |events: Vec<Event>| {
                events.iter().try_for_each(|event| output.json_line(event))
            };
            follow(settings, partner, start, types.unwrap_or_default(), once, print).await
        }
        Command::Listen { partner, forward_to, secret, after, types, once } => {
            expect_partner(connection, partner).await?;
            let (start, types) = (start(after), types.unwrap_or_default());
            let mut new_secret = None;
            let secret = match secret {
                Some(secret) => secret,
                None => new_secret.insert(Secret::random().map_err(cli_error)?).clone(),
            };
            let forwarder = Forwarder::new(forward_to, secret)?;
            let forward = async |events| {
                // With the first page, so that every event after this line is delivered.
                if let Some(secret) = new_secret.take() {
                    let secret = secret.as_str();
                    output
                        .sentence(&json!({"secret": secret}), &format!("signing with {secret}"))?;
                }
                forward(&forwarder, events, output).await
            };
            follow(settings, partner, start, types, once, forward).await
        }
        Command::NewGeneration => {
            let generation = store::begin_generation(connection).await?;
            let sentence = format!(
                "began generation {generation}; webhooks are paused until `shortline events resume`"
            );
            output.sentence(&json!({"generation": generation}), &sentence)
        }
        Command::Reencrypt => reencrypt(connection, settings, output).await,
        Command::Resume => {
            let resumed = store::resume(connection).await?;
            let sentence = if resumed { "resumed webhooks" } else { "webhooks were not paused" };
            output.sentence(&json!({"resumed": resumed}), sentence)
        }
    }
}

/// Encrypts the secrets of all endpoints under the newest key.
async fn reencrypt(
    connection: &mut PgConnection,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<()> {
    let (secrets, operator) = (SecretBox::of(&settings.webhooks)?, Actor::operator());
    store::open_list::<EventEndpoint>(connection, &operator).await.map_err(cli_error)?;
    let mut sids = Vec::new();
    loop {
        let endpoints = store::next_batch::<EventEndpoint>(connection).await.map_err(cli_error)?;
        if endpoints.is_empty() {
            break;
        }
        sids.extend(endpoints.iter().map(|endpoint| endpoint.endpoint_sid));
    }
    let mut failed = Vec::new();
    for sid in &sids {
        let change = |endpoint: &mut EventEndpoint| endpoint.reencrypt(&secrets);
        match store::update_within(connection, &operator, *sid, change).await {
            // One that was deleted since has no secret.
            Ok(_) | Err(ApiError::NoItem) => {}
            Err(error @ ApiError::Conflict(_)) => {
                failed.push(format!("{sid}: {}", cli_error(error)));
            }
            Err(error) => return Err(cli_error(error)),
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    let count = sids.len();
    let sentence = format!("the secrets of {count} endpoints are encrypted under the key");
    output.sentence(&json!({"endpoints": count}), &sentence)
}

async fn expect_partner(connection: &mut PgConnection, partner: Uuid) -> anyhow::Result<()> {
    let found = store::get::<Partner>(connection, &Actor::operator(), partner).await;
    found.map(|_| ()).map_err(cli_error)
}

fn start(after: Option<Cursor>) -> Start {
    after.map_or(Start::Now, Start::After)
}

/// Reads the events of a partner and its descendants, and calls `handle` with those of each page.
async fn follow(
    settings: &Settings,
    partner: Uuid,
    start: Start,
    types: TypeFilter,
    once: bool,
    mut handle: impl AsyncFnMut(Vec<Event>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let database = Database::new(settings.database()?, Division::MIN, 1)?;
    let is_wanted = |kind: &ObjectKind| types.is_empty() || types.names(*kind);
    let kinds = ObjectKind::ALL.into_iter().filter(is_wanted).map(ObjectKind::as_str);
    let kinds: Vec<_> = kinds.collect();
    let selection = Selection { own: kinds.clone(), descendants: kinds };
    let actor = Actor::partner(partner, partner, None, None);
    let feed = Feed::new(&database, 0);
    let mut follower =
        Follower::new(feed, actor, selection, types, LIMIT, start).map_err(cli_error)?;
    loop {
        let EventPage { items, has_more, .. } = follower.page().await.map_err(cli_error)?;
        handle(items).await?;
        match has_more {
            true => {}
            false if once => return Ok(()),
            false => tokio::time::sleep(INTERVAL).await,
        }
    }
}

/// Delivers the events one after the other, and prints a line for each.
async fn forward(forwarder: &Forwarder, events: Vec<Event>, output: Output) -> anyhow::Result<()> {
    for event in events {
        let (id, name) = (event.id.clone(), event.event_type.clone());
        let DeliveryAttempt { error, milliseconds, status, .. } =
            forwarder.forward(event).await.map_err(cli_error)?;
        let outcome = match (status, &error) {
            (Some(status), _) => status.to_string(),
            (None, error) => error.clone().unwrap_or_default(),
        };
        let line = json!({
            "error": error, "id": id, "milliseconds": milliseconds, "status": status, "type": name,
        });
        output.sentence(&line, &format!("{outcome}  {milliseconds} ms  {name}  {id}"))?;
    }
    Ok(())
}
