//! The lane for writes.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, HashSet};
use std::mem;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Asked, Found, PATIENCE, Session, refuse};
use crate::auth::Actor;
use crate::database::Database;
use crate::error::ApiError;
use crate::store::history::{Action, Changes, Entry};
use crate::store::terms::{Answer, Terms, kept_under};
use crate::store::write::{Batch, update_alone};
use crate::store::{Resource, Stored};

/// How long a row counts as contended after a lost race.
const CONTENDED: Duration = Duration::from_secs(1);

/// A change that can be made again, should another one have been faster.
pub(super) type Change<R> = Box<dyn Fn(&mut R) -> Result<(), ApiError>>;

/// A request for a change.
pub(super) struct Write<R> {
    pub actor: Actor,
    pub sid: Uuid,
    pub terms: Terms,
    pub change: Change<R>,
    pub reply: oneshot::Sender<Result<Answer, ApiError>>,
    pub since: Instant,
}

/// A row that is being changed.
struct Row<R> {
    /// The version that was read.
    seen: i64,
    stored: Stored<R>,
    /// The object as it is now, as the history keeps it.
    recorded: Box<RawValue>,
    now: OffsetDateTime,
    /// Whether a reference of it was changed.
    has_referred: bool,
    /// Whether what else there is to change has to wait.
    is_full: bool,
    entries: Vec<Entry>,
    /// What each of its requests will be told, once the row is written.
    outcomes: Vec<(Write<R>, Result<Answer, ApiError>)>,
}

/// The lane for writes.
pub(super) struct Writer {
    session: Session,
    /// For what is done alone.
    pool: PgPool,
    /// The rows at which another lane was faster, and when.
    contended: HashMap<Uuid, Instant>,
}

impl Writer {
    pub fn new<R: Resource>(database: &Database, pool: PgPool) -> Self {
        Self { session: Session::new::<R>(database), pool, contended: HashMap::new() }
    }

    /// Gives the connection back.
    pub fn close(&mut self) {
        self.session.close();
    }

    /// Serves the requests, round by round, until all are answered or done alone.
    pub async fn write<R: Resource>(&mut self, batch: Vec<Write<R>>) {
        let mut batch = batch;
        while !batch.is_empty() {
            self.contended.retain(|_, since| since.elapsed() < CONTENDED);
            let contended = |write: &mut Write<R>| self.contended.contains_key(&write.sid);
            let locked: Vec<_> = batch.extract_if(.., contended).collect();
            batch = self.round(batch, false).await;
            batch.extend(self.round(locked, true).await);
        }
    }

    /// Serves the requests, and returns those that lost a race, or have to wait for another one under their key.
    async fn round<R: Resource>(
        &mut self,
        mut batch: Vec<Write<R>>,
        locked: bool,
    ) -> Vec<Write<R>> {
        batch.retain(|write| !write.reply.is_closed() && write.since.elapsed() <= PATIENCE);
        let mut later = Vec::new();
        if batch.is_empty() {
            return later;
        }
        let outcome = match tell_kept(&mut self.session, &mut batch, &mut later).await {
            Ok(()) if batch.is_empty() => return later,
            Ok(()) => find(&mut self.session, &batch, locked).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(found) => later.extend(self.make(batch, found, locked).await),
            Err(error) => {
                let mut rows: HashMap<Uuid, Vec<Write<R>>> = HashMap::new();
                for write in batch {
                    rows.entry(write.sid).or_default().push(write);
                }
                self.refused(rows.into_values().collect(), error, locked).await;
            }
        }
        later
    }

    /// Makes the changes of the rows found, and returns those that lost a race.
    async fn make<R: Resource>(
        &mut self,
        batch: Vec<Write<R>>,
        found: Vec<Option<Rc<Found<R>>>>,
        locked: bool,
    ) -> Vec<Write<R>> {
        let mut later = Vec::new();
        let mut rows: HashMap<Uuid, Row<R>> = HashMap::new();
        for (write, found) in batch.into_iter().zip(found) {
            let outcome = match &found {
                None => Some(Err(ApiError::NoItem)),
                Some(found) => {
                    let row = match rows.entry(write.sid) {
                        Slot::Occupied(row) => Ok(row.into_mut()),
                        Slot::Vacant(slot) => {
                            Row::new(found.stored.clone(), found.now).map(|row| slot.insert(row))
                        }
                    };
                    row.and_then(|row| row.change(&write, found.must_match)).transpose()
                }
            };
            let Some(outcome) = outcome else {
                later.push(write);
                continue;
            };
            match rows.get_mut(&write.sid).filter(|row| !row.entries.is_empty()) {
                Some(row) => row.outcomes.push((write, outcome)),
                None => self.tell(write, outcome, false),
            }
        }
        let mut rows: Vec<_> = rows.into_values().filter(|row| !row.entries.is_empty()).collect();
        // In one order everywhere, so that no two statements wait for each other.
        rows.sort_unstable_by_key(|row| row.stored.object.sid());
        match write_rows(&mut self.session, &rows, locked).await {
            Ok(written) => {
                for row in rows {
                    let sid = row.stored.object.sid();
                    if written.binary_search(&sid).is_ok() {
                        for (write, outcome) in row.outcomes {
                            let is_kept = outcome.is_ok();
                            self.tell(write, outcome, is_kept);
                        }
                    } else {
                        self.contended.insert(sid, Instant::now());
                        later.extend(row.outcomes.into_iter().map(|(write, _)| write));
                    }
                }
            }
            Err(error) => {
                // Of a reference to nothing the others are not guilty.
                let is_reference = error.as_database_error().is_some_and(|error| {
                    error.is_foreign_key_violation() && rows.iter().any(|row| row.has_referred)
                });
                let mut suspects = Vec::new();
                for row in rows {
                    let of_row = row.outcomes.into_iter().map(|(write, _)| write);
                    if is_reference && !row.has_referred {
                        later.extend(of_row);
                    } else {
                        suspects.push(of_row.collect());
                    }
                }
                self.refused(suspects, error, locked).await;
            }
        }
        later
    }

    /// A statement was refused. Where a row is the cause, each row is done alone; else nobody knows what was done.
    async fn refused<R: Resource>(
        &mut self,
        rows: Vec<Vec<Write<R>>>,
        error: sqlx::Error,
        locked: bool,
    ) {
        if !is_about_a_row(&error) {
            self.session.close();
            return refuse(rows.into_iter().flatten().map(|write| write.reply), error);
        }
        if locked {
            self.session.roll_back().await;
        }
        rows.into_iter().for_each(|writes| self.alone(writes));
    }

    /// Answers. Under a key, what is not kept is told only where nobody else has used the key meanwhile.
    fn tell<R: Resource>(&self, write: Write<R>, outcome: Result<Answer, ApiError>, is_kept: bool) {
        if write.terms.key.is_some() && !is_kept {
            self.alone(vec![write]);
        } else {
            let _ = write.reply.send(outcome);
        }
    }

    fn alone<R: Resource>(&self, writes: Vec<Write<R>>) {
        actix_web::rt::spawn(one_by_one(self.pool.clone(), writes));
    }
}

/// The rows that these requests are for, each where it is within the caller's reach.
async fn find<R: Resource>(
    session: &mut Session,
    batch: &[Write<R>],
    locked: bool,
) -> Result<Vec<Option<Rc<Found<R>>>>, sqlx::Error> {
    let mut asked = Asked::default();
    let places: Vec<_> =
        batch.iter().map(|write| asked.place(write.sid, write.actor.reach())).collect();
    if locked {
        sqlx::raw_sql("begin").execute(session.connection().await?).await?;
    }
    let mut found = vec![None; asked.what.len()];
    for row in session.find::<R>(&asked.what, locked).await? {
        let place = row.number as usize;
        found[place] = Some(Rc::new(row));
    }
    Ok(places.into_iter().map(|place| found[place].clone()).collect())
}

/// Answers those whose key keeps an answer. Of several under one key, all but the first come `later`.
async fn tell_kept<R: Resource>(
    session: &mut Session,
    batch: &mut Vec<Write<R>>,
    later: &mut Vec<Write<R>>,
) -> Result<(), sqlx::Error> {
    if batch.iter().all(|write| write.terms.key.is_none()) {
        return Ok(());
    }
    let mut keys = HashSet::new();
    for write in mem::take(batch) {
        let is_first = write.key().is_none_or(|key| keys.insert(key));
        if is_first { batch.push(write) } else { later.push(write) }
    }
    let keys: Vec<_> = batch.iter().filter_map(Write::key).collect();
    let mut kept = kept_under(session.connection().await?, &keys).await?;
    for write in mem::take(batch) {
        match (write.key().and_then(|key| kept.remove(&key)), &write.terms.key) {
            (Some(kept), Some(key)) => drop(write.reply.send(kept.answer(key, &write.actor))),
            _ => batch.push(write),
        }
    }
    Ok(())
}

impl<R> Write<R> {
    /// The key and whose it is.
    fn key(&self) -> Option<(Uuid, String)> {
        Some((self.actor.partner_sid()?, self.terms.key.as_ref()?.text().to_owned()))
    }
}

impl<R: Resource> Row<R> {
    fn new(stored: Stored<R>, now: OffsetDateTime) -> Result<Self, ApiError> {
        let recorded = stored.object.recorded()?;
        let seen = stored.version;
        let (entries, outcomes) = (Vec::new(), Vec::new());
        let (has_referred, is_full) = (false, false);
        Ok(Self { seen, stored, recorded, now, has_referred, is_full, entries, outcomes })
    }

    /// Makes a change, and says what is to be answered to it; nothing where it has to wait for the next round.
    ///
    /// What is written is only what the row becomes in the end. A reference must be seen by the database to be checked, so it
    /// changes once a round.
    fn change(&mut self, write: &Write<R>, must_match: bool) -> Result<Option<Answer>, ApiError> {
        if self.is_full {
            return Ok(None);
        }
        write.terms.precondition.judge(self.stored.version, must_match)?;
        let mut object = self.stored.object.clone();
        (write.change)(&mut object)?;
        let recorded = object.recorded()?;
        if recorded.get() != self.recorded.get() {
            let changes = Changes::between(Some(&self.recorded), Some(&recorded))?;
            if R::REFERENCES.iter().any(|name| changes.has(name)) {
                self.is_full = mem::replace(&mut self.has_referred, true);
            }
            if self.is_full {
                return Ok(None);
            }
            let mut after = self.stored.next(object, self.now);
            self.entries.push(after.record(&write.actor, Action::Update, &changes)?);
            (self.stored, self.recorded) = (after, recorded);
        }
        Answer::of(&self.stored.object, self.stored.version).map(Some)
    }
}

/// Writes the rows, and returns the sids of those that were still at the version seen, in order.
async fn write_rows<R: Resource>(
    session: &mut Session,
    rows: &[Row<R>],
    locked: bool,
) -> Result<Vec<Uuid>, sqlx::Error> {
    if rows.is_empty() {
        if locked {
            session.roll_back().await;
        }
        return Ok(Vec::new());
    }
    let mut batch = Batch::default();
    for row in rows {
        batch.add(row.seen, &row.stored, &row.entries);
        for (write, outcome) in &row.outcomes {
            if let (Some(key), Ok(answer), Some(partner_sid)) =
                (&write.terms.key, outcome, write.actor.partner_sid())
            {
                let request = key.request(&write.actor);
                batch.keep(row.stored.object.sid(), partner_sid, key, request, answer);
            }
        }
    }
    let statement = if batch.has_keys() { &session.apply_with_keys } else { &session.apply };
    let statement = statement.clone();
    // One connection for both: another one would know nothing of the transaction.
    let connection = session.connection().await?;
    let mut written = batch.write(connection, &statement).await?;
    if locked {
        sqlx::raw_sql("commit").execute(connection).await?;
    }
    written.sort_unstable();
    Ok(written)
}

/// Whether a statement was refused because of one of its rows, and did nothing: bad data, a broken constraint, a deadlock, a row
/// that is locked elsewhere.
fn is_about_a_row(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| {
        code.starts_with("22") || code.starts_with("23") || ["40P01", "55P03"].contains(&&*code)
    })
}

/// Makes changes of one row in their order, each in a transaction of its own. What finds the row locked for too long speaks for
/// those after it.
async fn one_by_one<R: Resource>(pool: PgPool, writes: Vec<Write<R>>) {
    let mut is_locked = false;
    for Write { actor, sid, terms, change, reply, .. } in writes {
        if reply.is_closed() || is_locked {
            continue;
        }
        let answer = update_alone(&pool, &actor, sid, &terms, change).await;
        is_locked = matches!(answer, Err(ApiError::Unavailable(_)));
        let _ = reply.send(answer);
    }
}
