//! The state of a stopping service: whether it drains, and how many requests are in flight.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Shared by all threads of the service.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    requests: TaskTracker,
}

impl Shutdown {
    /// From now on every response closes its connection, and `/readyz` is 503.
    pub fn begin(&self) {
        self.draining.cancel();
        self.requests.close();
    }

    /// Whether the service drains.
    pub fn has_begun(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until the service drains.
    pub async fn begun(&self) {
        self.draining.cancelled().await;
    }

    /// Waits until no request is in flight. Call it after [`Self::begin`].
    pub async fn wait_idle(&self) {
        self.requests.wait().await;
    }

    /// The number of requests in flight.
    pub fn in_flight(&self) -> usize {
        self.requests.len()
    }

    /// Counts a request as in flight until the token is dropped.
    pub fn track(&self) -> TaskTrackerToken {
        self.requests.token()
    }
}
