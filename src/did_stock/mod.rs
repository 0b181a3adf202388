//! The stock: phone numbers that a partner and its descendants can rent. `dids` has the rentals.
//!
//! An entry of the stock is created and deleted, but never changed, except for its status: renting
//! and releasing set it, without a new version.

pub mod coverage;
pub mod handlers;

use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::Actor;
use crate::dids::{Capabilities, Did, DidStatus, Price};
use crate::error::{ApiError, FieldError};
use crate::input::patch::Patch;
use crate::input::phone_number::PhoneNumber;
use crate::input::types::{Attributes, CountryCode, Name, Transformations};
use crate::input::{Input, Members};
use crate::partners::Partner;
use crate::store::{self, Column, Resource, bind};

/// A number of a stock.
#[derive(Clone, Debug, PartialEq, FromRow, ToSchema)]
pub struct AvailableDid {
    /// The number as a partner sees it: a DID that is not rented.
    #[sqlx(flatten)]
    #[serde(flatten)]
    did: Did,
    /// The partner whose stock the number is in. Returned only if `include_fields` names it.
    #[schema(required = false)]
    stock_partner_sid: Uuid,
}

/// Leaves out the stock's partner.
impl Serialize for AvailableDid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.did.serialize(serializer)
    }
}

/// A number to put into a stock.
#[derive(Debug, ToSchema)]
pub struct NewAvailableDid {
    /// The number. A plus sign, blanks, brackets and hyphens can separate the digits.
    #[schema(value_type = String, pattern = r"^[0-9+() \-]+$", example = "15165550100")]
    phonenumber: PhoneNumber,
    /// The partner whose stock the number joins, by default the caller's.
    #[schema(value_type = Option<Uuid>)]
    stock_partner_sid: Patch<Uuid>,
    /// What the number can do at present, by default its `capabilities`.
    #[schema(value_type = Capabilities, required = false)]
    active_capabilities: Option<Capabilities>,
    /// The campaign that the number is registered for.
    #[schema(value_type = Option<Uuid>)]
    campaign_sid: Patch<Uuid>,
    /// What the number can do: the sum of 1 (SMS in), 2 (SMS out), 4 (voice), 8 (MMS in) and 16
    /// (MMS out).
    #[schema(value_type = Capabilities, required = false)]
    capabilities: Option<Capabilities>,
    /// The classification of the number.
    #[schema(value_type = Option<Uuid>)]
    classification_sid: Patch<Uuid>,
    /// The country of the number, by default `USA`.
    #[schema(value_type = String, required = false, pattern = "^[A-Z]{3}$")]
    country_code: Option<CountryCode>,
    /// The local access and transport area (LATA).
    #[schema(value_type = Option<Name>)]
    lata: Patch<Name>,
    /// The city or place of the number.
    #[schema(value_type = Option<Name>)]
    locality: Patch<Name>,
    /// The location routing number (LRN).
    #[schema(value_type = Option<Uuid>)]
    lrn_sid: Patch<Uuid>,
    /// The operating company number (OCN).
    #[schema(value_type = Option<Name>)]
    ocn: Patch<Name>,
    /// The PIN for porting the number.
    #[schema(value_type = Option<Name>)]
    porting_pin: Patch<Name>,
    /// The price of the number.
    #[schema(value_type = Option<Price>)]
    price: Patch<Price>,
    /// The state of the number.
    #[schema(value_type = Option<Name>)]
    state: Patch<Name>,
}

impl Input for NewAvailableDid {
    // After the first two, the members of a rental, which a number of the stock has with defaults.
    const READ_ONLY: &'static [&'static str] = &[
        "did_sid",
        "status",
        "attributes",
        "callback_url",
        "did_group_sid",
        "in_country_format",
        "international_format",
        "name",
        "partner_sid",
        "string_key_1",
        "string_key_2",
        "transformations",
        "trunk_group_sid",
    ];

    fn take(members: &mut Members) -> Option<Self> {
        let phonenumber = members.required("phonenumber");
        Some(Self {
            stock_partner_sid: members.nullable("stock_partner_sid"),
            active_capabilities: members.not_null("active_capabilities"),
            campaign_sid: members.nullable("campaign_sid"),
            capabilities: members.not_null("capabilities"),
            classification_sid: members.nullable("classification_sid"),
            country_code: members.not_null("country_code"),
            lata: members.nullable("lata"),
            locality: members.nullable("locality"),
            lrn_sid: members.nullable("lrn_sid"),
            ocn: members.nullable("ocn"),
            porting_pin: members.nullable("porting_pin"),
            price: members.nullable("price"),
            state: members.nullable("state"),
            // Last, so that the errors of all members are reported.
            phonenumber: phonenumber?,
        })
    }
}

impl NewAvailableDid {
    /// Returns the number in the stock of that partner, unless it names another one.
    pub fn build(self, did_sid: Uuid, default_partner_sid: Uuid) -> AvailableDid {
        let Self {
            phonenumber,
            stock_partner_sid,
            active_capabilities,
            campaign_sid,
            capabilities,
            classification_sid,
            country_code,
            lata,
            locality,
            lrn_sid,
            ocn,
            porting_pin,
            price,
            state,
        } = self;
        let capabilities = capabilities.unwrap_or_default();
        let did = Did {
            active_capabilities: active_capabilities.unwrap_or(capabilities),
            attributes: Attributes::default(),
            callback_url: None,
            campaign_sid: campaign_sid.value(),
            capabilities,
            classification_sid: classification_sid.value(),
            country_code: country_code.unwrap_or_default().into(),
            did_group_sid: None,
            did_sid,
            in_country_format: phonenumber.clone().into(),
            international_format: phonenumber.clone().into(),
            lata: lata.value(),
            locality: locality.value(),
            lrn_sid: lrn_sid.value(),
            name: Name::default(),
            ocn: ocn.value(),
            partner_sid: None,
            phonenumber,
            porting_pin: porting_pin.value(),
            price: price.value(),
            state: state.value(),
            status: DidStatus::Available,
            string_key_1: None,
            string_key_2: None,
            transformations: Transformations::default(),
            trunk_group_sid: None,
        };
        AvailableDid {
            did,
            stock_partner_sid: stock_partner_sid.value().unwrap_or(default_partner_sid),
        }
    }

    /// Returns the number for `actor` to put into a stock.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if the stock's partner is not visible to the actor.
    /// [`ApiError::Conflict`] if the number is in a stock, with its sid if that is visible.
    pub async fn build_for(
        self,
        connection: &mut PgConnection,
        actor: &Actor,
    ) -> Result<AvailableDid, ApiError> {
        let new = self.build(Uuid::now_v7(), actor.own_partner_sid()?);
        let partner = [new.stock_partner_sid];
        if store::get_many::<Partner>(&mut *connection, actor, &partner).await?.is_empty() {
            return Err(unknown_partner());
        }
        let other = "select sid from did_stock where e164 = '+' || $1";
        let other = sqlx::query_scalar(other).bind(&new.did.phonenumber);
        let Some(other): Option<Uuid> = other.fetch_optional(&mut *connection).await? else {
            return Ok(new);
        };
        let visible = store::get_many::<AvailableDid>(connection, actor, &[other]).await?;
        let reference_sid = visible.first().map(Resource::sid);
        Err(ApiError::Conflict(FieldError { reference_sid, ..new.number_in_use() }))
    }
}

fn unknown_partner() -> ApiError {
    ApiError::invalid("stock_partner_sid", "must be your partner or a descendant of it")
}

impl AvailableDid {
    /// Returns the entry of a number in the stock of any partner.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn find(
        connection: &mut PgConnection,
        number: &PhoneNumber,
    ) -> Result<Option<Self>, sqlx::Error> {
        let find = "select * from did_stock where e164 = '+' || $1";
        sqlx::query_as(find).bind(number).fetch_optional(connection).await
    }

    fn number_in_use(&self) -> FieldError {
        let message = format!("{} is in a stock already", self.did.phonenumber.as_str());
        FieldError::new("phonenumber", message)
    }
}

impl Resource for AvailableDid {
    type Owner = Partner;

    const KIND: &'static str = "available_did";
    const TABLE: &'static str = "did_stock";
    const OWNER: &'static str = "stock_partner_sid";
    const SID: &'static str = "did_sid";
    const INDEXED: &'static [&'static str] = &["phonenumber", "country_code", "locality", "state"];
    const UNSTORED: &'static [&'static str] = NewAvailableDid::READ_ONLY.split_at(2).1;
    const UNVERSIONED: &'static [&'static str] = &["status"];
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("active_capabilities", "integer", |to, rows| {
            bind(to, rows, |number| number.did.active_capabilities)
        }),
        Column::new("campaign_sid", "uuid", |to, rows| {
            bind(to, rows, |number| number.did.campaign_sid)
        }),
        Column::new("capabilities", "integer", |to, rows| {
            bind(to, rows, |number| number.did.capabilities)
        }),
        Column::new("classification_sid", "uuid", |to, rows| {
            bind(to, rows, |number| number.did.classification_sid)
        }),
        Column::new("country_code", "text", |to, rows| {
            bind(to, rows, |number| &*number.did.country_code)
        }),
        Column::new("lata", "text", |to, rows| bind(to, rows, |number| number.did.lata.as_ref())),
        Column::new("locality", "text", |to, rows| {
            bind(to, rows, |number| number.did.locality.as_ref())
        }),
        Column::new("lrn_sid", "uuid", |to, rows| bind(to, rows, |number| number.did.lrn_sid)),
        Column::new("ocn", "text", |to, rows| bind(to, rows, |number| number.did.ocn.as_ref())),
        Column::new("phonenumber", "text", |to, rows| {
            bind(to, rows, |number| &number.did.phonenumber)
        }),
        Column::new("porting_pin", "text", |to, rows| {
            bind(to, rows, |number| number.did.porting_pin.as_ref())
        }),
        Column::new("price", "text", |to, rows| bind(to, rows, |number| number.did.price.as_ref())),
        Column::new("state", "text", |to, rows| bind(to, rows, |number| number.did.state.as_ref())),
        Column::new("status", "text", |to, rows| bind(to, rows, |number| number.did.status)),
    ];

    fn sid(&self) -> Uuid {
        self.did.did_sid
    }

    /// The partner whose stock the number is in.
    fn partner_sid(&self) -> Uuid {
        self.stock_partner_sid
    }

    /// The owner of a stock is not shown to those who rent from it.
    fn shows_owner() -> bool {
        false
    }

    /// The owner in the history is the stock's partner.
    fn snapshot(&self) -> Result<Box<RawValue>, ApiError> {
        let owned = Did { partner_sid: Some(self.stock_partner_sid), ..self.did.clone() };
        to_raw_value(&owned).map_err(|error| ApiError::Internal(error.into()))
    }

    fn constraint_error(&self, constraint: &str) -> Option<ApiError> {
        match constraint {
            "did_stock_partner_fkey" => Some(unknown_partner()),
            "did_stock_number_key" => Some(ApiError::Conflict(self.number_in_use())),
            "dids_stock_fkey" => {
                let message = "is rented; release it first";
                Some(ApiError::Conflict(FieldError::new("phonenumber", message)))
            }
            _ => None,
        }
    }
}
