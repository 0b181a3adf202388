//! Authentication and authorization: from a bearer token to a partner, its scopes and the objects
//! that it can see. Nothing here depends on HTTP; `http::auth` applies it to requests.

mod actor;
mod authenticator;
mod jwt;
mod keys;
mod last_access;
mod passwords;
mod permission;
mod rate_limit;
mod scope;
mod traceparent;
mod verification;

pub(crate) use actor::Visibility;
pub use actor::{Actor, ClientIp, Principal, RequestId, name_operator};
pub use authenticator::{Authenticator, PartnerAncestry, hash, signed_part};
pub use jwt::Claims;
pub use keys::Keys;
pub use last_access::LastAccess;
pub use passwords::{Passwords, hash_password};
pub use permission::{
    AdminCreate, AdminDelete, AnyToken, Descendants, DidRelease, EventsCreate, EventsDelete,
    EventsRead, EventsUpdate, OauthCreate, OauthRead, OauthRevoke, OauthUpdate, PartnersCreate,
    PartnersRead, PartnersUpdate, Permission, PhonenumberCreate, PhonenumberDelete,
    PhonenumberRead, PhonenumberUpdate,
};
pub use rate_limit::{Allowance, Left, RateLimit};
pub use scope::{Scope, Scopes};
pub use traceparent::TraceParent;
pub use verification::{OccupiedLane, Subject, Turn};
