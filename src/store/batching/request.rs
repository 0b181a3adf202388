//! The requests that wait in the queues, and the workers that serve them.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::queue::Queued;
use crate::auth::{Actor, Visibility};
use crate::error::ApiError;
use crate::store::lookup::Lookup;
use crate::store::options::{WriteOptions, WriteResponse};
use crate::telemetry::activity::Wait;

/// The longest time that a request waits for its last round to begin. It is then rejected with 503.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(3);

/// A worker: serves batches of requests.
pub(super) trait Worker {
    /// What it serves.
    type Request: Queued;

    /// Runs a round, and returns the requests that need another one.
    async fn run(&mut self, batch: Vec<Self::Request>) -> Leftover<Self::Request>;

    /// Closes the connection. The next round opens another one.
    fn close(&mut self);
}

/// The requests that a round has not served.
pub(super) struct Leftover<T> {
    /// Run in a round of their own, at once.
    pub now: Vec<T>,
    /// Go back into the queue, before the requests of their partners that have not been taken.
    pub later: Vec<T>,
}

impl<T> Default for Leftover<T> {
    fn default() -> Self {
        Self { now: Vec::new(), later: Vec::new() }
    }
}

/// The channel for the reply to a request.
pub(super) type Reply<T> = oneshot::Sender<Result<T, ApiError>>;

/// Whether the client of a request is still connected, and the request has not waited too long.
/// Other requests are dropped, so that they get 503.
fn is_live<T>(reply: &Reply<T>, queued: Instant) -> bool {
    !reply.is_closed() && queued.elapsed() <= QUEUE_TIMEOUT
}

/// A request for the row with a key.
pub(super) struct ReadRequest<L: Lookup> {
    pub partner_sid: Option<Uuid>,
    pub subtree_sid: Option<Uuid>,
    pub visibility: Visibility,
    pub key: L::Key,
    pub reply: Reply<L::Row>,
    pub queued: Instant,
    /// Counts the request as waiting until its first round.
    pub wait: Option<Wait>,
}

impl<L: Lookup> ReadRequest<L> {
    /// Whether it still needs a response.
    pub fn is_live(&self) -> bool {
        is_live(&self.reply, self.queued)
    }
}

impl<L: Lookup> Queued for ReadRequest<L> {
    fn partner_sid(&self) -> Option<Uuid> {
        self.partner_sid
    }

    fn subtree_sid(&self) -> Option<Uuid> {
        self.subtree_sid
    }
}

/// The outcome of a write.
pub(super) type Outcome = Result<WriteResponse, ApiError>;

/// A change of an object in memory.
pub(super) type Change<R> = Box<dyn Fn(&mut R) -> Result<(), ApiError>>;

/// A request to change the object with a sid.
pub(super) struct WriteRequest<R> {
    pub actor: Actor,
    pub sid: Uuid,
    pub options: WriteOptions,
    /// Runs again in each round that the request needs.
    pub change: Change<R>,
    pub reply: Reply<WriteResponse>,
    pub queued: Instant,
    /// Counts the request as waiting until its first round.
    pub wait: Option<Wait>,
}

impl<R> WriteRequest<R> {
    /// Whether it still needs a response.
    pub fn is_live(&self) -> bool {
        is_live(&self.reply, self.queued)
    }

    /// The idempotency key, together with the partner that it belongs to.
    pub fn key(&self) -> Option<(Uuid, String)> {
        Some((self.actor.partner_sid()?, self.options.key.as_ref()?.text().to_owned()))
    }
}

impl<R> Queued for WriteRequest<R> {
    fn partner_sid(&self) -> Option<Uuid> {
        self.actor.partner_sid()
    }

    fn subtree_sid(&self) -> Option<Uuid> {
        self.actor.subtree_sid()
    }
}
