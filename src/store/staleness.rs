//! Detects connections that predate a failover or a restart of PostgreSQL.
//!
//! After a failover the address of the database leads to the new primary, but a connection that was
//! opened before still leads to the old one, which may be alive, read-only and behind. After a
//! restart every old connection is dead. A connection that is in use all the time is not tested:
//! the first that proves to be broken marks all that are as old.

use std::error::Error;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// The moment before which connections were opened that must not be used any more. They are closed
/// instead.
#[derive(Clone, Debug, Default)]
pub struct Staleness(Arc<RwLock<Option<Instant>>>);

impl Staleness {
    /// Marks every connection that is open now as stale.
    pub fn mark_all_stale(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Marks every open connection as stale if the error shows that its server has stopped, is gone
    /// or is read-only.
    pub fn observe(&self, error: &(dyn Error + 'static)) {
        if error.downcast_ref().is_some_and(affects_all_connections) {
            self.mark_all_stale();
        }
    }

    /// Whether a connection of that age is stale.
    pub fn is_stale(&self, age: Duration) -> bool {
        let marked = *self.0.read().unwrap_or_else(PoisonError::into_inner);
        marked.is_some_and(|marked| age >= marked.elapsed())
    }
}

/// The codes of errors that concern more than one connection: read_only_sql_transaction,
/// admin_shutdown, crash_shutdown, cannot_connect_now and idle_session_timeout. So does the class
/// 08, the errors of connections.
const AFFECTS_ALL: [&str; 5] = ["25006", "57P01", "57P02", "57P03", "57P05"];

/// Whether the cause of the error has broken every connection that is as old.
fn affects_all_connections(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| code.starts_with("08") || AFFECTS_ALL.contains(&&*code))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn only_older_connections_become_stale() {
        let staleness = Staleness::default();
        assert!(!staleness.is_stale(Duration::MAX));
        staleness.mark_all_stale();
        assert!(staleness.is_stale(Duration::from_secs(1)));
        assert!(!staleness.is_stale(Duration::ZERO));
    }

    #[test]
    fn a_lost_connection_marks_others_and_a_busy_pool_does_not() {
        let lost = sqlx::Error::Io(io::Error::from(io::ErrorKind::ConnectionReset));
        for (error, is_stale) in [(sqlx::Error::PoolTimedOut, false), (lost, true)] {
            let staleness = Staleness::default();
            staleness.observe(&error);
            assert_eq!(staleness.is_stale(Duration::from_secs(1)), is_stale, "{error}");
        }
    }
}
