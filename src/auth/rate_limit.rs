//! Request rates: a token bucket for each partner (GCRA), and one for each subtree of partners, on
//! each instance.
//!
//! A subtree is a partner that the operator created, with the partners below it that were created
//! through the API. Its rate keeps a partner from multiplying its own by creating sub-partners. A
//! request needs a token from both buckets and takes both or none, so a rejected request costs no
//! sibling anything. Half of the rate of a subtree is reserved in equal shares for the partners
//! that send requests, so no partner can use up what another one needs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use uuid::Uuid;

use crate::settings::{Rates, Settings};

/// The rates of every partner and subtree, if they are configured.
pub struct RateLimit(Option<Buckets>);

struct Buckets {
    rates: Rates,
    quota: Quota,
    partners:
        RateLimiter<Uuid, DefaultKeyedStateStore<Uuid>, DefaultClock, StateInformationMiddleware>,
    subtree_quota: SubtreeQuota,
    subtrees: Mutex<HashMap<Uuid, Subtree>>,
    /// The date from which the buckets of subtrees count the seconds.
    start: Instant,
}

/// The state of the bucket with the fewest tokens after a request.
pub struct Allowance {
    /// Whether the request is within the rates.
    pub admitted: bool,
    /// The name of the bucket: `default` for that of the partner, or `subtree`.
    pub name: &'static str,
    /// The number of requests that would be admitted now.
    pub remaining: u64,
    /// The longest time until one more request is admitted, in whole seconds, at least 1.
    pub seconds: u64,
    /// The number of requests that a full bucket admits.
    pub burst: u64,
    /// The time in which an empty bucket becomes full, in whole seconds.
    pub window: u64,
    /// What is left in both buckets after a request that was admitted.
    pub left: Option<Left>,
}

/// What is left of the rates of a partner and of its subtree.
#[derive(Clone, Copy)]
pub struct Left {
    /// The rates.
    pub rates: Rates,
    /// The number of requests that the bucket of the partner would admit now.
    pub of_partner: u64,
    /// The number of requests that the bucket of the subtree would admit now.
    pub of_subtree: u64,
}

impl RateLimit {
    /// Returns the configured limit.
    ///
    /// # Errors
    /// If the settings contradict each other.
    pub fn from_settings(settings: &Settings) -> anyhow::Result<Self> {
        let buckets = settings.rates()?.and_then(|rates| {
            let Rates { rate, burst, subtree_rate, subtree_burst } = rates;
            let quota = Quota::with_period(Duration::from_secs_f64(rate.recip()))?;
            let quota = quota.allow_burst(burst);
            Some(Buckets {
                rates,
                quota,
                partners: RateLimiter::keyed(quota).with_middleware(),
                subtree_quota: SubtreeQuota { rate: subtree_rate, burst: subtree_burst },
                subtrees: Mutex::default(),
                start: Instant::now(),
            })
        });
        Ok(Self(buckets))
    }

    /// Takes a token from the buckets of a partner and of its subtree: from both or from none.
    /// `None` if there are no rates.
    pub fn take(&self, partner_sid: Uuid, subtree_sid: Uuid) -> Option<Allowance> {
        self.0.as_ref().map(|buckets| buckets.take(partner_sid, subtree_sid))
    }

    /// Drops the buckets that are full again.
    pub fn sweep(&self) {
        if let Self(Some(buckets)) = self {
            buckets.partners.retain_recent();
            buckets.partners.shrink_to_fit();
            let now = buckets.start.elapsed().as_secs_f64();
            let mut subtrees = buckets.subtrees.lock().unwrap_or_else(PoisonError::into_inner);
            subtrees.retain(|_, subtree| !subtree.is_full(buckets.subtree_quota, now));
        }
    }
}

impl Buckets {
    fn take(&self, partner_sid: Uuid, subtree_sid: Uuid) -> Allowance {
        // Held until both buckets are decided.
        let mut subtrees = self.subtrees.lock().unwrap_or_else(PoisonError::into_inner);
        let (quota, now) = (self.subtree_quota, self.start.elapsed().as_secs_f64());
        let subtree = subtrees.entry(subtree_sid).or_insert_with(|| Subtree::full(quota, now));
        let turn = match subtree.prepare(quota, partner_sid, now) {
            Ok(turn) => turn,
            Err(wait) => return self.of_subtree(false, 0, wait),
        };
        match self.partners.check_key(&partner_sid) {
            Ok(state) => {
                let remaining_of_subtree = turn.take();
                let remaining = u64::from(state.remaining_burst_capacity());
                let tighter = if remaining_of_subtree < remaining {
                    self.of_subtree(true, remaining_of_subtree, quota.rate.recip())
                } else {
                    self.of_partner(true, remaining, self.quota.replenish_interval())
                };
                let (rates, of_subtree) = (self.rates, remaining_of_subtree);
                Allowance {
                    left: Some(Left { rates, of_partner: remaining, of_subtree }),
                    ..tighter
                }
            }
            Err(rejected) => {
                let wait = rejected.wait_time_from(self.partners.clock().now());
                self.of_partner(false, 0, wait)
            }
        }
    }

    fn of_partner(&self, admitted: bool, remaining: u64, wait: Duration) -> Allowance {
        Allowance {
            admitted,
            name: "default",
            remaining,
            seconds: whole_seconds(wait),
            burst: u64::from(self.quota.burst_size().get()),
            window: whole_seconds(self.quota.burst_size_replenished_in()),
            left: None,
        }
    }

    fn of_subtree(&self, admitted: bool, remaining: u64, wait: f64) -> Allowance {
        let SubtreeQuota { rate, burst } = self.subtree_quota;
        let seconds = |seconds: f64| seconds.ceil().max(1.0) as u64;
        Allowance {
            admitted,
            name: "subtree",
            remaining,
            seconds: seconds(wait),
            burst: burst as u64,
            window: seconds(burst / rate),
            left: None,
        }
    }
}

/// The rate of a subtree in requests per second, and its burst.
#[derive(Clone, Copy)]
struct SubtreeQuota {
    rate: f64,
    burst: f64,
}

impl SubtreeQuota {
    /// The quota that is reserved for each of so many partners: an equal share of one half.
    fn share(self, partners: usize) -> Self {
        let parts = 2.0 * partners.max(1) as f64;
        Self { rate: self.rate / parts, burst: (self.burst / parts).max(1.0) }
    }
}

/// Tokens that refill over time. Times are in seconds.
struct Tokens {
    count: f64,
    updated: f64,
}

impl Tokens {
    fn refill(&mut self, SubtreeQuota { rate, burst }: SubtreeQuota, now: f64) {
        self.count = (self.count + (now - self.updated).max(0.0) * rate).min(burst);
        self.updated = now;
    }
}

/// The bucket of a subtree.
///
/// A request takes a token of the subtree. If there is none, it takes one of its partner's share,
/// and the subtree owes that token: the shares together refill at half of the rate, so the debt is
/// limited, and the subtree's total is its rate.
struct Subtree {
    tokens: Tokens,
    /// The shares of the partners that have sent requests since their shares were full.
    shares: HashMap<Uuid, Tokens>,
    swept: f64,
}

/// A request that the bucket of the subtree admits, before it takes its token.
struct Turn<'a> {
    tokens: &'a mut Tokens,
    share: &'a mut Tokens,
}

impl Subtree {
    fn full(quota: SubtreeQuota, now: f64) -> Self {
        let tokens = Tokens { count: quota.burst, updated: now };
        Self { tokens, shares: HashMap::new(), swept: now }
    }

    /// Returns the turn of a request of the partner, or else the seconds until one is admitted.
    fn prepare(&mut self, quota: SubtreeQuota, partner: Uuid, now: f64) -> Result<Turn<'_>, f64> {
        const SWEEP_INTERVAL: f64 = 1.0;
        if now - self.swept > SWEEP_INTERVAL {
            self.swept = now;
            self.drop_full_shares(quota, now);
        }
        self.tokens.refill(quota, now);
        let partners = self.shares.len() + usize::from(!self.shares.contains_key(&partner));
        let share_quota = quota.share(partners);
        let new = || Tokens { count: share_quota.burst, updated: now };
        let share = self.shares.entry(partner).or_insert_with(new);
        share.refill(share_quota, now);
        if self.tokens.count >= 1.0 || share.count >= 1.0 {
            return Ok(Turn { tokens: &mut self.tokens, share });
        }
        let wait = (1.0 - self.tokens.count) / quota.rate;
        Err(wait.min((1.0 - share.count) / share_quota.rate))
    }

    /// Drops the shares of partners that have been idle until their shares were full: only then is
    /// a new share, which is full, no gain.
    fn drop_full_shares(&mut self, quota: SubtreeQuota, now: f64) {
        let SubtreeQuota { rate, burst } = quota.share(self.shares.len());
        self.shares.retain(|_, share| share.count + (now - share.updated) * rate < burst);
    }

    fn is_full(&mut self, quota: SubtreeQuota, now: f64) -> bool {
        self.tokens.refill(quota, now);
        self.drop_full_shares(quota, now);
        self.shares.is_empty() && self.tokens.count >= quota.burst
    }
}

impl Turn<'_> {
    /// Takes a token, and returns how many more requests of the partner would be admitted.
    fn take(self) -> u64 {
        if self.tokens.count < 1.0 {
            self.share.count -= 1.0;
        }
        self.tokens.count -= 1.0;
        (self.tokens.count.max(0.0).floor() + self.share.count.floor()) as u64
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
            assert!(buckets.take(Uuid::nil(), Uuid::nil()).admitted);
            std::thread::sleep(Duration::from_millis(1));
            limit.sweep();
            (buckets.partners.len(), buckets.subtrees.lock().unwrap().len())
        };
        assert_eq!((remaining("1000000"), remaining("0.001")), ((0, 0), (1, 1)));
    }

    #[test]
    fn seconds_are_rounded_up() {
        for (milliseconds, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(milliseconds)), seconds);
        }
    }

    const QUOTA: SubtreeQuota = SubtreeQuota { rate: 100.0, burst: 100.0 };

    fn admits(subtree: &mut Subtree, partner: u128, now: f64) -> bool {
        let turn = subtree.prepare(QUOTA, Uuid::from_u128(partner), now);
        turn.map(Turn::take).is_ok()
    }

    #[test]
    fn siblings_that_send_without_pause_get_the_rate_of_the_subtree_together() {
        let mut subtree = Subtree::full(QUOTA, 0.0);
        let mut admitted = 0;
        for step in 0..20_000 {
            for partner in 0..20 {
                admitted += u32::from(admits(&mut subtree, partner, f64::from(step) / 1_000.0));
            }
        }
        // The burst, 20 seconds of the rate, and the reserved half of the burst.
        assert!((2_090..=2_160).contains(&admitted), "{admitted}");
    }

    #[test]
    fn no_sibling_empties_the_bucket_of_another_one() {
        let mut subtree = Subtree::full(QUOTA, 0.0);
        for step in 0..10_000 {
            let now = f64::from(step) / 1_000.0;
            for partner in 0..20 {
                admits(&mut subtree, partner, now);
            }
            // A partner that was idle, and one that sends below its share of 100 / 2 / 21.
            if step % 500 == 499 {
                assert!(admits(&mut subtree, 99, now), "at {now}");
            }
        }
        assert!(admits(&mut subtree, 100, 10.0));
    }

    #[test]
    fn one_partner_can_use_what_its_idle_siblings_leave() {
        let mut subtree = Subtree::full(QUOTA, 0.0);
        for partner in 0..20 {
            assert!(admits(&mut subtree, partner, 0.0));
        }
        let admitted = (0..10_000).filter(|step| admits(&mut subtree, 0, f64::from(*step) / 1e3));
        assert!((1_060..=1_140).contains(&admitted.count()));
    }

    #[test]
    fn partners_that_take_turns_get_no_more_than_the_rate_of_the_subtree() {
        let mut subtree = Subtree::full(QUOTA, 0.0);
        let sent = (0..100_000_u32).filter(|step| {
            admits(&mut subtree, u128::from(step % 1_000), f64::from(*step) / 1_000.0)
        });
        // 100 seconds of the rate, the burst, and one token of each share.
        let admitted = sent.count();
        assert!((10_000..=11_200).contains(&admitted), "{admitted}");
    }

    #[test]
    fn a_request_takes_a_token_of_both_buckets_or_of_none() {
        let flags = ["shortline", "--rate", "0.001", "--burst", "3", "--subtree-rate", "0.0015"];
        let limit = RateLimit::from_settings(&Settings::parse_from(flags)).unwrap();
        let take = |partner| {
            let allowance = limit.take(Uuid::from_u128(partner), Uuid::nil()).unwrap();
            (allowance.admitted, allowance.name, allowance.remaining)
        };
        // The burst of the subtree is 5, and each partner has a share of at least one.
        for remaining in [2, 1, 0] {
            assert_eq!(take(1), (true, "default", remaining));
        }
        for _ in 0..10 {
            assert_eq!(take(1), (false, "default", 0));
        }
        for remaining in [2, 1, 0] {
            assert_eq!(take(2), (true, "default", remaining));
        }
        assert_eq!(take(3), (true, "subtree", 0));
        for _ in 0..10 {
            assert_eq!(take(3), (false, "subtree", 0));
        }
        assert_eq!(take(4), (true, "subtree", 0));
    }
}
