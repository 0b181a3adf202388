//! The kinds of objects that have events, and the types of events.

use serde_json::value::RawValue;
use sqlx::PgConnection;

use crate::did_groups::DidGroup;
use crate::dids::Did;
use crate::error::ApiError;
use crate::input::unknown;
use crate::partners::Partner;
use crate::short_codes::ShortCode;
use crate::store::{Action, ObjectPlace, Resource, SnapshotObject, objects};

/// A kind of objects that have events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A rented phone number.
    Did,
    /// A DID group.
    DidGroup,
    /// A partner.
    Partner,
    /// A short code.
    ShortCode,
}

impl ObjectKind {
    /// All kinds, in the order of their names.
    pub const ALL: [Self; 4] = [Self::Did, Self::DidGroup, Self::Partner, Self::ShortCode];

    /// Returns the name, as in the history.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Did => Did::KIND,
            Self::DidGroup => DidGroup::KIND,
            Self::Partner => Partner::KIND,
            Self::ShortCode => ShortCode::KIND,
        }
    }

    /// Returns the kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether the API shows a member of that name.
    pub(super) fn shows(self, member: &str) -> bool {
        match self {
            Self::Did => Did::shows(member),
            Self::DidGroup => DidGroup::shows(member),
            Self::Partner => Partner::shows(member),
            Self::ShortCode => ShortCode::shows(member),
        }
    }

    /// Reads a page of the objects of this kind: see [`objects`].
    pub(super) async fn objects(
        self,
        connection: &mut PgConnection,
        partner_sid: uuid::Uuid,
        descendants: bool,
        after: ObjectPlace,
        limit: i64,
    ) -> Result<(Vec<SnapshotObject>, bool), ApiError> {
        match self {
            Self::Did => objects::<Did>(connection, partner_sid, descendants, after, limit).await,
            Self::DidGroup => {
                objects::<DidGroup>(connection, partner_sid, descendants, after, limit).await
            }
            Self::Partner => {
                objects::<Partner>(connection, partner_sid, descendants, after, limit).await
            }
            Self::ShortCode => {
                objects::<ShortCode>(connection, partner_sid, descendants, after, limit).await
            }
        }
    }
}

/// A type of events: what happened to an object of some kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType {
    /// The kind of the object.
    pub kind: ObjectKind,
    /// What happened.
    pub action: Action,
}

impl EventType {
    /// All types.
    pub fn all() -> impl Iterator<Item = Self> {
        const ACTIONS: [Action; 4] =
            [Action::Create, Action::Update, Action::Revert, Action::Delete];
        ObjectKind::ALL
            .into_iter()
            .flat_map(|kind| ACTIONS.into_iter().map(move |action| Self { kind, action }))
    }

    /// Returns the name, such as `short_code.updated`.
    pub fn name(self) -> String {
        let happened = match self.action {
            Action::Create => "created",
            Action::Update => "updated",
            Action::Revert => "reverted",
            Action::Delete => "deleted",
        };
        format!("{}.{happened}", self.kind.as_str())
    }
}

/// The types that a reader asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeFilter(Vec<EventType>);

impl TypeFilter {
    /// Reads names that are separated by commas.
    ///
    /// # Errors
    /// A message that names an unknown type.
    pub fn parse(names: &str) -> Result<Self, String> {
        let named = |name: &str| {
            EventType::all().find(|known| known.name() == name).ok_or_else(|| {
                let names: Vec<_> = EventType::all().map(EventType::name).collect();
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                unknown("event type", name, &names)
            })
        };
        names.split(',').map(|name| named(name.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether events of that type are asked for. Without names, all are.
    pub fn includes(&self, kind: ObjectKind, action: Action) -> bool {
        self.0.is_empty() || self.0.contains(&EventType { kind, action })
    }

    /// Whether any event of that kind is asked for by name.
    pub fn names(&self, kind: ObjectKind) -> bool {
        self.0.iter().any(|named| named.kind == kind)
    }

    /// Whether types are named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The members of an object that the API shows, in the order of their names.
pub(super) fn shown(kind: ObjectKind, object: &RawValue) -> Result<Box<RawValue>, ApiError> {
    let internal = |error: serde_json::Error| ApiError::Internal(error.into());
    let mut members: std::collections::BTreeMap<&str, &RawValue> =
        serde_json::from_str(object.get()).map_err(internal)?;
    members.retain(|name, _| kind.shows(name));
    serde_json::value::to_raw_value(&members).map_err(internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_by_name() {
        let types = TypeFilter::parse("short_code.updated, did.deleted").unwrap();
        assert!(types.includes(ObjectKind::ShortCode, Action::Update));
        assert!(!types.includes(ObjectKind::ShortCode, Action::Create));
        assert!(types.names(ObjectKind::Did) && !types.names(ObjectKind::Partner));
        assert!(TypeFilter::default().includes(ObjectKind::Partner, Action::Revert));
        let message = TypeFilter::parse("short_code.update").unwrap_err();
        assert!(message.contains("`short_code.updated`"), "{message}");
    }
}
