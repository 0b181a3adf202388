//! The requests that wait in the queues of the workers.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::auth::{Actor, Visibility};
use crate::error::ApiError;
use crate::store::options::{WriteOptions, WriteResponse};
use crate::store::resource::Stored;

/// The longest time that a request waits for a worker. It is then rejected with 503.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(3);

/// A request for the object of a sid.
pub(super) struct ReadRequest<R> {
    pub visibility: Visibility,
    pub sid: Uuid,
    pub reply: oneshot::Sender<Result<Stored<R>, ApiError>>,
    pub queued: Instant,
}

impl<R> ReadRequest<R> {
    /// Whether its client is still there and it has not waited too long.
    pub fn is_waiting(&self) -> bool {
        !self.reply.is_closed() && self.queued.elapsed() <= QUEUE_TIMEOUT
    }
}

/// The outcome of a write.
pub(super) type Outcome = Result<WriteResponse, ApiError>;

/// A change of an object in memory.
pub(super) type Change<R> = Box<dyn Fn(&mut R) -> Result<(), ApiError>>;

/// A request to change the object of a sid.
pub(super) struct WriteRequest<R> {
    pub actor: Actor,
    pub sid: Uuid,
    pub options: WriteOptions,
    /// Runs again if another session has changed the row meanwhile.
    pub change: Change<R>,
    pub reply: oneshot::Sender<Outcome>,
    pub queued: Instant,
}

impl<R> WriteRequest<R> {
    /// Whether its client is still there and it has not waited too long.
    pub fn is_waiting(&self) -> bool {
        !self.reply.is_closed() && self.queued.elapsed() <= QUEUE_TIMEOUT
    }

    /// The idempotency key, together with the partner that it belongs to.
    pub fn key(&self) -> Option<(Uuid, String)> {
        Some((self.actor.partner_sid()?, self.options.key.as_ref()?.text().to_owned()))
    }
}
