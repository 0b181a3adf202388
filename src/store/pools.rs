//! The connections of an instance, divided by what they are for, so that no kind of work and no
//! partner can take those of another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::auth::Actor;
use crate::error::ApiError;

/// The longest time that a request waits for a connection.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// The most requests of one partner that wait for a connection. Further requests are rejected with
/// 429.
const MAX_WAITING: usize = 64;

/// The number of connections in each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// For `/readyz` and the watchdog.
    pub probe: u32,
    /// For the periodic work.
    pub maintenance: u32,
    /// For the lookup of tokens.
    pub authentication: u32,
    /// For lists, histories and past objects.
    pub lists: u32,
    /// For everything that runs in a transaction of its own.
    pub transactions: u32,
    /// For batched reads.
    pub reads: u32,
    /// For batched updates, apart from the reads: these go on if updates hang.
    pub updates: u32,
}

impl Division {
    /// The fewest connections that can be divided.
    pub const MIN: u32 = 9;

    /// Divides `total` connections.
    ///
    /// # Errors
    /// If there are fewer than [`Self::MIN`].
    pub fn of(total: u32) -> anyhow::Result<Self> {
        ensure!(
            total >= Self::MIN,
            "SHORTLINE_DATABASE_CONNECTIONS is {total}; expected at least {}",
            Self::MIN
        );
        let (probe, maintenance) = (1, 1);
        let (authentication, lists) = (total / 8, (total / 8).max(2));
        let transactions = (total / 4).max(2);
        let batches = total - probe - maintenance - authentication - lists - transactions;
        let (reads, updates) = (batches / 2, batches - batches / 2);
        Ok(Self { probe, maintenance, authentication, lists, transactions, reads, updates })
    }
}

/// A pool of which one partner gets at most half of the connections.
#[derive(Debug)]
pub struct SharedPool {
    pool: PgPool,
    share: usize,
    partners: Mutex<HashMap<Uuid, Arc<Share>>>,
    use_count: Arc<UseCount>,
}

/// Counts the leases of a pool.
#[derive(Debug, Default)]
struct UseCount {
    current: AtomicUsize,
    total: AtomicUsize,
}

/// The share of one partner, and how many of its requests use it or wait for it.
#[derive(Debug)]
struct Share {
    connections: Arc<Semaphore>,
    requests: AtomicUsize,
}

/// A connection of a [`SharedPool`]. Dropping it returns it.
pub struct Lease {
    /// The connection.
    pub connection: PoolConnection<Postgres>,
    use_count: Arc<UseCount>,
    /// The number of leases before this one; `None` if others were in use when it began.
    before: Option<usize>,
    _turn: Option<Turn>,
}

impl Lease {
    fn new(
        connection: PoolConnection<Postgres>,
        use_count: Arc<UseCount>,
        turn: Option<Turn>,
    ) -> Self {
        let others = use_count.current.fetch_add(1, Ordering::Relaxed);
        let before = use_count.total.fetch_add(1, Ordering::Relaxed);
        let before = (others == 0).then_some(before);
        Self { connection, use_count, before, _turn: turn }
    }

    /// Whether no other lease of the pool has been in use since this one began.
    pub fn is_alone(&self) -> bool {
        self.before.is_some_and(|before| self.use_count.total.load(Ordering::Relaxed) == before + 1)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.use_count.current.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request that uses its partner's share, or waits for it.
struct Turn {
    share: Arc<Share>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.share.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SharedPool {
    /// Shares the pool, which has at most `max` connections, between partners.
    pub fn new(pool: PgPool, max: u32) -> Self {
        let share = (max as usize / 2).max(1);
        Self { pool, share, partners: Mutex::default(), use_count: Arc::default() }
    }

    /// The pool, for work that belongs to no partner.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Returns a connection for a request of the actor, which waits for at most
    /// [`ACQUIRE_TIMEOUT`].
    ///
    /// # Errors
    /// [`ApiError::TooManyRequests`] if too many requests of the partner wait already;
    /// [`ApiError::Unavailable`] if the request waits for too long, for the partner's share or for
    /// the pool, or the database is not available.
    pub async fn acquire(&self, actor: &Actor) -> Result<Lease, ApiError> {
        let turn = match actor.partner_sid() {
            Some(partner_sid) => Some(self.turn(partner_sid).await?),
            None => None,
        };
        Ok(Lease::new(self.pool.acquire().await?, self.use_count.clone(), turn))
    }

    async fn turn(&self, partner_sid: Uuid) -> Result<Turn, ApiError> {
        let share = self.share_of(partner_sid);
        let requests = share.requests.fetch_add(1, Ordering::Relaxed);
        let mut turn = Turn { share: share.clone(), permit: None };
        if requests >= self.share + MAX_WAITING {
            return Err(ApiError::TooManyRequests { retry_after: 1 });
        }
        let permit = share.connections.clone().acquire_owned();
        let permit = tokio::time::timeout(ACQUIRE_TIMEOUT, permit).await;
        turn.permit = permit.ok().and_then(Result::ok);
        // Not a 429: the partner's statements may hang because of the database.
        if turn.permit.is_some() { Ok(turn) } else { Err(ApiError::Unavailable(None)) }
    }

    fn share_of(&self, partner_sid: Uuid) -> Arc<Share> {
        const CAPACITY: usize = 1_000;
        let mut partners = self.partners.lock().unwrap_or_else(PoisonError::into_inner);
        if partners.len() >= CAPACITY {
            partners.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let new = || {
            let connections = Arc::new(Semaphore::new(self.share));
            Arc::new(Share { connections, requests: AtomicUsize::new(0) })
        };
        partners.entry(partner_sid).or_insert_with(new).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_is_divided() {
        assert!(Division::of(8).unwrap_err().to_string().contains("at least 9"));
        for total in 9..200 {
            let division = Division::of(total).unwrap();
            let Division {
                probe,
                maintenance,
                authentication,
                lists,
                transactions,
                reads,
                updates,
            } = division;
            let parts = [probe, maintenance, authentication, lists, transactions, reads, updates];
            assert_eq!(parts.iter().sum::<u32>(), total, "{division:?}");
            assert!(!parts.contains(&0) && lists >= 2 && transactions >= 2, "{division:?}");
        }
    }
}
