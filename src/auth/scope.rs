//! Scopes.

use std::collections::BTreeSet;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::input::{FromMember, ValidationError, unknown};

/// A scope, named as at CarrierX, which has none for events. A partner has scopes; a token carries
/// some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All operations under `/phonenumber` but those of `admin`.
    PhonenumberManage,
    /// Reads DID groups and short codes.
    PhonenumberRead,
    /// Creates DID groups.
    PhonenumberCreate,
    /// Changes DID groups and short codes.
    PhonenumberUpdate,
    /// Deletes DID groups.
    PhonenumberDelete,
    /// Makes the objects of descendants visible to reads under `/phonenumber`.
    PhonenumberReadDescendant,
    /// Makes the objects of descendants visible to reads and writes under `/phonenumber`.
    PhonenumberManageDescendant,
    /// Creates and deletes short codes.
    AdminManage,
    /// Creates short codes.
    AdminCreate,
    /// Deletes short codes.
    AdminDelete,
    /// All operations under `/partners`.
    PartnersManage,
    /// Reads partners.
    PartnersRead,
    /// Creates sub-partners.
    PartnersCreate,
    /// Changes partners.
    PartnersUpdate,
    /// All operations under `/oauth`, as `oauth.manage`.
    OauthManageAllTokens,
    /// All operations under `/oauth`.
    OauthManage,
    /// Issues tokens for descendants.
    OauthCreate,
    /// Reads tokens.
    OauthRead,
    /// Changes tokens.
    OauthUpdate,
    /// All operations under `/events`.
    EventsManage,
    /// Reads events, endpoints and deliveries.
    EventsRead,
    /// Creates endpoints.
    EventsCreate,
    /// Changes endpoints.
    EventsUpdate,
    /// Deletes endpoints.
    EventsDelete,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 24] = [
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
        Self::EventsManage,
        Self::EventsRead,
        Self::EventsCreate,
        Self::EventsUpdate,
        Self::EventsDelete,
    ];

    /// The scopes of a partner that was created without any.
    pub const DEFAULT: [Self; 3] =
        [Self::PhonenumberManage, Self::OauthManage, Self::PartnersManage];

    /// Returns the name, as in a token's `scope` claim.
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
            Self::EventsManage => "events.manage",
            Self::EventsRead => "events.read",
            Self::EventsCreate => "events.create",
            Self::EventsUpdate => "events.update",
            Self::EventsDelete => "events.delete",
        }
    }

    /// Returns the scope that permits all that this one permits, if there is one.
    fn covered_by(self) -> Option<Self> {
        match self {
            Self::PhonenumberRead
            | Self::PhonenumberCreate
            | Self::PhonenumberUpdate
            | Self::PhonenumberDelete => Some(Self::PhonenumberManage),
            Self::PhonenumberReadDescendant => Some(Self::PhonenumberManageDescendant),
            Self::AdminCreate | Self::AdminDelete => Some(Self::AdminManage),
            Self::PartnersRead | Self::PartnersCreate | Self::PartnersUpdate => {
                Some(Self::PartnersManage)
            }
            Self::OauthCreate | Self::OauthRead | Self::OauthUpdate => Some(Self::OauthManage),
            Self::EventsRead | Self::EventsCreate | Self::EventsUpdate | Self::EventsDelete => {
                Some(Self::EventsManage)
            }
            Self::PhonenumberManage
            | Self::PhonenumberManageDescendant
            | Self::AdminManage
            | Self::PartnersManage
            | Self::OauthManageAllTokens
            | Self::OauthManage
            | Self::EventsManage => None,
        }
    }

    /// Returns whether one of `held` is this scope or covers it.
    pub fn is_covered(self, held: &[Self]) -> bool {
        held.iter().any(|scope| *scope == self || self.covered_by() == Some(*scope))
    }

    /// Returns the scopes that both sets cover: those of each set that the other one covers. A
    /// scope that another one of the result covers is left out, unless it is in the first set.
    pub fn common(one: &[Self], other: &[Self]) -> Vec<Self> {
        let mut common: Vec<_> =
            one.iter().copied().filter(|scope| scope.is_covered(other)).collect();
        for scope in other {
            if scope.is_covered(one) && !scope.is_covered(&common) {
                common.push(*scope);
            }
        }
        common
    }

    /// Returns the scope of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    /// Returns the scope whose name is `value`.
    fn from_value(value: &Value) -> Result<Self, ValidationError> {
        let name = value.as_str().ok_or("must be an array of scope names")?;
        Self::named(name).ok_or_else(|| Self::unknown(name).as_str().into())
    }

    /// Returns the error message for an unknown name.
    pub fn unknown(name: &str) -> String {
        unknown("scope", name, &Self::ALL.each_ref().map(Self::as_str))
    }
}

/// Scopes on the command line, by name.
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

/// A set of scopes, stored as their names separated by spaces (RFC 6749, section 3.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(value_type = Vec<Scope>)]
pub struct Scopes(String);

impl Scopes {
    /// Returns the scopes. Names of other systems are ignored.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.split(' ').filter_map(Scope::named)
    }

    /// Returns whether the set contains `scope` or one that covers it.
    pub fn covers(&self, scope: Scope) -> bool {
        scope.is_covered(&self.to_vec())
    }

    /// Returns the scopes. Names of other systems are ignored.
    pub fn to_vec(&self) -> Vec<Scope> {
        self.iter().collect()
    }

    /// Returns the names, separated by spaces.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the names of the scopes that `allowed` does not cover, for an error message. `None`
    /// if it covers all.
    pub fn outside(&self, allowed: &[Scope]) -> Option<String> {
        let outside: Vec<_> = self.iter().filter(|scope| !scope.is_covered(allowed)).collect();
        let names = || outside.iter().map(Scope::as_str).collect::<Vec<_>>().join(", ");
        (!outside.is_empty()).then(names)
    }
}

/// An array of known names.
impl FromMember for Scopes {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        let Value::Array(names) = value else {
            return Err("must be an array of scope names".into());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_scopes_are_those_that_both_sets_cover() {
        use Scope::{PartnersRead, PhonenumberManage as Manage, PhonenumberRead as Read};
        for (one, other, expected) in [
            (&[Manage][..], &[Read][..], &[Read][..]),
            (&[Read], &[Manage], &[Read]),
            (&[Manage], &[Read, Manage], &[Manage]),
            (&[Manage, Read], &[Manage], &[Manage, Read]),
            (&[Manage], &[PartnersRead], &[]),
            (&[], &[Manage], &[]),
        ] {
            assert_eq!(Scope::common(one, other), expected, "{one:?}, {other:?}");
        }
    }
}
