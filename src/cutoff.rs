//! Connections to the database that are no good any more.
//!
//! After a switch to a standby the database's address leads to the new primary, but a connection that was opened before still
//! leads to the old one, which may be alive, read-only and behind. After a restart of the server it is dead. None of them is
//! asked before its every use: the first that is found so speaks for all that are as old.

use std::error::Error;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Since when connections to the database are good. Those that were opened before are closed instead of used.
#[derive(Clone, Debug, Default)]
pub struct Cutoff(Arc<RwLock<Option<Instant>>>);

impl Cutoff {
    /// No connection that is open now is used again.
    pub fn set(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The same, where a failure says that its connection led to a server that is gone or takes no writes.
    pub fn learn_from(&self, failure: &(dyn Error + 'static)) {
        if failure.downcast_ref().is_some_and(speaks_for_others) {
            self.set();
        }
    }

    /// Whether a connection of that age is used no more.
    pub fn has_passed(&self, age: Duration) -> bool {
        let cutoff = *self.0.read().unwrap_or_else(PoisonError::into_inner);
        cutoff.is_some_and(|cutoff| age >= cutoff.elapsed())
    }
}

/// Whether what broke one connection has broken all that are as old.
fn speaks_for_others(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        // Read-only; then: the server is stopped, has crashed, is about to start.
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| ["25006", "57P01", "57P02", "57P03"].contains(&code.as_ref())),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn only_connections_that_are_older_are_closed() {
        let cutoff = Cutoff::default();
        assert!(!cutoff.has_passed(Duration::MAX));
        cutoff.set();
        assert!(cutoff.has_passed(Duration::from_secs(1)));
        assert!(!cutoff.has_passed(Duration::ZERO));
    }

    #[test]
    fn a_lost_connection_speaks_for_others_and_a_busy_pool_does_not() {
        let lost = sqlx::Error::Io(io::Error::from(io::ErrorKind::ConnectionReset));
        for (failure, passed) in [(sqlx::Error::PoolTimedOut, false), (lost, true)] {
            let cutoff = Cutoff::default();
            cutoff.learn_from(&failure);
            assert_eq!(cutoff.has_passed(Duration::from_secs(1)), passed, "{failure}");
        }
    }
}
