//! Long work on a serving thread, in turns with the thread's other tasks.

use std::time::{Duration, Instant};

/// The time after which other tasks of the thread run.
const LENGTH: Duration = Duration::from_millis(1);

/// A turn of a task that works through many items.
pub(super) struct Turn(Instant);

impl Default for Turn {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Turn {
    /// Lets other tasks run if this turn has lasted longer than [`LENGTH`]. Call it between items.
    pub async fn pause(&mut self) {
        if self.0.elapsed() > LENGTH {
            tokio::task::yield_now().await;
            self.0 = Instant::now();
        }
    }
}
