//! The memory for large bodies in flight, of requests and of responses, with a share for each
//! subtree of partners.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpMessage, HttpRequest};
use uuid::Uuid;

use super::auth::Authentication;
use crate::error::ApiError;

/// The most bytes of all large bodies in flight.
const CAPACITY: u64 = 64 * 1024 * 1024;
/// The most bytes of the large bodies of one subtree. Enough for two of the largest pages.
const SHARE: u64 = CAPACITY / 2;
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
    total: u64,
    /// By the partner that starts the subtree; `None` for requests without a valid token.
    subtrees: HashMap<Option<Uuid>, u64>,
}

/// Reserved bytes. Dropping it returns them.
pub(super) struct Reservation {
    budget: MemoryBudget,
    subtree_sid: Option<Uuid>,
    bytes: u64,
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
        let of_subtree = reserved.subtrees.get(&subtree_sid).copied().unwrap_or_default();
        // A body that is larger than the share is the only one of its subtree.
        if of_subtree > 0 && of_subtree + bytes > SHARE {
            return Err(ApiError::TooManyRequests { retry_after: 1 });
        }
        if reserved.total > 0 && reserved.total + bytes > CAPACITY {
            return Err(ApiError::Unavailable(None));
        }
        reserved.total += bytes;
        reserved.subtrees.insert(subtree_sid, of_subtree + bytes);
        Ok(Reservation { budget: self.clone(), subtree_sid, bytes })
    }

    fn lock(&self) -> MutexGuard<'_, Reserved> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = self.budget.lock();
        reserved.total -= self.bytes;
        if let Some(of_subtree) = reserved.subtrees.get_mut(&self.subtree_sid) {
            *of_subtree -= self.bytes;
            if *of_subtree == 0 {
                reserved.subtrees.remove(&self.subtree_sid);
            }
        }
    }
}

/// Middleware that reserves memory for a large response until it is sent or its client is gone. If
/// there is none, the response becomes an error.
pub async fn limit_memory<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let response = next.call(request).await?.map_into_boxed_body();
    let BodySize::Sized(size) = response.response().body().size() else { return Ok(response) };
    Ok(match MemoryBudget::reserve(response.request(), size) {
        Ok(None) => response,
        Ok(Some(reservation)) => response.map_body(|_, body| match body.try_into_bytes() {
            Ok(bytes) => BoxBody::new(ReservedBody { bytes, _reservation: reservation }),
            Err(body) => body,
        }),
        Err(error) => response.error_response(error),
    })
}

/// A body in reserved memory. It is sent in pieces: actix copies each into the buffer of the
/// connection, where a client that does not read would hold all of it.
struct ReservedBody {
    bytes: Bytes,
    _reservation: Reservation,
}

impl MessageBody for ReservedBody {
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
        let rejected = budget.reserve_for(None, 1);
        assert!(matches!(rejected, Err(ApiError::Unavailable(None))));
        drop(first);
        budget.reserve_for(subtree(1), SHARE - MIB).unwrap();
    }

    #[test]
    fn a_body_that_is_larger_than_the_share_is_alone() {
        let budget = MemoryBudget::default();
        let large = budget.reserve_for(None, CAPACITY + 1).unwrap();
        assert!(budget.reserve_for(None, 1).is_err());
        drop(large);
        budget.reserve_for(None, 1).unwrap();
        assert!(budget.lock().subtrees.is_empty());
    }

    #[actix_web::test]
    async fn a_large_body_is_sent_in_pieces() {
        let budget = MemoryBudget::default();
        let text: Bytes = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let reservation = budget.reserve_for(None, text.len() as u64).unwrap();
        let mut body = ReservedBody { bytes: text.clone(), _reservation: reservation };
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
