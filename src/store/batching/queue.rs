//! The queue of a worker, which is fair to partners.
//!
//! Requests of one partner wait in order. A batch takes one request of each waiting partner in
//! turn, so that a partner that sends many requests delays its own.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};

use tokio::sync::Notify;
use uuid::Uuid;

use crate::error::ApiError;

/// The most requests that wait. Further requests are rejected with 503.
pub(super) const CAPACITY: usize = 4_096;
/// The most requests of one partner that wait. Further requests of it are rejected with 429.
const PARTNER_CAPACITY: usize = 1_024;

/// A request that waits in a queue.
pub(super) trait Queued {
    /// The partner whose request it is; `None` for the operator.
    fn partner_sid(&self) -> Option<Uuid>;
}

/// The queue of a worker on the same thread.
pub(super) struct Queue<T> {
    waiting: RefCell<Waiting<T>>,
    changed: Notify,
    is_closed: Cell<bool>,
}

struct Waiting<T> {
    partners: HashMap<Option<Uuid>, VecDeque<T>>,
    /// The partners with waiting requests, in the order of their turns.
    turns: VecDeque<Option<Uuid>>,
    count: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let waiting = Waiting { partners: HashMap::new(), turns: VecDeque::new(), count: 0 };
        Self { waiting: RefCell::new(waiting), changed: Notify::new(), is_closed: Cell::new(false) }
    }
}

impl<T: Queued> Queue<T> {
    /// Adds a request.
    ///
    /// # Errors
    /// [`ApiError::TooManyRequests`] if its partner has too many waiting requests,
    /// [`ApiError::Unavailable`] if all partners together have.
    pub fn push(&self, request: T) -> Result<(), ApiError> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.count >= CAPACITY {
            return Err(ApiError::Unavailable(None));
        }
        let of_partner = waiting.partners.get(&request.partner_sid()).map_or(0, VecDeque::len);
        if of_partner >= PARTNER_CAPACITY {
            return Err(ApiError::TooManyRequests { retry_after: 1 });
        }
        waiting.add(request, VecDeque::push_back);
        self.changed.notify_one();
        Ok(())
    }

    /// Puts requests that were taken back to the front of their partners' requests, in their order.
    pub fn put_back(&self, requests: Vec<T>) {
        let mut waiting = self.waiting.borrow_mut();
        for request in requests.into_iter().rev() {
            waiting.add(request, VecDeque::push_front);
        }
    }

    /// Moves waiting requests into `batch` until it has `size`.
    pub fn fill(&self, batch: &mut Vec<T>, size: usize) {
        let mut waiting = self.waiting.borrow_mut();
        while batch.len() < size
            && let Some(request) = waiting.next()
        {
            batch.push(request);
        }
    }

    /// Waits until a request waits (`true`), or the queue is closed (`false`).
    pub async fn wait(&self) -> bool {
        loop {
            if self.waiting.borrow().count > 0 {
                return true;
            }
            if self.is_closed.get() {
                return false;
            }
            self.changed.notified().await;
        }
    }

    /// Closes the queue: its worker ends when it is empty.
    pub fn close(&self) {
        self.is_closed.set(true);
        self.changed.notify_one();
    }
}

impl<T: Queued> Waiting<T> {
    fn add(&mut self, request: T, add: impl FnOnce(&mut VecDeque<T>, T)) {
        let partner_sid = request.partner_sid();
        let requests = self.partners.entry(partner_sid).or_default();
        if requests.is_empty() {
            self.turns.push_back(partner_sid);
        }
        add(requests, request);
        self.count += 1;
    }

    /// Takes a request of the partner whose turn it is.
    fn next(&mut self) -> Option<T> {
        let partner_sid = self.turns.pop_front()?;
        let requests = self.partners.get_mut(&partner_sid)?;
        let request = requests.pop_front()?;
        if requests.is_empty() {
            self.partners.remove(&partner_sid);
        } else {
            self.turns.push_back(partner_sid);
        }
        self.count -= 1;
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of a request, and its partner.
    #[derive(Debug, PartialEq)]
    struct Request(u32, u128);

    impl Queued for Request {
        fn partner_sid(&self) -> Option<Uuid> {
            Some(Uuid::from_u128(self.1))
        }
    }

    fn filled(queue: &Queue<Request>, size: usize) -> Vec<u32> {
        let mut batch = Vec::new();
        queue.fill(&mut batch, size);
        batch.into_iter().map(|Request(number, _)| number).collect()
    }

    #[test]
    fn partners_take_turns_and_requests_of_one_stay_in_order() {
        let queue = Queue::default();
        for (number, partner) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 3), (6, 2)] {
            queue.push(Request(number, partner)).unwrap();
        }
        assert_eq!(filled(&queue, 4), [1, 4, 5, 2]);
        queue.put_back(vec![Request(1, 1), Request(2, 1)]);
        assert_eq!(filled(&queue, 9), [6, 1, 2, 3]);
        assert!(filled(&queue, 9).is_empty());
    }

    #[test]
    fn a_partner_with_too_many_requests_is_rejected_and_no_other() {
        let queue = Queue::default();
        for number in 0..PARTNER_CAPACITY as u32 {
            queue.push(Request(number, 1)).unwrap();
        }
        let rejected = queue.push(Request(0, 1));
        assert!(matches!(rejected, Err(ApiError::TooManyRequests { .. })));
        queue.push(Request(1, 2)).unwrap();
        for number in 0..CAPACITY as u32 - PARTNER_CAPACITY as u32 - 1 {
            queue.push(Request(number, u128::from(number) + 3)).unwrap();
        }
        assert!(matches!(queue.push(Request(0, 2)), Err(ApiError::Unavailable(None))));
    }

    #[actix_web::test]
    async fn a_closed_queue_is_emptied_first() {
        let queue = Queue::default();
        queue.push(Request(1, 1)).unwrap();
        queue.close();
        assert!(queue.wait().await);
        assert_eq!(filled(&queue, 1), [1]);
        assert!(!queue.wait().await);
    }
}
