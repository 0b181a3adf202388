//! `shortline events`.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::arguments;
use super::output::{Output, cli_error};
use crate::auth::Actor;
use crate::events::{Cursor, Follower, ObjectKind, Start, TypeFilter};
use crate::partners::Partner;
use crate::settings::Settings;
use crate::store::{self, Database, Division, Feed, Selection};

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
    /// Begin a generation of events, after only the data of the database was restored
    ///
    /// Every cursor from before is rejected with 410, so that no reader misses what it cannot know.
    /// Webhooks are paused.
    NewGeneration,
    /// Let webhooks continue that are paused because the database may be a copy
    Resume,
}

fn cursor(text: &str) -> Result<Cursor, &'static str> {
    Cursor::decode(text).ok_or("expected the cursor of an event or of a page")
}

pub async fn run(
    command: Command,
    connection: &mut PgConnection,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<()> {
    match command {
        Command::Tail { partner, after, snapshot, types, once } => {
            let operator = Actor::operator();
            store::get::<Partner>(connection, &operator, partner).await.map_err(cli_error)?;
            let start = match after {
                Some(cursor) => Start::After(cursor),
                None if snapshot => Start::Snapshot,
                None => Start::Now,
            };
            tail(settings, partner, start, types.unwrap_or_default(), once, output).await
        }
        Command::NewGeneration => {
            let generation = store::begin_generation(connection).await?;
            let sentence = format!(
                "began generation {generation}; webhooks are paused until `shortline events resume`"
            );
            output.sentence(&json!({"generation": generation}), &sentence)
        }
        Command::Resume => {
            let resumed = store::resume(connection).await?;
            let sentence = if resumed { "resumed webhooks" } else { "webhooks were not paused" };
            output.sentence(&json!({"resumed": resumed}), sentence)
        }
    }
}

async fn tail(
    settings: &Settings,
    partner: Uuid,
    start: Start,
    types: TypeFilter,
    once: bool,
    output: Output,
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
        let page = follower.page().await.map_err(cli_error)?;
        for event in &page.items {
            output.json_line(event)?;
        }
        match page.has_more {
            true => {}
            false if once => return Ok(()),
            false => tokio::time::sleep(INTERVAL).await,
        }
    }
}
