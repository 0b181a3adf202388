//! The database connections of deliveries: some of those for transactions, which the requests of
//! partners use too.

use std::ops::{Deref, DerefMut};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::auth::Actor;
use crate::error::ApiError;
use crate::store::{Database, Lease};

/// The share of deliveries: a quarter of the connections for transactions.
pub struct Connections(Semaphore);

/// A connection of the share. Dropping it returns it.
pub struct SharedLease<'a> {
    lease: Lease,
    _permit: SemaphorePermit<'a>,
}

impl Connections {
    /// Returns the share of the connections of that database.
    pub fn of(database: &Database) -> Self {
        Self(Semaphore::new(database.transactions().quarter()))
    }

    /// Waits for a connection of the share.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn lease(&self, database: &Database) -> Result<SharedLease<'_>, ApiError> {
        let Ok(permit) = self.0.acquire().await else { return Err(ApiError::Unavailable(None)) };
        let lease = database.transactions().acquire(&Actor::operator()).await?;
        Ok(SharedLease { lease, _permit: permit })
    }
}

impl Deref for SharedLease<'_> {
    type Target = Lease;

    fn deref(&self) -> &Lease {
        &self.lease
    }
}

impl DerefMut for SharedLease<'_> {
    fn deref_mut(&mut self) -> &mut Lease {
        &mut self.lease
    }
}
