//! The memory for large bodies in flight, of requests and of responses, with a share for each
//! subtree of partners.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::available_parallelism;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpMessage, HttpRequest};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::auth::Authentication;
use crate::error::ApiError;

/// The most bytes of all large bodies in flight.
const CAPACITY: u64 = 64 * 1024 * 1024;
/// The most bytes of the large bodies of one subtree.
const SHARE: u64 = CAPACITY / 2;
/// The most bytes of the large bodies of requests without a valid token, apart from the others.
const ANONYMOUS: u64 = 4 * 1024 * 1024;
/// The size up to which a body is not counted: the number of connections limits those.
const SMALL: u64 = 16 * 1024;
/// The size of a piece of a large response, in bytes.
const PIECE: usize = 32 * 1024;

/// The memory for large bodies, shared by all threads of the service.
#[derive(Clone, Default)]
pub struct MemoryBudget(Arc<Mutex<Reserved>>);

/// The reserved bytes.
#[derive(Default)]
struct Reserved {
    /// Of all subtrees.
    total: u64,
    /// By the partner that starts the subtree; `None` for requests without a valid token.
    subtrees: HashMap<Option<Uuid>, Share>,
}

/// The part of the budget that one subtree uses.
struct Share {
    bytes: u64,
    /// Bodies of one subtree are parsed one at a time.
    parser: Arc<Semaphore>,
}

impl Default for Share {
    fn default() -> Self {
        Self { bytes: 0, parser: Arc::new(Semaphore::new(1)) }
    }
}

/// Reserved bytes. Dropping it returns them.
pub(super) struct Reservation {
    budget: MemoryBudget,
    subtree_sid: Option<Uuid>,
    bytes: u64,
    parser: Arc<Semaphore>,
}

impl MemoryBudget {
    /// Reserves memory for a body of that request, of which `bytes` is the largest possible size.
    /// `None` if the body is small.
    ///
    /// # Errors
    /// [`ApiError::TooManyRequests`] if the subtree's share is in use, [`ApiError::Unavailable`] if
    /// the whole budget is.
    pub(super) fn reserve(
        request: &HttpRequest,
        bytes: u64,
    ) -> Result<Option<Reservation>, ApiError> {
        let Some(budget) = request.app_data::<Data<Self>>().filter(|_| bytes > SMALL) else {
            return Ok(None);
        };
        let subtree_sid = match request.extensions().get::<Authentication>() {
            Some(Authentication::Valid(principal)) => Some(principal.subtree_sid),
            _ => None,
        };
        budget.reserve_for(subtree_sid, bytes).map(Some)
    }

    fn reserve_for(&self, subtree_sid: Option<Uuid>, bytes: u64) -> Result<Reservation, ApiError> {
        let mut reserved = self.lock();
        let in_use = reserved.subtrees.get(&subtree_sid).map_or(0, |share| share.bytes);
        match subtree_sid {
            Some(_) if in_use + bytes > SHARE => {
                return Err(ApiError::TooManyRequests { retry_after: 1 });
            }
            Some(_) if reserved.total + bytes <= CAPACITY => reserved.total += bytes,
            None if in_use + bytes <= ANONYMOUS => {}
            Some(_) | None => return Err(ApiError::Unavailable(None)),
        }
        let share = reserved.subtrees.entry(subtree_sid).or_default();
        share.bytes += bytes;
        let parser = share.parser.clone();
        Ok(Reservation { budget: self.clone(), subtree_sid, bytes, parser })
    }

    fn lock(&self) -> MutexGuard<'_, Reserved> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// Waits until the body can be parsed, and returns the permits to hold meanwhile. As many
    /// bodies are parsed at once as there are processors, since a parsed body takes up to 40 times
    /// its size, and one of each subtree.
    pub async fn parser(&self) -> Result<[OwnedSemaphorePermit; 2], AcquireError> {
        static PROCESSORS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
            Arc::new(Semaphore::new(available_parallelism().map_or(1, usize::from)))
        });
        let of_subtree = self.parser.clone().acquire_owned().await?;
        Ok([of_subtree, PROCESSORS.clone().acquire_owned().await?])
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = self.budget.lock();
        if self.subtree_sid.is_some() {
            reserved.total -= self.bytes;
        }
        if let Some(share) = reserved.subtrees.get_mut(&self.subtree_sid) {
            share.bytes -= self.bytes;
            if share.bytes == 0 {
                reserved.subtrees.remove(&self.subtree_sid);
            }
        }
    }
}

/// Middleware that reserves memory for a large response to a GET until it is sent or its client is
/// gone. If there is none, the response becomes an error. The response to a write is small, and
/// must report what was done.
pub async fn limit_memory<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let is_get = request.method() == Method::GET;
    let response = next.call(request).await?.map_into_boxed_body();
    let size = match response.response().body().size() {
        BodySize::Sized(size) if is_get => size,
        _ => return Ok(response),
    };
    Ok(match MemoryBudget::reserve(response.request(), size) {
        Ok(reservation) => response.map_body(|_, body| match body.try_into_bytes() {
            Ok(bytes) => BoxBody::new(Pieces { bytes, _reservation: reservation }),
            Err(body) => body,
        }),
        Err(error) => {
            let cache_control = response.headers().get(header::CACHE_CONTROL).cloned();
            let mut rejected = response.error_response(error);
            if let Some(value) = cache_control {
                rejected.headers_mut().insert(header::CACHE_CONTROL, value);
            }
            rejected
        }
    })
}

/// The body of a response whose bytes are shared by all responses.
pub(crate) fn in_pieces(bytes: Bytes) -> BoxBody {
    BoxBody::new(Pieces { bytes, _reservation: None })
}

/// A body that is sent in pieces: actix copies each into the buffer of the connection, where a
/// client that does not read would hold all of it.
struct Pieces {
    bytes: Bytes,
    _reservation: Option<Reservation>,
}

impl MessageBody for Pieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.bytes.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let length = self.bytes.len().min(PIECE);
        Poll::Ready((length > 0).then(|| Ok(self.bytes.split_to(length))))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn a_subtree_gets_its_share_and_leaves_the_rest_to_others() {
        let budget = MemoryBudget::default();
        let subtree = |number| Some(Uuid::from_u128(number));
        let first = budget.reserve_for(subtree(1), SHARE - MIB).unwrap();
        let _second = budget.reserve_for(subtree(1), MIB).unwrap();
        let rejected = budget.reserve_for(subtree(1), 1);
        assert!(matches!(rejected, Err(ApiError::TooManyRequests { .. })));
        let _others = [2, 3].map(|number| budget.reserve_for(subtree(number), SHARE / 2).unwrap());
        let rejected = budget.reserve_for(subtree(4), 1);
        assert!(matches!(rejected, Err(ApiError::Unavailable(None))));
        drop(first);
        budget.reserve_for(subtree(1), SHARE - MIB).unwrap();
    }

    #[test]
    fn requests_without_a_token_take_nothing_from_others() {
        let budget = MemoryBudget::default();
        let anonymous = budget.reserve_for(None, ANONYMOUS).unwrap();
        assert!(matches!(budget.reserve_for(None, 1), Err(ApiError::Unavailable(None))));
        assert_eq!(budget.lock().total, 0);
        drop(anonymous);
        assert!(budget.lock().subtrees.is_empty());
    }

    #[actix_web::test]
    async fn a_large_body_is_sent_in_pieces() {
        let budget = MemoryBudget::default();
        let text: Bytes = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let reservation = budget.reserve_for(None, text.len() as u64).unwrap();
        let mut body = Pieces { bytes: text.clone(), _reservation: Some(reservation) };
        assert_eq!(body.size(), BodySize::Sized(text.len() as u64));
        let mut sent = Vec::new();
        while let Some(Ok(piece)) = poll_fn(|context| Pin::new(&mut body).poll_next(context)).await
        {
            assert!(piece.len() <= PIECE);
            sent.extend(piece);
        }
        assert_eq!(sent, text);
        drop(body);
        assert_eq!(budget.lock().total, 0);
    }
}
