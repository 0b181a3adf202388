//! Many rows at once, without waiting for company.
//!
//! Each thread of the service has a lane for reads and one for writes, with one connection each. A lane that becomes free takes
//! *whatever is waiting*: it reads those rows with one statement, makes the changes in the order in which they came, and writes
//! all of them, their history and the answers under their keys with one more. A lone request is a batch of one; under load the
//! batch grows by itself, and writers of one row no longer queue on its lock.
//!
//! Nothing is locked in between: a row is written where its version is still the one that was read. Each statement is a
//! transaction of its own, so an answer is told after its commit. A row at which another lane was faster is contended: for some
//! time its changes are made in a transaction that locks it, still all that wait at once.
//!
//! Whatever is out of the ordinary is done alone, in a transaction that locks its row: dry runs, and all members of a batch that a
//! constraint or a lock refused, so that the refusal reaches only the request that it is for.

mod read;
mod write;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgPool};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use self::read::{Read, read};
use self::write::{Write, Writer};
use super::terms::{Answer, Terms};
use super::write::update_alone;
use super::{Resource, Stored, sql};
use crate::auth::{Actor, Reach};
use crate::cutoff::Cutoff;
use crate::database::Database;
use crate::error::ApiError;

/// The most requests that a statement serves.
const MOST: usize = 64;
/// How often a lane looks again for more.
const LOOKS: usize = 2;
/// The most requests that wait for a lane.
const QUEUE: usize = 1_024;
/// How long a request waits for a lane.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a batch may take: longer than any statement.
const LONGEST: Duration = Duration::from_secs(12);
/// How long a lane keeps a connection that nobody needs.
const IDLE: Duration = Duration::from_secs(60);

/// The lanes of a thread for the objects of one kind.
pub struct Lanes<R> {
    pool: PgPool,
    reads: mpsc::Sender<Read<R>>,
    writes: mpsc::Sender<Write<R>>,
}

impl<R: Resource> Lanes<R> {
    /// Starts the lanes of this thread. What is done alone takes its connections from the pool.
    pub fn start(database: &Database, pool: PgPool) -> Self {
        let (reads, queue) = mpsc::channel(QUEUE);
        let mut session = Session::new::<R>(database);
        actix_web::rt::spawn(serve(
            queue,
            database.cutoff().clone(),
            async move |batch| match batch {
                Some(batch) => read(&mut session, batch).await,
                None => session.close(),
            },
        ));
        let (writes, queue) = mpsc::channel(QUEUE);
        let mut writer = Writer::new::<R>(database, pool.clone());
        actix_web::rt::spawn(serve(
            queue,
            database.cutoff().clone(),
            async move |batch| match batch {
                Some(batch) => writer.write(batch).await,
                None => writer.close(),
            },
        ));
        Self { pool, reads, writes }
    }

    /// The object of that sid.
    ///
    /// # Errors
    /// [`ApiError::NoItem`] where the actor reaches none.
    pub async fn get(&self, actor: &Actor, sid: Uuid) -> Result<Stored<R>, ApiError> {
        let (reply, answer) = oneshot::channel();
        let read = Read { reach: actor.reach(), sid, reply, since: Instant::now() };
        self.reads.try_send(read).map_err(|_| ApiError::Unavailable(None))?;
        answer.await.unwrap_or(Err(ApiError::Unavailable(None)))
    }

    /// As [`super::update`].
    pub(super) async fn update(
        &self,
        actor: &Actor,
        sid: Uuid,
        terms: Terms,
        change: impl Fn(&mut R) -> Result<(), ApiError> + 'static,
    ) -> Result<Answer, ApiError> {
        if terms.validate_only {
            return update_alone(&self.pool, actor, sid, &terms, change).await;
        }
        let (reply, answer) = oneshot::channel();
        let (actor, change, since) = (actor.clone(), Box::new(change), Instant::now());
        let write = Write { actor, sid, terms, change, reply, since };
        self.writes.try_send(write).map_err(|_| ApiError::Unavailable(None))?;
        answer.await.unwrap_or(Err(ApiError::Unavailable(None)))
    }
}

/// Serves whatever is waiting, as long as there are senders; nothing (`None`) where nobody came for long, or a batch came to no
/// good.
async fn serve<T>(
    mut queue: mpsc::Receiver<T>,
    cutoff: Cutoff,
    mut batch: impl AsyncFnMut(Option<Vec<T>>),
) {
    let mut last = 0;
    loop {
        let mut waiting = Vec::new();
        match tokio::time::timeout(IDLE, queue.recv_many(&mut waiting, MOST)).await {
            Ok(0) => return,
            Ok(_) => {
                look_again(&mut queue, &mut waiting, last).await;
                last = waiting.len();
                let served = AssertUnwindSafe(batch(Some(waiting))).catch_unwind();
                match tokio::time::timeout(LONGEST, served).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(_)) => tracing::error!("a batch panicked"),
                    Err(_) => {
                        tracing::error!("the database did not answer a batch in {LONGEST:?}");
                        cutoff.set();
                    }
                }
            }
            Err(_) => {}
        }
        // Whose requests were dropped, are told so.
        batch(None).await;
    }
}

/// Adds what this thread hears while fewer wait than the `last` batch had: those just answered are likely to ask again, and half a
/// batch costs nearly as much as a whole one. It goes on with what else there is to do and never sleeps, so that a lone request
/// waits for nobody.
async fn look_again<T>(queue: &mut mpsc::Receiver<T>, waiting: &mut Vec<T>, last: usize) {
    for _ in 0..LOOKS {
        if waiting.len() >= last {
            return;
        }
        tokio::task::yield_now().await;
        while waiting.len() < MOST
            && let Ok(more) = queue.try_recv()
        {
            waiting.push(more);
        }
    }
}

/// The connection of a lane, and its statements.
struct Session {
    database: Database,
    open: Option<(PgConnection, Instant)>,
    find: Arc<str>,
    lock: Arc<str>,
    apply: Arc<str>,
    apply_with_keys: Arc<str>,
}

impl Session {
    fn new<R: Resource>(database: &Database) -> Self {
        Self {
            database: database.clone(),
            open: None,
            find: sql::find::<R>(false).into(),
            lock: sql::find::<R>(true).into(),
            apply: sql::apply::<R>(false).into(),
            apply_with_keys: sql::apply::<R>(true).into(),
        }
    }

    fn close(&mut self) {
        self.open = None;
    }

    async fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        let is_stale =
            |(_, since): &(_, Instant)| self.database.cutoff().has_passed(since.elapsed());
        let (connection, since) = match self.open.take().filter(|open| !is_stale(open)) {
            Some(open) => open,
            None => {
                let since = Instant::now();
                let mut connection = self.database.connect().await?;
                // Arrays of any length are one plan: making one costs more than running it.
                let generic = sqlx::raw_sql("set plan_cache_mode = force_generic_plan");
                generic.execute(&mut connection).await?;
                (connection, since)
            }
        };
        Ok(&mut self.open.insert((connection, since)).0)
    }

    /// Ends a transaction that has written nothing.
    async fn roll_back(&mut self) {
        if let Some((connection, _)) = &mut self.open
            && sqlx::raw_sql("rollback").execute(connection).await.is_err()
        {
            self.close();
        }
    }

    /// The rows of these sids, each where it is within that reach; by their place in `asked`. Locked, in a transaction.
    async fn find<R: Resource>(
        &mut self,
        asked: &[(Uuid, Reach)],
        locked: bool,
    ) -> Result<Vec<Found<R>>, sqlx::Error> {
        let reach = |(_, reach): &(Uuid, Reach)| reach.arguments();
        let statement = if locked { self.lock.clone() } else { self.find.clone() };
        sqlx::query_as(AssertSqlSafe(statement))
            .bind((0..).take(asked.len()).collect::<Vec<i64>>())
            .bind(asked.iter().map(|(sid, _)| *sid).collect::<Vec<_>>())
            .bind(asked.iter().map(|asked| reach(asked).0).collect::<Vec<_>>())
            .bind(asked.iter().map(|asked| reach(asked).1).collect::<Vec<_>>())
            .bind(asked.iter().map(|asked| reach(asked).2).collect::<Vec<_>>())
            .fetch_all(self.connection().await?)
            .await
    }
}

/// A row that was asked for.
#[derive(FromRow)]
struct Found<T> {
    /// The place in what was asked.
    number: i64,
    #[sqlx(flatten)]
    stored: Stored<T>,
    /// The database's clock, to the millisecond.
    now: OffsetDateTime,
    /// Whether its owner, another partner than the caller's, wants every change to say which version it is for.
    must_match: bool,
}

/// What is asked of the database, each row and reach once.
#[derive(Default)]
struct Asked {
    what: Vec<(Uuid, Reach)>,
    places: HashMap<(Uuid, Reach), usize>,
}

impl Asked {
    fn place(&mut self, sid: Uuid, reach: Reach) -> usize {
        *self.places.entry((sid, reach)).or_insert_with(|| {
            self.what.push((sid, reach));
            self.what.len() - 1
        })
    }
}

/// Tells all of them that something broke; the cause to one who listens, or to the log.
fn refuse<T>(
    replies: impl Iterator<Item = oneshot::Sender<Result<T, ApiError>>>,
    error: sqlx::Error,
) {
    let mut cause = Some(ApiError::from(error));
    for reply in replies {
        let told = cause.take().unwrap_or(ApiError::Unavailable(None));
        if let Err(Err(unheard)) = reply.send(Err(told)) {
            cause = Some(unheard);
        }
    }
    if let Some(cause) = cause.as_ref().and_then(ApiError::failure) {
        tracing::error!(error = cause, "a lane failed, and nobody was left to be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn what_is_heard_meanwhile_joins_the_batch_unless_it_is_as_large_as_the_last() {
        for (last, taken) in [(3, vec![0, 1, 2]), (2, vec![0, 1, 2]), (1, vec![0])] {
            let (sender, mut queue) = mpsc::channel(QUEUE);
            actix_web::rt::spawn(async move { (sender.try_send(1), sender.try_send(2)) });
            let mut waiting = vec![0];
            look_again(&mut queue, &mut waiting, last).await;
            assert_eq!(waiting, taken, "after a batch of {last}");
        }
    }

    #[actix_web::test]
    async fn a_batch_has_its_limit() {
        let (sender, mut queue) = mpsc::channel(QUEUE);
        for number in 1..=MOST {
            sender.try_send(number).unwrap();
        }
        let mut waiting = vec![0];
        look_again(&mut queue, &mut waiting, QUEUE).await;
        assert_eq!((waiting.len(), queue.len()), (MOST, 1));
    }
}
