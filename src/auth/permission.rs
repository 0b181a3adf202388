//! The permissions of operations, which they derive from scopes.

use super::scope::Scope;

/// The permission that an operation requires. Implementations are type parameters of
/// [`crate::http::Caller`].
pub trait Permission: 'static {
    /// The scopes of which a token must carry at least one. If empty, any valid token suffices.
    const ANY_OF: &'static [Scope];
    /// The condition under which the objects of descendants are visible.
    const DESCENDANTS: Descendants;
}

/// The condition under which the objects of the partner's descendants are visible to an operation.
pub enum Descendants {
    /// With any token.
    Always,
    /// With a token that carries one of these scopes.
    With(&'static [Scope]),
}

/// Permission to read DID groups, short codes and phone numbers.
pub struct PhonenumberRead;

impl Permission for PhonenumberRead {
    const ANY_OF: &'static [Scope] = &[Scope::PhonenumberManage, Scope::PhonenumberRead];
    const DESCENDANTS: Descendants =
        Descendants::With(&[Scope::PhonenumberReadDescendant, Scope::PhonenumberManageDescendant]);
}

/// Permission to create DID groups and to rent phone numbers.
pub struct PhonenumberCreate;

impl Permission for PhonenumberCreate {
    const ANY_OF: &'static [Scope] = &[Scope::PhonenumberManage, Scope::PhonenumberCreate];
    const DESCENDANTS: Descendants = Descendants::With(&[Scope::PhonenumberManageDescendant]);
}

/// Permission to change DID groups, short codes and phone numbers.
pub struct PhonenumberUpdate;

impl Permission for PhonenumberUpdate {
    const ANY_OF: &'static [Scope] = &[Scope::PhonenumberManage, Scope::PhonenumberUpdate];
    const DESCENDANTS: Descendants = Descendants::With(&[Scope::PhonenumberManageDescendant]);
}

/// Permission to delete DID groups.
pub struct PhonenumberDelete;

impl Permission for PhonenumberDelete {
    const ANY_OF: &'static [Scope] = &[Scope::PhonenumberManage, Scope::PhonenumberDelete];
    const DESCENDANTS: Descendants = Descendants::With(&[Scope::PhonenumberManageDescendant]);
}

/// Permission to release phone numbers: those of the own partner, or as an operator those of all
/// descendants.
pub struct DidRelease;

impl Permission for DidRelease {
    const ANY_OF: &'static [Scope] = &[
        Scope::PhonenumberManage,
        Scope::PhonenumberDelete,
        Scope::AdminManage,
        Scope::AdminDelete,
    ];
    const DESCENDANTS: Descendants = Descendants::With(&[
        Scope::PhonenumberManageDescendant,
        Scope::AdminManage,
        Scope::AdminDelete,
    ]);
}

/// Permission to create short codes and numbers of a stock.
pub struct AdminCreate;

impl Permission for AdminCreate {
    const ANY_OF: &'static [Scope] = &[Scope::AdminManage, Scope::AdminCreate];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// Permission to delete short codes and numbers of a stock.
pub struct AdminDelete;

impl Permission for AdminDelete {
    const ANY_OF: &'static [Scope] = &[Scope::AdminManage, Scope::AdminDelete];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// Permission to read partners.
pub struct PartnersRead;

impl Permission for PartnersRead {
    const ANY_OF: &'static [Scope] = &[Scope::PartnersManage, Scope::PartnersRead];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// Permission to create sub-partners.
pub struct PartnersCreate;

impl Permission for PartnersCreate {
    const ANY_OF: &'static [Scope] = &[Scope::PartnersManage, Scope::PartnersCreate];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// Permission to change partners.
pub struct PartnersUpdate;

impl Permission for PartnersUpdate {
    const ANY_OF: &'static [Scope] = &[Scope::PartnersManage, Scope::PartnersUpdate];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// Permission that every valid token gives.
pub struct AnyToken;

impl Permission for AnyToken {
    const ANY_OF: &'static [Scope] = &[];
    const DESCENDANTS: Descendants = Descendants::With(&[]);
}

/// Permission to issue tokens for descendants.
pub struct OauthCreate;

impl Permission for OauthCreate {
    const ANY_OF: &'static [Scope] =
        &[Scope::OauthManageAllTokens, Scope::OauthManage, Scope::OauthCreate];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// Permission to read tokens.
pub struct OauthRead;

impl Permission for OauthRead {
    const ANY_OF: &'static [Scope] =
        &[Scope::OauthManageAllTokens, Scope::OauthManage, Scope::OauthRead];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// Permission to change tokens.
pub struct OauthUpdate;

impl Permission for OauthUpdate {
    const ANY_OF: &'static [Scope] =
        &[Scope::OauthManageAllTokens, Scope::OauthManage, Scope::OauthUpdate];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// Permission to revoke tokens.
pub struct OauthRevoke;

impl Permission for OauthRevoke {
    const ANY_OF: &'static [Scope] = &[Scope::OauthManageAllTokens, Scope::OauthManage];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// Permission to read events, endpoints and deliveries. Events need permission to read their
/// objects too.
pub struct EventsRead;

impl Permission for EventsRead {
    const ANY_OF: &'static [Scope] = &[Scope::EventsManage, Scope::EventsRead];
    const DESCENDANTS: Descendants = Descendants::With(&[]);
}

/// Permission to create endpoints.
pub struct EventsCreate;

impl Permission for EventsCreate {
    const ANY_OF: &'static [Scope] = &[Scope::EventsManage, Scope::EventsCreate];
    const DESCENDANTS: Descendants = Descendants::With(&[]);
}

/// Permission to change and test endpoints, and to replay events.
pub struct EventsUpdate;

impl Permission for EventsUpdate {
    const ANY_OF: &'static [Scope] = &[Scope::EventsManage, Scope::EventsUpdate];
    const DESCENDANTS: Descendants = Descendants::With(&[]);
}

/// Permission to delete endpoints.
pub struct EventsDelete;

impl Permission for EventsDelete {
    const ANY_OF: &'static [Scope] = &[Scope::EventsManage, Scope::EventsDelete];
    const DESCENDANTS: Descendants = Descendants::With(&[]);
}
