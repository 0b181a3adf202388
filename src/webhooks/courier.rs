//! One pass over the deliveries of one endpoint: the retries that are due, new events, and replays.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::iter;
use sqlx::{Connection, FromRow};
use time::OffsetDateTime;
use uuid::Uuid;

use super::batch::{self, Planned};
use super::client::DeliveryClient;
use super::connections::{Connections, SharedLease};
use super::disabling::disable;
use super::endpoint::EventEndpoint;
use super::event::Typed;
use super::members::{Ordering, is_readable, reads_descendants};
use super::pending::{self, Pending, Settled};
use super::replay::Replay;
use super::schedule::{Answer, Verdict, has_failed_too_long, verdict};
use super::secrets::SecretBox;
use super::source::{self, Entry, Selection};
use super::target::{Stream, Target, plan};
use crate::auth::{PartnerAncestry, Scope};
use crate::error::ApiError;
use crate::store::{Database, Position, within_limit};

/// The most deliveries of an endpoint that are not complete. At that number, new events wait in the
/// history.
const MAX_PENDING: i64 = 1_000;

/// The time after which a pass ends, if there is always something to do.
const MAX_PASS: Duration = Duration::from_secs(5);

/// The time after which an endpoint is loaded again while its events are delivered.
const CHECK: Duration = Duration::from_secs(2);

/// Delivers the events of endpoints.
pub struct Courier {
    pub database: Database,
    pub client: DeliveryClient,
    pub secrets: Arc<SecretBox>,
    /// The sid of this instance among the dispatchers.
    pub dispatcher_sid: Uuid,
    /// The connections that deliveries may use.
    pub connections: Connections,
}

/// An endpoint as it is when a pass begins.
#[derive(FromRow)]
struct Loaded {
    #[sqlx(flatten)]
    endpoint: EventEndpoint,
    #[sqlx(flatten)]
    cursor: Position,
    now: OffsetDateTime,
    /// The number of deliveries that are not complete.
    pending: i64,
    has_due: bool,
    has_replay: bool,
}

/// An attempt that has ended.
type Attempted = (Position, String, Answer);

impl Courier {
    /// Makes one pass. Returns whether there was something to do.
    ///
    /// # Errors
    /// If the database is not available, or the secret of the endpoint cannot be decrypted.
    pub async fn pass(&self, endpoint_sid: Uuid) -> Result<bool, ApiError> {
        let (began, mut has_worked) = (Instant::now(), false);
        while began.elapsed() < MAX_PASS {
            let Some(target) = self.load(endpoint_sid).await? else { break };
            let has_retried = target.has_due && self.retry(&target).await?;
            let delivered = self.deliver(&target).await?;
            let has_replayed = target.has_replay && self.replay(&target).await?;
            has_worked |= has_retried || delivered > 0 || has_replayed;
            // Otherwise the dispatcher finds what is new.
            let has_more = delivered >= source::LIMIT
                || (delivered > 0 && target.endpoint.is_failing())
                || has_retried
                || has_replayed;
            if !has_more {
                break;
            }
        }
        Ok(has_worked)
    }

    /// Returns a connection of those that deliveries may use.
    pub(super) async fn lease(&self) -> Result<SharedLease<'_>, ApiError> {
        self.connections.lease(&self.database).await
    }

    /// Loads an endpoint of this instance. `None` if it is not one any more, or gets nothing now.
    async fn load(&self, endpoint_sid: Uuid) -> Result<Option<Target>, ApiError> {
        let load = async {
            let mut lease = self.lease().await?;
            let connection = &mut *lease.connection;
            let loaded: Option<Loaded> = sqlx::query_as(
                "select *, clock_timestamp() as now,
                     (select count(*) from event_deliveries
                      where endpoint_sid = sid and event_deliveries.status = 'pending') as pending,
                     exists (select from event_deliveries
                             where endpoint_sid = sid and event_deliveries.status = 'pending'
                               and next_attempt_at <= clock_timestamp()) as has_due,
                     exists (select from event_replays where endpoint_sid = event_endpoints.sid)
                         as has_replay
                 from event_endpoints where sid = $1 and dispatcher_sid = $2 and enabled",
            )
            .bind(endpoint_sid)
            .bind(self.dispatcher_sid)
            .fetch_optional(&mut *connection)
            .await?;
            let Some(loaded) = loaded else { return Ok(None) };
            let ancestry = PartnerAncestry::of(connection, loaded.endpoint.partner_sid).await?;
            Ok(ancestry.map(|ancestry| (loaded, ancestry)))
        };
        let Some((loaded, ancestry)) = within_limit(load).await? else { return Ok(None) };
        let Loaded { endpoint, cursor, now, pending, has_due, has_replay } = loaded;
        let PartnerAncestry { active, scopes, .. } = ancestry;
        if !active || !Scope::EventsRead.is_covered(&scopes) {
            return Ok(None);
        }
        let kinds = ["did", "did_group", "partner", "short_code"];
        let is_selected = |kind: &&str| {
            let of_kind = |name: &str| name.split('.').next() == Some(kind);
            endpoint.types.iter().any(|name| of_kind(name) && is_readable(name, &scopes))
        };
        let selection = Selection {
            partner_sid: endpoint.partner_sid,
            descendants: endpoint.descendants && reads_descendants(&scopes),
            kinds: kinds.into_iter().filter(is_selected).collect(),
            dates: (None, None),
        };
        let signer = endpoint.signer(&self.secrets, now)?;
        Ok(Some(Target {
            endpoint,
            cursor,
            pending,
            has_due,
            has_replay,
            signer,
            scopes,
            selection,
        }))
    }

    /// Sends a message once, and counts the attempt.
    async fn send(&self, target: &Target, typed: &Typed) -> Answer {
        let url = target.endpoint.url.as_str();
        let answer = self.client.send(url, &target.signer, &typed.message).await;
        self.database.activity().count_delivery(answer.is_success());
        answer
    }

    /// Attempts the deliveries whose time has come.
    async fn retry(&self, target: &Target) -> Result<bool, ApiError> {
        let due = async {
            let mut lease = self.lease().await?;
            let (connection, limit) = (&mut *lease.connection, target.in_flight() as i64);
            let sid = target.endpoint.endpoint_sid;
            let mut found = Vec::new();
            for pending in pending::due(connection, sid, limit).await? {
                let (object_sid, version) = (pending.object_sid, pending.version);
                found.push((source::entry(connection, object_sid, version).await?, pending));
            }
            Ok(found)
        };
        let due = within_limit(due).await?;
        let has_due = !due.is_empty();
        let attempts = iter(due).map(|(entry, pending)| self.retry_one(target, entry, pending));
        let outcomes: Vec<_> = attempts.buffer_unordered(target.in_flight()).collect().await;
        outcomes.into_iter().collect::<Result<(), _>>()?;
        Ok(has_due)
    }

    async fn retry_one(
        &self,
        target: &Target,
        entry: Option<Entry>,
        pending: Pending,
    ) -> Result<(), ApiError> {
        let is_own = |entry: &&Entry| {
            target.selection.descendants || entry.partner_sid == target.endpoint.partner_sid
        };
        let typed = entry.as_ref().filter(is_own).map(|entry| target.event(entry)).transpose()?;
        let Some(typed) = typed.flatten() else {
            return self.settle_one(target, &pending, None).await;
        };
        let answer = self.send(target, &typed).await;
        self.settle_one(target, &pending, Some((typed.name, answer))).await
    }

    /// Stores the outcome of a retry. Without one, the endpoint does not get the event any more.
    async fn settle_one(
        &self,
        target: &Target,
        pending: &Pending,
        outcome: Option<(String, Answer)>,
    ) -> Result<(), ApiError> {
        let sid = target.endpoint.endpoint_sid;
        let (is_gone, success) = match &outcome {
            Some((_, answer)) => (answer.is_gone(), Some(answer.is_success())),
            None => (false, None),
        };
        let settle = async {
            let mut lease = self.lease().await?;
            let mut tx = lease.connection.begin().await?;
            let state = pending::advance(&mut tx, sid, self.dispatcher_sid, None, success).await?;
            let Some(state) = state else { return Ok(None) };
            match outcome {
                Some((name, answer)) => {
                    let attempts = usize::try_from(pending.attempts).unwrap_or_default() + 1;
                    let settled =
                        settled(pending.object_sid, pending.version, name, answer, attempts);
                    pending::settle(&mut tx, sid, state.cursor, pending, &settled).await?;
                }
                None => pending::end(&mut tx, sid, state.cursor, pending).await?,
            }
            tx.commit().await?;
            Ok(Some(state))
        };
        let state = within_limit(settle).await?;
        self.disable_if_dead(target, is_gone, state).await
    }

    /// Delivers the next events. Returns the number of entries that it has read.
    async fn deliver(&self, target: &Target) -> Result<usize, ApiError> {
        let is_held = target.endpoint.ordering == Ordering::Strict && target.pending > 0;
        if is_held || target.pending >= MAX_PENDING {
            return Ok(0);
        }
        let read = async {
            let mut lease = self.lease().await?;
            Ok(source::next(&mut lease.connection, &target.selection, target.cursor).await?)
        };
        let entries = within_limit(read).await?;
        let count = entries.len();
        if count > 0 {
            self.deliver_entries(target, entries, Stream::New).await?;
        }
        Ok(count)
    }

    /// Delivers these entries and stores the outcome. Returns the place up to which they are
    /// settled.
    pub(super) async fn deliver_entries(
        &self,
        target: &Target,
        entries: Vec<Entry>,
        stream: Stream<'_>,
    ) -> Result<Option<Position>, ApiError> {
        let sid = target.endpoint.endpoint_sid;
        let objects: Vec<_> = entries.iter().map(|entry| entry.position.sid).collect();
        let waiting = async {
            if target.pending == 0 {
                return Ok(HashSet::new());
            }
            let mut lease = self.lease().await?;
            Ok(pending::of_objects(&mut lease.connection, sid, &objects).await?)
        };
        let waiting = within_limit(waiting).await?;
        let (planned, blocked) = plan(target, &entries, &waiting, stream)?;
        let places: Vec<_> =
            planned.iter().map(|planned| (planned.position, planned.event.is_some())).collect();
        let attempted = self.attempt(target, planned).await;
        let of = |success: bool| -> HashSet<Position> {
            let outcomes = attempted.iter().filter(|(_, _, answer)| answer.is_success() == success);
            outcomes.map(|(position, ..)| *position).collect()
        };
        let end = batch::settled_end(target.endpoint.ordering, &places, &of(true), &of(false));
        self.settle(target, end, attempted, &blocked, stream).await?;
        Ok(end)
    }

    /// Attempts the events. None begins after a failure, or when the endpoint has changed.
    async fn attempt(&self, target: &Target, planned: Vec<Planned>) -> Vec<Attempted> {
        let (has_ended, checked_at) = (&Cell::new(false), &Cell::new(Instant::now()));
        let groups = batch::groups(target.endpoint.ordering, planned);
        let attempts = iter(groups).map(|group| async move {
            let mut attempted = Vec::new();
            for (position, typed) in group {
                if !has_ended.get() && checked_at.get().elapsed() >= CHECK {
                    checked_at.set(Instant::now());
                    has_ended.set(!self.is_current(target).await);
                }
                if has_ended.get() {
                    break;
                }
                let answer = self.send(target, &typed).await;
                let success = answer.is_success();
                attempted.push((position, typed.name, answer));
                if !success {
                    has_ended.set(true);
                    break;
                }
            }
            attempted
        });
        let attempted: Vec<Vec<_>> = attempts.buffer_unordered(target.in_flight()).collect().await;
        attempted.into_iter().flatten().collect()
    }

    /// Whether the endpoint still gets its events, in the same way.
    async fn is_current(&self, target: &Target) -> bool {
        let loaded = self.load(target.endpoint.endpoint_sid).await;
        matches!(loaded, Ok(Some(loaded)) if loaded.gets_the_same_as(target))
    }

    /// Stores the outcomes of first attempts, and moves the cursor.
    async fn settle(
        &self,
        target: &Target,
        end: Option<Position>,
        attempted: Vec<Attempted>,
        blocked: &[Uuid],
        stream: Stream<'_>,
    ) -> Result<(), ApiError> {
        let EventEndpoint { endpoint_sid: sid, ordering, .. } = target.endpoint;
        let has =
            |success: bool| attempted.iter().any(|(.., answer)| answer.is_success() == success);
        let outcome = if has(true) { Some(true) } else { has(false).then_some(false) };
        let is_gone = attempted.iter().any(|(.., answer)| answer.is_gone());
        let is_blocking = stream.is_new() && ordering == Ordering::Object;
        let settle = async {
            let mut lease = self.lease().await?;
            let mut tx = lease.connection.begin().await?;
            let cursor = end.filter(|_| stream.is_new());
            let state =
                pending::advance(&mut tx, sid, self.dispatcher_sid, cursor, outcome).await?;
            if state.is_none() {
                return Ok(None);
            }
            for (position, name, answer) in attempted {
                let settled = settled(position.sid, position.version, name, answer, 1);
                pending::add(&mut tx, sid, is_blocking, &settled).await?;
            }
            if !blocked.is_empty() {
                pending::block(&mut tx, sid, blocked).await?;
            }
            tx.commit().await?;
            Ok(state)
        };
        let state = within_limit(settle).await?;
        self.disable_if_dead(target, is_gone, state).await
    }

    /// Delivers the next events of the endpoint's oldest replay.
    async fn replay(&self, target: &Target) -> Result<bool, ApiError> {
        let sid = target.endpoint.endpoint_sid;
        let next = async {
            let mut lease = self.lease().await?;
            let Some(replay) = Replay::oldest(&mut lease.connection, sid).await? else {
                return Ok(None);
            };
            let selection = replay.selection(&target.selection);
            let entries = source::next(&mut lease.connection, &selection, replay.cursor()).await?;
            Ok(Some((replay, entries)))
        };
        let Some((replay, entries)) = within_limit(next).await? else { return Ok(false) };
        if target.pending >= MAX_PENDING {
            return Ok(false);
        }
        let is_over = entries.is_empty();
        let end = self.deliver_entries(target, entries, Stream::Replay(&replay)).await?;
        let advance = async {
            let mut lease = self.lease().await?;
            Ok(replay.advance(&mut lease.connection, end, is_over).await?)
        };
        within_limit(advance).await?;
        Ok(end.is_some() || is_over)
    }

    /// Disables the endpoint if it answered 410, or has failed for too long.
    async fn disable_if_dead(
        &self,
        target: &Target,
        is_gone: bool,
        state: Option<pending::State>,
    ) -> Result<(), ApiError> {
        let Some(pending::State { failing_since, now, .. }) = state else { return Ok(()) };
        let reason = if is_gone {
            "it answered 410 Gone"
        } else if has_failed_too_long(failing_since, now) {
            "every delivery has failed for five days"
        } else {
            return Ok(());
        };
        let EventEndpoint { endpoint_sid, partner_sid, .. } = target.endpoint;
        let disable = async {
            let mut lease = self.lease().await?;
            disable(&mut lease.connection, endpoint_sid, partner_sid, reason).await
        };
        if within_limit(disable).await? {
            tracing::warn!(%endpoint_sid, %partner_sid, "disabled a webhook endpoint: {reason}");
        }
        Ok(())
    }
}

fn settled(sid: Uuid, version: i64, name: String, answer: Answer, attempts: usize) -> Settled {
    let chance = Uuid::new_v4().as_u128() as f64 / u128::MAX as f64;
    let verdict: Verdict = verdict(&answer, attempts, chance);
    Settled { sid, version, name, attempt: answer.into(), verdict }
}
