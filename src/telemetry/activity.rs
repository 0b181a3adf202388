//! What happens between the requests and the database, counted where it happens.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts,
};
use uuid::Uuid;

/// The buckets of batch sizes, up to the most requests of a batch.
const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// The counts, which all threads share.
#[derive(Clone)]
pub struct Activity {
    waiting: IntGaugeVec,
    timeouts: IntCounterVec,
    /// Requests that got a 503 because they waited too long for a lock of another transaction.
    pub lock_timeouts: IntCounter,
    batch_sizes: HistogramVec,
    /// Responses that were replayed to a repeated request.
    pub replays: IntCounter,
    deliveries: IntCounterVec,
    webhook_lag_seconds: GaugeVec,
    webhook_lag_events: IntGaugeVec,
    /// Access tokens that have not expired, when they were counted last.
    pub tokens: IntGauge,
    /// The age of the oldest transaction that holds events back, in seconds.
    pub event_delay: Gauge,
}

/// The counts of requests that wait for one thing.
#[derive(Clone)]
pub struct Waits {
    waiting: IntGauge,
    timeouts: IntCounter,
}

/// A request that waits until this is dropped.
pub struct Wait(IntGauge);

impl Drop for Wait {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Waits {
    /// Counts a request that waits until the result is dropped.
    pub fn begin(&self) -> Wait {
        self.waiting.inc();
        Wait(self.waiting.clone())
    }

    /// Counts a request that got a 503 because it has waited too long, or too many waited already.
    pub fn count_timeout(&self) {
        self.timeouts.inc();
    }
}

impl Activity {
    /// Creates the counts.
    ///
    /// # Errors
    /// If two of them have the same name.
    pub fn new() -> prometheus::Result<Self> {
        let waiting = Opts::new("shortline_requests_waiting", "Requests that wait, by what for.");
        let timeouts = Opts::new(
            "shortline_wait_timeouts_total",
            "Requests that got a 503 because they waited too long or too many waited.",
        );
        let deliveries =
            Opts::new("shortline_webhook_attempts_total", "Attempts to deliver, by outcome.");
        let lag_seconds = Opts::new(
            "shortline_webhook_lag_seconds",
            "Age of the oldest event that an endpoint has not accepted, measured once a minute.",
        );
        let lag_events = Opts::new(
            "shortline_webhook_lag_events",
            "Events that an endpoint has not accepted, counted to 1000 once a minute.",
        );
        let sizes = HistogramOpts::new("shortline_batch_size", "Requests of a batch.");
        let timeouts = IntCounterVec::new(timeouts, &["for"])?;
        Ok(Self {
            waiting: IntGaugeVec::new(waiting, &["for"])?,
            lock_timeouts: timeouts.with_label_values(&["locks"]),
            timeouts,
            batch_sizes: HistogramVec::new(sizes.buckets(SIZES.to_vec()), &["work"])?,
            replays: IntCounter::new(
                "shortline_replays_total",
                "Responses that were replayed to a request with the same idempotency key.",
            )?,
            deliveries: IntCounterVec::new(deliveries, &["outcome"])?,
            webhook_lag_seconds: GaugeVec::new(lag_seconds, &["endpoint_sid"])?,
            webhook_lag_events: IntGaugeVec::new(lag_events, &["endpoint_sid"])?,
            tokens: IntGauge::new(
                "shortline_tokens_alive",
                "Access tokens in the database that have not expired, counted once a minute.",
            )?,
            event_delay: Gauge::new(
                "shortline_event_delay_seconds",
                "Age of the oldest transaction in the PostgreSQL cluster that holds events back.",
            )?,
        })
    }

    /// The counts of requests that wait for a batch or a connection of that name.
    pub fn waits(&self, name: &str) -> Waits {
        Waits {
            waiting: self.waiting.with_label_values(&[name]),
            timeouts: self.timeouts.with_label_values(&[name]),
        }
    }

    /// The sizes of the batches of that work.
    pub fn batch_sizes(&self, work: &str) -> Histogram {
        self.batch_sizes.with_label_values(&[work])
    }

    /// Counts an attempt to deliver an event.
    pub fn count_delivery(&self, success: bool) {
        let outcome = if success { "delivered" } else { "failed" };
        self.deliveries.with_label_values(&[outcome]).inc();
    }

    /// Sets how far these endpoints are behind, in events and seconds, and forgets all others.
    pub fn set_webhook_lags(&self, lags: impl Iterator<Item = (Uuid, i64, f64)>) {
        self.webhook_lag_events.reset();
        self.webhook_lag_seconds.reset();
        for (sid, events, seconds) in lags {
            let labels = [sid.to_string()];
            self.webhook_lag_events.with_label_values(&labels).set(events);
            self.webhook_lag_seconds.with_label_values(&labels).set(seconds);
        }
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 9] {
        [
            Box::new(self.waiting.clone()),
            Box::new(self.timeouts.clone()),
            Box::new(self.batch_sizes.clone()),
            Box::new(self.replays.clone()),
            Box::new(self.tokens.clone()),
            Box::new(self.deliveries.clone()),
            Box::new(self.webhook_lag_seconds.clone()),
            Box::new(self.webhook_lag_events.clone()),
            Box::new(self.event_delay.clone()),
        ]
    }
}
