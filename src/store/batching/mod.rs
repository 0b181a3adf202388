//! Batches concurrent reads and writes of one resource into shared statements, without delaying a
//! request that arrives alone.
//!
//! Each thread of the service has a reader and a writer for each batched resource. An idle worker
//! takes the waiting requests, at most [`MAX_BATCH_SIZE`], and runs a *round*: it serves them with
//! shared statements. A request that arrives alone is a batch of one; under load the batches grow
//! by themselves.
//!
//! Start with `writer`, which describes the life of a request. `plan` is its part in memory, and
//! `reader` does the same for reads. `queue` holds the waiting requests, `request` their types, and
//! `session` the connection of a worker.
//!
//! At shutdown the service closes its listener and waits for the requests in flight, so their
//! rounds run to the end. A worker ends when its thread drops the [`Batcher`]: no request waits
//! then, since each one borrows it.

mod plan;
mod queue;
mod reader;
mod request;
mod session;
mod writer;

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use prometheus::Histogram;
use tokio::sync::oneshot;
use uuid::Uuid;

use self::queue::{Queue, Queued};
use self::reader::Reader;
use self::request::{Leftover, ReadRequest, Worker, WriteRequest};
use self::writer::Writer;
use super::database::Database;
use super::lookup::{BySid, Lookup};
use super::options::{WriteOptions, WriteResponse};
use super::resource::{Resource, Stored};
use super::staleness::Staleness;
use crate::auth::Actor;
use crate::error::ApiError;
use crate::telemetry::activity::Waits;

/// The most requests in one batch.
const MAX_BATCH_SIZE: usize = 64;
/// How many times a worker looks for more requests before it runs a round. Each time the thread's
/// other tasks run once; the next request of a client arrives after two to four of them.
const MAX_REFILLS: usize = 4;
/// The longest time that a round takes: longer than its statements, unless the database hangs.
const ROUND_TIMEOUT: Duration = Duration::from_secs(15);
/// The time after which a worker closes a connection that it does not use.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The lookups of one thread. Concurrent ones share a statement.
pub struct Lookups<L: Lookup> {
    queue: Rc<Queue<ReadRequest<L>>>,
    waits: Waits,
}

impl<L: Lookup> Lookups<L> {
    /// The number of workers of one thread.
    pub const WORKERS: u32 = 1;

    /// Starts the worker. It must be created on its thread, inside the thread's runtime.
    pub fn new(database: &Database) -> Self {
        let queue = Rc::new(Queue::default());
        let (activity, staleness) = (database.activity(), database.staleness().clone());
        let (reader, sizes) = (Reader::new(database), activity.batch_sizes("reads"));
        actix_web::rt::spawn(run_rounds(queue.clone(), reader, staleness, sizes));
        Self { queue, waits: activity.waits("batches of reads") }
    }

    /// Returns the row with that key.
    ///
    /// # Errors
    /// [`ApiError::NoItem`] if no such row is visible to the actor.
    pub async fn get(&self, actor: &Actor, key: L::Key) -> Result<L::Row, ApiError> {
        let (sender, response) = oneshot::channel();
        let request = ReadRequest {
            partner_sid: actor.partner_sid(),
            subtree_sid: actor.subtree_sid(),
            visibility: actor.visibility(),
            key,
            reply: sender,
            queued: Instant::now(),
            wait: Some(self.waits.begin()),
        };
        admitted(&self.waits, self.queue.push(request))?;
        reply(&self.waits, response).await
    }
}

impl<L: Lookup> Drop for Lookups<L> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The workers of one thread for one resource.
pub(super) struct Batcher<R: Resource> {
    reads: Lookups<BySid<R>>,
    writes: Rc<Queue<WriteRequest<R>>>,
    write_waits: Waits,
}

impl<R: Resource> Batcher<R> {
    /// The number of workers of one thread for one resource.
    pub const WORKERS: u32 = Lookups::<BySid<R>>::WORKERS + 1;

    /// Starts the workers on this thread.
    pub fn start(database: &Database) -> Self {
        let writes = Rc::new(Queue::default());
        let (activity, staleness) = (database.activity(), database.staleness().clone());
        let (writer, sizes) = (Writer::new(database), activity.batch_sizes("updates"));
        actix_web::rt::spawn(run_rounds(writes.clone(), writer, staleness, sizes));
        let write_waits = activity.waits("batches of updates");
        Self { reads: Lookups::new(database), writes, write_waits }
    }

    /// Returns the object with that sid.
    pub async fn get(&self, actor: &Actor, sid: Uuid) -> Result<Stored<R>, ApiError> {
        self.reads.get(actor, sid).await
    }

    /// Changes the object with that sid. A dry run must not be batched.
    pub async fn update(
        &self,
        actor: &Actor,
        sid: Uuid,
        options: WriteOptions,
        change: impl Fn(&mut R) -> Result<(), ApiError> + 'static,
    ) -> Result<WriteResponse, ApiError> {
        debug_assert!(!options.validate_only, "a dry run was batched");
        if options.key.is_some() {
            // A key belongs to a partner.
            actor.own_partner_sid()?;
        }
        let (sender, response) = oneshot::channel();
        let (actor, change, queued) = (actor.clone(), Box::new(change), Instant::now());
        let wait = Some(self.write_waits.begin());
        let request = WriteRequest { actor, sid, options, change, reply: sender, queued, wait };
        admitted(&self.write_waits, self.writes.push(request))?;
        reply(&self.write_waits, response).await
    }
}

/// Counts a request that is rejected because the queue is full.
fn admitted(waits: &Waits, pushed: Result<(), ApiError>) -> Result<(), ApiError> {
    if let Err(ApiError::Unavailable(_)) = pushed {
        waits.count_timeout();
    }
    pushed
}

/// Returns the reply to a request; 503 if it was dropped because it has waited too long.
async fn reply<T>(
    waits: &Waits,
    response: oneshot::Receiver<Result<T, ApiError>>,
) -> Result<T, ApiError> {
    response.await.unwrap_or_else(|_| {
        waits.count_timeout();
        Err(ApiError::Unavailable(None))
    })
}

impl<R: Resource> Drop for Batcher<R> {
    fn drop(&mut self) {
        self.writes.close();
    }
}

/// Runs rounds until the queue is closed and empty.
///
/// If a round panics or hangs, the worker's connection is closed, and the requests get 503 because
/// their reply channels are dropped.
async fn run_rounds<W: Worker>(
    queue: Rc<Queue<W::Request>>,
    mut worker: W,
    staleness: Staleness,
    sizes: Histogram,
) {
    let (mut batch, mut last_size) = (Vec::new(), 0);
    loop {
        if batch.is_empty() {
            match tokio::time::timeout(IDLE_TIMEOUT, queue.wait()).await {
                Ok(true) => refill(&queue, &mut batch, last_size).await,
                Ok(false) => return,
                Err(_) => {
                    worker.close();
                    continue;
                }
            }
            last_size = batch.len();
            sizes.observe(last_size as f64);
        }
        let round = AssertUnwindSafe(worker.run(std::mem::take(&mut batch))).catch_unwind();
        match tokio::time::timeout(ROUND_TIMEOUT, round).await {
            Ok(Ok(Leftover { now, later })) => {
                queue.put_back(later);
                batch = now;
            }
            Ok(Err(_)) => {
                tracing::error!("a batch panicked");
                worker.close();
            }
            Err(_) => {
                tracing::error!("the database did not answer within {ROUND_TIMEOUT:?}");
                staleness.mark_all_stale();
                worker.close();
            }
        }
    }
}

/// Fills the batch. If it is smaller than the last one, adds the requests that arrive while this
/// thread runs its other tasks: clients that have just been answered are likely to send again, and
/// half a batch costs nearly as much as a whole one. It yields but never sleeps, so that a request
/// that arrives alone does not wait.
async fn refill<T: Queued>(queue: &Queue<T>, batch: &mut Vec<T>, last_size: usize) {
    queue.fill(batch, MAX_BATCH_SIZE);
    for _ in 0..MAX_REFILLS {
        if batch.len() >= last_size {
            return;
        }
        tokio::task::yield_now().await;
        queue.fill(batch, MAX_BATCH_SIZE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Request;

    impl Queued for Request {
        fn partner_sid(&self) -> Option<Uuid> {
            None
        }

        fn subtree_sid(&self) -> Option<Uuid> {
            None
        }
    }

    #[actix_web::test]
    async fn a_batch_smaller_than_the_last_one_is_refilled() {
        for (last_size, expected) in [(3, 3), (2, 3), (1, 1)] {
            let queue = Rc::new(Queue::default());
            queue.push(Request).unwrap();
            let sender = queue.clone();
            actix_web::rt::spawn(async move { (sender.push(Request), sender.push(Request)) });
            let mut batch = Vec::new();
            refill(&queue, &mut batch, last_size).await;
            assert_eq!(batch.len(), expected, "after a batch of {last_size}");
        }
    }

    #[actix_web::test]
    async fn a_batch_is_limited() {
        let queue = Queue::default();
        for _ in 0..=MAX_BATCH_SIZE {
            queue.push(Request).unwrap();
        }
        let mut batch = Vec::new();
        refill(&queue, &mut batch, queue::CAPACITY).await;
        assert_eq!(batch.len(), MAX_BATCH_SIZE);
    }
}
