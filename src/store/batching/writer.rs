//! The writer: serves a batch of updates with two statements.
//!
//! The life of a request:
//!
//! 1. **Queued** by `Batcher::update` as a [`WriteRequest`]: the sid, the options, and the change as
//!    a closure that can run again.
//! 2. **Taken** with all other queued requests by [`Writer::run`], which runs rounds until every
//!    request has its reply. A request whose client has gone away by then is dropped: nothing is
//!    written. Once planned, it is written, and only its reply is lost.
//! 3. **Replayed** by [`replay_stored`] if a response is stored under its idempotency key. Of several
//!    requests with one key, one takes part in the round, and the others wait for the next.
//! 4. **Planned** by [`plan`]: its row is loaded, the precondition is checked, and the change runs on
//!    the object in memory, after those of the requests before it. A request that changes nothing or
//!    fails has its reply now; the others wait for the statement.
//! 5. **Applied** by [`apply`]: one statement writes every changed row whose version is still the one
//!    that was loaded, with its history entries and the responses to store. The statement is a
//!    transaction; a reply is sent after its commit.
//! 6. **Settled** by [`Writer::settle`]: requests of written rows get their reply. A row that another
//!    session changed meanwhile is *contended*: its requests go to the next round, which locks the row
//!    ([`Mode::Locked`]). Rounds lock the row for a second after each lost race.
//!
//! If the statement fails because of one of its rows (a constraint, a lock held elsewhere), it wrote
//! nothing, and [`apply_individually`] runs the suspect requests one by one, each in a transaction
//! of its own outside the worker, so that an error reaches only the request that caused it. After
//! any other error the outcome is unknown, and every request of the round gets 503.
//!
//! At shutdown the service stops accepting requests and waits for those in flight; a worker ends
//! when its queue is closed and empty.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::error::DatabaseError;
use uuid::Uuid;

use super::plan::{Plan, PlannedRow, plan};
use super::request::{Outcome, WriteRequest};
use super::session::{BatchQuery, Loaded, Session, fail_all};
use crate::error::ApiError;
use crate::store::database::Database;
use crate::store::idempotency::find_stored;
use crate::store::resource::Resource;
use crate::store::statement::{Batch, KeyedResponse, Mode};
use crate::store::write::update_in_transaction;

/// How long a row counts as contended after a lost race.
const CONTENDED_FOR: Duration = Duration::from_secs(1);

/// The worker that writes.
pub(super) struct Writer {
    session: Session,
    /// For requests that are applied individually.
    pool: PgPool,
    /// The rows that lost a race, and when.
    contended: HashMap<Uuid, Instant>,
}

impl Writer {
    pub fn new<R: Resource>(database: &Database) -> Self {
        Self {
            session: Session::new::<R>(database),
            pool: database.pool().clone(),
            contended: HashMap::new(),
        }
    }

    /// Closes the connection.
    pub fn close(&mut self) {
        self.session.close();
    }

    /// Serves the requests, round by round, until each has its reply.
    pub async fn run<R: Resource>(&mut self, requests: Vec<WriteRequest<R>>) {
        let mut waiting = requests;
        while !waiting.is_empty() {
            self.contended.retain(|_, since| since.elapsed() < CONTENDED_FOR);
            let is_contended =
                |request: &mut WriteRequest<R>| self.contended.contains_key(&request.sid);
            let contended: Vec<_> = waiting.extract_if(.., is_contended).collect();
            waiting = self.run_round(waiting, Mode::Optimistic).await;
            waiting.extend(self.run_round(contended, Mode::Locked).await);
        }
    }

    /// Serves the requests, and returns those that wait for the next round.
    async fn run_round<R: Resource>(
        &mut self,
        mut batch: Vec<WriteRequest<R>>,
        mode: Mode,
    ) -> Vec<WriteRequest<R>> {
        let mut next_round = Vec::new();
        batch.retain(WriteRequest::is_waiting);
        if let Err(error) = replay_stored(&mut self.session, &mut batch, &mut next_round).await {
            self.fail(batch, error, mode).await;
            return next_round;
        }
        if batch.is_empty() {
            return next_round;
        }
        let loaded = match load(&mut self.session, &batch, mode).await {
            Ok(loaded) => loaded,
            Err(error) => {
                self.fail(batch, error, mode).await;
                return next_round;
            }
        };
        let Plan { rows, replies, deferred } = plan(batch, loaded);
        next_round.extend(deferred);
        for (request, outcome) in replies {
            self.reply_unstored(request, outcome);
        }
        match apply(&mut self.session, &rows, mode).await {
            Ok(written) => next_round.extend(self.settle(rows, &written)),
            Err(error) => next_round.extend(self.recover(rows, error, mode).await),
        }
        next_round
    }

    /// Replies to the requests of the rows that were written, and returns those of contended rows.
    fn settle<R: Resource>(
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
                match outcome {
                    // Stored with the row, if the request has a key.
                    Ok(response) => drop(request.reply.send(Ok(response))),
                    Err(error) => self.reply_unstored(request, Err(error)),
                }
            }
        }
        contended
    }

    /// Handles a statement that failed and wrote nothing. Returns the requests that cannot be the
    /// cause.
    async fn recover<R: Resource>(
        &mut self,
        rows: Vec<PlannedRow<R>>,
        error: sqlx::Error,
        mode: Mode,
    ) -> Vec<WriteRequest<R>> {
        // Only a row whose reference changed can violate a foreign key.
        let is_reference = error.as_database_error().is_some_and(|error| {
            error.is_foreign_key_violation() && rows.iter().any(|row| row.reference_changed)
        });
        let (suspects, others): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| !is_reference || row.reference_changed);
        let suspects = suspects.into_iter().flat_map(PlannedRow::requests).collect();
        self.fail(suspects, error, mode).await;
        others.into_iter().flat_map(PlannedRow::requests).collect()
    }

    /// Handles requests whose statement failed: runs them individually if one of the rows is the
    /// cause. Otherwise the outcome is unknown, and all of them fail.
    async fn fail<R: Resource>(
        &mut self,
        requests: Vec<WriteRequest<R>>,
        error: sqlx::Error,
        mode: Mode,
    ) {
        if !is_row_error(&error) {
            self.session.close();
            return fail_all(requests.into_iter().map(|request| request.reply), error);
        }
        if mode == Mode::Locked {
            self.session.roll_back().await;
        }
        let mut rows: HashMap<Uuid, Vec<WriteRequest<R>>> = HashMap::new();
        for request in requests {
            rows.entry(request.sid).or_default().push(request);
        }
        rows.into_values().for_each(|requests| self.spawn_individually(requests));
    }

    /// Replies with an outcome that is not stored. A request with a key runs individually instead,
    /// which waits for other requests with the key and finds the response that they stored.
    fn reply_unstored<R: Resource>(&self, request: WriteRequest<R>, outcome: Outcome) {
        if request.options.key.is_some() {
            self.spawn_individually(vec![request]);
        } else {
            let _ = request.reply.send(outcome);
        }
    }

    fn spawn_individually<R: Resource>(&self, requests: Vec<WriteRequest<R>>) {
        actix_web::rt::spawn(apply_individually(self.pool.clone(), requests));
    }
}

/// Replies to the requests under whose key a response is stored. Of several requests with one key, all
/// but the first are moved to `next_round`.
async fn replay_stored<R: Resource>(
    session: &mut Session,
    batch: &mut Vec<WriteRequest<R>>,
    next_round: &mut Vec<WriteRequest<R>>,
) -> Result<(), sqlx::Error> {
    let mut seen = HashSet::new();
    let is_repeated =
        |request: &mut WriteRequest<R>| request.key().is_some_and(|key| !seen.insert(key));
    next_round.extend(batch.extract_if(.., is_repeated));
    if seen.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = seen.into_iter().collect();
    let mut stored = find_stored(session.connection().await?, &keys).await?;
    for request in mem::take(batch) {
        let response = request.key().and_then(|key| stored.remove(&key));
        match (response, &request.options.key) {
            (Some(response), Some(key)) => {
                let outcome = response.replay(key, &request.actor);
                let _ = request.reply.send(outcome);
            }
            _ => batch.push(request),
        }
    }
    Ok(())
}

/// Loads the row of each request; `None` if no such row is visible to its actor.
async fn load<R: Resource>(
    session: &mut Session,
    batch: &[WriteRequest<R>],
    mode: Mode,
) -> Result<Vec<Option<Rc<Loaded<R>>>>, sqlx::Error> {
    let mut query = BatchQuery::default();
    let indexes: Vec<_> =
        batch.iter().map(|request| query.add(request.sid, request.actor.visibility())).collect();
    let mut rows = vec![None; query.len()];
    for row in session.load::<R>(&query, mode).await? {
        let index = row.index as usize;
        rows[index] = Some(Rc::new(row));
    }
    Ok(indexes.into_iter().map(|index| rows[index].clone()).collect())
}

/// Writes the rows whose version is still the one that was loaded, and returns their sids.
async fn apply<R: Resource>(
    session: &mut Session,
    rows: &[PlannedRow<R>],
    mode: Mode,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    if rows.is_empty() {
        if mode == Mode::Locked {
            session.roll_back().await;
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
    // The same connection for the statement and its commit.
    let connection = session.connection().await?;
    let written = batch.execute(connection, &statement).await?;
    if mode == Mode::Locked {
        sqlx::raw_sql("commit").execute(connection).await?;
    }
    Ok(written.into_iter().collect())
}

/// Whether a statement failed because of one of its rows and wrote nothing: invalid data, a violated
/// constraint, a deadlock, or a row that is locked elsewhere.
fn is_row_error(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| {
        code.starts_with("22") || code.starts_with("23") || ["40P01", "55P03"].contains(&&*code)
    })
}

/// Runs requests for one row in their order, each in a transaction of its own. Once the row is locked
/// elsewhere for too long, the rest get 503 at once.
async fn apply_individually<R: Resource>(pool: PgPool, requests: Vec<WriteRequest<R>>) {
    let mut is_locked = false;
    for WriteRequest { actor, sid, options, change, reply, .. } in requests {
        if reply.is_closed() || is_locked {
            continue;
        }
        let outcome = update_in_transaction(&pool, &actor, sid, &options, change).await;
        is_locked = matches!(outcome, Err(ApiError::Unavailable(_)));
        let _ = reply.send(outcome);
    }
}
