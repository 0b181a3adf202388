//! A rented phone number, its members and what a request can change.

use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use super::members::{Capabilities, DidStatus, Price};
use crate::error::{ApiError, FieldError};
use crate::input::patch::Patch;
use crate::input::phone_number::{InCountryFormat, InternationalFormat, PhoneNumber};
use crate::input::types::{
    Attributes, CallbackUrl, ClearableUrl, Name, Nested, StringKey, Transformations,
};
use crate::input::{Input, Members, ValidationError};
use crate::partners::Partner;
use crate::store::{Column, Resource, bind};

/// A phone number (DID).
// A row of the stock has no columns for the members of a rental, which then have defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, FromRow, ToSchema)]
pub struct Did {
    /// What the number can do at present: the sum of 1 (SMS in), 2 (SMS out), 4 (voice), 8 (MMS in)
    /// and 16 (MMS out).
    pub active_capabilities: Capabilities,
    /// A free-form JSON object.
    #[sqlx(default)]
    pub attributes: Attributes,
    /// The URL to which events of the number are sent.
    #[schema(required)]
    #[sqlx(default)]
    pub callback_url: Option<CallbackUrl>,
    /// The campaign that the number is registered for.
    #[schema(required)]
    pub campaign_sid: Option<Uuid>,
    /// What the number can do, as `active_capabilities`.
    pub capabilities: Capabilities,
    /// The classification of the number.
    #[schema(required)]
    pub classification_sid: Option<Uuid>,
    /// The country of the number (ISO 3166-1 alpha-3).
    pub country_code: String,
    /// The DID group of the number. It belongs to the same partner.
    #[schema(required)]
    #[sqlx(default)]
    pub did_group_sid: Option<Uuid>,
    /// The sid of the number: of this rental of it, or of its entry in the stock.
    #[sqlx(rename = "sid")]
    pub did_sid: Uuid,
    /// The number as it is written in its own country.
    #[sqlx(rename = "phonenumber", try_from = "PhoneNumber")]
    pub in_country_format: InCountryFormat,
    /// The number as it is written for other countries.
    #[sqlx(rename = "phonenumber", try_from = "PhoneNumber")]
    pub international_format: InternationalFormat,
    /// The local access and transport area (LATA).
    #[schema(required)]
    pub lata: Option<Name>,
    /// The city or place of the number.
    #[schema(required)]
    pub locality: Option<Name>,
    /// The location routing number (LRN).
    #[schema(required)]
    pub lrn_sid: Option<Uuid>,
    /// The name.
    #[sqlx(default)]
    pub name: Name,
    /// The operating company number (OCN).
    #[schema(required)]
    pub ocn: Option<Name>,
    /// The partner that rents the number. `null` if it is not rented.
    #[schema(required)]
    #[sqlx(default)]
    pub partner_sid: Option<Uuid>,
    /// The number in E.164, without the plus sign.
    pub phonenumber: PhoneNumber,
    /// The PIN for porting the number.
    #[schema(required)]
    pub porting_pin: Option<Name>,
    /// The price of the number.
    #[schema(required)]
    pub price: Option<Price>,
    /// The state of the number.
    #[schema(required)]
    pub state: Option<Name>,
    /// Whether the number is available, rented, or not available yet.
    pub status: DidStatus,
    /// A key that the client chooses.
    #[schema(required)]
    #[sqlx(default)]
    pub string_key_1: Option<StringKey>,
    /// Another key that the client chooses.
    #[schema(required)]
    #[sqlx(default)]
    pub string_key_2: Option<StringKey>,
    /// The transformations of the number.
    #[sqlx(default)]
    pub transformations: Transformations,
    /// The trunk group of the number. Stored and returned, but not looked up.
    #[schema(required)]
    #[sqlx(default)]
    pub trunk_group_sid: Option<Uuid>,
}

impl Did {
    /// Applies the changes.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if the attributes become too large or too deep.
    pub fn change(&mut self, changes: DidChanges, nested: Nested) -> Result<(), ApiError> {
        let DidChanges {
            attributes,
            callback_url,
            did_group_sid,
            name,
            string_key_1,
            string_key_2,
            transformations,
            trunk_group_sid,
        } = changes;
        callback_url.apply(&mut self.callback_url);
        did_group_sid.apply(&mut self.did_group_sid);
        self.name = name.unwrap_or_else(|| self.name.clone());
        string_key_1.apply(&mut self.string_key_1);
        string_key_2.apply(&mut self.string_key_2);
        match transformations {
            Patch::Absent => {}
            Patch::Null => self.transformations = Transformations::default(),
            Patch::Value(new) => self.transformations = new,
        }
        trunk_group_sid.apply(&mut self.trunk_group_sid);
        self.attributes
            .apply(attributes, nested)
            .map_err(|ValidationError { message, .. }| ApiError::invalid("attributes", message))
    }
}

/// The error for a DID group that is not the renter's.
pub(super) fn invalid_group() -> FieldError {
    FieldError::new("did_group_sid", "must be a DID group of the number's renter")
}

/// The changes of a phone number.
#[derive(Clone, Debug, Default, ToSchema)]
pub struct DidChanges {
    /// Merged into the stored attributes, or replaces them.
    #[schema(value_type = Option<Attributes>)]
    pub attributes: Patch<Attributes>,
    /// The URL to which events of the number are sent. `null` or `""` clears it.
    #[schema(value_type = ClearableUrl, required = false)]
    pub callback_url: Patch<CallbackUrl>,
    /// A DID group of the same partner.
    #[schema(value_type = Option<Uuid>)]
    pub did_group_sid: Patch<Uuid>,
    /// The name. It cannot be cleared.
    #[schema(value_type = Name, required = false)]
    pub name: Option<Name>,
    /// A key that the client chooses.
    #[schema(value_type = Option<StringKey>)]
    pub string_key_1: Patch<StringKey>,
    /// Another key that the client chooses.
    #[schema(value_type = Option<StringKey>)]
    pub string_key_2: Patch<StringKey>,
    /// Replaces the transformations. `null` stands for none.
    #[schema(value_type = Option<Transformations>)]
    pub transformations: Patch<Transformations>,
    /// The trunk group.
    #[schema(value_type = Option<Uuid>)]
    pub trunk_group_sid: Patch<Uuid>,
}

impl Input for DidChanges {
    // A request to rent a number names it: its list is the one after the first member.
    const READ_ONLY: &'static [&'static str] = &[
        "phonenumber",
        "active_capabilities",
        "campaign_sid",
        "capabilities",
        "classification_sid",
        "country_code",
        "did_sid",
        "in_country_format",
        "international_format",
        "lata",
        "locality",
        "lrn_sid",
        "ocn",
        "partner_sid",
        "porting_pin",
        "price",
        "state",
        "status",
    ];

    fn take(members: &mut Members) -> Option<Self> {
        Some(Self {
            attributes: members.nullable("attributes"),
            callback_url: members.nullable("callback_url"),
            did_group_sid: members.nullable("did_group_sid"),
            name: members.not_null("name"),
            string_key_1: members.nullable("string_key_1"),
            string_key_2: members.nullable("string_key_2"),
            transformations: members.nullable("transformations"),
            trunk_group_sid: members.nullable("trunk_group_sid"),
        })
    }
}

/// A phone number to rent.
#[derive(Debug, ToSchema)]
pub struct NewDid {
    /// The number, by default the first available one. A plus sign, blanks, brackets and hyphens
    /// can separate the digits.
    #[schema(
        value_type = String,
        required = false,
        pattern = r"^[0-9+() \-]+$",
        example = "15162065574",
    )]
    pub(super) phonenumber: Option<PhoneNumber>,
    #[serde(flatten)]
    pub(super) writable: DidChanges,
}

impl Input for NewDid {
    const READ_ONLY: &'static [&'static str] = DidChanges::READ_ONLY.split_at(1).1;

    fn take(members: &mut Members) -> Option<Self> {
        let phonenumber = members.not_null("phonenumber");
        Some(Self { phonenumber, writable: DidChanges::take(members)? })
    }
}

impl Resource for Did {
    type Owner = Partner;

    const KIND: &'static str = "did";
    const TABLE: &'static str = "dids";
    const SID: &'static str = "did_sid";
    const RESTORABLE: bool = true;
    const INDEXED: &'static [&'static str] =
        &["phonenumber", "did_group_sid", "trunk_group_sid", "string_key_1", "string_key_2"];
    const REFERENCES: &'static [&'static str] = &["did_group_sid"];
    const UNSTORED: &'static [&'static str] = &["in_country_format", "international_format"];
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("active_capabilities", "integer", |to, rows| {
            bind(to, rows, |did| did.active_capabilities)
        }),
        Column::new("attributes", "jsonb", |to, rows| bind(to, rows, |did| &did.attributes)),
        Column::new("callback_url", "text", |to, rows| {
            bind(to, rows, |did| did.callback_url.as_ref())
        }),
        Column::new("campaign_sid", "uuid", |to, rows| bind(to, rows, |did| did.campaign_sid)),
        Column::new("capabilities", "integer", |to, rows| bind(to, rows, |did| did.capabilities)),
        Column::new("classification_sid", "uuid", |to, rows| {
            bind(to, rows, |did| did.classification_sid)
        }),
        Column::new("country_code", "text", |to, rows| bind(to, rows, |did| &*did.country_code)),
        Column::new("did_group_sid", "uuid", |to, rows| bind(to, rows, |did| did.did_group_sid)),
        Column::new("lata", "text", |to, rows| bind(to, rows, |did| did.lata.as_ref())),
        Column::new("locality", "text", |to, rows| bind(to, rows, |did| did.locality.as_ref())),
        Column::new("lrn_sid", "uuid", |to, rows| bind(to, rows, |did| did.lrn_sid)),
        Column::new("name", "text", |to, rows| bind(to, rows, |did| &did.name)),
        Column::new("ocn", "text", |to, rows| bind(to, rows, |did| did.ocn.as_ref())),
        Column::new("phonenumber", "text", |to, rows| bind(to, rows, |did| &did.phonenumber)),
        Column::new("porting_pin", "text", |to, rows| {
            bind(to, rows, |did| did.porting_pin.as_ref())
        }),
        Column::new("price", "text", |to, rows| bind(to, rows, |did| did.price.as_ref())),
        Column::new("state", "text", |to, rows| bind(to, rows, |did| did.state.as_ref())),
        Column::new("status", "text", |to, rows| bind(to, rows, |did| did.status)),
        Column::new("string_key_1", "text", |to, rows| {
            bind(to, rows, |did| did.string_key_1.as_ref())
        }),
        Column::new("string_key_2", "text", |to, rows| {
            bind(to, rows, |did| did.string_key_2.as_ref())
        }),
        Column::new("transformations", "jsonb", |to, rows| {
            bind(to, rows, |did| &did.transformations)
        }),
        Column::new("trunk_group_sid", "uuid", |to, rows| {
            bind(to, rows, |did| did.trunk_group_sid)
        }),
    ];

    fn sid(&self) -> Uuid {
        self.did_sid
    }

    /// The renter. A row of the table always has one.
    fn partner_sid(&self) -> Uuid {
        self.partner_sid.unwrap_or_default()
    }

    fn constraint_error(&self, constraint: &str) -> Option<ApiError> {
        match constraint {
            "dids_did_group_fkey" => Some(ApiError::Invalid(vec![invalid_group()])),
            _ => None,
        }
    }
}
