//! What an endpoint gets, by its own members and by the scopes of its partner.

use std::collections::HashSet;

use uuid::Uuid;

use super::batch::Planned;
use super::endpoint::EventEndpoint;
use super::event::{self, Typed};
use super::members::{Ordering, is_readable};
use super::replay::Replay;
use super::signature::Signer;
use super::source::{Entry, Selection};
use crate::auth::Scope;
use crate::error::ApiError;
use crate::store::Position;

/// The most deliveries of an endpoint at once.
const MAX_IN_FLIGHT: usize = 8;

/// An endpoint, and what it may get.
pub struct Target {
    pub endpoint: EventEndpoint,
    /// The place of the last entry that was delivered or passed.
    pub cursor: Position,
    /// The number of deliveries that are not complete.
    pub pending: i64,
    /// Whether one of them is due.
    pub has_due: bool,
    /// Whether past events are to be delivered again.
    pub has_replay: bool,
    pub signer: Signer,
    /// The effective scopes of the partner.
    pub scopes: Vec<Scope>,
    pub selection: Selection,
}

impl Target {
    /// The most deliveries at once: one while the endpoint fails, so that it takes few resources.
    pub fn in_flight(&self) -> usize {
        if self.endpoint.is_failing() { 1 } else { MAX_IN_FLIGHT }
    }

    /// Whether deliveries to the other one are as those to this one.
    pub fn gets_the_same_as(&self, other: &Self) -> bool {
        let members = |target: &Self| {
            let EventEndpoint { url, types, ordering, descendants, .. } = target.endpoint.clone();
            let secret = target.endpoint.date_secret_changed;
            (url, types, ordering, descendants, secret, target.scopes.clone())
        };
        members(self) == members(other)
    }

    /// Whether the endpoint gets events of that type.
    fn gets(&self, name: &str) -> bool {
        let mut types = self.endpoint.types.iter();
        types.any(|selected| selected == name) && is_readable(name, &self.scopes)
    }

    /// Returns the event of an entry, if the endpoint gets it.
    pub fn event(&self, entry: &Entry) -> Result<Option<Typed>, ApiError> {
        let Some(text) = &entry.entry else { return Ok(None) };
        let typed = event::of(entry, text)?;
        Ok(Some(typed).filter(|typed| self.gets(&typed.name)))
    }
}

/// Where entries come from. Only new ones move the endpoint's cursor and order the events of an
/// object.
#[derive(Clone, Copy)]
pub enum Stream<'a> {
    New,
    Replay(&'a Replay),
}

impl Stream<'_> {
    pub fn is_new(self) -> bool {
        matches!(self, Self::New)
    }

    /// Whether it contains events of that type.
    fn has(self, name: &str) -> bool {
        match self {
            Self::New => true,
            Self::Replay(replay) => replay.has(name),
        }
    }
}

/// Returns what to do with each entry, and the objects whose events wait for deliveries that do not
/// say so yet.
pub fn plan(
    target: &Target,
    entries: &[Entry],
    waiting: &HashSet<(Uuid, i64)>,
    stream: Stream<'_>,
) -> Result<(Vec<Planned>, Vec<Uuid>), ApiError> {
    let waiting_objects: HashSet<_> = waiting.iter().map(|(sid, _)| *sid).collect();
    let is_ordered = stream.is_new() && target.endpoint.ordering == Ordering::Object;
    let (mut planned, mut blocked) = (Vec::new(), Vec::new());
    for entry in entries {
        let position = entry.position;
        let is_waiting = waiting.contains(&(position.sid, position.version));
        let waits = is_ordered && waiting_objects.contains(&position.sid);
        let event = if is_waiting || waits { None } else { target.event(entry)? };
        let event = event.filter(|typed| stream.has(&typed.name));
        if waits && !is_waiting {
            blocked.push(position.sid);
        }
        let has_event = event.is_some();
        planned.push(Planned { position, event });
        // A failing endpoint is asked with one event at a time.
        if has_event && target.endpoint.is_failing() {
            break;
        }
    }
    Ok((planned, blocked))
}
