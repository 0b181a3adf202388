//! Which partners have new events: one statement for all requests of an instance that wait.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, FromRow, PgPool};
use tokio::sync::{Notify, broadcast};
use uuid::Uuid;

use super::page::{HORIZON, IS_EVENT};
use super::{Feed, Position};
use crate::auth::Authenticator;

/// The time between two polls while a request waits.
const INTERVAL: Duration = Duration::from_millis(150);
/// The least time between two polls, if this instance has written something.
const MIN_INTERVAL: Duration = Duration::from_millis(20);
/// The longest time that a poll takes: longer than the wait for a connection.
const POLL_TIMEOUT: Duration = Duration::from_secs(5);
/// The time between two checks of the tokens of the requests that wait.
const TOKEN_INTERVAL: Duration = Duration::from_secs(3);
/// The most events that one poll reads.
const BATCH: i64 = 1_000;
/// How many polls a waiting request may be behind before it reads on suspicion.
const BACKLOG: usize = 16;

/// Wakes the requests that wait.
pub(super) struct Watch {
    begun: Notify,
    sender: broadcast::Sender<News>,
}

/// What a poll has found.
#[derive(Clone)]
enum News {
    /// Any partner may have new events.
    Unknown,
    /// These partners or descendants of theirs have new events.
    Of(Arc<HashSet<Uuid>>),
}

impl Default for Watch {
    fn default() -> Self {
        Self { begun: Notify::new(), sender: broadcast::channel(BACKLOG).0 }
    }
}

impl Watch {
    /// Begins to poll, because a request waits.
    pub fn wake(&self) {
        self.begun.notify_one();
    }

    pub fn changes(&self) -> Changes {
        Changes(self.sender.subscribe())
    }
}

/// Reports which partners have new events.
pub struct Changes(broadcast::Receiver<News>);

impl Changes {
    /// Waits until that partner or a descendant of it may have new events.
    pub async fn wait(&mut self, partner_sid: Uuid) {
        loop {
            match self.0.recv().await {
                Ok(News::Of(partners)) if !partners.contains(&partner_sid) => {}
                // A request that has missed news reads what there is.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// The new events of a poll.
#[derive(FromRow)]
struct Found {
    epoch: Option<i64>,
    sid: Option<Uuid>,
    version: Option<i64>,
    partners: Vec<Uuid>,
    is_full: bool,
}

/// Returns the statement for at most `$4` new events after the place `$1, $2, $3`: the place of the
/// last one, and their partners with all ancestors.
fn statement() -> String {
    format!(
        "with state as materialized ({HORIZON}), found as materialized (
             select epoch, sid, version, partner_sid from history, state
             where {IS_EVENT} and epoch < state.horizon and (epoch, sid, version) > ($1, $2, $3)
             order by epoch, sid, version limit $4
         )
         select last.epoch, last.sid, last.version,
             array(
                 select distinct ancestor_sid from partner_tree
                 where descendant_sid in (select partner_sid from found)
             ) as partners,
             (select count(*) from found) = $4 as is_full
         from (select) as always
         left join lateral (
             select * from found order by epoch desc, sid desc, version desc limit 1
         ) as last on true"
    )
}

/// The place of the newest event of all.
fn newest() -> String {
    format!(
        "with state as materialized ({HORIZON})
         select epoch, sid, version, '{{}}'::uuid[] as partners, false as is_full
         from history, state where {IS_EVENT} and epoch < state.horizon
         order by epoch desc, sid desc, version desc limit 1"
    )
}

impl Feed {
    /// Polls for new events while a request waits, and checks the tokens of those, until it is
    /// dropped. A failure is not logged: the requests that read the events report it.
    pub async fn watch(&self, authenticator: &Authenticator) {
        let (watch, seats) = (&self.0.watch, &self.0.seats);
        let (mut position, mut checked) = (None, Instant::now());
        loop {
            if seats.is_empty() {
                position = None;
                watch.begun.notified().await;
            }
            let began = Instant::now();
            let polled = tokio::time::timeout(POLL_TIMEOUT, self.poll(&mut position)).await;
            if polled.is_err() {
                // The network drops everything, or the database hangs.
                self.0.database.staleness().mark_all_stale();
            }
            let news = polled.ok().and_then(Result::ok).unwrap_or_else(|| {
                position = None;
                None
            });
            if let Some(news) = news {
                let _ = watch.sender.send(news);
            }
            if checked.elapsed() >= TOKEN_INTERVAL {
                authenticator.refresh(&seats.tokens()).await;
                checked = Instant::now();
            }
            let commits = self.0.database.commits();
            let _ = tokio::time::timeout(INTERVAL, commits.notified()).await;
            tokio::time::sleep(MIN_INTERVAL.saturating_sub(began.elapsed())).await;
        }
    }

    /// Returns which partners have new events since that position, and moves it. Without a position
    /// it starts at the newest event, which requests may not have read.
    async fn poll(&self, position: &mut Option<Position>) -> Result<Option<News>, sqlx::Error> {
        let pool: &PgPool = self.0.database.lists().pool();
        let (statement, start) = match *position {
            Some(start) => (statement(), start),
            None => (newest(), Position::START),
        };
        let mut query = sqlx::query_as(AssertSqlSafe(statement));
        if position.is_some() {
            query = query.bind(start.epoch).bind(start.sid).bind(start.version).bind(BATCH);
        }
        let found: Option<Found> = query.fetch_optional(pool).await?;
        let is_first = position.is_none();
        let last = found.as_ref().and_then(|found| {
            Some(Position { epoch: found.epoch?, sid: found.sid?, version: found.version? })
        });
        *position = Some(last.unwrap_or(start));
        Ok(match found {
            _ if is_first => Some(News::Unknown),
            Some(Found { is_full: true, .. }) => Some(News::Unknown),
            Some(found) if !found.partners.is_empty() => {
                Some(News::Of(Arc::new(found.partners.into_iter().collect())))
            }
            _ => None,
        })
    }
}
