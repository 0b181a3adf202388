//! A reader that follows the feed: page after page, waiting for new events.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::cursor::{Cursor, ReaderId};
use super::event::{Event, EventPage};
use super::kind::{ObjectKind, TypeFilter};
use crate::auth::{Actor, Authenticator, Principal};
use crate::error::ApiError;
use crate::shutdown::Shutdown;
use crate::store::{Feed, ObjectPlace, Position, Selection};

/// The time between two checks of the token while a request waits.
const TOKEN_INTERVAL: Duration = Duration::from_millis(3_500);
/// The most pages without events that one request reads.
const MAX_EMPTY_PAGES: usize = 20;

/// Where a reader begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// At the newest event.
    Now,
    /// With all visible objects.
    Snapshot,
    /// Behind a cursor.
    After(Cursor),
}

/// A reader of the events that an actor can see.
pub struct Follower {
    feed: Feed,
    actor: Actor,
    selection: Selection,
    types: TypeFilter,
    reader: ReaderId,
    limit: i64,
    next: Start,
}

/// What ends the wait of a reader.
pub struct Limits {
    /// Whether the service stops.
    pub shutdown: Shutdown,
    /// Looks the token up again.
    pub authenticator: Arc<Authenticator>,
    /// The token.
    pub token: String,
    /// The bearer of the token when the request began.
    pub principal: Arc<Principal>,
}

impl Limits {
    /// Checks that the token is still valid, with the same scopes.
    async fn check(&self) -> Result<(), ApiError> {
        match self.authenticator.principal(&self.token).await {
            Ok(Some(principal)) if principal.scopes == self.principal.scopes => Ok(()),
            Ok(Some(_)) => Err(ApiError::Resync("the scopes of the token have changed")),
            Ok(None) => Err(ApiError::Unauthorized { presented: true }),
            // The next page reports that the database is not available.
            Err(_) => Ok(()),
        }
    }
}

impl Follower {
    /// A reader of the events of these types, of which a page has at most `limit`.
    ///
    /// # Errors
    /// [`ApiError::Resync`] if the cursor is one of another reader.
    pub fn new(
        feed: Feed,
        actor: Actor,
        selection: Selection,
        types: TypeFilter,
        limit: i64,
        start: Start,
    ) -> Result<Self, ApiError> {
        let reader = ReaderId::of(actor.own_partner_sid()?, &selection);
        if let Start::After(cursor) = &start
            && cursor.reader != reader
        {
            let reason = "is a cursor of another partner, or one with other scopes or kinds";
            return Err(ApiError::Resync(reason));
        }
        Ok(Self { feed, actor, selection, types, reader, limit, next: start })
    }

    /// Returns the next page, which is empty if there is no event until `deadline`.
    ///
    /// # Errors
    /// [`ApiError::Resync`] if the reader has missed events, or the scopes of its token have
    /// changed; [`ApiError::Unauthorized`] if the token ends meanwhile.
    pub async fn next(
        &mut self,
        deadline: Instant,
        limits: &Limits,
    ) -> Result<EventPage, ApiError> {
        let partner_sid = self.actor.own_partner_sid()?;
        // Before the page is read, so that no event after it goes unnoticed.
        let mut changes = self.feed.changes();
        let mut check = Instant::now() + TOKEN_INTERVAL;
        loop {
            let page = self.page().await?;
            let is_due = Instant::now() >= deadline || limits.shutdown.has_begun();
            if page.has_more || !page.items.is_empty() || is_due {
                return Ok(page);
            }
            tokio::select! {
                () = changes.wait(partner_sid) => {}
                () = limits.shutdown.begun() => return Ok(page),
                () = sleep_until(deadline.min(check)) => {}
            }
            if Instant::now() >= check {
                limits.check().await?;
                check = Instant::now() + TOKEN_INTERVAL;
            }
        }
    }

    /// Returns the next page without waiting.
    ///
    /// # Errors
    /// [`ApiError::Resync`] if the reader has missed events.
    pub async fn page(&mut self) -> Result<EventPage, ApiError> {
        let mut page = self.read().await?;
        for _ in 0..MAX_EMPTY_PAGES {
            if !page.items.is_empty() || !page.has_more {
                break;
            }
            page = self.read().await?;
        }
        Ok(page)
    }

    async fn read(&mut self) -> Result<EventPage, ApiError> {
        match self.next {
            Start::Now => self.events(None).await,
            Start::After(cursor) if cursor.snapshot.is_none() => self.events(Some(cursor)).await,
            Start::After(cursor) => self.objects(cursor).await,
            Start::Snapshot => {
                let page = self.feed.page(&self.actor, &self.selection, None, self.limit).await?;
                let first = (ObjectKind::ALL[0], ObjectPlace::START);
                let cursor = self.cursor(page.generation, page.end);
                self.objects(Cursor { snapshot: Some(first), ..cursor }).await
            }
        }
    }

    fn cursor(&self, generation: i64, position: Position) -> Cursor {
        Cursor { generation, reader: self.reader, position, snapshot: None }
    }

    async fn events(&mut self, after: Option<Cursor>) -> Result<EventPage, ApiError> {
        let position = after.map(|cursor| cursor.position);
        let page = self.feed.page(&self.actor, &self.selection, position, self.limit).await?;
        let generation = page.generation;
        if after.is_some_and(|cursor| cursor.generation != generation) {
            return Err(ApiError::Resync("the database was restored or has failed over since"));
        }
        let mut items = Vec::with_capacity(page.entries.len());
        for entry in &page.entries {
            let cursor = self.cursor(generation, entry.position).encode();
            let (event_type, event) = Event::of(entry, cursor)?;
            if self.types.includes(event_type.kind, event_type.action) {
                items.push(event);
            }
        }
        Ok(self.page_to(self.cursor(generation, page.end), page.has_more, items))
    }

    /// Returns a page of objects behind the cursor. Behind the last one come the events since the
    /// first was read.
    async fn objects(&mut self, cursor: Cursor) -> Result<EventPage, ApiError> {
        let Some((kind, after)) = cursor.snapshot else { return self.events(Some(cursor)).await };
        let partner_sid = self.actor.own_partner_sid()?;
        let name = kind.as_str();
        let (objects, has_more) = if self.selection.own.contains(&name) {
            let descendants = self.selection.descendants.contains(&name);
            let limit = self.limit;
            let query = async |connection: &mut sqlx::PgConnection| {
                kind.objects(connection, partner_sid, descendants, after, limit).await
            };
            self.feed.query(&self.actor, query).await?
        } else {
            (Vec::new(), false)
        };
        let mut end = after;
        let mut items = Vec::with_capacity(objects.len());
        for object in objects {
            end = object.place;
            let cursor = Cursor { snapshot: Some((kind, end)), ..cursor };
            items.push(Event::snapshot(kind, object, cursor.encode()));
        }
        let following = ObjectKind::ALL.into_iter().find(|other| *other > kind);
        let snapshot = match following {
            _ if has_more => Some((kind, end)),
            Some(following) => Some((following, ObjectPlace::START)),
            None => None,
        };
        Ok(self.page_to(Cursor { snapshot, ..cursor }, true, items))
    }

    fn page_to(&mut self, cursor: Cursor, has_more: bool, items: Vec<Event>) -> EventPage {
        self.next = Start::After(cursor);
        EventPage { cursor: cursor.encode(), has_more, items }
    }
}
