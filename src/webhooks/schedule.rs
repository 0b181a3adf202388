//! When a delivery is attempted again, and when it has failed. Pure functions of the time.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The time between an attempt and the next one, in seconds. After the last one, the delivery has
/// failed.
const DELAYS: [u64; 9] =
    [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
/// The part of a delay by which it varies, so that deliveries that failed together do not return
/// together.
const VARIATION: f64 = 0.2;
/// The longest `Retry-After` that is respected. A longer one counts as this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * HOUR);
/// How long an endpoint can fail until it is disabled.
pub const MAX_FAILING: time::Duration = time::Duration::days(5);

/// The outcome of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status. `None` if there was no answer.
    pub status: Option<u16>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// How long the attempt took.
    pub milliseconds: i64,
    /// How long the next attempt has to wait.
    pub retry_after: Option<Duration>,
    /// The beginning of the answer's body.
    pub response: String,
}

impl Answer {
    /// Returns the outcome of an attempt without an answer.
    pub fn failure(error: String) -> Self {
        let response = String::new();
        Self { status: None, error: Some(error), milliseconds: 0, retry_after: None, response }
    }

    /// Whether the delivery is complete.
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// Whether the receiver wants no more deliveries.
    pub fn is_gone(&self) -> bool {
        self.status == Some(410)
    }
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The delivery is complete.
    Delivered,
    /// It is attempted again after that time.
    Retry(Duration),
    /// It is not attempted again.
    Failed,
}

/// Returns what follows from attempt number `attempts` of a delivery. `chance` is a random number
/// from 0 to 1.
pub fn verdict(answer: &Answer, attempts: usize, chance: f64) -> Verdict {
    if answer.is_success() {
        return Verdict::Delivered;
    }
    match attempts.checked_sub(1).and_then(|index| DELAYS.get(index)) {
        Some(seconds) => {
            let factor = 1.0 + VARIATION * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
            let delay = Duration::from_secs(*seconds).mul_f64(factor);
            Verdict::Retry(delay.max(answer.retry_after.unwrap_or_default()))
        }
        None => Verdict::Failed,
    }
}

/// Returns the time that a `Retry-After` asks for, in seconds or as a date. `None` if it is
/// neither.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs)
    } else {
        // A date in the past asks for nothing.
        httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// Whether an endpoint that has been failing since that date is to be disabled.
pub fn has_failed_too_long(failing_since: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
    failing_since.is_some_and(|since| now - since >= MAX_FAILING)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn status(status: u16) -> Answer {
        Answer { status: Some(status), error: None, ..Answer::failure(String::new()) }
    }

    #[test]
    fn retries_follow_the_schedule() {
        let seconds = |attempts, chance| match verdict(&status(500), attempts, chance) {
            Verdict::Retry(delay) => delay.as_secs_f64(),
            other => panic!("{other:?}"),
        };
        let expected =
            [5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0];
        for (index, delay) in expected.into_iter().enumerate() {
            let attempts = index + 1;
            assert!((seconds(attempts, 0.5) - delay).abs() < 0.01, "{attempts}");
            assert!((seconds(attempts, 0.0) - 0.8 * delay).abs() < 0.01, "{attempts}");
            assert!((seconds(attempts, 1.0) - 1.2 * delay).abs() < 0.01, "{attempts}");
        }
        assert_eq!(verdict(&status(500), 10, 0.5), Verdict::Failed);
        assert_eq!(verdict(&status(500), 1_000, 0.5), Verdict::Failed);
    }

    #[test]
    fn only_a_2xx_is_a_success() {
        for success in [200, 201, 204, 299] {
            assert_eq!(verdict(&status(success), 1, 0.5), Verdict::Delivered, "{success}");
        }
        for failure in [100, 301, 302, 307, 308, 400, 404, 410, 429, 500, 503] {
            let outcome = verdict(&status(failure), 1, 0.5);
            assert!(matches!(outcome, Verdict::Retry(_)), "{failure}");
        }
        let silent = Answer::failure("no answer".to_owned());
        assert!(matches!(verdict(&silent, 1, 0.5), Verdict::Retry(_)));
        assert!(status(410).is_gone() && !status(404).is_gone());
    }

    #[test]
    fn retry_after_is_respected_within_its_bounds() {
        let now = httpdate::parse_http_date("Mon, 30 Nov 2026 12:00:00 GMT").unwrap();
        let hour = Some(Duration::from_secs(3_600));
        let day = Some(Duration::from_secs(86_400));
        for (value, expected) in [
            ("3600", hour),
            (" 3600 ", hour),
            ("0", Some(Duration::ZERO)),
            ("86401", day),
            ("99999999999999999999999999", day),
            ("Mon, 30 Nov 2026 13:00:00 GMT", hour),
            ("Mon, 30 Nov 2026 11:00:00 GMT", Some(Duration::ZERO)),
            ("Fri, 30 Nov 2096 13:00:00 GMT", day),
            ("", None),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value, now), expected, "{value:?}");
        }
        let answer = |wait| Answer { retry_after: Some(Duration::from_secs(wait)), ..status(429) };
        assert_eq!(
            verdict(&answer(3_600), 1, 0.5),
            Verdict::Retry(Duration::from_secs(3_600)),
            "longer than the schedule"
        );
        assert_eq!(
            verdict(&answer(1), 1, 0.5),
            Verdict::Retry(Duration::from_secs(5)),
            "shorter than the schedule"
        );
        assert_eq!(verdict(&answer(3_600), 10, 0.5), Verdict::Failed);
    }

    #[test]
    fn an_endpoint_is_disabled_after_five_days_of_failure() {
        let since = datetime!(2026-11-25 12:00 UTC);
        for (now, expected) in [
            (datetime!(2026-11-30 11:59:59 UTC), false),
            (datetime!(2026-11-30 12:00 UTC), true),
            (datetime!(2027-01-01 00:00 UTC), true),
            // The clock has jumped back.
            (datetime!(2026-11-20 00:00 UTC), false),
        ] {
            assert_eq!(has_failed_too_long(Some(since), now), expected, "{now}");
        }
        assert!(!has_failed_too_long(None, since));
    }
}
