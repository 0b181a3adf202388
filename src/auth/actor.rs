//! Who acts, and which objects are visible to it.

use std::net::IpAddr;

use uuid::Uuid;

use super::scope::Scope;
use crate::error::ApiError;

/// The address of the client that sent a request.
#[derive(Clone, Copy, Debug)]
pub struct ClientIp(pub IpAddr);

/// The id of a request: the caller's `X-Request-Id` if it is sane, otherwise a new one.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// The partners whose objects are visible to an actor. Other objects do not exist for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Visibility {
    /// The objects of this partner.
    Own(Uuid),
    /// The objects of this partner and of all its descendants.
    Subtree(Uuid),
    /// All objects: the operator on the command line.
    All,
}

impl Visibility {
    /// The three arguments of every statement that reads objects: the partner, whether its
    /// descendants are visible too, and whether everything is.
    pub(crate) fn arguments(self) -> (Option<Uuid>, bool, bool) {
        match self {
            Self::Own(partner_sid) => (Some(partner_sid), false, false),
            Self::Subtree(partner_sid) => (Some(partner_sid), true, false),
            Self::All => (None, false, true),
        }
    }
}

/// Who reads or changes objects. The store requires one for every call.
///
/// An actor is the operator on the command line, or a partner that has authenticated itself: only
/// `http::auth` and the OAuth grants make such an actor.
#[derive(Clone, Debug)]
pub struct Actor {
    visibility: Visibility,
    partner_sid: Option<Uuid>,
    token_sid: Option<Uuid>,
    ip: Option<IpAddr>,
    request_id: Option<String>,
}

impl Actor {
    /// The operator on the command line, to whom all objects are visible.
    pub fn operator() -> Self {
        Self {
            visibility: Visibility::All,
            partner_sid: None,
            token_sid: None,
            ip: None,
            request_id: None,
        }
    }

    /// An authenticated partner, to which its own objects and those of its descendants are visible.
    pub(crate) fn partner(
        partner_sid: Uuid,
        ip: Option<ClientIp>,
        request_id: Option<RequestId>,
    ) -> Self {
        Self {
            visibility: Visibility::Subtree(partner_sid),
            partner_sid: Some(partner_sid),
            token_sid: None,
            ip: ip.map(|ip| ip.0),
            request_id: request_id.map(|id| id.0),
        }
    }

    /// The same actor, identified by the token of this sid.
    pub(crate) fn with_token(self, token_sid: Option<Uuid>) -> Self {
        Self { token_sid, ..self }
    }

    /// The same actor with another visibility.
    pub(crate) fn with_visibility(self, visibility: Visibility) -> Self {
        Self { visibility, ..self }
    }

    /// The partners whose objects are visible to this actor.
    pub(crate) fn visibility(&self) -> Visibility {
        self.visibility
    }

    /// The partner of the token; `None` for the operator.
    pub fn partner_sid(&self) -> Option<Uuid> {
        self.partner_sid
    }

    /// The partner that owns the objects that the actor creates.
    ///
    /// # Errors
    /// [`ApiError::Internal`] for the operator, who owns nothing.
    pub fn own_partner_sid(&self) -> Result<Uuid, ApiError> {
        self.partner_sid
            .ok_or_else(|| ApiError::Internal(anyhow::anyhow!("the operator owns no objects")))
    }

    /// The token, if it has a sid.
    pub fn token_sid(&self) -> Option<Uuid> {
        self.token_sid
    }

    /// The address of the client.
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
    /// The token, if it has a sid.
    pub token_sid: Option<Uuid>,
    /// The scopes that the token, its partner and every ancestor of the partner hold.
    pub scopes: Vec<Scope>,
    /// Whether the partner requires `If-Match` for changes of its objects.
    pub requires_if_match: bool,
}

impl Principal {
    /// Whether the principal holds at least one of these scopes.
    pub fn holds_any(&self, scopes: &[Scope]) -> bool {
        scopes.iter().any(|scope| self.scopes.contains(scope))
    }
}
