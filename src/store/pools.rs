//! The connections of an instance, divided by what they are for, so that no kind of work and no
//! partner can take those of another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::auth::Actor;
use crate::error::ApiError;

/// The longest time that a request waits for a connection.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// The most requests of one partner that wait for a connection. Further requests are rejected with
/// 429.
const MAX_WAITING: usize = 64;

/// How the connections of an instance are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// For `/readyz` and the watchdog.
    pub probe: u32,
    /// For the periodic work.
    pub maintenance: u32,
    /// For the look-up of tokens.
    pub authentication: u32,
    /// For lists, histories and past objects.
    pub lists: u32,
    /// For everything that runs in a transaction of its own.
    pub transactions: u32,
    /// For batched reads and updates.
    pub batches: u32,
}

impl Division {
    /// The fewest connections that can be divided.
    pub const MIN: u32 = 8;

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
        Ok(Self { probe, maintenance, authentication, lists, transactions, batches })
    }
}

/// A pool of which one subtree of partners gets at most half of the connections.
///
/// A request takes a permit of its partner first, then one of the subtree. Both have as many, so that
/// a partner alone gets the whole share, and its requests never wait behind more than that number of
/// requests of a sibling.
#[derive(Debug)]
pub struct SharedPool {
    pool: PgPool,
    share: usize,
    shares: Mutex<HashMap<Uuid, Arc<Share>>>,
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

/// A connection of a [`SharedPool`]. Dropping it returns it.
pub struct Lease {
    /// The connection.
    pub connection: PoolConnection<Postgres>,
    _turn: Option<Turn>,
}

/// A request that uses its partner's share, or waits for it.
struct Turn {
    partner: Arc<PartnerShare>,
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
    // The share of a subtree that is in use is retained.
    _share: Arc<Share>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.partner.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SharedPool {
    /// Divides the pool, which has at most `max` connections.
    pub fn new(pool: PgPool, max: u32) -> Self {
        let share = (max as usize / 2).max(1);
        Self { pool, share, shares: Mutex::default() }
    }

    /// The pool, for work that belongs to no partner.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Returns a connection for a request of the actor, which waits for at most [`ACQUIRE_TIMEOUT`].
    ///
    /// # Errors
    /// [`ApiError::TooManyRequests`] if other requests of the subtree use its whole share;
    /// [`ApiError::Unavailable`] if the database is not available or the pool is in use.
    pub async fn acquire(&self, actor: &Actor) -> Result<Lease, ApiError> {
        let turn = match actor.partner_sid().zip(actor.subtree_sid()) {
            Some((partner_sid, subtree_sid)) => Some(self.turn(partner_sid, subtree_sid).await?),
            None => None,
        };
        Ok(Lease { connection: self.pool.acquire().await?, _turn: turn })
    }

    async fn turn(&self, partner_sid: Uuid, subtree_sid: Uuid) -> Result<Turn, ApiError> {
        let share = entry(&self.shares, subtree_sid, || Share {
            connections: Arc::new(Semaphore::new(self.share)),
            partners: Mutex::default(),
        });
        let partner = entry(&share.partners, partner_sid, || PartnerShare {
            connections: Arc::new(Semaphore::new(self.share)),
            requests: AtomicUsize::new(0),
        });
        let requests = partner.requests.fetch_add(1, Ordering::Relaxed);
        let mut turn = Turn { partner: partner.clone(), permits: None, _share: share.clone() };
        if requests < self.share + MAX_WAITING {
            let permits = async {
                let of_partner = partner.connections.clone().acquire_owned().await?;
                Ok::<_, AcquireError>((
                    of_partner,
                    share.connections.clone().acquire_owned().await?,
                ))
            };
            let permits = tokio::time::timeout(ACQUIRE_TIMEOUT, permits).await;
            turn.permits = permits.ok().and_then(Result::ok);
        }
        if turn.permits.is_some() {
            Ok(turn)
        } else {
            Err(ApiError::TooManyRequests { retry_after: 1 })
        }
    }
}

/// Returns the entry of that sid, or a new one. Drops entries that are not in use if there are many.
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
        assert!(Division::of(7).unwrap_err().to_string().contains("at least 8"));
        for total in 8..200 {
            let division = Division::of(total).unwrap();
            let Division { probe, maintenance, authentication, lists, transactions, batches } =
                division;
            let parts = [probe, maintenance, authentication, lists, transactions, batches];
            assert_eq!(parts.iter().sum::<u32>(), total, "{division:?}");
            assert!(!parts.contains(&0) && lists >= 2 && transactions >= 2, "{division:?}");
        }
    }
}
