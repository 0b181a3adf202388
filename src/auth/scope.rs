//! What a token may do, and how far it reaches.

use std::collections::BTreeSet;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::input::{FromMember, ValidationError, unknown};

/// A right that a partner can hold and a token can carry, by CarrierX's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything under `/phonenumber` that is not the operator's.
    PhonenumberManage,
    /// Reads DID groups and short codes.
    PhonenumberRead,
    /// Creates DID groups.
    PhonenumberCreate,
    /// Changes DID groups and short codes.
    PhonenumberUpdate,
    /// Deletes DID groups.
    PhonenumberDelete,
    /// Lets reads under `/phonenumber` reach the partner's descendants.
    PhonenumberReadDescendant,
    /// Lets reads and writes under `/phonenumber` reach the partner's descendants.
    PhonenumberManageDescendant,
    /// The operator: creates and deletes short codes.
    AdminManage,
    /// The operator: creates short codes.
    AdminCreate,
    /// The operator: deletes short codes.
    AdminDelete,
    /// Everything under `/partners`.
    PartnersManage,
    /// Reads partners.
    PartnersRead,
    /// Creates sub-partners.
    PartnersCreate,
    /// Changes partners.
    PartnersUpdate,
    /// Everything under `/oauth`, for all tokens.
    OauthManageAllTokens,
    /// Everything under `/oauth`.
    OauthManage,
    /// Creates tokens of sub-partners.
    OauthCreate,
    /// Reads tokens.
    OauthRead,
    /// Changes tokens.
    OauthUpdate,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 19] = [
        Self::PhonenumberManage,
        Self::PhonenumberRead,
        Self::PhonenumberCreate,
        Self::PhonenumberUpdate,
        Self::PhonenumberDelete,
        Self::PhonenumberReadDescendant,
        Self::PhonenumberManageDescendant,
        Self::AdminManage,
        Self::AdminCreate,
        Self::AdminDelete,
        Self::PartnersManage,
        Self::PartnersRead,
        Self::PartnersCreate,
        Self::PartnersUpdate,
        Self::OauthManageAllTokens,
        Self::OauthManage,
        Self::OauthCreate,
        Self::OauthRead,
        Self::OauthUpdate,
    ];

    /// The scopes of a partner for which nobody named any.
    pub const DEFAULT: [Self; 3] =
        [Self::PhonenumberManage, Self::OauthManage, Self::PartnersManage];

    /// The name, as in a token's `scope` claim.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::PhonenumberManage => "phonenumber.manage",
            Self::PhonenumberRead => "phonenumber.read",
            Self::PhonenumberCreate => "phonenumber.create",
            Self::PhonenumberUpdate => "phonenumber.update",
            Self::PhonenumberDelete => "phonenumber.delete",
            Self::PhonenumberReadDescendant => "phonenumber.read_descendant",
            Self::PhonenumberManageDescendant => "phonenumber.manage_descendant",
            Self::AdminManage => "admin.manage",
            Self::AdminCreate => "admin.create",
            Self::AdminDelete => "admin.delete",
            Self::PartnersManage => "partners.manage",
            Self::PartnersRead => "partners.read",
            Self::PartnersCreate => "partners.create",
            Self::PartnersUpdate => "partners.update",
            Self::OauthManageAllTokens => "oauth.manage_all_tokens",
            Self::OauthManage => "oauth.manage",
            Self::OauthCreate => "oauth.create",
            Self::OauthRead => "oauth.read",
            Self::OauthUpdate => "oauth.update",
        }
    }

    /// The scope of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    /// The scope of the name in `value`.
    fn from_value(value: &Value) -> Result<Self, ValidationError> {
        let name = value.as_str().ok_or("must be an array of the names of scopes")?;
        Self::named(name).ok_or_else(|| Self::unknown(name).as_str().into())
    }

    /// Says that no scope is called `name`, and which is called nearly so.
    pub fn unknown(name: &str) -> String {
        unknown("scope", name, &Self::ALL.each_ref().map(Self::as_str))
    }
}

/// The command line takes a scope by its name, and proposes the nearest one.
impl ValueEnum for Scope {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.as_str()))
    }
}

impl ToSchema for Scope {}

impl PartialSchema for Scope {
    fn schema() -> RefOr<Schema> {
        let names = Self::ALL.map(|scope| scope.as_str());
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
    }
}

/// A set of scopes, kept as their names with blanks between them (RFC 6749, section 3.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(value_type = Vec<Scope>)]
pub struct Scopes(String);

impl Scopes {
    /// The scopes, one by one. A name that is none of ours gives no right.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.split(' ').filter_map(Scope::named)
    }

    /// Whether `scope` is one of them.
    pub fn contains(&self, scope: Scope) -> bool {
        self.iter().any(|held| held == scope)
    }

    /// The names, with blanks between them.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Says which of them are not among `allowed`; nothing where all are.
    pub fn beyond(&self, allowed: &[Scope]) -> Option<String> {
        let beyond: Vec<_> = self.iter().filter(|scope| !allowed.contains(scope)).collect();
        let names = || beyond.iter().map(Scope::as_str).collect::<Vec<_>>().join(", ");
        (!beyond.is_empty()).then(names)
    }
}

/// An array of names, each one of ours.
impl FromMember for Scopes {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        let Value::Array(names) = value else {
            return Err("must be an array of the names of scopes".into());
        };
        names.iter().map(Scope::from_value).collect()
    }
}

impl From<String> for Scopes {
    fn from(names: String) -> Self {
        Self(names)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let names: BTreeSet<_> = scopes.into_iter().map(|scope| scope.as_str()).collect();
        Self(names.into_iter().collect::<Vec<_>>().join(" "))
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.split_terminator(' '))
    }
}

/// What an operation needs of a token. Each implementation is a type parameter of [`crate::http::Caller`].
pub trait Permission: 'static {
    /// The scopes of which the token must carry one; where there are none, any token will do.
    const ANY_OF: &'static [Scope];
    /// Whether the operation reaches the descendants of the token's partner.
    const DESCENDANTS: Descendants;
}

/// When an operation reaches the descendants of the token's partner.
pub enum Descendants {
    /// Whatever the token carries.
    Always,
    /// Where the token carries one of these scopes.
    With(&'static [Scope]),
}

/// Reading DID groups and short codes.
pub struct PhonenumberRead;

impl Permission for PhonenumberRead {
    const ANY_OF: &'static [Scope] = &[Scope::PhonenumberManage, Scope::PhonenumberRead];
    const DESCENDANTS: Descendants =
        Descendants::With(&[Scope::PhonenumberReadDescendant, Scope::PhonenumberManageDescendant]);
}

/// Creating DID groups.
pub struct PhonenumberCreate;

impl Permission for PhonenumberCreate {
    const ANY_OF: &'static [Scope] = &[Scope::PhonenumberManage, Scope::PhonenumberCreate];
    const DESCENDANTS: Descendants = Descendants::With(&[Scope::PhonenumberManageDescendant]);
}

/// Changing DID groups and short codes.
pub struct PhonenumberUpdate;

impl Permission for PhonenumberUpdate {
    const ANY_OF: &'static [Scope] = &[Scope::PhonenumberManage, Scope::PhonenumberUpdate];
    const DESCENDANTS: Descendants = Descendants::With(&[Scope::PhonenumberManageDescendant]);
}

/// Deleting DID groups.
pub struct PhonenumberDelete;

impl Permission for PhonenumberDelete {
    const ANY_OF: &'static [Scope] = &[Scope::PhonenumberManage, Scope::PhonenumberDelete];
    const DESCENDANTS: Descendants = Descendants::With(&[Scope::PhonenumberManageDescendant]);
}

/// The operator creating short codes.
pub struct AdminCreate;

impl Permission for AdminCreate {
    const ANY_OF: &'static [Scope] = &[Scope::AdminManage, Scope::AdminCreate];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// The operator deleting short codes.
pub struct AdminDelete;

impl Permission for AdminDelete {
    const ANY_OF: &'static [Scope] = &[Scope::AdminManage, Scope::AdminDelete];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// Reading partners.
pub struct PartnersRead;

impl Permission for PartnersRead {
    const ANY_OF: &'static [Scope] = &[Scope::PartnersManage, Scope::PartnersRead];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// Creating sub-partners.
pub struct PartnersCreate;

impl Permission for PartnersCreate {
    const ANY_OF: &'static [Scope] = &[Scope::PartnersManage, Scope::PartnersCreate];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// Changing partners.
pub struct PartnersUpdate;

impl Permission for PartnersUpdate {
    const ANY_OF: &'static [Scope] = &[Scope::PartnersManage, Scope::PartnersUpdate];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// Anything that any valid token may do.
pub struct AnyToken;

impl Permission for AnyToken {
    const ANY_OF: &'static [Scope] = &[];
    const DESCENDANTS: Descendants = Descendants::With(&[]);
}

/// Making tokens for sub-partners.
pub struct OauthCreate;

impl Permission for OauthCreate {
    const ANY_OF: &'static [Scope] =
        &[Scope::OauthManageAllTokens, Scope::OauthManage, Scope::OauthCreate];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// Reading tokens.
pub struct OauthRead;

impl Permission for OauthRead {
    const ANY_OF: &'static [Scope] =
        &[Scope::OauthManageAllTokens, Scope::OauthManage, Scope::OauthRead];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// Changing tokens.
pub struct OauthUpdate;

impl Permission for OauthUpdate {
    const ANY_OF: &'static [Scope] =
        &[Scope::OauthManageAllTokens, Scope::OauthManage, Scope::OauthUpdate];
    const DESCENDANTS: Descendants = Descendants::Always;
}

/// Revoking tokens.
pub struct OauthRevoke;

impl Permission for OauthRevoke {
    const ANY_OF: &'static [Scope] = &[Scope::OauthManageAllTokens, Scope::OauthManage];
    const DESCENDANTS: Descendants = Descendants::Always;
}
