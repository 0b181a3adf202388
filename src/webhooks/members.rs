//! The types of members that only endpoints have.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::auth::Scope;
use crate::input::{FromMember, ValidationError, unknown};

/// The types of events, by name.
pub const TYPES: [&str; 17] = [
    "did.created",
    "did.deleted",
    "did.reverted",
    "did.updated",
    "did_group.created",
    "did_group.deleted",
    "did_group.reverted",
    "did_group.updated",
    "endpoint.disabled",
    "partner.created",
    "partner.deleted",
    "partner.reverted",
    "partner.updated",
    "short_code.created",
    "short_code.deleted",
    "short_code.reverted",
    "short_code.updated",
];

/// Returns the scopes of which one is needed for events of that type. `None` if every partner can
/// have them.
fn needed(name: &str) -> Option<[Scope; 2]> {
    match name.split('.').next() {
        Some("endpoint") => None,
        Some("partner") => Some([Scope::PartnersManage, Scope::PartnersRead]),
        _ => Some([Scope::PhonenumberManage, Scope::PhonenumberRead]),
    }
}

/// Whether a partner or a token with these scopes can have events of that type.
pub fn is_readable(name: &str, scopes: &[Scope]) -> bool {
    needed(name).is_none_or(|needed| needed.iter().any(|scope| scope.is_covered(scopes)))
}

/// Whether a partner or a token with these scopes can have events of descendants.
pub fn reads_descendants(scopes: &[Scope]) -> bool {
    Scope::PhonenumberReadDescendant.is_covered(scopes)
}

/// A set of types of events, stored as their names separated by spaces.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct EventTypes(String);

impl ToSchema for EventTypes {}

impl PartialSchema for EventTypes {
    fn schema() -> RefOr<Schema> {
        let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(TYPES));
        ArrayBuilder::new()
            .items(name)
            .min_items(Some(1))
            .examples([json!(["short_code.updated"])])
            .into()
    }
}

impl EventTypes {
    /// Returns the types that a token with these scopes can have.
    pub fn readable(scopes: &[Scope]) -> Self {
        Self::of(TYPES.into_iter().filter(|name| is_readable(name, scopes)))
    }

    fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let names: BTreeSet<_> = names.collect();
        Self(names.into_iter().collect::<Vec<_>>().join(" "))
    }

    /// Returns the names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator(' ')
    }

    /// Returns the names, separated by spaces.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first type that a token with these scopes cannot have, with the scopes of which
    /// it needs one.
    pub fn unreadable(&self, scopes: &[Scope]) -> Option<(&str, [Scope; 2])> {
        let name = self.iter().find(|name| !is_readable(name, scopes))?;
        Some((name, needed(name)?))
    }
}

impl FromMember for EventTypes {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        let names = value.as_array().filter(|names| !names.is_empty());
        let names = names.ok_or("must be an array of at least one type of events")?;
        let name = |value: &Value| {
            let name = value.as_str().ok_or("must be an array of types of events")?;
            let known = TYPES.into_iter().find(|known| *known == name);
            known.ok_or_else(|| ValidationError::from(&*unknown("type", name, &TYPES)))
        };
        let names: Vec<_> = names.iter().map(name).collect::<Result<_, _>>()?;
        Ok(Self::of(names.into_iter()))
    }
}

impl Serialize for EventTypes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// What waits behind an event that could not be delivered.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(rename_all = "lowercase", type_name = "text")]
pub enum Ordering {
    /// Later events of the same object.
    #[default]
    Object,
    /// All later events.
    Strict,
    /// Nothing.
    None,
}

impl FromMember for Ordering {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        match value.as_str() {
            Some("object") => Ok(Self::Object),
            Some("strict") => Ok(Self::Strict),
            Some("none") => Ok(Self::None),
            _ => Err("must be `object`, `strict` or `none`".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_are_a_set_of_known_names() {
        let types = json!(["short_code.updated", "did.created", "short_code.updated"]);
        let types = EventTypes::from_member(types).unwrap();
        assert_eq!(json!(types), json!(["did.created", "short_code.updated"]));
        for invalid in [json!([]), json!("did.created"), json!([5]), json!(["did.updated "])] {
            assert!(EventTypes::from_member(invalid.clone()).is_err(), "{invalid}");
        }
        let error = EventTypes::from_member(json!(["short_code.update"])).unwrap_err();
        assert!(error.message.contains("did you mean `short_code.updated`?"), "{}", error.message);
    }

    #[test]
    fn types_are_readable_with_the_scope_of_their_kind() {
        let readable = |scopes: &[Scope]| EventTypes::readable(scopes).iter().count();
        assert_eq!(readable(&[]), 1);
        assert_eq!(readable(&[Scope::PhonenumberRead]), 13);
        assert_eq!(readable(&[Scope::PartnersManage]), 5);
        assert_eq!(readable(&Scope::ALL), TYPES.len());
        let all = EventTypes::readable(&Scope::ALL);
        assert_eq!(all.unreadable(&Scope::ALL), None);
        let (name, _) = all.unreadable(&[Scope::PhonenumberManage]).unwrap();
        assert_eq!(name, "partner.created");
    }
}
