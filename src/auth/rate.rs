//! How many requests a partner may make: a bucket of tokens for each (GCRA), on each instance.

use std::time::Duration;

use actix_web::dev::ServiceResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, web};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use uuid::Uuid;

use crate::error::ApiError;
use crate::settings::Settings;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The rate that every partner is held to, where there is one.
pub struct RateLimit(Option<Buckets>);

struct Buckets {
    quota: Quota,
    limiter:
        RateLimiter<Uuid, DefaultKeyedStateStore<Uuid>, DefaultClock, StateInformationMiddleware>,
}

/// What a partner has left.
struct Allowance {
    admitted: bool,
    /// How many requests would pass right now.
    remaining: u32,
    /// How long it takes at most until one more would pass, in whole seconds, at least 1.
    seconds: u64,
    /// The value of `RateLimit-Policy`.
    policy: String,
}

impl RateLimit {
    /// The rate as it is set.
    ///
    /// # Errors
    /// Where the settings make no sense together.
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

    /// Forgets the partners whose bucket is full again.
    pub fn sweep(&self) {
        if let Self(Some(buckets)) = self {
            buckets.limiter.retain_recent();
            buckets.limiter.shrink_to_fit();
        }
    }
}

impl Buckets {
    /// Takes a token out of the partner's bucket, where there is one.
    fn take(&self, partner_sid: Uuid) -> Allowance {
        let (admitted, remaining, wait) = match self.limiter.check_key(&partner_sid) {
            Ok(state) => (true, state.remaining_burst_capacity(), self.quota.replenish_interval()),
            Err(refused) => (false, 0, refused.wait_time_from(self.limiter.clock().now())),
        };
        let (burst, window) = (self.quota.burst_size(), self.quota.burst_size_replenished_in());
        let policy = format!(r#""default";q={burst};w={}"#, whole_seconds(window));
        Allowance { admitted, remaining, seconds: whole_seconds(wait), policy }
    }
}

/// Rounded up, at least 1.
fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

/// Counts a request of the partner.
///
/// # Errors
/// [`ApiError::TooManyRequests`] where it is one too many; that one does not count.
pub(super) fn admit(request: &HttpRequest, partner_sid: Uuid) -> Result<(), ApiError> {
    let limit = request.app_data::<web::Data<RateLimit>>().and_then(|limit| limit.0.as_ref());
    let Some(buckets) = limit else { return Ok(()) };
    let allowance = buckets.take(partner_sid);
    let refused = ApiError::TooManyRequests { retry_after: allowance.seconds };
    let outcome = if allowance.admitted { Ok(()) } else { Err(refused) };
    request.extensions_mut().insert(allowance);
    outcome
}

/// Tells what the partner has left, where the request was counted or refused (draft-ietf-httpapi-ratelimit-headers, 11).
pub(super) fn tell<B>(response: &mut ServiceResponse<B>) {
    let Some(allowance) = response.request().extensions_mut().remove::<Allowance>() else { return };
    let Allowance { remaining, seconds, policy, .. } = allowance;
    let left = format!(r#""default";r={remaining};t={seconds}"#);
    for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_full_bucket_is_forgotten_and_no_other() {
        let kept = |rate| {
            let settings = Settings::parse_from(["shortline", "--rate", rate]);
            let limit = RateLimit::from_settings(&settings).unwrap();
            let buckets = limit.0.as_ref().unwrap();
            assert!(buckets.take(Uuid::nil()).admitted);
            std::thread::sleep(Duration::from_millis(1));
            limit.sweep();
            buckets.limiter.len()
        };
        assert_eq!((kept("1000000"), kept("0.001")), (0, 1));
    }

    #[test]
    fn seconds_are_rounded_up() {
        for (milliseconds, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(milliseconds)), seconds);
        }
    }
}
