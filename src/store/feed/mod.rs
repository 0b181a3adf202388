//! The feed of events: the entries of the history in an order in which none can appear behind one
//! that was read. `migrations/V17__events.sql` explains the order.

mod delay;
mod generation;
mod objects;
mod page;
mod seats;
mod watch;

use std::sync::Arc;

use sqlx::FromRow;
use uuid::Uuid;

pub use delay::measure_delay;
pub use generation::{begin_generation, resume};
pub use objects::{ObjectPlace, SnapshotObject, next_exported, objects, open_export};
pub use page::{FeedEntry, FeedPage, IS_EVENT};
pub use seats::Seat;
pub use watch::Changes;

use super::database::Database;
use crate::auth::Actor;
use crate::error::ApiError;
use seats::Seats;
use watch::Watch;

/// The place of an event in the order of events.
// The columns are those of a stored cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, FromRow)]
pub struct Position {
    /// The transaction that wrote the entry, or one before it, with its generation.
    #[sqlx(rename = "cursor_epoch")]
    pub epoch: i64,
    /// The object.
    #[sqlx(rename = "cursor_sid")]
    pub sid: Uuid,
    /// The version of the object.
    #[sqlx(rename = "cursor_version")]
    pub version: i64,
}

impl Position {
    /// The place before every event.
    pub const START: Self = Self { epoch: 0, sid: Uuid::nil(), version: 0 };
}

/// The kinds of objects whose events a reader gets, by their names in the history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selection {
    /// The kinds of objects of the reader's own partner.
    pub own: Vec<&'static str>,
    /// The kinds of objects of the partner's descendants.
    pub descendants: Vec<&'static str>,
}

/// The feed of an instance. All threads share it.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    database: Database,
    seats: Seats,
    watch: Watch,
}

impl Feed {
    /// The feed of that database, in which at most `max_seats` requests of a partner wait at once.
    pub fn new(database: &Database, max_seats: usize) -> Self {
        let database = database.clone();
        Self(Arc::new(Inner { database, seats: Seats::new(max_seats), watch: Watch::default() }))
    }

    /// Returns the events after `after`, or none but their place if that is `None`. The page ends
    /// after `limit` entries, of which those of other kinds are left out.
    ///
    /// # Errors
    /// [`ApiError::Resync`] if events after that place were deleted, or it is beyond the newest.
    pub async fn page(
        &self,
        actor: &Actor,
        selection: &Selection,
        after: Option<Position>,
        limit: i64,
    ) -> Result<FeedPage, ApiError> {
        let read = async || {
            let mut lease = self.0.database.lists().acquire(actor).await?;
            page::read(&mut lease.connection, actor, selection, after, limit).await
        };
        self.0.database.read(read).await
    }

    /// Returns a page of a query of the objects, on a connection for lists.
    ///
    /// # Errors
    /// Those of `query`.
    pub async fn query<T>(
        &self,
        actor: &Actor,
        query: impl AsyncFn(&mut sqlx::PgConnection) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let read = async || {
            let mut lease = self.0.database.lists().acquire(actor).await?;
            query(&mut lease.connection).await
        };
        self.0.database.read(read).await
    }

    /// Takes a seat for a request of that partner that waits for events, with its token.
    ///
    /// # Errors
    /// [`ApiError::TooManyRequests`] if too many requests of the partner wait already.
    pub fn take_seat(&self, partner_sid: Uuid, token: &str) -> Result<Seat, ApiError> {
        let seat = self.0.seats.take(partner_sid, token)?;
        self.0.watch.wake();
        Ok(seat)
    }

    /// Reports from now on which partners have new events.
    pub fn changes(&self) -> Changes {
        self.0.watch.changes()
    }
}
