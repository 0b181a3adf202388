//! The requests that wait for events: how many each partner has, and their tokens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::error::ApiError;

/// The seats of all requests that wait.
#[derive(Clone)]
pub(super) struct Seats {
    max: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    partners: HashMap<Uuid, usize>,
    tokens: HashMap<Box<str>, usize>,
}

/// The seat of a request. Dropping it returns it.
pub struct Seat {
    seats: Seats,
    partner_sid: Uuid,
    token: Box<str>,
}

impl Seats {
    /// Seats for at most `max` requests of each partner.
    pub fn new(max: usize) -> Self {
        Self { max, taken: Arc::default() }
    }

    pub fn take(&self, partner_sid: Uuid, token: &str) -> Result<Seat, ApiError> {
        let mut taken = self.lock();
        let count = taken.partners.entry(partner_sid).or_default();
        if *count >= self.max {
            return Err(ApiError::TooManyRequests { retry_after: 1 });
        }
        *count += 1;
        *taken.tokens.entry(token.into()).or_default() += 1;
        Ok(Seat { seats: self.clone(), partner_sid, token: token.into() })
    }

    pub fn is_empty(&self) -> bool {
        self.lock().partners.is_empty()
    }

    /// The tokens of the requests that wait.
    pub fn tokens(&self) -> Vec<Box<str>> {
        self.lock().tokens.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        release(&mut taken.partners, &self.partner_sid);
        release(&mut taken.tokens, &self.token);
    }
}

/// Subtracts one, and removes the entry at zero.
fn release<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partner_gets_its_seats_and_leaves_those_of_others() {
        let seats = Seats::new(2);
        let [one, other] = [1, 2].map(Uuid::from_u128);
        let first = seats.take(one, "a").unwrap();
        let _second = seats.take(one, "b").unwrap();
        let rejected = seats.take(one, "a");
        assert!(matches!(rejected, Err(ApiError::TooManyRequests { .. })));
        let third = seats.take(other, "a").unwrap();
        drop(first);
        drop(third);
        assert_eq!(seats.tokens(), ["b".into()]);
        seats.take(one, "c").unwrap();
    }
}
