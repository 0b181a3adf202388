//! The queue of verifications of secrets, which are slow by design.
//!
//! Verifications of one client or login from one address run one at a time, including the delay
//! after a failure. The queue is fair to addresses, and for each address to its clients and logins:
//! a program that guesses delays its own requests. A request beyond a limit is rejected at once.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::ApiError;

/// The most requests that wait: of one client or login from one address, of one address, of all.
const LANE_CAPACITY: usize = 4;
const ADDRESS_CAPACITY: usize = 64;
const CAPACITY: usize = 1_024;
/// The longest time that a request waits.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// A client or a login, as the hash of its kind and its sid or name.
pub type Subject = [u8; 32];

/// The queue. Clones are the same queue.
#[derive(Clone)]
pub(super) struct VerificationQueue(Arc<Mutex<Waiting>>);

struct Waiting {
    /// The number of verifications that could run now.
    free: usize,
    addresses: HashMap<Option<IpAddr>, Address>,
    /// The addresses with requests that could run, in the order of their turns.
    turns: VecDeque<Option<IpAddr>>,
    count: usize,
}

/// The requests of an address.
#[derive(Default)]
struct Address {
    lanes: HashMap<Subject, Lane>,
    /// The lanes with requests that could run, in the order of their turns.
    turns: VecDeque<Subject>,
    count: usize,
}

/// The requests of one client or login from one address.
#[derive(Default)]
struct Lane {
    is_busy: bool,
    requests: VecDeque<oneshot::Sender<()>>,
}

/// The key of a lane.
#[derive(Clone, Copy)]
struct Key {
    address: Option<IpAddr>,
    subject: Subject,
}

/// A request whose turn it is: it occupies its lane until it is dropped.
pub struct Turn {
    /// Dropped when the verification has run.
    pub(super) core: Core,
    /// Dropped when the request is answered.
    pub(super) lane: OccupiedLane,
}

/// The right to use a CPU core.
pub(super) struct Core(VerificationQueue);

/// A lane in which no other request runs.
pub struct OccupiedLane(VerificationQueue, Key);

impl Drop for Core {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.free += 1;
        waiting.start();
    }
}

impl Drop for OccupiedLane {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.release(self.1);
        waiting.start();
    }
}

/// A request that waits. If it is dropped after its turn was given and before it was taken, the
/// turn goes to another request.
struct Request {
    queue: VerificationQueue,
    key: Key,
    turn: oneshot::Receiver<()>,
    is_taken: bool,
}

impl Request {
    fn take(&mut self) -> Turn {
        self.is_taken = true;
        let core = Core(self.queue.clone());
        Turn { core, lane: OccupiedLane(self.queue.clone(), self.key) }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.is_taken {
            self.turn.close();
            if self.turn.try_recv().is_ok() {
                drop(self.take());
            }
        }
    }
}

impl VerificationQueue {
    /// Returns a queue that runs so many verifications at a time.
    pub fn new(cores: usize) -> Self {
        let waiting =
            Waiting { free: cores, addresses: HashMap::new(), turns: VecDeque::new(), count: 0 };
        Self(Arc::new(Mutex::new(waiting)))
    }

    /// Waits for the turn of a request for that client or login, from that address.
    ///
    /// # Errors
    /// [`ApiError::TooManyRequests`] if too many requests wait, or the request has waited too long.
    pub async fn turn(&self, subject: Subject, address: Option<IpAddr>) -> Result<Turn, ApiError> {
        const REJECTED: ApiError = ApiError::TooManyRequests { retry_after: 1 };
        let key = Key { address: address.map(network), subject };
        let turn = self.lock().push(key).ok_or(REJECTED)?;
        let mut request = Request { queue: self.clone(), key, turn, is_taken: false };
        match timeout(QUEUE_TIMEOUT, &mut request.turn).await {
            Ok(Ok(())) => Ok(request.take()),
            Ok(Err(_)) | Err(_) => Err(REJECTED),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The network that stands for an address: a client with IPv6 has all addresses of a /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

impl Waiting {
    /// Adds a request, unless too many wait.
    fn push(&mut self, Key { address, subject }: Key) -> Option<oneshot::Receiver<()>> {
        let Self { addresses, turns, count, .. } = self;
        let requests = addresses.get(&address);
        let lane = requests.and_then(|requests| requests.lanes.get(&subject));
        let is_full = *count >= CAPACITY
            || requests.is_some_and(|requests| requests.count >= ADDRESS_CAPACITY)
            || lane.is_some_and(|lane| lane.requests.len() >= LANE_CAPACITY);
        if is_full {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        let requests = addresses.entry(address).or_default();
        let lane = requests.lanes.entry(subject).or_default();
        lane.requests.push_back(sender);
        requests.count += 1;
        *count += 1;
        if !lane.is_busy && lane.requests.len() == 1 {
            requests.turns.push_back(subject);
            if requests.turns.len() == 1 {
                turns.push_back(address);
            }
        }
        self.start();
        Some(receiver)
    }

    /// Starts requests as long as a core is free.
    fn start(&mut self) {
        while self.free > 0
            && let Some(address) = self.turns.pop_front()
        {
            let Some(requests) = self.addresses.get_mut(&address) else { continue };
            let Some(subject) = requests.turns.pop_front() else { continue };
            if !requests.turns.is_empty() {
                self.turns.push_back(address);
            }
            let Some(lane) = requests.lanes.get_mut(&subject) else { continue };
            lane.is_busy = true;
            let mut is_started = false;
            while !is_started && let Some(request) = lane.requests.pop_front() {
                requests.count -= 1;
                self.count -= 1;
                // The receiver of a request that does not wait any more is closed.
                is_started = request.send(()).is_ok();
            }
            if is_started {
                self.free -= 1;
            } else {
                self.release(Key { address, subject });
            }
        }
    }

    /// Ends the request that occupies a lane.
    fn release(&mut self, Key { address, subject }: Key) {
        let Some(requests) = self.addresses.get_mut(&address) else { return };
        let Some(lane) = requests.lanes.get_mut(&subject) else { return };
        lane.is_busy = false;
        if lane.requests.is_empty() {
            requests.lanes.remove(&subject);
            if requests.lanes.is_empty() {
                self.addresses.remove(&address);
            }
            return;
        }
        requests.turns.push_back(subject);
        if requests.turns.len() == 1 {
            self.turns.push_back(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::stream::{FuturesUnordered, StreamExt};

    use super::*;

    fn address(number: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, number]))
    }

    async fn turn(queue: &VerificationQueue, subject: u8, from: u8) -> Result<Turn, ApiError> {
        queue.turn([subject; 32], address(from)).await
    }

    #[actix_web::test]
    async fn addresses_take_turns_and_a_lane_runs_one_request_at_a_time() {
        let queue = VerificationQueue::new(1);
        let Turn { core, lane } = turn(&queue, 1, 1).await.unwrap();
        let mut waiting = FuturesUnordered::new();
        let requests =
            [("a", 1, 1), ("b", 2, 1), ("c", 3, 1), ("d", 1, 2), ("e", 1, 3), ("f", 1, 3)];
        for (label, subject, from) in requests {
            let queue = &queue;
            let mut request =
                Box::pin(async move { (label, turn(queue, subject, from).await.unwrap()) });
            assert!((&mut request).now_or_never().is_none());
            waiting.push(request);
        }
        // The lane of the first request remains occupied: its response is delayed.
        drop(core);
        let (mut order, mut lanes) = (Vec::new(), vec![lane]);
        for _ in 0..4 {
            let (label, turn) = waiting.next().await.unwrap();
            order.push(label);
            lanes.push(turn.lane);
        }
        assert!(waiting.next().now_or_never().is_none());
        drop(lanes);
        while let Some((label, _)) = waiting.next().await {
            order.push(label);
        }
        assert_eq!(order, ["b", "d", "e", "c", "a", "f"]);
    }

    #[actix_web::test]
    async fn requests_beyond_a_limit_are_rejected_at_once() {
        let queue = VerificationQueue::new(1);
        let busy = turn(&queue, 0, 0).await.unwrap();
        let mut waiting = Vec::new();
        let mut push = |subject: u32, from: u32| {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&subject.to_le_bytes());
            let from = IpAddr::from((0x0a00_0000 + from).to_be_bytes());
            let queue = queue.clone();
            let mut request = Box::pin(async move { queue.turn(key, Some(from)).await });
            let is_rejected = (&mut request).now_or_never().is_some_and(|turn| turn.is_err());
            waiting.push(request);
            !is_rejected
        };
        assert_eq!((0..6).filter(|_| push(1, 1)).count(), LANE_CAPACITY);
        assert_eq!((2..100).filter(|subject| push(*subject, 1)).count(), ADDRESS_CAPACITY - 4);
        assert_eq!((2..2_000).filter(|from| push(1, *from)).count(), CAPACITY - ADDRESS_CAPACITY);
        // Requests that do not wait any more are skipped.
        drop(waiting);
        drop(busy);
        drop(turn(&queue, 1, 1).await.unwrap());
        let waiting = queue.lock();
        assert_eq!((waiting.free, waiting.count, waiting.addresses.len()), (1, 0, 0));
    }

    #[test]
    fn the_addresses_of_a_network_count_as_one() {
        let network_of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network_of("192.0.2.7"), "192.0.2.7");
        assert_eq!(network_of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
