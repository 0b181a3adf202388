//! The connections of an instance, divided by what they are for, so that no kind of work and no
//! partner can take those of another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::ensure;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgPool, Postgres};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::session::{self, ACQUIRE_TIMEOUT};
use crate::auth::Actor;
use crate::error::ApiError;
use crate::telemetry::activity::Waits;

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

/// A pool of which one subtree of partners gets at most half of the connections.
///
/// A request takes a permit of its partner first, then one of the subtree. Both have as many, so
/// that a partner alone gets the whole share, and its requests never wait behind more than that
/// number of requests of a sibling.
pub struct SharedPool {
    pool: PgPool,
    share: usize,
    shares: Mutex<HashMap<Uuid, Arc<Share>>>,
    use_count: Arc<UseCount>,
    waits: Waits,
}

/// Counts the leases of a pool.
#[derive(Debug, Default)]
struct UseCount {
    current: AtomicUsize,
    total: AtomicUsize,
}

/// The share of one subtree.
#[derive(Debug)]
struct Share {
    connections: Arc<Semaphore>,
    partners: Mutex<HashMap<Uuid, Arc<PartnerShare>>>,
}

/// The part that one partner may use, and how many of its requests use it or wait for it.
#[derive(Debug)]
struct PartnerShare {
    connections: Arc<Semaphore>,
    requests: AtomicUsize,
}

/// A connection of a shared pool. Dropping it returns it.
pub struct Lease {
    /// The connection.
    pub connection: PoolConnection<Postgres>,
    options: Arc<PgConnectOptions>,
    use_count: Arc<UseCount>,
    /// The number of leases before this one; `None` if others were in use when it began.
    before: Option<usize>,
    _turn: Option<Claim>,
}

impl Lease {
    fn new(connection: PoolConnection<Postgres>, pool: &SharedPool, claim: Option<Claim>) -> Self {
        let (options, use_count) = (pool.pool.connect_options(), pool.use_count.clone());
        let others = use_count.current.fetch_add(1, Ordering::Relaxed);
        let before = use_count.total.fetch_add(1, Ordering::Relaxed);
        let before = (others == 0).then_some(before);
        Self { connection, options, use_count, before, _turn: claim }
    }

    /// Replaces the connection, which is lost.
    ///
    /// # Errors
    /// If the database is not available.
    pub(super) async fn reconnect(&mut self) -> Result<(), sqlx::Error> {
        // In its place: waiting for another one of the pool could wait for other leases.
        *self.connection = Box::pin(session::open(&self.options, "")).await?;
        Ok(())
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
struct Claim {
    partner: Arc<PartnerShare>,
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
    // The share of a subtree that is in use is retained.
    _share: Arc<Share>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.partner.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SharedPool {
    /// Shares the pool, which has at most `max` connections, between partners.
    pub fn new(pool: PgPool, max: u32, waits: Waits) -> Self {
        let share = (max as usize / 2).max(1);
        Self { pool, share, shares: Mutex::default(), use_count: Arc::default(), waits }
    }

    /// The pool, for work that belongs to no partner.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A quarter of the connections, at least one.
    pub fn quarter(&self) -> usize {
        (self.share / 2).max(1)
    }

    /// Returns a connection for a request of the actor, which waits for at most
    /// [`ACQUIRE_TIMEOUT`].
    ///
    /// # Errors
    /// [`ApiError::TooManyRequests`] if too many requests of the partner wait already;
    /// [`ApiError::Unavailable`] if the request waits for too long, for the subtree's share or for
    /// the pool, or the database is not available.
    pub async fn acquire(&self, actor: &Actor) -> Result<Lease, ApiError> {
        let _wait = self.waits.begin();
        let claim = match actor.partner_sid().zip(actor.subtree_sid()) {
            Some((partner_sid, subtree_sid)) => Some(self.claim(partner_sid, subtree_sid).await?),
            None => None,
        };
        let acquired = self.pool.acquire().await;
        if matches!(acquired, Err(sqlx::Error::PoolTimedOut)) {
            self.waits.count_timeout();
        }
        Ok(Lease::new(acquired?, self, claim))
    }

    async fn claim(&self, partner_sid: Uuid, subtree_sid: Uuid) -> Result<Claim, ApiError> {
        let share = entry(&self.shares, subtree_sid, || Share {
            connections: Arc::new(Semaphore::new(self.share)),
            partners: Mutex::default(),
        });
        let partner = entry(&share.partners, partner_sid, || PartnerShare {
            connections: Arc::new(Semaphore::new(self.share)),
            requests: AtomicUsize::new(0),
        });
        let requests = partner.requests.fetch_add(1, Ordering::Relaxed);
        let mut claim = Claim { partner: partner.clone(), permits: None, _share: share.clone() };
        if requests >= self.share + MAX_WAITING {
            return Err(ApiError::TooManyRequests { retry_after: 1 });
        }
        let permits = async {
            let of_partner = partner.connections.clone().acquire_owned().await?;
            Ok::<_, AcquireError>((of_partner, share.connections.clone().acquire_owned().await?))
        };
        let permits = tokio::time::timeout(ACQUIRE_TIMEOUT, permits).await;
        claim.permits = permits.ok().and_then(Result::ok);
        if claim.permits.is_none() {
            self.waits.count_timeout();
            // Not a 429: the partner's statements may hang because of the database.
            return Err(ApiError::Unavailable(None));
        }
        Ok(claim)
    }
}

/// Returns the entry of that sid, or a new one. Drops entries that are not in use if there are
/// many.
fn entry<T>(entries: &Mutex<HashMap<Uuid, Arc<T>>>, sid: Uuid, new: impl FnOnce() -> T) -> Arc<T> {
    const CAPACITY: usize = 1_000;
    let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
    if entries.len() >= CAPACITY {
        entries.retain(|_, entry| Arc::strong_count(entry) > 1);
    }
    entries.entry(sid).or_insert_with(|| Arc::new(new())).clone()
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
