//! Authentication of requests: the bearer token, the caller, and the caller's rate limit.
//!
//! [`authenticate`] is middleware and does the asynchronous part, the lookup of the token.
//! [`Caller`] is the first extractor of every handler and synchronous, so that 401, 403 and 429 are
//! returned before anything about the path, the query or the body.

use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use uuid::Uuid;

use crate::auth::{
    Actor, Allowance, Authenticator, ClientIp, Descendants, Permission, Principal, RateLimit,
    RequestId, Scope, TraceParent, Visibility,
};
use crate::error::ApiError;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The caller of an operation that requires permission `P`: an [`Actor`] whose token carries the
/// scope.
pub struct Caller<P> {
    actor: Actor,
    principal: Arc<Principal>,
    permission: PhantomData<P>,
}

impl<P> Caller<P> {
    /// The effective scopes: those that the token, its partner and every ancestor hold.
    pub fn scopes(&self) -> &[Scope] {
        &self.principal.scopes
    }

    /// The bearer of the token.
    pub fn principal(&self) -> Arc<Principal> {
        self.principal.clone()
    }

    /// The depth of the caller's partner in its tree. A root has depth 1.
    pub fn depth(&self) -> i32 {
        self.principal.depth
    }

    /// The same caller as an actor with another permission.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`] if the token carries no scope for it.
    pub fn require<Q: Permission>(&self) -> Result<Actor, ApiError> {
        let caller = Caller::<Q>::authorize(self.actor.clone(), self.principal.clone())?;
        Ok(caller.actor)
    }
}

impl<P> Deref for Caller<P> {
    type Target = Actor;

    fn deref(&self) -> &Actor {
        &self.actor
    }
}

impl<P: Permission> FromRequest for Caller<P> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

impl<P: Permission> Caller<P> {
    fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let principal = match request.extensions().get::<Authentication>() {
            Some(Authentication::Valid(principal)) => principal.clone(),
            Some(Authentication::Invalid) => {
                return Err(ApiError::Unauthorized { presented: true });
            }
            Some(Authentication::Unknown(_)) => return Err(ApiError::Unavailable(None)),
            None => return Err(ApiError::Unauthorized { presented: false }),
        };
        let (partner_sid, subtree_sid) = (principal.partner_sid, principal.subtree_sid);
        let actor = actor_of(request, partner_sid, subtree_sid).with_token(principal.token_sid);
        let caller = Self::authorize(actor, principal)?;
        // Rejected requests are not counted: a 401 has no known partner, and a 403 costs no more
        // than this check.
        count(request, partner_sid, subtree_sid)?;
        Ok(caller)
    }

    fn authorize(actor: Actor, principal: Arc<Principal>) -> Result<Self, ApiError> {
        if !P::ANY_OF.is_empty() && !principal.holds_any(P::ANY_OF) {
            let any_of = P::ANY_OF.iter().map(Scope::as_str).collect();
            return Err(ApiError::Forbidden { any_of });
        }
        let visibility = match P::DESCENDANTS {
            Descendants::Always => Visibility::Subtree,
            Descendants::With(any_of) if principal.holds_any(any_of) => Visibility::Subtree,
            Descendants::With(_) => Visibility::Own,
        };
        let actor = actor.with_visibility(visibility(principal.partner_sid));
        Ok(Self { actor, principal, permission: PhantomData })
    }
}

/// The partner of that sid, which has authenticated itself by this request, as an actor.
/// `subtree_sid` is the partner that starts its subtree.
pub(crate) fn actor_of(request: &HttpRequest, partner_sid: Uuid, subtree_sid: Uuid) -> Actor {
    let extensions = request.extensions();
    let (ip, id) = (extensions.get::<ClientIp>(), extensions.get::<RequestId>());
    let actor = Actor::partner(partner_sid, subtree_sid, ip.copied(), id.cloned());
    actor.with_trace(traceparent(request))
}

/// The trace of the request, if it has exactly one header `traceparent` and that is valid.
fn traceparent(request: &HttpRequest) -> Option<TraceParent> {
    let mut headers = request.headers().get_all(TRACEPARENT);
    let sent = headers.next()?.to_str().ok()?;
    TraceParent::parse(sent).filter(|_| headers.next().is_none())
}

/// Whether the caller's partner requires `If-Match` for changes of its objects.
pub(super) fn requires_if_match(request: &HttpRequest) -> bool {
    match request.extensions().get::<Authentication>() {
        Some(Authentication::Valid(principal)) => principal.requires_if_match,
        _ => false,
    }
}

/// The result of looking up the bearer token of a request. A request without a token has none.
#[derive(Clone)]
pub(super) enum Authentication {
    Valid(Arc<Principal>),
    Invalid,
    /// The database was not available.
    Unknown(Arc<sqlx::Error>),
}

/// Middleware that looks up the bearer token for [`Caller`], and adds the headers of the rate limit
/// to the response.
pub async fn authenticate<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    if let Some(token) = bearer(request.request())
        && let Some(authenticator) = request.app_data::<web::Data<Authenticator>>()
    {
        let authentication = match authenticator.principal(token).await {
            Ok(Some(principal)) => {
                let client = request.extensions().get::<ClientIp>().map(|client| client.0);
                authenticator.last_access().note(&principal, client);
                Authentication::Valid(principal)
            }
            Ok(None) => Authentication::Invalid,
            Err(error) => Authentication::Unknown(error),
        };
        request.extensions_mut().insert(authentication);
    }
    let mut response = next.call(request).await?;
    add_rate_limit_headers(&mut response);
    Ok(response)
}

/// Counts a request against the rates of its partner and of the partner's subtree.
///
/// # Errors
/// [`ApiError::TooManyRequests`] if it exceeds one of them. Such a request is not counted.
fn count(request: &HttpRequest, partner_sid: Uuid, subtree_sid: Uuid) -> Result<(), ApiError> {
    let limit = request.app_data::<web::Data<RateLimit>>();
    let allowance = limit.and_then(|limit| limit.take(partner_sid, subtree_sid));
    let Some(allowance) = allowance else { return Ok(()) };
    let rejection = ApiError::TooManyRequests { retry_after: allowance.seconds };
    let outcome = if allowance.admitted { Ok(()) } else { Err(rejection) };
    request.extensions_mut().insert(allowance);
    outcome
}

/// Reports what is left of the rate of the partner or its subtree, whichever is tighter, if the
/// request was counted or rejected (draft-ietf-httpapi-ratelimit-headers-11).
fn add_rate_limit_headers<B>(response: &mut ServiceResponse<B>) {
    let Some(allowance) = response.request().extensions_mut().remove::<Allowance>() else { return };
    let Allowance { name, remaining, seconds, burst, window, .. } = allowance;
    let policy = format!(r#""{name}";q={burst};w={window}"#);
    let left = format!(r#""{name}";r={remaining};t={seconds}"#);
    for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// The token of `Authorization: Bearer <token>` (RFC 6750, section 2.1), if the request has exactly
/// one such header.
pub(crate) fn bearer(request: &HttpRequest) -> Option<&str> {
    authorization(request, "bearer")
}

/// The credentials of that scheme in `Authorization`, if the request has exactly one such header.
pub(crate) fn authorization<'a>(request: &'a HttpRequest, scheme: &str) -> Option<&'a str> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let (sent, credentials) = headers.next()?.to_str().ok()?.split_once(' ')?;
    let alone = headers.next().is_none();
    (alone && sent.eq_ignore_ascii_case(scheme)).then(|| credentials.trim_matches(' '))
}
