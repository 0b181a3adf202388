//! Who is calling: from the bearer token to a partner, its scopes and what it reaches.
//!
//! [`authenticate`] does the part that has to wait, before any handler; [`Caller`] is the part in a handler's signature: it says
//! 401, 403 and 429 without waiting, so that they are told before anything about the body.

mod keys;
mod last_access;
mod passwords;
mod rate;
mod scope;
mod tokens;

use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use uuid::Uuid;

pub use keys::{Claims, Keys};
pub use last_access::LastAccess;
pub use passwords::{Passwords, hash_password};
pub use rate::RateLimit;
pub use scope::{
    AdminCreate, AdminDelete, AnyToken, Descendants, Need, OauthCreate, OauthRead, OauthRevoke,
    OauthUpdate, PartnersCreate, PartnersRead, PartnersUpdate, PhonenumberCreate,
    PhonenumberDelete, PhonenumberRead, PhonenumberUpdate, Scope, Scopes,
};
pub use tokens::{Authenticator, Lineage, hash, signed_part};

use crate::error::ApiError;
use crate::http::{ClientIp, RequestId};

/// Whose objects exist for an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reach {
    /// Those of this partner.
    Own(Uuid),
    /// Those of this partner and of all its descendants.
    Tree(Uuid),
    /// All: the operator at the command line.
    Everything,
}

impl Reach {
    /// As a statement takes it: the partner, whether its descendants are reached, whether everything is.
    pub(crate) fn arguments(self) -> (Option<Uuid>, bool, bool) {
        match self {
            Self::Own(partner_sid) => (Some(partner_sid), false, false),
            Self::Tree(partner_sid) => (Some(partner_sid), true, false),
            Self::Everything => (None, false, true),
        }
    }
}

/// Who acts. The store asks for one, and only this module makes one: from a token, or for the command line.
#[derive(Clone, Debug)]
pub struct Actor {
    reach: Reach,
    partner_sid: Option<Uuid>,
    token_sid: Option<Uuid>,
    ip: Option<IpAddr>,
    request_id: Option<String>,
}

impl Actor {
    /// The operator, whom the machine itself has let in.
    pub fn operator() -> Self {
        Self {
            reach: Reach::Everything,
            partner_sid: None,
            token_sid: None,
            ip: None,
            request_id: None,
        }
    }

    /// A partner that has proved itself by other means than a token. It reaches its descendants.
    pub(crate) fn proved(partner_sid: Uuid, request: &HttpRequest) -> Self {
        let extensions = request.extensions();
        Self {
            reach: Reach::Tree(partner_sid),
            partner_sid: Some(partner_sid),
            token_sid: None,
            ip: extensions.get::<ClientIp>().map(|client| client.0),
            request_id: extensions.get::<RequestId>().map(|id| id.0.clone()),
        }
    }

    /// Whose objects exist for this actor.
    pub(crate) fn reach(&self) -> Reach {
        self.reach
    }

    /// The partner of the token; none for the operator.
    pub fn partner_sid(&self) -> Option<Uuid> {
        self.partner_sid
    }

    /// The partner whose objects the actor creates.
    ///
    /// # Errors
    /// [`ApiError::Internal`] for the operator, who has none.
    pub fn own_partner_sid(&self) -> Result<Uuid, ApiError> {
        self.partner_sid
            .ok_or_else(|| ApiError::Internal(anyhow::anyhow!("the operator owns nothing")))
    }

    /// The token, where it is one that we know by a sid.
    pub fn token_sid(&self) -> Option<Uuid> {
        self.token_sid
    }

    /// Where the request came from.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The `X-Request-Id` of the request.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }
}

/// The bearer of a valid token.
#[derive(Debug)]
pub struct Principal {
    /// The partner that the token belongs to.
    pub partner_sid: Uuid,
    /// The token, where it is one that we know by a sid.
    pub token_sid: Option<Uuid>,
    /// The scopes that the token, its partner and every ancestor of it hold.
    pub scopes: Vec<Scope>,
    /// Whether its partner wants every change of its objects to say which version it is for.
    pub requires_if_match: bool,
}

impl Principal {
    fn holds(&self, any_of: &[Scope]) -> bool {
        any_of.iter().any(|scope| self.scopes.contains(scope))
    }
}

/// The caller of an operation that needs `N`: an [`Actor`] whose token carries the scope.
pub struct Caller<N> {
    actor: Actor,
    principal: Arc<Principal>,
    need: PhantomData<N>,
}

impl<N> Caller<N> {
    /// The scopes that the token, its partner and every ancestor of it hold.
    pub fn scopes(&self) -> &[Scope] {
        &self.principal.scopes
    }
}

impl<N> Deref for Caller<N> {
    type Target = Actor;

    fn deref(&self) -> &Actor {
        &self.actor
    }
}

impl<N: Need> FromRequest for Caller<N> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

impl<N: Need> Caller<N> {
    fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let principal = match request.extensions().get::<Authentication>() {
            Some(Authentication::Valid(principal)) => principal.clone(),
            Some(Authentication::Invalid) => {
                return Err(ApiError::Unauthorized { presented: true });
            }
            Some(Authentication::Unknown(_)) => return Err(ApiError::Unavailable(None)),
            None => return Err(ApiError::Unauthorized { presented: false }),
        };
        let actor = Actor {
            token_sid: principal.token_sid,
            ..Actor::proved(principal.partner_sid, request)
        };
        let caller = Self::acting(actor, principal)?;
        // What was refused so far does not count: of a 401 nobody knows whose it is, and a 403 costs no more than this.
        rate::admit(request, caller.principal.partner_sid)?;
        Ok(caller)
    }

    fn acting(actor: Actor, principal: Arc<Principal>) -> Result<Self, ApiError> {
        if !N::ANY_OF.is_empty() && !principal.holds(N::ANY_OF) {
            return Err(ApiError::Forbidden { any_of: N::ANY_OF });
        }
        let reach = match N::DESCENDANTS {
            Descendants::Always => Reach::Tree,
            Descendants::With(any_of) if principal.holds(any_of) => Reach::Tree,
            Descendants::With(_) => Reach::Own,
        };
        let actor = Actor { reach: reach(principal.partner_sid), ..actor };
        Ok(Self { actor, principal, need: PhantomData })
    }
}

impl<N> Caller<N> {
    /// Who acts where another need is to be met, too.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`] where the token does not carry the scope for it.
    pub fn also<M: Need>(&self) -> Result<Actor, ApiError> {
        let caller = Caller::<M>::acting(self.actor.clone(), self.principal.clone())?;
        Ok(caller.actor)
    }
}

/// Whether the caller's partner wants every change of its objects to say which version it is for.
pub(crate) fn requires_if_match(request: &HttpRequest) -> bool {
    match request.extensions().get::<Authentication>() {
        Some(Authentication::Valid(principal)) => principal.requires_if_match,
        _ => false,
    }
}

/// What became of the bearer token of a request. None is kept where none was sent.
#[derive(Clone)]
pub(crate) enum Authentication {
    Valid(Arc<Principal>),
    Invalid,
    /// The database could not be asked.
    Unknown(Arc<sqlx::Error>),
}

/// Looks the bearer token up, for [`Caller`] to judge, and tells what its partner's rate has left.
pub async fn authenticate<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    if let Some(token) = bearer(request.request())
        && let Some(authenticator) = request.app_data::<web::Data<Authenticator>>()
    {
        let outcome = match authenticator.principal(token).await {
            Ok(Some(principal)) => {
                let client = request.extensions().get::<ClientIp>().map(|client| client.0);
                authenticator.last_access().note(&principal, client);
                Authentication::Valid(principal)
            }
            Ok(None) => Authentication::Invalid,
            Err(error) => Authentication::Unknown(error),
        };
        request.extensions_mut().insert(outcome);
    }
    let mut response = next.call(request).await?;
    rate::tell(&mut response);
    Ok(response)
}

/// The token of `Authorization: Bearer <token>` (RFC 6750, section 2.1), where exactly one such header was sent.
pub(crate) fn bearer(request: &HttpRequest) -> Option<&str> {
    authorization(request, "bearer")
}

/// What follows the scheme in `Authorization`, where exactly one such header was sent.
pub(crate) fn authorization<'a>(request: &'a HttpRequest, scheme: &str) -> Option<&'a str> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let (sent, credentials) = headers.next()?.to_str().ok()?.split_once(' ')?;
    let alone = headers.next().is_none();
    (alone && sent.eq_ignore_ascii_case(scheme)).then(|| credentials.trim_matches(' '))
}
