//! The connection of readiness checks.

use std::time::Instant;

use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Mutex, MutexGuard};

use super::session::{self, ACQUIRE_TIMEOUT};
use super::staleness::Staleness;

/// One connection that nothing but readiness checks and the search for sessions that hang uses.
///
/// It is not in a pool: a pool waits without a limit for a connection that was returned to it and
/// does not answer, and has no other connection meanwhile.
pub(super) struct Probe {
    options: PgConnectOptions,
    staleness: Staleness,
    connection: Mutex<Option<Idle>>,
}

struct Idle {
    connection: PgConnection,
    opened: Instant,
    returned: Instant,
}

/// The connection while it is in use. It is closed unless it is returned.
pub(super) struct ProbeConnection<'a> {
    pub connection: PgConnection,
    opened: Instant,
    idle: MutexGuard<'a, Option<Idle>>,
}

impl Probe {
    /// Opens the connection when it is needed.
    pub fn new(options: PgConnectOptions, staleness: Staleness) -> Self {
        Self { options, staleness, connection: Mutex::default() }
    }

    /// Returns the connection, or another one if it is broken.
    ///
    /// # Errors
    /// [`sqlx::Error::PoolTimedOut`] if the connection is in use for too long; others if the
    /// database is not available or read-only.
    pub async fn acquire(&self) -> Result<ProbeConnection<'_>, sqlx::Error> {
        let locked = tokio::time::timeout(ACQUIRE_TIMEOUT, self.connection.lock()).await;
        let mut idle = locked.map_err(|_| sqlx::Error::PoolTimedOut)?;
        if let Some(Idle { mut connection, opened, returned }) = idle.take()
            && !self.staleness.is_stale(opened.elapsed())
            && session::is_usable(&mut connection, returned.elapsed()).await
        {
            return Ok(ProbeConnection { connection, opened, idle });
        }
        let connection = Box::pin(session::open(&self.options, "")).await?;
        Ok(ProbeConnection { connection, opened: Instant::now(), idle })
    }

    /// The number of open and of idle connections.
    pub fn usage(&self) -> (u32, u32) {
        match self.connection.try_lock() {
            Ok(idle) => (u32::from(idle.is_some()), u32::from(idle.is_some())),
            Err(_) => (1, 0),
        }
    }
}

impl ProbeConnection<'_> {
    /// Returns the connection for the next use.
    pub fn release(mut self) {
        let Self { connection, opened, .. } = self;
        *self.idle = Some(Idle { connection, opened, returned: Instant::now() });
    }
}
