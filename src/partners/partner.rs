//! A partner, its members and what a request can change.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::{Scope, Scopes};
use crate::error::{ApiError, FieldError};
use crate::http::Caller;
use crate::input::date;
use crate::input::patch::Patch;
use crate::input::types::{Attributes, Callbacks, ClearableUrl, CountryCode, Name, Nested};
use crate::input::{FromMember, Input, Members, ValidationError};
use crate::store::{Column, Resource, bind};

/// The status of a partner. It determines whether the tokens of the partner and its descendants are
/// valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(rename_all = "lowercase", type_name = "text")]
pub enum Status {
    /// The tokens are valid.
    Active,
    /// The tokens are rejected with 401.
    Suspended,
}

impl FromMember for Status {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        match value.as_str() {
            Some("active") => Ok(Self::Active),
            Some("suspended") => Ok(Self::Suspended),
            _ => Err("must be `active` or `suspended`".into()),
        }
    }
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Serialize, FromRow, ToSchema)]
pub struct Partner {
    /// A free-form JSON object.
    pub attributes: Attributes,
    /// The scopes that tokens of the partner can carry.
    pub available_scopes: Scopes,
    /// Callback URLs by kind of event, such as `sms`.
    pub callbacks: Callbacks,
    /// The name of the company.
    #[schema(required)]
    pub company_name: Option<Name>,
    /// The country (ISO 3166-1 alpha-3).
    #[schema(required)]
    pub country_code: Option<CountryCode>,
    /// The date of creation.
    #[serde(with = "date")]
    pub date_created: OffsetDateTime,
    /// A short number: `CX` and 8 digits.
    pub display_id: String,
    /// The name of the partner's login.
    #[schema(required)]
    pub login: Option<Name>,
    /// The name.
    pub name: Name,
    /// The partner above this one in the tree.
    #[schema(required)]
    pub parent_sid: Option<Uuid>,
    /// The sid of the partner.
    #[sqlx(rename = "sid")]
    pub partner_sid: Uuid,
    /// The status, which determines whether tokens are valid.
    pub status: Status,
    /// Whether writes to the partner's objects require `If-Match`. Set on the command line.
    #[serde(skip)]
    pub requires_if_match: bool,
    /// The highest level that suspended the partner; see [`OPERATOR`]. `None` if it is active, or
    /// if a release that did not store the level has suspended it.
    #[serde(skip)]
    suspended_by: Option<i32>,
    /// The partner that starts the subtree. Partners that the operator creates start one; partners
    /// that are created through the API join that of their parent.
    #[serde(skip)]
    pub(super) subtree_sid: Option<Uuid>,
}

/// The most levels of a tree. Deeper trees of earlier releases remain.
pub const MAX_DEPTH: i64 = 16;

/// The level of the operator. The level of an ancestor is its depth in the tree, which identifies
/// it among the ancestors of a partner. A lower number is a higher level.
const OPERATOR: i32 = 0;

impl Partner {
    /// Returns a new, active partner, which starts a subtree. Its `display_id` is the next number
    /// of a sequence.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if its tree would be too deep; [`ApiError::Unavailable`] if the
    /// database is not available.
    pub async fn new(
        connection: &mut PgConnection,
        sid: Uuid,
        parent_sid: Option<Uuid>,
        name: Name,
        available_scopes: Scopes,
    ) -> Result<Self, ApiError> {
        let (number, depth_of_parent): (i64, i64) = sqlx::query_as(
            "select nextval('partner_display_numbers'),
                 (select count(*) from partner_tree where descendant_sid = $1)",
        )
        .bind(parent_sid)
        .fetch_one(connection)
        .await?;
        if depth_of_parent >= MAX_DEPTH {
            let message =
                format!("has depth {depth_of_parent}; a tree has at most {MAX_DEPTH} levels");
            return Err(ApiError::Conflict(FieldError::new("parent_sid", message)));
        }
        Ok(Self {
            attributes: Attributes::default(),
            available_scopes,
            callbacks: Callbacks::default(),
            company_name: None,
            country_code: None,
            date_created: date::now(),
            display_id: format!("CX{number:08}"),
            login: None,
            name,
            parent_sid,
            partner_sid: sid,
            requires_if_match: false,
            status: Status::Active,
            subtree_sid: Some(sid),
            suspended_by: None,
        })
    }

    /// Applies the changes.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if an object becomes too large or too deep, or `party` may not make a
    /// change.
    pub fn change(
        &mut self,
        changes: PartnerChanges,
        nested: Nested,
        party: &Party,
    ) -> Result<(), ApiError> {
        let PartnerChanges {
            attributes,
            available_scopes,
            callbacks,
            company_name,
            country_code,
            name,
            status,
        } = changes;
        company_name.apply(&mut self.company_name);
        country_code.apply(&mut self.country_code);
        self.name = name.unwrap_or_else(|| self.name.clone());
        let attributes = self.attributes.apply(attributes, nested);
        let callbacks = self.callbacks.apply(callbacks, nested);
        let errors = [
            attributes.err().map(|error| FieldError::new("attributes", error.message)),
            self.set_scopes(available_scopes, party).err(),
            callbacks.err().map(|error| FieldError::new("callbacks", error.message)),
            self.set_status(status, party).err(),
        ];
        let errors: Vec<_> = errors.into_iter().flatten().collect();
        if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
    }

    /// Suspends or activates the partner as the operator.
    pub fn set_status_as_operator(&mut self, status: Status) {
        self.status = status;
        self.suspended_by = (status == Status::Suspended).then_some(OPERATOR);
    }

    fn set_scopes(&mut self, scopes: Option<Scopes>, party: &Party) -> Result<(), FieldError> {
        let Some(scopes) = scopes.filter(|scopes| *scopes != self.available_scopes) else {
            return Ok(());
        };
        let rejected = |message| Err(FieldError::new("available_scopes", message));
        let Party::Ancestor { scopes: grantable, .. } = party else {
            return rejected(ANCESTOR_ONLY.to_owned());
        };
        if let Some(outside) = scopes.outside(grantable) {
            return rejected(format!("must be scopes of the ancestor, which lacks {outside}"));
        }
        self.available_scopes = scopes;
        Ok(())
    }

    fn set_status(&mut self, status: Option<Status>, party: &Party) -> Result<(), FieldError> {
        let Some(status) = status else { return Ok(()) };
        let Party::Ancestor { depth, .. } = *party else {
            let is_same = status == self.status;
            return if is_same { Ok(()) } else { Err(FieldError::new("status", ANCESTOR_ONLY)) };
        };
        match (status, self.suspended_by) {
            (Status::Active, Some(level)) if self.status != status && level < depth => {
                return Err(FieldError::new("status", lifted_by(level)));
            }
            (Status::Active, _) => self.suspended_by = None,
            (Status::Suspended, level) if self.status == Status::Suspended => {
                self.suspended_by = Some(level.map_or(depth, |level| level.min(depth)));
            }
            (Status::Suspended, _) => self.suspended_by = Some(depth),
        }
        self.status = status;
        Ok(())
    }
}

/// The error for an ancestor that tries to lift a suspension of a higher level.
fn lifted_by(level: i32) -> &'static str {
    match level {
        OPERATOR => "the operator has suspended the partner, and only the operator can activate it",
        _ => {
            "an ancestor above your partner has suspended the partner; only that ancestor, one above \
             it or the operator can activate it"
        }
    }
}

const ANCESTOR_ONLY: &str = "only an ancestor of the partner can change it";

/// The relation of an actor to the partner that it changes.
#[derive(Debug)]
pub enum Party {
    /// The partner itself.
    Itself,
    /// An ancestor of the partner.
    Ancestor {
        /// The scopes that the ancestor can grant.
        scopes: Vec<Scope>,
        /// The depth of the ancestor in its tree. A root has depth 1.
        depth: i32,
    },
}

impl Party {
    /// Returns the relation of the caller to the partner of that sid.
    pub fn of<P>(caller: &Caller<P>, sid: Uuid) -> Self {
        match caller.partner_sid() {
            Some(own) if own != sid => {
                Self::Ancestor { scopes: caller.scopes().to_vec(), depth: caller.depth() }
            }
            _ => Self::Itself,
        }
    }
}

/// The changes of a partner.
#[derive(Clone, Debug, Default, ToSchema)]
pub struct PartnerChanges {
    /// Merged into the stored attributes, or replaces them.
    #[schema(value_type = Option<Attributes>)]
    pub attributes: Patch<Attributes>,
    /// The scopes that tokens of the partner can carry. Only an ancestor can change them, and only
    /// to scopes of its own.
    #[schema(value_type = Scopes, required = false)]
    pub available_scopes: Option<Scopes>,
    /// Merged into the stored callbacks, or replaces them. A URL of `null` or `""` is deleted.
    #[schema(value_type = Option<BTreeMap<String, ClearableUrl>>)]
    pub callbacks: Patch<Callbacks>,
    /// The name of the company.
    #[schema(value_type = Option<Name>)]
    pub company_name: Patch<Name>,
    /// The country (ISO 3166-1 alpha-3).
    #[schema(value_type = Option<CountryCode>)]
    pub country_code: Patch<CountryCode>,
    /// The name. It cannot be cleared.
    #[schema(value_type = Name, required = false)]
    pub name: Option<Name>,
    /// The status. Only an ancestor can change it. A suspension is lifted by the ancestor that made
    /// it, one above it or the operator.
    #[schema(value_type = Status, required = false)]
    pub status: Option<Status>,
}

impl Input for PartnerChanges {
    const READ_ONLY: &'static [&'static str] =
        &["date_created", "display_id", "login", "parent_sid", "partner_sid"];

    fn take(members: &mut Members) -> Option<Self> {
        Some(Self {
            attributes: members.nullable("attributes"),
            available_scopes: members.omittable("available_scopes"),
            callbacks: members.nullable("callbacks"),
            company_name: members.nullable("company_name"),
            country_code: members.nullable("country_code"),
            name: members.not_null("name"),
            status: members.omittable("status"),
        })
    }
}

impl Resource for Partner {
    type Owner = Partner;

    const KIND: &'static str = "partner";
    const TABLE: &'static str = "partners";
    const SID: &'static str = "partner_sid";
    const OWNER: &'static str = "sid";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("attributes", "jsonb", |to, rows| {
            bind(to, rows, |partner| &partner.attributes)
        }),
        Column::new("available_scopes", "text", |to, rows| {
            bind(to, rows, |partner| partner.available_scopes.as_str())
        }),
        Column::new("callbacks", "jsonb", |to, rows| bind(to, rows, |partner| &partner.callbacks)),
        Column::new("company_name", "text", |to, rows| {
            bind(to, rows, |partner| partner.company_name.as_ref())
        }),
        Column::new("country_code", "text", |to, rows| {
            bind(to, rows, |partner| partner.country_code.as_ref())
        }),
        Column::new("date_created", "timestamptz", |to, rows| {
            bind(to, rows, |partner| partner.date_created)
        }),
        Column::new("display_id", "text", |to, rows| {
            bind(to, rows, |partner| &*partner.display_id)
        }),
        Column::new("login", "text", |to, rows| bind(to, rows, |partner| partner.login.as_ref())),
        Column::new("name", "text", |to, rows| bind(to, rows, |partner| &partner.name)),
        Column::new("parent_sid", "uuid", |to, rows| bind(to, rows, |partner| partner.parent_sid)),
        Column::hidden("requires_if_match", "boolean", |to, rows| {
            bind(to, rows, |partner| partner.requires_if_match)
        }),
        Column::new("status", "text", |to, rows| bind(to, rows, |partner| partner.status)),
        Column::hidden("subtree_sid", "uuid", |to, rows| {
            bind(to, rows, |partner| partner.subtree_sid)
        }),
        Column::hidden("suspended_by", "integer", |to, rows| {
            bind(to, rows, |partner| partner.suspended_by)
        }),
    ];

    fn sid(&self) -> Uuid {
        self.partner_sid
    }

    fn partner_sid(&self) -> Uuid {
        self.partner_sid
    }

    /// Adds the hidden columns.
    fn snapshot(&self) -> Result<Box<RawValue>, ApiError> {
        #[derive(Serialize)]
        struct Snapshot<'a> {
            #[serde(flatten)]
            partner: &'a Partner,
            requires_if_match: bool,
            pub(super) subtree_sid: Option<Uuid>,
            suspended_by: Option<i32>,
        }
        let Self { requires_if_match, subtree_sid, suspended_by, .. } = *self;
        let snapshot = Snapshot { partner: self, requires_if_match, subtree_sid, suspended_by };
        to_raw_value(&snapshot).map_err(|error| ApiError::Internal(error.into()))
    }

    fn constraint_error(&self, constraint: &str) -> Option<ApiError> {
        match constraint {
            "partners_parent_fkey" => Some(ApiError::invalid("parent_sid", "must be a partner")),
            "partners_login_key" => Some(ApiError::Conflict(FieldError::new("login", "is taken"))),
            _ => None,
        }
    }
}
