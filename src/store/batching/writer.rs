//! The writer: serves a batch of updates with shared statements.
//!
//! The life of a request:
//!
//! 1. **Queued** by `Batcher::update` as a [`WriteRequest`]: the sid, the options, and the change
//!    as a closure that can run again.
//! 2. **Taken** into a round, together with requests of all waiting partners. At the start of each
//!    of its rounds, and before it runs individually, a request whose client has disconnected, or
//!    that has waited too long, is dropped: it writes nothing. If its client disconnects after the
//!    last check, it is written, and only its reply is lost.
//! 3. **Replayed** by [`replay_stored`] if a response is stored under its idempotency key. If the
//!    key has none and is repeated within the round, the first request takes part and the others
//!    wait for another round.
//! 4. **Planned** by [`plan`]: its row is loaded, the precondition is checked, and the change runs
//!    on the object in memory, after those of the requests before it. If the row is still unchanged
//!    then, the outcome (an error, or that nothing changes) is sent at once, unless the request has
//!    a key (see below); otherwise it waits for the statement.
//! 5. **Applied** by [`apply`]: one statement writes every changed row whose version is still the
//!    one that was loaded, with its history entries and the responses to store. Replies are sent
//!    after the commit.
//! 6. **Settled** by [`Writer::settle`]: requests of written rows get their reply. A row that
//!    another session changed meanwhile is *contended*: its requests go into another round. For a
//!    second after such a lost race, the rounds of this worker lock the row from the loading to the
//!    commit ([`Mode::Locked`]).
//!
//! If the statement fails because of one of its rows (a constraint, a lock that is held elsewhere,
//! a key that is in use elsewhere), nothing was written. [`Writer::recover`] then runs the requests
//! of the rows that can be the cause (all rows, unless a foreign key failed) individually: rows
//! concurrently, the requests of a row in order, each in a transaction of its own outside the
//! worker. An error reaches only the request that caused it, except that a 503 ends the run of its
//! row. The other requests run again at once. After any other error it is not known whether the
//! statement committed, and its requests get 503.
//!
//! While requests of a row are rejected like this again and again, all of its requests run
//! individually ([`Rejections`]): otherwise each of them would make another statement fail, and the
//! worker would wait for the locks of those that run already.
//!
//! A request with a key always stores its response with the change. If its outcome would not be
//! stored (an error, or success on a row that nothing changes), it runs individually instead: that
//! waits for another request that holds the key, on any instance, and replays its response.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::mem;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use sqlx::error::DatabaseError;
use uuid::Uuid;

use super::plan::{Plan, PlannedRow, plan};
use super::request::{Leftover, Outcome, Worker, WriteRequest};
use super::session::{BatchQuery, Loaded, Session, fail_all, log_undelivered};
use crate::error::{ApiError, has_ended_while_idle};
use crate::store::database::Database;
use crate::store::idempotency::find_stored;
use crate::store::resource::Resource;
use crate::store::statement::{Batch, KeyedResponse, Mode};
use crate::store::write::update_individually;

/// How long a row counts as contended after a lost race.
const CONTENDED_FOR: Duration = Duration::from_secs(1);

/// How long a row has its rejections.
const REJECTED_FOR: Duration = Duration::from_secs(1);
/// The number of rejections from which on the requests of a row run individually.
const MANY_REJECTIONS: u32 = 4;

/// The rows whose requests were rejected when they ran individually: how many times, and when last.
#[derive(Clone, Default)]
struct Rejections(Rc<RefCell<HashMap<Uuid, (u32, Instant)>>>);

impl Rejections {
    fn add(&self, sid: Uuid) {
        let mut rows = self.0.borrow_mut();
        let (count, last) = rows.entry(sid).or_insert((0, Instant::now()));
        (*count, *last) = (count.saturating_add(1), Instant::now());
    }

    fn forget_old(&self) {
        self.0.borrow_mut().retain(|_, (_, last)| last.elapsed() < REJECTED_FOR);
    }

    fn are_many(&self, sid: Uuid) -> bool {
        self.0.borrow().get(&sid).is_some_and(|(count, _)| *count >= MANY_REJECTIONS)
    }
}

/// The worker that writes.
pub(super) struct Writer<R> {
    session: Session<R>,
    /// For requests that run individually.
    database: Database,
    /// The rows that lost a race, and when.
    contended: HashMap<Uuid, Instant>,
    rejections: Rejections,
}

impl<R: Resource> Writer<R> {
    pub fn new(database: &Database) -> Self {
        Self {
            session: Session::new(database),
            database: database.clone(),
            contended: HashMap::new(),
            rejections: Rejections::default(),
        }
    }
}

impl<R: Resource> Worker for Writer<R> {
    type Request = WriteRequest<R>;

    async fn run(&mut self, mut batch: Vec<WriteRequest<R>>) -> Leftover<WriteRequest<R>> {
        let mut leftover = Leftover::default();
        self.rejections.forget_old();
        let rejected = batch.extract_if(.., |request| self.rejections.are_many(request.sid));
        let rejected = rejected.collect();
        self.run_individually(rejected);
        self.contended.retain(|_, since| since.elapsed() < CONTENDED_FOR);
        let is_contended =
            |request: &mut WriteRequest<R>| self.contended.contains_key(&request.sid);
        let contended: Vec<_> = batch.extract_if(.., is_contended).collect();
        self.run_part(batch, Mode::Optimistic, &mut leftover).await;
        self.run_part(contended, Mode::Locked, &mut leftover).await;
        self.session.connection.release();
        leftover
    }

    fn close(&mut self) {
        self.session.connection.close();
    }
}

impl<R: Resource> Writer<R> {
    /// Runs the part of a batch whose rows are written in that mode.
    async fn run_part(
        &mut self,
        mut batch: Vec<WriteRequest<R>>,
        mode: Mode,
        leftover: &mut Leftover<WriteRequest<R>>,
    ) {
        batch.retain(WriteRequest::is_live);
        batch.iter_mut().for_each(|request| request.wait = None);
        if let Err(error) = replay_stored(&mut self.session, &mut batch, leftover).await {
            return self.rerun_or_fail(batch, error, mode).await;
        }
        if batch.is_empty() {
            return;
        }
        let loaded = match load(&mut self.session, &batch, mode).await {
            Ok(loaded) => loaded,
            Err(error) => return self.rerun_or_fail(batch, error, mode).await,
        };
        let Plan { rows, replies, deferred } = plan(batch, loaded).await;
        leftover.later.extend(deferred);
        for (request, outcome) in replies {
            self.reply_or_rerun(request, outcome);
        }
        match apply(&mut self.session, &rows, mode).await {
            Ok(written) => {
                self.database.commits().notify_one();
                leftover.later.extend(self.settle(rows, &written));
            }
            Err(error) => leftover.now.extend(self.recover(rows, error, mode).await),
        }
    }

    /// Replies to the requests of the rows that were written, marks the other rows as contended,
    /// and returns their requests.
    fn settle(
        &mut self,
        rows: Vec<PlannedRow<R>>,
        written: &HashSet<Uuid>,
    ) -> Vec<WriteRequest<R>> {
        let mut contended = Vec::new();
        for row in rows {
            let sid = row.stored.object.sid();
            if !written.contains(&sid) {
                self.contended.insert(sid, Instant::now());
                contended.extend(row.requests());
                continue;
            }
            for (request, outcome) in row.outcomes {
                if outcome.is_ok() {
                    // It is stored with the row, if the request has a key.
                    let _ = request.reply.send(outcome);
                } else {
                    self.reply_or_rerun(request, outcome);
                }
            }
        }
        contended
    }

    /// Handles a statement that failed. Returns the requests to run again: those that cannot be the
    /// cause, or all of them if the session had ended before the statement.
    async fn recover(
        &mut self,
        rows: Vec<PlannedRow<R>>,
        error: sqlx::Error,
        mode: Mode,
    ) -> Vec<WriteRequest<R>> {
        if has_ended_while_idle(&error) {
            self.session.connection.abandon(&error);
            return rows.into_iter().flat_map(PlannedRow::requests).collect();
        }
        // A foreign key is violated by a row whose reference changed.
        let is_reference =
            error.as_database_error().is_some_and(DatabaseError::is_foreign_key_violation);
        let has_suspect = rows.iter().any(|row| row.reference_changed);
        let (suspects, others): (Vec<_>, Vec<_>) = if is_reference && has_suspect {
            rows.into_iter().partition(|row| row.reference_changed)
        } else {
            (rows, Vec::new())
        };
        let suspects = suspects.into_iter().flat_map(PlannedRow::requests).collect();
        self.rerun_or_fail(suspects, error, mode).await;
        others.into_iter().flat_map(PlannedRow::requests).collect()
    }

    /// Handles requests whose statement failed: runs them individually if one of the rows is the
    /// cause and nothing was written. Otherwise all of them fail.
    async fn rerun_or_fail(
        &mut self,
        requests: Vec<WriteRequest<R>>,
        error: sqlx::Error,
        mode: Mode,
    ) {
        if !wrote_nothing(&error) {
            self.session.connection.close();
            return fail_all(requests.into_iter().map(|request| request.reply), error);
        }
        if mode == Mode::Locked {
            self.session.connection.roll_back().await;
        }
        self.run_individually(requests);
    }

    /// Runs requests individually: rows concurrently, the requests of a row in order.
    fn run_individually(&self, requests: Vec<WriteRequest<R>>) {
        let mut rows: HashMap<Uuid, Vec<WriteRequest<R>>> = HashMap::new();
        for request in requests {
            rows.entry(request.sid).or_default().push(request);
        }
        rows.into_values().for_each(|requests| self.spawn_row(requests));
    }

    /// Replies with an outcome that is not stored. A request with a key runs individually instead.
    fn reply_or_rerun(&self, request: WriteRequest<R>, outcome: Outcome) {
        if request.options.key.is_some() {
            self.spawn_row(vec![request]);
        } else {
            let _ = request.reply.send(outcome);
        }
    }

    fn spawn_row(&self, requests: Vec<WriteRequest<R>>) {
        let (database, rejections) = (self.database.clone(), self.rejections.clone());
        actix_web::rt::spawn(run_row(database, requests, rejections));
    }
}

/// Replies to the requests under whose key a response is stored. Of the others with the same key,
/// all but the first are left over.
async fn replay_stored<R: Resource>(
    session: &mut Session<R>,
    batch: &mut Vec<WriteRequest<R>>,
    leftover: &mut Leftover<WriteRequest<R>>,
) -> Result<(), sqlx::Error> {
    let keys: HashSet<_> = batch.iter().filter_map(WriteRequest::key).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = keys.into_iter().collect();
    let find = async |connection: &mut PgConnection| find_stored(connection, &keys).await;
    let stored = session.connection.read(find).await?;
    let mut taken = HashSet::new();
    for request in mem::take(batch) {
        let Some((id, key)) = request.key().zip(request.options.key.as_ref()) else {
            batch.push(request);
            continue;
        };
        if let Some(response) = stored.get(&id) {
            let outcome = response.replay(key, &request.actor);
            let _ = request.reply.send(outcome);
        } else if taken.insert(id) {
            batch.push(request);
        } else {
            leftover.later.push(request);
        }
    }
    Ok(())
}

/// Loads the row of each request; `None` if no such row is visible to its actor.
async fn load<R: Resource>(
    session: &mut Session<R>,
    batch: &[WriteRequest<R>],
    mode: Mode,
) -> Result<Vec<Option<Rc<Loaded<R>>>>, sqlx::Error> {
    let mut query = BatchQuery::default();
    let indexes: Vec<_> =
        batch.iter().map(|request| query.add(request.sid, request.actor.visibility())).collect();
    let mut rows = vec![None; query.len()];
    for row in session.load(&query, mode).await? {
        let index = row.index as usize;
        rows[index] = Some(Rc::new(row));
    }
    Ok(indexes.into_iter().map(|index| rows[index].clone()).collect())
}

/// Writes the rows whose version is still the one that was loaded, and returns their sids.
async fn apply<R: Resource>(
    session: &mut Session<R>,
    rows: &[PlannedRow<R>],
    mode: Mode,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    if rows.is_empty() {
        if mode == Mode::Locked {
            session.connection.roll_back().await;
        }
        return Ok(HashSet::new());
    }
    let mut batch = Batch::default();
    for row in rows {
        batch.add(row.read_version, &row.stored, &row.entries);
        for (request, outcome) in &row.outcomes {
            if let (Some(key), Ok(response), Some(partner_sid)) =
                (&request.options.key, outcome, request.actor.partner_sid())
            {
                let (sid, fingerprint) = (request.sid, key.fingerprint(&request.actor));
                batch.store(KeyedResponse { sid, partner_sid, key, fingerprint, response });
            }
        }
    }
    let statement = session.update_statement(batch.has_responses());
    // The same connection for the statement and its commit. Should it have been replaced since the
    // rows were locked, the comparison of versions still holds.
    let connection = session.connection.get().await?;
    let written = batch.execute(connection, statement).await?;
    if mode == Mode::Locked {
        sqlx::raw_sql("commit").execute(connection).await?;
    }
    Ok(written.into_iter().collect())
}

/// Whether a statement failed because of one of its rows, and certainly wrote nothing: invalid
/// data, a violated constraint, a deadlock, or a row that is locked elsewhere.
fn wrote_nothing(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| {
        code.starts_with("22") || code.starts_with("23") || ["40P01", "55P03"].contains(&&*code)
    })
}

/// Runs requests for one row in their order, each in a transaction of its own. Once one of them
/// gets 503, the others get it too: the row is locked elsewhere, or the database is not available.
async fn run_row<R: Resource>(
    database: Database,
    requests: Vec<WriteRequest<R>>,
    rejections: Rejections,
) {
    for request in requests.into_iter().filter(WriteRequest::is_live) {
        let WriteRequest { actor, sid, options, change, reply, .. } = request;
        let outcome = update_individually(&database, &actor, sid, &options, change).await;
        let gives_up = matches!(outcome, Err(ApiError::Unavailable(_)));
        if matches!(outcome, Err(ApiError::Invalid(_) | ApiError::Conflict(_))) {
            rejections.add(sid);
        }
        if let Err(Err(undelivered)) = reply.send(outcome) {
            log_undelivered(&undelivered);
        }
        if gives_up {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_runs_individually_after_many_rejections_in_a_row() {
        let (rejections, one, other) = (Rejections::default(), Uuid::now_v7(), Uuid::now_v7());
        for _ in 1..MANY_REJECTIONS {
            rejections.add(one);
            rejections.add(other);
        }
        assert!(!rejections.are_many(one));
        rejections.add(one);
        rejections.forget_old();
        assert!(rejections.are_many(one) && !rejections.are_many(other));
        let long_ago = Instant::now().checked_sub(REJECTED_FOR).unwrap();
        rejections.0.borrow_mut().values_mut().for_each(|(_, last)| *last = long_ago);
        rejections.forget_old();
        assert!(!rejections.are_many(one));
    }
}
