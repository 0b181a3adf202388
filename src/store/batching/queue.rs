//! The queue of a worker, which is fair to subtrees of partners, and within each to its partners.
//!
//! Requests of one partner wait in order. A batch takes one request of each waiting subtree in
//! turn, each time of another of its partners. So a partner that sends many requests delays its
//! own, and sub-partners do not multiply the turns of their subtree.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};

use tokio::sync::Notify;
use uuid::Uuid;

use crate::error::ApiError;

/// The most requests that wait. Further requests are rejected with 503.
pub(super) const CAPACITY: usize = 4_096;
/// The most requests of one subtree that wait. Further requests are rejected with 429, except those
/// of a partner with less than an equal share of them.
const SUBTREE_CAPACITY: usize = 1_024;

/// A request that waits in a queue.
pub(super) trait Queued {
    /// The partner whose request it is; `None` for the operator.
    fn partner_sid(&self) -> Option<Uuid>;

    /// The partner that starts the subtree of that partner; `None` for the operator.
    fn subtree_sid(&self) -> Option<Uuid>;
}

/// The queue of a worker on the same thread.
pub(super) struct Queue<T> {
    waiting: RefCell<Waiting<T>>,
    changed: Notify,
    is_closed: Cell<bool>,
}

/// The waiting requests, by subtree.
struct Waiting<T> {
    subtrees: HashMap<Option<Uuid>, Subtree<T>>,
    /// The subtrees with waiting requests, in the order of their turns.
    turns: VecDeque<Option<Uuid>>,
    count: usize,
}

/// The waiting requests of a subtree, by partner.
struct Subtree<T> {
    partners: HashMap<Option<Uuid>, VecDeque<T>>,
    /// The partners with waiting requests, in the order of their turns.
    turns: VecDeque<Option<Uuid>>,
    count: usize,
}

impl<T> Default for Subtree<T> {
    fn default() -> Self {
        Self { partners: HashMap::new(), turns: VecDeque::new(), count: 0 }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let waiting = Waiting { subtrees: HashMap::new(), turns: VecDeque::new(), count: 0 };
        Self { waiting: RefCell::new(waiting), changed: Notify::new(), is_closed: Cell::new(false) }
    }
}

impl<T: Queued> Queue<T> {
    /// Adds a request.
    ///
    /// # Errors
    /// [`ApiError::TooManyRequests`] if its subtree has too many waiting requests,
    /// [`ApiError::Unavailable`] if all subtrees together have.
    pub fn push(&self, request: T) -> Result<(), ApiError> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.count >= CAPACITY {
            return Err(ApiError::Unavailable(None));
        }
        let subtree = waiting.subtrees.get(&request.subtree_sid());
        if subtree.is_some_and(|subtree| subtree.is_full_for(request.partner_sid())) {
            return Err(ApiError::TooManyRequests { retry_after: 1 });
        }
        waiting.add(request, VecDeque::push_back);
        self.changed.notify_one();
        Ok(())
    }

    /// Puts requests that were taken back to the front of their partners' requests, in the order
    /// given, which need not be that of their arrival.
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
        let subtree_sid = request.subtree_sid();
        let subtree = self.subtrees.entry(subtree_sid).or_default();
        if subtree.count == 0 {
            self.turns.push_back(subtree_sid);
        }
        subtree.add(request, add);
        self.count += 1;
    }

    /// Takes a request of the subtree whose turn it is.
    fn next(&mut self) -> Option<T> {
        let subtree_sid = self.turns.pop_front()?;
        let subtree = self.subtrees.get_mut(&subtree_sid)?;
        let request = subtree.next()?;
        if subtree.count == 0 {
            self.subtrees.remove(&subtree_sid);
        } else {
            self.turns.push_back(subtree_sid);
        }
        self.count -= 1;
        Some(request)
    }
}

impl<T: Queued> Subtree<T> {
    /// Whether the subtree has too many waiting requests for another one of that partner.
    fn is_full_for(&self, partner_sid: Option<Uuid>) -> bool {
        let of_partner = self.partners.get(&partner_sid).map_or(0, VecDeque::len);
        let partners = self.partners.len() + usize::from(of_partner == 0);
        self.count >= SUBTREE_CAPACITY && of_partner >= SUBTREE_CAPACITY / partners
    }

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

    /// The number of a request, its partner and its subtree.
    #[derive(Debug, PartialEq)]
    struct Request(u32, u128, u128);

    impl Queued for Request {
        fn partner_sid(&self) -> Option<Uuid> {
            Some(Uuid::from_u128(self.1))
        }

        fn subtree_sid(&self) -> Option<Uuid> {
            Some(Uuid::from_u128(self.2))
        }
    }

    fn filled(queue: &Queue<Request>, size: usize) -> Vec<u32> {
        let mut batch = Vec::new();
        queue.fill(&mut batch, size);
        batch.into_iter().map(|Request(number, ..)| number).collect()
    }

    #[test]
    fn subtrees_take_turns_and_requests_of_a_partner_stay_in_order() {
        let queue = Queue::default();
        for (number, subtree) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 3), (6, 2)] {
            queue.push(Request(number, subtree, subtree)).unwrap();
        }
        assert_eq!(filled(&queue, 4), [1, 4, 5, 2]);
        queue.put_back(vec![Request(1, 1, 1), Request(2, 1, 1)]);
        assert_eq!(filled(&queue, 9), [6, 1, 2, 3]);
        assert!(filled(&queue, 9).is_empty());
    }

    #[test]
    fn sub_partners_share_the_turns_of_their_subtree() {
        let queue = Queue::default();
        for (number, partner, subtree) in
            [(1, 11, 1), (2, 11, 1), (3, 12, 1), (4, 13, 1), (5, 2, 2), (6, 2, 2), (7, 2, 2)]
        {
            queue.push(Request(number, partner, subtree)).unwrap();
        }
        assert_eq!(filled(&queue, 9), [1, 5, 3, 6, 4, 7, 2]);
    }

    #[test]
    fn a_subtree_with_too_many_requests_is_rejected_and_no_other() {
        let queue = Queue::default();
        for number in 0..SUBTREE_CAPACITY as u32 {
            queue.push(Request(number, 1, 1)).unwrap();
        }
        let rejected = queue.push(Request(0, 1, 1));
        assert!(matches!(rejected, Err(ApiError::TooManyRequests { .. })));
        queue.push(Request(1, 2, 2)).unwrap();
        // A sibling with fewer requests is not rejected.
        queue.push(Request(1, 3, 1)).unwrap();
        for number in 0..CAPACITY as u32 - SUBTREE_CAPACITY as u32 - 2 {
            let partner = u128::from(number) + 4;
            queue.push(Request(number, partner, partner)).unwrap();
        }
        assert!(matches!(queue.push(Request(0, 2, 2)), Err(ApiError::Unavailable(None))));
    }

    #[actix_web::test]
    async fn a_closed_queue_is_emptied_first() {
        let queue = Queue::default();
        queue.push(Request(1, 1, 1)).unwrap();
        queue.close();
        assert!(queue.wait().await);
        assert_eq!(filled(&queue, 1), [1]);
        assert!(!queue.wait().await);
    }
}
