//! The dispatcher of an instance: which endpoints it delivers for, and when.
//!
//! Each endpoint belongs to one instance at a time, whose sid is in its row. Instances report that
//! they run; if one does not, the others take over its endpoints. An instance that has lost an
//! endpoint without noticing cannot move its cursor.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use sqlx::{AssertSqlSafe, Connection};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::courier::Courier;
use super::{lag, pending};
use crate::error::ApiError;
use crate::shutdown::Shutdown;
use crate::store::within_limit;

/// The time between two searches for endpoints that have something to deliver.
const POLL: Duration = Duration::from_millis(150);
/// The time between two reports that the instance runs.
const REPORT: Duration = Duration::from_secs(2);
/// The time after its last report at which an instance has ended, in seconds.
const LEASE_SECONDS: f64 = 6.0;
/// The most endpoints that an instance takes over at once.
const MAX_CLAIMS: i64 = 1_000;
/// How long an endpoint waits whose pass had nothing to do.
const IDLE_HOLD: Duration = Duration::from_secs(1);
/// How long an endpoint waits whose pass has failed.
const ERROR_HOLD: Duration = Duration::from_secs(5);

/// The dispatcher of an instance.
pub struct Dispatcher {
    courier: Courier,
    shutdown: Shutdown,
}

/// What a dispatcher knows about its endpoints.
#[derive(Default)]
struct State {
    /// The endpoints of this instance.
    owned: HashSet<Uuid>,
    /// Those that have a pass under way.
    running: HashSet<Uuid>,
    /// Those that wait.
    held: HashMap<Uuid, Instant>,
    /// The last report that this instance runs.
    reported: Option<Instant>,
    is_paused: bool,
}

/// The result of a pass.
type Passed = (Uuid, Result<bool, ApiError>);

/// The passes that are under way.
type Passes<'a> = FuturesUnordered<LocalBoxFuture<'a, Passed>>;

/// A dispatcher at work. It is dropped inside the runtime that it was created in, because a
/// connection that returns to its pool needs one.
pub struct Dispatching<'a> {
    run: Option<LocalBoxFuture<'a, ()>>,
    runtime: Handle,
}

impl Future for Dispatching<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.run {
            Some(run) => run.as_mut().poll(context),
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Dispatching<'_> {
    fn drop(&mut self) {
        let _entered = self.runtime.enter();
        self.run = None;
    }
}

impl Dispatcher {
    /// Returns the dispatcher of a service. It delivers nothing if the settings have no key.
    pub fn new(courier: Courier, shutdown: Shutdown) -> Self {
        Self { courier, shutdown }
    }

    /// Delivers until the result is dropped. While the service drains, no pass begins.
    pub fn run(&self) -> Dispatching<'_> {
        Dispatching { run: Some(Box::pin(self.dispatch())), runtime: Handle::current() }
    }

    async fn dispatch(&self) {
        if !self.courier.secrets.has_key() {
            return std::future::pending().await;
        }
        let (mut state, mut passes) = (State::default(), Passes::new());
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = poll.tick() => {}
                Some(passed) = passes.next() => {
                    state.end(passed);
                    continue;
                }
            }
            if self.shutdown.has_begun() {
                if passes.is_empty() && state.reported.take().is_some() {
                    self.release().await;
                }
                continue;
            }
            if let Err(error) = self.tick(&mut state, &mut passes).await {
                let cause = &error as &dyn std::error::Error;
                tracing::warn!(error = cause, "webhooks are not delivered at the moment");
                state.reported = None;
                state.go_on(&mut passes, Box::pin(tokio::time::sleep(IDLE_HOLD))).await;
            }
        }
    }

    /// Reports that the instance runs, and begins a pass for each endpoint that needs one.
    async fn tick<'a>(
        &'a self,
        state: &mut State,
        passes: &mut Passes<'a>,
    ) -> Result<(), ApiError> {
        if state.reported.is_none_or(|reported| reported.elapsed() >= REPORT) {
            let began = Instant::now();
            let owned = state.go_on(passes, Box::pin(within_limit(self.claim()))).await?;
            if owned.is_none() != state.is_paused {
                state.is_paused = owned.is_none();
                log_pause(state.is_paused);
            }
            state.owned = owned.unwrap_or_default();
            state.reported = Some(began);
        }
        state.held.retain(|_, until| *until > Instant::now());
        let is_free = |sid: &&Uuid| !state.running.contains(*sid) && !state.held.contains_key(*sid);
        let free: Vec<_> = state.owned.iter().filter(is_free).copied().collect();
        if free.is_empty() {
            return Ok(());
        }
        let ready = state.go_on(passes, Box::pin(within_limit(self.ready(&free)))).await?;
        for sid in ready {
            state.running.insert(sid);
            passes.push(Box::pin(async move { (sid, self.courier.pass(sid).await) }));
        }
        Ok(())
    }

    /// Reports that the instance runs, and takes over endpoints that no instance delivers for.
    /// Returns the endpoints of this instance; `None` if deliveries are paused.
    async fn claim(&self) -> Result<Option<HashSet<Uuid>>, ApiError> {
        let own = self.courier.dispatcher_sid;
        let mut lease = self.courier.lease().await?;
        let mut tx = lease.connection.begin().await?;
        let (has_endpoints, is_paused): (bool, bool) = sqlx::query_as(
            "select exists (select from event_endpoints where enabled),
                 coalesce((select is_paused from event_generations
                           order by generation desc limit 1), false)",
        )
        .fetch_one(&mut *tx)
        .await?;
        if is_paused {
            return Ok(None);
        }
        if !has_endpoints {
            return Ok(Some(HashSet::new()));
        }
        sqlx::query(
            "insert into event_dispatchers (sid, seen_at) values ($1, clock_timestamp())
             on conflict (sid) do update set seen_at = excluded.seen_at",
        )
        .bind(own)
        .execute(&mut *tx)
        .await?;
        let claimed: Vec<(Uuid, bool)> = sqlx::query_as(
            "with free as (
                 select sid, dispatcher_sid from event_endpoints as endpoint
                 where enabled and dispatcher_sid is distinct from $1 and not exists (
                     select from event_dispatchers as other
                     where other.sid = endpoint.dispatcher_sid
                       and seen_at > clock_timestamp() - make_interval(secs => $2)
                       -- Otherwise the clock has jumped back since.
                       and seen_at < clock_timestamp() + make_interval(secs => $2))
                 order by sid limit $3 for no key update skip locked
             )
             update event_endpoints as endpoint set dispatcher_sid = $1 from free
             where endpoint.sid = free.sid
             returning endpoint.sid, free.dispatcher_sid is null",
        )
        .bind(own)
        .bind(LEASE_SECONDS)
        .bind(MAX_CLAIMS)
        .fetch_all(&mut *tx)
        .await?;
        // They were enabled just now, so their retries need not wait any longer.
        let enabled: Vec<_> =
            claimed.iter().filter(|(_, is_new)| *is_new).map(|(sid, _)| *sid).collect();
        if !enabled.is_empty() {
            pending::make_due(&mut tx, &enabled).await?;
        }
        // An endpoint that is enabled again begins as one that no instance has delivered for.
        let owned = "with left_out as (
                         update event_endpoints set dispatcher_sid = null
                         where dispatcher_sid = $1 and not enabled
                     )
                     select sid from event_endpoints where dispatcher_sid = $1 and enabled";
        let owned: Vec<Uuid> = sqlx::query_scalar(owned).bind(own).fetch_all(&mut *tx).await?;
        tx.commit().await?;
        Ok(Some(owned.into_iter().collect()))
    }

    /// Returns those of the endpoints that have something to deliver.
    async fn ready(&self, endpoints: &[Uuid]) -> Result<Vec<Uuid>, ApiError> {
        let events = lag::events_after_cursor(1);
        let statement = format!(
            "with state as materialized (select event_horizon() as horizon)
             select endpoint.sid from event_endpoints as endpoint cross join state
             where endpoint.sid = any($1) and (
                 exists ({events})
                 or exists (
                     select from event_deliveries
                     where endpoint_sid = endpoint.sid and status = 'pending'
                       and next_attempt_at <= clock_timestamp())
                 or exists (select from event_replays where endpoint_sid = endpoint.sid))"
        );
        let mut lease = self.courier.lease().await?;
        let ready = sqlx::query_scalar(AssertSqlSafe(statement)).bind(endpoints);
        Ok(ready.fetch_all(&mut *lease.connection).await?)
    }

    /// Leaves the endpoints to other instances at once.
    async fn release(&self) {
        let release = async {
            let mut lease = self.courier.lease().await?;
            let delete = "delete from event_dispatchers where sid = $1";
            let own = self.courier.dispatcher_sid;
            Ok(sqlx::query(delete).bind(own).execute(&mut *lease.connection).await?)
        };
        if let Err(error) = within_limit(release).await {
            let cause = &error as &dyn std::error::Error;
            tracing::warn!(error = cause, "other instances take over webhooks some seconds later");
        }
    }
}

impl State {
    /// Waits for `work` while the passes go on: one that is not polled would hold its connection,
    /// for which `work` may be waiting.
    async fn go_on<T>(
        &mut self,
        passes: &mut Passes<'_>,
        mut work: Pin<Box<impl Future<Output = T>>>,
    ) -> T {
        loop {
            tokio::select! {
                outcome = &mut work => return outcome,
                Some(passed) = passes.next() => self.end(passed),
            }
        }
    }

    fn end(&mut self, (sid, outcome): Passed) {
        self.running.remove(&sid);
        let hold = match outcome {
            Ok(true) => return,
            Ok(false) => IDLE_HOLD,
            Err(error) => {
                let cause = error.internal_cause().map(ToString::to_string);
                let errors = error.errors().into_iter().map(|error| error.message);
                let cause = cause.unwrap_or_else(|| errors.collect::<Vec<_>>().join("; "));
                tracing::warn!(endpoint_sid = %sid, cause, "a pass over deliveries failed");
                ERROR_HOLD
            }
        };
        self.held.insert(sid, Instant::now() + hold);
    }
}

fn log_pause(is_paused: bool) {
    if is_paused {
        tracing::warn!(
            "webhooks are paused, because the database may be a copy of another one; `shortline \
             events resume` resumes them"
        );
    } else {
        tracing::info!("webhooks are resumed");
    }
}
