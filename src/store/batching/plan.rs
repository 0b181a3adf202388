//! The plan of a round: the changes of its requests, applied to the loaded rows in memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::rc::Rc;

use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use super::request::{Outcome, WriteRequest};
use super::session::Loaded;
use crate::error::ApiError;
use crate::store::history::{Action, Changes, Entry};
use crate::store::options::WriteResponse;
use crate::store::resource::{Resource, Stored};
use crate::store::turn::Turn;

/// What a round does with its requests.
pub(super) struct Plan<R> {
    /// The rows to write, ordered by sid, which makes deadlocks between statements rare.
    pub rows: Vec<PlannedRow<R>>,
    /// The requests whose outcomes do not depend on a row that is yet to be written.
    pub replies: Vec<(WriteRequest<R>, Outcome)>,
    /// The requests that wait for another round.
    pub deferred: Vec<WriteRequest<R>>,
}

/// A row with the changes that the requests of a batch make to it.
pub(super) struct PlannedRow<R> {
    /// The version that was loaded.
    pub read_version: i64,
    /// The row as it is to be written.
    pub stored: Stored<R>,
    /// Whether a reference changed.
    pub reference_changed: bool,
    pub entries: Vec<Entry>,
    /// The requests that wait for the row to be written, and the outcomes that they get then.
    pub outcomes: Vec<(WriteRequest<R>, Outcome)>,
    /// A snapshot of its object.
    snapshot: Box<RawValue>,
    now: OffsetDateTime,
    /// Whether all further requests wait for another round.
    defers: bool,
}

/// What became of a request for a row.
enum Applied {
    Response(WriteResponse),
    Deferred,
}

/// Applies the changes in memory, in the order of the requests.
pub(super) async fn plan<R: Resource>(
    batch: Vec<WriteRequest<R>>,
    loaded: Vec<Option<Rc<Loaded<R>>>>,
) -> Plan<R> {
    let (mut replies, mut deferred) = (Vec::new(), Vec::new());
    let mut rows: HashMap<Uuid, PlannedRow<R>> = HashMap::new();
    let mut turn = Turn::default();
    for (request, loaded) in batch.into_iter().zip(loaded) {
        // A change of large attributes takes milliseconds, and a batch has many.
        turn.pause().await;
        let Some(loaded) = loaded else {
            replies.push((request, Err(ApiError::NoItem)));
            continue;
        };
        let row = match rows.entry(request.sid) {
            Slot::Occupied(row) => row.into_mut(),
            Slot::Vacant(slot) => match PlannedRow::new(&loaded) {
                Ok(row) => slot.insert(row),
                Err(error) => {
                    replies.push((request, Err(error)));
                    continue;
                }
            },
        };
        let outcome = match row.change(&request, loaded.if_match_required) {
            Ok(Applied::Deferred) => {
                deferred.push(request);
                continue;
            }
            Ok(Applied::Response(response)) => Ok(response),
            Err(error) => Err(error),
        };
        if row.is_changed() {
            row.outcomes.push((request, outcome));
        } else {
            replies.push((request, outcome));
        }
    }
    let mut rows: Vec<_> = rows.into_values().filter(PlannedRow::is_changed).collect();
    rows.sort_unstable_by_key(|row| row.stored.object.sid());
    Plan { rows, replies, deferred }
}

impl<R: Resource> PlannedRow<R> {
    fn new(loaded: &Loaded<R>) -> Result<Self, ApiError> {
        let stored = loaded.stored.clone();
        Ok(Self {
            read_version: stored.version,
            snapshot: stored.object.snapshot()?,
            stored,
            now: loaded.now,
            reference_changed: false,
            defers: false,
            entries: Vec::new(),
            outcomes: Vec::new(),
        })
    }

    fn is_changed(&self) -> bool {
        !self.entries.is_empty()
    }

    /// The requests that wait for the row to be written.
    pub fn requests(self) -> impl Iterator<Item = WriteRequest<R>> {
        self.outcomes.into_iter().map(|(request, _)| request)
    }

    /// Applies the change of a request.
    ///
    /// Only the last version of a round is written to the table. Each reference must be checked by
    /// the database, so at most one request of a round changes references of a row: the second one,
    /// and all requests after it, wait. Other constraints hold for every value that a change can
    /// set, because the types of the members do not hold any other.
    fn change(
        &mut self,
        request: &WriteRequest<R>,
        if_match_required: bool,
    ) -> Result<Applied, ApiError> {
        if self.defers {
            return Ok(Applied::Deferred);
        }
        request.options.preconditions.check(self.stored.version, if_match_required)?;
        let mut object = self.stored.object.clone();
        (request.change)(&mut object)?;
        let snapshot = object.snapshot()?;
        if snapshot.get() == self.snapshot.get() {
            let Stored { object, version, .. } = &self.stored;
            return WriteResponse::of(object, *version).map(Applied::Response);
        }
        let changes = Changes::between(Some(&self.snapshot), Some(&snapshot))?;
        let changes_reference = R::REFERENCES.iter().any(|name| changes.has(name));
        if changes_reference && self.reference_changed {
            self.defers = true;
            return Ok(Applied::Deferred);
        }
        let mut after = self.stored.next(object, self.now);
        let entry = after.record(&request.actor, Action::Update, &changes)?;
        let response = WriteResponse::of(&after.object, after.version)?;
        // From here on nothing fails: the row changes if and only if the request gets its response.
        self.reference_changed |= changes_reference;
        self.entries.push(entry);
        (self.stored, self.snapshot) = (after, snapshot);
        Ok(Applied::Response(response))
    }
}
