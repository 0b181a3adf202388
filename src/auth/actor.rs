//! Actors, and the objects that are visible to them.

use std::net::IpAddr;
use std::sync::OnceLock;

use uuid::Uuid;

use super::scope::Scope;
use super::traceparent::TraceParent;
use crate::error::ApiError;

/// The address of the client that sent a request.
#[derive(Clone, Copy, Debug)]
pub struct ClientIp(pub IpAddr);

/// The ID of a request: the client's `X-Request-Id` if it is valid, otherwise a new one.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// The name of the operator who runs a command, for the history.
static OPERATOR: OnceLock<String> = OnceLock::new();

/// Sets the name of the operator who runs this process. Only the first name counts.
pub fn name_operator(name: String) {
    let _ = OPERATOR.set(name);
}

/// The partners whose objects are visible to an actor. The store returns no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Visibility {
    /// The objects of this partner.
    Own(Uuid),
    /// The objects of this partner and of all its descendants.
    Subtree(Uuid),
    /// The objects of this partner and of all its ancestors: the stocks that it can rent from.
    Ancestors(Uuid),
    /// All objects: the operator on the command line.
    All,
}

impl Visibility {
    /// Returns the three arguments of every statement that reads objects: the partner, which of its
    /// relatives' objects are visible too, and whether all objects are.
    pub(crate) fn arguments(self) -> (Option<Uuid>, &'static str, bool) {
        match self {
            Self::Own(partner_sid) => (Some(partner_sid), "none", false),
            Self::Subtree(partner_sid) => (Some(partner_sid), "descendants", false),
            Self::Ancestors(partner_sid) => (Some(partner_sid), "ancestors", false),
            Self::All => (None, "none", true),
        }
    }
}

/// The subject of a read or write. The store requires one for every call.
///
/// An actor is the operator on the command line or an authenticated partner. Only `http::auth` and
/// the OAuth grants create the latter.
#[derive(Clone, Debug)]
pub struct Actor {
    visibility: Visibility,
    partner_sid: Option<Uuid>,
    subtree_sid: Option<Uuid>,
    token_sid: Option<Uuid>,
    ip: Option<IpAddr>,
    operator: Option<&'static str>,
    request_id: Option<String>,
    traceparent: Option<TraceParent>,
}

impl Actor {
    /// Returns the operator on the command line, to whom all objects are visible.
    pub fn operator() -> Self {
        Self {
            visibility: Visibility::All,
            partner_sid: None,
            subtree_sid: None,
            token_sid: None,
            ip: None,
            operator: OPERATOR.get().map(String::as_str),
            request_id: None,
            traceparent: None,
        }
    }

    /// Returns an authenticated partner that can see its own objects and its descendants' objects.
    pub(crate) fn partner(
        partner_sid: Uuid,
        subtree_sid: Uuid,
        ip: Option<ClientIp>,
        request_id: Option<RequestId>,
    ) -> Self {
        Self {
            visibility: Visibility::Subtree(partner_sid),
            partner_sid: Some(partner_sid),
            subtree_sid: Some(subtree_sid),
            token_sid: None,
            ip: ip.map(|ip| ip.0),
            operator: None,
            request_id: request_id.map(|id| id.0),
            traceparent: None,
        }
    }

    /// Returns the same actor with the token of that sid.
    pub(crate) fn with_token(self, token_sid: Option<Uuid>) -> Self {
        Self { token_sid, ..self }
    }

    /// Returns the same actor with the trace of its request.
    pub(crate) fn with_trace(self, traceparent: Option<TraceParent>) -> Self {
        Self { traceparent, ..self }
    }

    /// Returns the same actor with another visibility.
    pub(crate) fn with_visibility(self, visibility: Visibility) -> Self {
        Self { visibility, ..self }
    }

    /// Returns the same actor with the visibility of its own partner only.
    ///
    /// # Errors
    /// [`ApiError::Internal`] for the operator, who is no partner.
    pub fn seeing_own(&self) -> Result<Self, ApiError> {
        let visibility = Visibility::Own(self.own_partner_sid()?);
        Ok(self.clone().with_visibility(visibility))
    }

    /// Returns the same actor with the visibility of its own partner and the partner's ancestors.
    ///
    /// # Errors
    /// As [`Self::seeing_own`].
    pub fn seeing_ancestors(&self) -> Result<Self, ApiError> {
        let visibility = Visibility::Ancestors(self.own_partner_sid()?);
        Ok(self.clone().with_visibility(visibility))
    }

    /// Returns the partners whose objects are visible to this actor.
    pub(crate) fn visibility(&self) -> Visibility {
        self.visibility
    }

    /// Returns the partner of the token; `None` for the operator.
    pub fn partner_sid(&self) -> Option<Uuid> {
        self.partner_sid
    }

    /// Returns the partner that starts the subtree of the token's partner; `None` for the operator.
    pub fn subtree_sid(&self) -> Option<Uuid> {
        self.subtree_sid
    }

    /// Returns the partner that owns the objects that the actor creates.
    ///
    /// # Errors
    /// [`ApiError::Internal`] for the operator, who owns nothing.
    pub fn own_partner_sid(&self) -> Result<Uuid, ApiError> {
        self.partner_sid
            .ok_or_else(|| ApiError::Internal(anyhow::anyhow!("the operator owns no objects")))
    }

    /// Returns the sid of the token, if it has one.
    pub fn token_sid(&self) -> Option<Uuid> {
        self.token_sid
    }

    /// Returns the address of the client.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// Returns the name of the operator who runs the command.
    pub fn operator_name(&self) -> Option<&str> {
        self.operator
    }

    /// Returns the ID of the request.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// Returns the trace of the request.
    pub fn traceparent(&self) -> Option<&TraceParent> {
        self.traceparent.as_ref()
    }
}

/// The bearer of a valid token.
#[derive(Debug)]
pub struct Principal {
    /// The partner that the token belongs to.
    pub partner_sid: Uuid,
    /// The partner that starts the subtree of the token's partner.
    pub subtree_sid: Uuid,
    /// The sid of the token, if it has one.
    pub token_sid: Option<Uuid>,
    /// The effective scopes: those that the token, its partner and every ancestor have in common.
    pub scopes: Vec<Scope>,
    /// Whether the partner requires `If-Match` for changes of its objects.
    pub requires_if_match: bool,
    /// The depth of the partner in its tree. A root has depth 1.
    pub depth: i32,
}

impl Principal {
    /// Returns whether the principal has at least one of these scopes.
    pub fn holds_any(&self, scopes: &[Scope]) -> bool {
        scopes.iter().any(|scope| self.scopes.contains(scope))
    }
}
