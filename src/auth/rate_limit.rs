//! The request rate of each partner: a token bucket per partner (GCRA), on each instance.

use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use uuid::Uuid;

use crate::settings::Settings;

/// The rate of every partner, if one is configured.
pub struct RateLimit(Option<Buckets>);

struct Buckets {
    quota: Quota,
    limiter:
        RateLimiter<Uuid, DefaultKeyedStateStore<Uuid>, DefaultClock, StateInformationMiddleware>,
}

/// The state of a partner's bucket after a request.
pub struct Allowance {
    /// Whether the request is within the rate.
    pub admitted: bool,
    /// The number of requests that would be admitted now.
    pub remaining: u32,
    /// The longest time until one more request is admitted, in whole seconds, at least 1.
    pub seconds: u64,
    /// The value of `RateLimit-Policy`.
    pub policy: String,
}

impl RateLimit {
    /// Returns the configured limit.
    ///
    /// # Errors
    /// If the settings contradict each other.
    pub fn from_settings(settings: &Settings) -> anyhow::Result<Self> {
        let quota = settings.rate()?.and_then(|(rate, burst)| {
            let quota = Quota::with_period(Duration::from_secs_f64(rate.recip()))?;
            Some(quota.allow_burst(burst))
        });
        Ok(Self(quota.map(|quota| {
            let limiter = RateLimiter::keyed(quota).with_middleware();
            Buckets { quota, limiter }
        })))
    }

    /// Takes a token from the partner's bucket. `None` if there is no rate.
    pub fn take(&self, partner_sid: Uuid) -> Option<Allowance> {
        self.0.as_ref().map(|buckets| buckets.take(partner_sid))
    }

    /// Drops the buckets that are full again.
    pub fn sweep(&self) {
        if let Self(Some(buckets)) = self {
            buckets.limiter.retain_recent();
            buckets.limiter.shrink_to_fit();
        }
    }
}

impl Buckets {
    fn take(&self, partner_sid: Uuid) -> Allowance {
        let (admitted, remaining, wait) = match self.limiter.check_key(&partner_sid) {
            Ok(state) => (true, state.remaining_burst_capacity(), self.quota.replenish_interval()),
            Err(rejected) => (false, 0, rejected.wait_time_from(self.limiter.clock().now())),
        };
        let (burst, window) = (self.quota.burst_size(), self.quota.burst_size_replenished_in());
        let policy = format!(r#""default";q={burst};w={}"#, whole_seconds(window));
        Allowance { admitted, remaining, seconds: whole_seconds(wait), policy }
    }
}

/// Returns the duration in seconds, rounded up, at least 1.
fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn sweeping_drops_full_buckets_only() {
        let remaining = |rate| {
            let settings = Settings::parse_from(["shortline", "--rate", rate]);
            let limit = RateLimit::from_settings(&settings).unwrap();
            let buckets = limit.0.as_ref().unwrap();
            assert!(buckets.take(Uuid::nil()).admitted);
            std::thread::sleep(Duration::from_millis(1));
            limit.sweep();
            buckets.limiter.len()
        };
        assert_eq!((remaining("1000000"), remaining("0.001")), (0, 1));
    }

    #[test]
    fn seconds_are_rounded_up() {
        for (milliseconds, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(milliseconds)), seconds);
        }
    }
}
