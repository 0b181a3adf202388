//! The plan of a round: the changes of its requests, applied to the loaded rows in memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::mem;
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

/// What a round does with its requests.
pub(super) struct Plan<R> {
    /// The rows to write, ordered by sid, so that no two statements can deadlock.
    pub rows: Vec<PlannedRow<R>>,
    /// The requests that write nothing, and their outcomes.
    pub replies: Vec<(WriteRequest<R>, Outcome)>,
    /// The requests that wait for the next round.
    pub deferred: Vec<WriteRequest<R>>,
}

/// A row with the changes that the requests of a batch make to it.
pub(super) struct PlannedRow<R> {
    /// The version that was loaded.
    pub read_version: i64,
    /// The row as it is to be written.
    pub stored: Stored<R>,
    /// A snapshot of its object.
    snapshot: Box<RawValue>,
    now: OffsetDateTime,
    /// Whether a reference changed.
    pub reference_changed: bool,
    /// Whether further changes wait for the next round.
    is_closed: bool,
    pub entries: Vec<Entry>,
    /// The requests that wait for the row to be written, and the outcomes that they get then.
    pub outcomes: Vec<(WriteRequest<R>, Outcome)>,
}

/// Applies the changes in memory, in the order in which the requests arrived.
pub(super) fn plan<R: Resource>(
    batch: Vec<WriteRequest<R>>,
    loaded: Vec<Option<Rc<Loaded<R>>>>,
) -> Plan<R> {
    let (mut replies, mut deferred) = (Vec::new(), Vec::new());
    let mut rows: HashMap<Uuid, PlannedRow<R>> = HashMap::new();
    for (request, loaded) in batch.into_iter().zip(loaded) {
        let Some(loaded) = loaded else {
            replies.push((request, Err(ApiError::NoItem)));
            continue;
        };
        let row = match rows.entry(request.sid) {
            Slot::Occupied(row) => Ok(row.into_mut()),
            Slot::Vacant(slot) => PlannedRow::new(&loaded).map(|row| slot.insert(row)),
        };
        let outcome = row.and_then(|row| row.change(&request, loaded.if_match_required));
        let Some(outcome) = outcome.transpose() else {
            deferred.push(request);
            continue;
        };
        match rows.get_mut(&request.sid).filter(|row| row.is_changed()) {
            // Its outcome rests on changes that are yet to be written.
            Some(row) => row.outcomes.push((request, outcome)),
            None => replies.push((request, outcome)),
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
            is_closed: false,
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

    /// Applies the change of a request and returns its response; `None` if it waits for the next
    /// round.
    ///
    /// Only the last version of a round is written to the table. The database must check each value of
    /// a reference, so a reference changes at most once in a round: the second change of one, and all
    /// requests after it, wait.
    fn change(
        &mut self,
        request: &WriteRequest<R>,
        if_match_required: bool,
    ) -> Result<Option<WriteResponse>, ApiError> {
        if self.is_closed {
            return Ok(None);
        }
        request.options.precondition.check(self.stored.version, if_match_required)?;
        let mut object = self.stored.object.clone();
        (request.change)(&mut object)?;
        let snapshot = object.snapshot()?;
        if snapshot.get() != self.snapshot.get() {
            let changes = Changes::between(Some(&self.snapshot), Some(&snapshot))?;
            if R::REFERENCES.iter().any(|name| changes.has(name)) {
                self.is_closed = mem::replace(&mut self.reference_changed, true);
            }
            if self.is_closed {
                return Ok(None);
            }
            let mut after = self.stored.next(object, self.now);
            self.entries.push(after.record(&request.actor, Action::Update, &changes)?);
            (self.stored, self.snapshot) = (after, snapshot);
        }
        WriteResponse::of(&self.stored.object, self.stored.version).map(Some)
    }
}
