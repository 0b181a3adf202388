//! Batches concurrent reads and writes of one resource into shared statements, without a timer.
//!
//! Each thread of the service has a reader and a writer for each batched resource, and each of them
//! has a connection of its own. An idle worker takes every queued request, at most
//! [`MAX_BATCH_SIZE`], and serves them with shared statements. A request that arrives alone is a
//! batch of one; under load the batches grow by themselves.
//!
//! Start with `writer`, which tells the life of a request; `plan` is its part in memory, `reader` the
//! same for reads, and `session` the connection of a worker. A worker ends when its [`Batcher`] is
//! dropped: when its thread stops, after the last request in flight.

mod plan;
mod reader;
mod request;
mod session;
mod writer;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use self::reader::read;
use self::request::{ReadRequest, WriteRequest};
use self::session::Session;
use self::writer::Writer;
use super::database::Database;
use super::options::{WriteOptions, WriteResponse};
use super::resource::{Resource, Stored};
use super::staleness::Staleness;
use crate::auth::Actor;
use crate::error::ApiError;

/// The most requests in one batch.
const MAX_BATCH_SIZE: usize = 64;
/// How often a worker looks for more requests before it runs a batch.
const MAX_REFILLS: usize = 2;
/// The most requests that wait for a worker. Further requests are rejected with 503.
const QUEUE_CAPACITY: usize = 1_024;
/// The longest time that a batch takes: longer than any statement, unless the database hangs.
const BATCH_TIMEOUT: Duration = Duration::from_secs(12);
/// How long a worker keeps a connection that it does not use.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The workers of one thread for one resource.
pub(super) struct Batcher<R> {
    reads: mpsc::Sender<ReadRequest<R>>,
    writes: mpsc::Sender<WriteRequest<R>>,
}

impl<R: Resource> Batcher<R> {
    /// Starts the workers on this thread.
    pub fn start(database: &Database) -> Self {
        let (reads, queue) = mpsc::channel(QUEUE_CAPACITY);
        let mut session = Session::new::<R>(database);
        actix_web::rt::spawn(run_batches(
            queue,
            database.staleness().clone(),
            async move |batch| match batch {
                Some(batch) => read(&mut session, batch).await,
                None => session.close(),
            },
        ));
        let (writes, queue) = mpsc::channel(QUEUE_CAPACITY);
        let mut writer = Writer::new::<R>(database);
        actix_web::rt::spawn(run_batches(
            queue,
            database.staleness().clone(),
            async move |batch| match batch {
                Some(batch) => writer.run(batch).await,
                None => writer.close(),
            },
        ));
        Self { reads, writes }
    }

    /// Returns the object of that sid.
    pub async fn get(&self, actor: &Actor, sid: Uuid) -> Result<Stored<R>, ApiError> {
        let (reply, response) = oneshot::channel();
        let request =
            ReadRequest { visibility: actor.visibility(), sid, reply, queued: Instant::now() };
        self.reads.try_send(request).map_err(|_| ApiError::Unavailable(None))?;
        response.await.unwrap_or(Err(ApiError::Unavailable(None)))
    }

    /// Changes the object of that sid.
    pub async fn update(
        &self,
        actor: &Actor,
        sid: Uuid,
        options: WriteOptions,
        change: impl Fn(&mut R) -> Result<(), ApiError> + 'static,
    ) -> Result<WriteResponse, ApiError> {
        let (reply, response) = oneshot::channel();
        let (actor, change, queued) = (actor.clone(), Box::new(change), Instant::now());
        let request = WriteRequest { actor, sid, options, change, reply, queued };
        self.writes.try_send(request).map_err(|_| ApiError::Unavailable(None))?;
        response.await.unwrap_or(Err(ApiError::Unavailable(None)))
    }
}

/// Runs batches until the queue is closed. `run(None)` closes the worker's connection: after an idle
/// minute, and after a batch that panicked or hung, whose requests then get 503 because their reply
/// channels are dropped.
async fn run_batches<T>(
    mut queue: mpsc::Receiver<T>,
    staleness: Staleness,
    mut run: impl AsyncFnMut(Option<Vec<T>>),
) {
    let mut last_size = 0;
    loop {
        let mut batch = Vec::new();
        match tokio::time::timeout(IDLE_TIMEOUT, queue.recv_many(&mut batch, MAX_BATCH_SIZE)).await
        {
            Ok(0) => return,
            Ok(_) => {
                refill(&mut queue, &mut batch, last_size).await;
                last_size = batch.len();
                let running = AssertUnwindSafe(run(Some(batch))).catch_unwind();
                match tokio::time::timeout(BATCH_TIMEOUT, running).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(_)) => tracing::error!("a batch panicked"),
                    Err(_) => {
                        tracing::error!("the database did not answer within {BATCH_TIMEOUT:?}");
                        staleness.mark_all_stale();
                    }
                }
            }
            Err(_) => {}
        }
        run(None).await;
    }
}

/// Adds requests that arrive while this thread runs its other tasks, as long as the batch is smaller
/// than the last one: clients that have just been answered are likely to send again, and half a batch
/// costs nearly as much as a whole one. It yields but never sleeps, so that a request that arrives
/// alone does not wait.
async fn refill<T>(queue: &mut mpsc::Receiver<T>, batch: &mut Vec<T>, last_size: usize) {
    for _ in 0..MAX_REFILLS {
        if batch.len() >= last_size {
            return;
        }
        tokio::task::yield_now().await;
        while batch.len() < MAX_BATCH_SIZE
            && let Ok(more) = queue.try_recv()
        {
            batch.push(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_batch_is_refilled_until_it_is_as_large_as_the_last_one() {
        for (last_size, expected) in [(3, vec![0, 1, 2]), (2, vec![0, 1, 2]), (1, vec![0])] {
            let (sender, mut queue) = mpsc::channel(QUEUE_CAPACITY);
            actix_web::rt::spawn(async move { (sender.try_send(1), sender.try_send(2)) });
            let mut batch = vec![0];
            refill(&mut queue, &mut batch, last_size).await;
            assert_eq!(batch, expected, "after a batch of {last_size}");
        }
    }

    #[actix_web::test]
    async fn a_batch_is_limited() {
        let (sender, mut queue) = mpsc::channel(QUEUE_CAPACITY);
        for number in 1..=MAX_BATCH_SIZE {
            sender.try_send(number).unwrap();
        }
        let mut batch = vec![0];
        refill(&mut queue, &mut batch, QUEUE_CAPACITY).await;
        assert_eq!((batch.len(), queue.len()), (MAX_BATCH_SIZE, 1));
    }
}
