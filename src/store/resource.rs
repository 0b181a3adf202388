//! [`Resource`]: the properties of a type of stored objects. The other modules of the store apply
//! the same rules to all types.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments, Encode, FromRow, Postgres, Type};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::{ApiError, FieldError};

/// A type of stored object: its table, its members, its owner.
pub trait Resource:
    Clone + Serialize + for<'r> FromRow<'r, PgRow> + Send + Sync + Unpin + 'static
{
    /// The type of the objects that own objects of this type: partners. Responses can include the
    /// owner, so it has a schema.
    type Owner: Resource + ToSchema;

    /// The name of the type in the history.
    const KIND: &'static str;
    /// The table.
    const TABLE: &'static str;
    /// The column that names the owner.
    const OWNER: &'static str = "partner_sid";
    /// The objects that can refer to this one, and prevent its deletion.
    const REFERRED_BY: &'static [Reference] = &[];
    /// The members that refer to other objects and that an update can change. The database checks
    /// them.
    const REFERENCES: &'static [&'static str] = &[];
    /// The name of the member that holds the object's sid.
    const SID: &'static str;
    /// Members that are shown but not stored. The history does not vouch for them.
    const UNSTORED: &'static [&'static str] = &[];
    /// The members by which an index finds the objects of a partner.
    const INDEXED: &'static [&'static str] = &[];
    /// Members that are written without a new version. Objects that have any have no entity tag.
    const UNVERSIONED: &'static [&'static str] = &[];
    /// Whether deleted objects can be restored, and are therefore listed.
    const RESTORABLE: bool = false;
    /// The columns besides `sid`, the owner and those that every table has.
    const COLUMNS: &'static [Column<Self>];

    /// The object's own sid.
    fn sid(&self) -> Uuid;

    /// The partner that owns the object.
    fn partner_sid(&self) -> Uuid;

    /// Whether the version changes with every member, and can be an entity tag.
    fn has_entity_tag() -> bool {
        Self::UNVERSIONED.is_empty()
    }

    /// Whether the owner is another object. A partner owns itself.
    fn is_owned() -> bool {
        Self::OWNER != "sid"
    }

    /// Whether responses can include the owner.
    fn shows_owner() -> bool {
        Self::is_owned()
    }

    /// The column of the member of that name, and how its values compare.
    fn comparable(member: &str) -> Option<(&'static str, Kind)> {
        if member == Self::SID {
            return Some(("sid", Kind::Sid));
        }
        if member == Self::OWNER && Self::is_owned() {
            return Some((Self::OWNER, Kind::Sid));
        }
        let column = Self::COLUMNS.iter().find(|column| column.name == member)?;
        Some((column.name, column.kind()?))
    }

    /// The names of the members that are nested objects.
    fn nested_members() -> impl Iterator<Item = &'static str> {
        let columns = Self::COLUMNS.iter();
        columns.filter(|column| column.kind() == Some(Kind::Json)).map(|column| column.name)
    }

    /// Whether the object shows a member of that name, or with a key after a dot, a nested object.
    fn shows(name: &str) -> bool {
        match name.split_once('.') {
            None => Self::UNSTORED.contains(&name) || Self::comparable(name).is_some(),
            Some((member, _)) => {
                Self::comparable(member).is_some_and(|(_, kind)| kind == Kind::Json)
            }
        }
    }

    /// The error for a write that violates the constraint of that name. `None` if no request can
    /// cause it.
    fn constraint_error(&self, _constraint: &str) -> Option<ApiError> {
        None
    }

    /// The object as JSON text for the history. By default it has the members that the API shows.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if it cannot be serialized.
    fn snapshot(&self) -> Result<Box<RawValue>, ApiError> {
        to_raw_value(self).map_err(|error| ApiError::Internal(error.into()))
    }

    /// The values of the columns that are no members and not in [`Self::snapshot`]. The history
    /// holds a digest of them. `None` if there are none.
    fn hidden(&self) -> Option<Value> {
        None
    }

    /// The object as the API shows it.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if it cannot be serialized.
    fn representation(&self) -> Result<Representation, ApiError> {
        match serde_json::to_value(self) {
            Ok(Value::Object(members)) => {
                Ok(Representation { partner_sid: self.partner_sid(), members })
            }
            Ok(other) => {
                Err(ApiError::Internal(anyhow::anyhow!("{} is no object: {other}", Self::KIND)))
            }
            Err(error) => Err(ApiError::Internal(error.into())),
        }
    }
}

/// An object as the API shows it.
#[derive(Clone, Debug)]
pub struct Representation {
    /// The owner.
    pub partner_sid: Uuid,
    /// The members.
    pub members: Map<String, Value>,
}

/// An object of a list.
#[derive(Debug)]
pub struct Listed {
    /// The object's own sid.
    pub sid: Uuid,
    /// The owner.
    pub partner_sid: Uuid,
    /// The object as the API shows it, as JSON text.
    pub text: Box<RawValue>,
}

impl Listed {
    pub(super) fn of<R: Resource>(object: &R) -> Result<Self, ApiError> {
        let text = to_raw_value(object).map_err(|error| ApiError::Internal(error.into()))?;
        Ok(Self { sid: object.sid(), partner_sid: object.partner_sid(), text })
    }
}

/// How the values of a member compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By code point.
    Text,
    /// As the text of a UUID in lower case.
    Sid,
    /// As a whole number, or by its bits.
    Integer,
    /// False before true.
    Boolean,
    /// By time.
    Date,
    /// By a key inside the object, and by its JSON type.
    Json,
}

/// A column of an object's table: its name, its PostgreSQL type and the values to write.
#[derive(Debug)]
pub struct Column<R> {
    pub(super) name: &'static str,
    pub(super) sql_type: &'static str,
    is_hidden: bool,
    /// Adds the column of these objects to the arguments of a statement, as one array.
    pub(super) bind: BindColumn<R>,
}

/// Binds one array with an element for each object; see [`bind`].
pub type BindColumn<R> = fn(&mut PgArguments, &[&R]) -> Result<(), BoxDynError>;

impl<R> Column<R> {
    /// The column of the member called `name`.
    pub const fn new(name: &'static str, sql_type: &'static str, bind: BindColumn<R>) -> Self {
        Self { name, sql_type, is_hidden: false, bind }
    }

    /// A column that is no member, for instance the hash of a secret.
    pub const fn hidden(name: &'static str, sql_type: &'static str, bind: BindColumn<R>) -> Self {
        Self { name, sql_type, is_hidden: true, bind }
    }

    /// How the values compare in filters and orders. `None` for columns that clients cannot name.
    fn kind(&self) -> Option<Kind> {
        match self.sql_type {
            _ if self.is_hidden => None,
            "text" => Some(Kind::Text),
            "uuid" => Some(Kind::Sid),
            "integer" => Some(Kind::Integer),
            "boolean" => Some(Kind::Boolean),
            "timestamptz" => Some(Kind::Date),
            "jsonb" => Some(Kind::Json),
            _ => None,
        }
    }
}

/// Binds an array with `value` of each object.
///
/// # Errors
/// If a value cannot be encoded.
pub fn bind<'r, R, T>(
    arguments: &mut PgArguments,
    objects: &[&'r R],
    value: impl Fn(&'r R) -> T,
) -> Result<(), BoxDynError>
where
    Vec<T>: Encode<'r, Postgres> + Type<Postgres>,
{
    arguments.add(objects.iter().map(|object| value(object)).collect::<Vec<_>>())
}

/// Objects that refer to others of the same owner.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// Their name in error messages, in the singular.
    pub noun: &'static str,
    /// Their table.
    pub table: &'static str,
    /// The column that refers.
    pub column: &'static str,
}

/// The error for the deletion of an object that others refer to: how many of each type, and the
/// sid of one.
pub fn in_use(referring: &[(Reference, i64)], reference_sid: Option<Uuid>) -> ApiError {
    let counts = referring.iter().map(|(reference, count)| match count {
        1 => format!("1 {}", reference.noun),
        _ => format!("{count} {}s", reference.noun),
    });
    let counts = counts.collect::<Vec<_>>().join(" and ");
    let verb = if matches!(referring, [(_, 1)]) { "uses" } else { "use" };
    let message = format!("{counts} still {verb} it");
    ApiError::Conflict(FieldError { reference_sid, ..FieldError::general(message) })
}

/// An object as it is stored.
#[derive(Clone, Debug, FromRow)]
pub struct Stored<T> {
    /// The object itself.
    #[sqlx(flatten)]
    pub object: T,
    /// The number of its changes, including its creation.
    pub version: i64,
    /// The chain hash of its newest history entry.
    #[sqlx(rename = "head")]
    pub(super) chain_hash: Vec<u8>,
    /// The date of that entry.
    pub(super) changed_at: OffsetDateTime,
}

impl<R> Stored<R> {
    /// The next version of the row, which is `object`, changed at `now` or at the date of the
    /// version before if that is later.
    pub(super) fn next(&self, object: R, now: OffsetDateTime) -> Self {
        let (version, chain_hash) = (self.version + 1, self.chain_hash.clone());
        Self { object, version, chain_hash, changed_at: now.max(self.changed_at) }
    }
}
