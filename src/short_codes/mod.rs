//! Short codes: numbers of 3 to 8 digits with a name, a callback URL and an optional DID group.

pub mod handlers;
mod sample;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::Actor;
use crate::error::{ApiError, FieldError};
use crate::input::patch::Patch;
use crate::input::types::{
    Attributes, CallbackUrl, ClearableUrl, CountryCode, Name, Nested, StringKey,
};
use crate::input::{FromMember, Input, Members, ValidationError};
use crate::partners::Partner;
use crate::store::{self, Column, Resource, bind};

/// A number of 3 to 8 digits to which messages are sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, FromRow, ToSchema)]
pub struct ShortCode {
    /// A free-form JSON object.
    pub attributes: Attributes,
    /// The URL to which events of the number are sent.
    #[schema(required)]
    pub callback_url: Option<CallbackUrl>,
    /// The country of the number (ISO 3166-1 alpha-3).
    pub country_code: String,
    /// The DID group of the number. It belongs to the same partner.
    #[schema(required)]
    pub did_group_sid: Option<Uuid>,
    /// The city or place of the number.
    #[schema(required)]
    pub locality: Option<Name>,
    /// The location routing number (LRN).
    #[schema(required)]
    pub lrn_sid: Option<Uuid>,
    /// The name.
    pub name: Name,
    /// The partner that owns the short code.
    pub partner_sid: Uuid,
    /// The number, unique within its country.
    pub short_code: String,
    /// The sid of the short code.
    #[sqlx(rename = "sid")]
    pub short_code_sid: Uuid,
    /// The state of the number.
    #[schema(required)]
    pub state: Option<Name>,
    /// A key that the client chooses.
    #[schema(required)]
    pub string_key_1: Option<StringKey>,
    /// Another key that the client chooses.
    #[schema(required)]
    pub string_key_2: Option<StringKey>,
}

impl ShortCode {
    /// Applies the changes.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if the attributes become too large or too deep.
    pub fn change(&mut self, changes: ShortCodeChanges, nested: Nested) -> Result<(), ApiError> {
        let ShortCodeChanges {
            attributes,
            callback_url,
            did_group_sid,
            name,
            string_key_1,
            string_key_2,
        } = changes;
        callback_url.apply(&mut self.callback_url);
        did_group_sid.apply(&mut self.did_group_sid);
        self.name = name.unwrap_or_else(|| self.name.clone());
        string_key_1.apply(&mut self.string_key_1);
        string_key_2.apply(&mut self.string_key_2);
        self.attributes
            .apply(attributes, nested)
            .map_err(|ValidationError { message, .. }| ApiError::invalid("attributes", message))
    }

    fn number_in_use(&self) -> FieldError {
        let message = format!("{} is taken in {}", self.short_code, self.country_code);
        FieldError::new("short_code", message)
    }
}

/// The changes of a short code.
#[derive(Clone, Debug, Default, ToSchema)]
pub struct ShortCodeChanges {
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
}

impl Input for ShortCodeChanges {
    const READ_ONLY: &'static [&'static str] = &[
        "country_code",
        "locality",
        "lrn_sid",
        "partner_sid",
        "short_code",
        "short_code_sid",
        "state",
    ];

    fn take(members: &mut Members) -> Option<Self> {
        Some(Self {
            attributes: members.nullable("attributes"),
            callback_url: members.nullable("callback_url"),
            did_group_sid: members.nullable("did_group_sid"),
            name: members.not_null("name"),
            string_key_1: members.nullable("string_key_1"),
            string_key_2: members.nullable("string_key_2"),
        })
    }
}

/// A short code to create.
#[derive(Debug, ToSchema)]
pub struct NewShortCode {
    /// The partner that will own the short code.
    partner_sid: Uuid,
    /// The number.
    #[schema(value_type = String, pattern = "^[0-9]{3,8}$")]
    short_code: Digits,
    /// The country of the number, by default `USA`.
    #[schema(value_type = String, required = false, pattern = "^[A-Z]{3}$")]
    country_code: Option<CountryCode>,
    /// The city or place of the number.
    #[schema(value_type = Option<Name>)]
    locality: Patch<Name>,
    /// The location routing number (LRN).
    #[schema(value_type = Option<Uuid>)]
    lrn_sid: Patch<Uuid>,
    /// The state of the number.
    #[schema(value_type = Option<Name>)]
    state: Patch<Name>,
    #[serde(flatten)]
    writable: ShortCodeChanges,
}

impl Input for NewShortCode {
    const READ_ONLY: &'static [&'static str] = &["short_code_sid"];

    fn take(members: &mut Members) -> Option<Self> {
        let partner_sid = members.required("partner_sid");
        let short_code = members.required("short_code");
        let country_code = members.not_null("country_code");
        let locality = members.nullable("locality");
        let lrn_sid = members.nullable("lrn_sid");
        let state = members.nullable("state");
        let writable = ShortCodeChanges::take(members)?;
        Some(Self {
            partner_sid: partner_sid?,
            short_code: short_code?,
            country_code,
            locality,
            lrn_sid,
            state,
            writable,
        })
    }
}

impl NewShortCode {
    /// Returns the new short code with that sid.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if the attributes are too large or too deep.
    pub fn build(self, short_code_sid: Uuid) -> Result<ShortCode, ApiError> {
        let Self { partner_sid, short_code, country_code, locality, lrn_sid, state, writable } =
            self;
        let mut new = ShortCode {
            attributes: Attributes::default(),
            callback_url: None,
            country_code: country_code.unwrap_or_default().into(),
            did_group_sid: None,
            locality: locality.value(),
            lrn_sid: lrn_sid.value(),
            name: Name::default(),
            partner_sid,
            short_code: short_code.0,
            short_code_sid,
            state: state.value(),
            string_key_1: None,
            string_key_2: None,
        };
        new.change(writable, Nested::Replace)?;
        Ok(new)
    }

    /// Returns the new short code for `actor` to create.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if the owner is not visible to the actor. [`ApiError::Conflict`] if
    /// the number is in use, with the sid of the other short code if that is visible to the actor.
    pub async fn build_for(
        self,
        connection: &mut PgConnection,
        actor: &Actor,
    ) -> Result<ShortCode, ApiError> {
        let owner =
            store::get_many::<Partner>(&mut *connection, actor, &[self.partner_sid]).await?;
        if owner.is_empty() {
            return Err(unknown_partner());
        }
        let code = self.build(Uuid::now_v7())?;
        let statement = "select sid from short_codes where country_code || short_code = $1 || $2";
        let other: Option<Uuid> = sqlx::query_scalar(statement)
            .bind(&code.country_code)
            .bind(&code.short_code)
            .fetch_optional(&mut *connection)
            .await?;
        let Some(other) = other else { return Ok(code) };
        let visible = store::get_many::<ShortCode>(connection, actor, &[other]).await?;
        let reference_sid = visible.first().map(Resource::sid);
        Err(ApiError::Conflict(FieldError { reference_sid, ..code.number_in_use() }))
    }
}

fn unknown_partner() -> ApiError {
    ApiError::invalid("partner_sid", "must be a partner")
}

/// The digits of a short code.
#[derive(Debug)]
struct Digits(String);

impl FromMember for Digits {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        match value {
            Value::String(text)
                if (3..=8).contains(&text.len())
                    && text.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Ok(Self(text))
            }
            _ => Err("must be a string of 3 to 8 digits".into()),
        }
    }
}

impl Resource for ShortCode {
    type Owner = Partner;

    const KIND: &'static str = "short_code";
    const TABLE: &'static str = "short_codes";
    const SID: &'static str = "short_code_sid";
    const RESTORABLE: bool = true;
    const INDEXED: &'static [&'static str] =
        &["short_code", "did_group_sid", "string_key_1", "string_key_2"];
    const REFERENCES: &'static [&'static str] = &["did_group_sid"];
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("attributes", "jsonb", |to, rows| bind(to, rows, |code| &code.attributes)),
        Column::new("callback_url", "text", |to, rows| {
            bind(to, rows, |code| code.callback_url.as_ref())
        }),
        Column::new("country_code", "text", |to, rows| bind(to, rows, |code| &*code.country_code)),
        Column::new("did_group_sid", "uuid", |to, rows| bind(to, rows, |code| code.did_group_sid)),
        Column::new("locality", "text", |to, rows| bind(to, rows, |code| code.locality.as_ref())),
        Column::new("lrn_sid", "uuid", |to, rows| bind(to, rows, |code| code.lrn_sid)),
        Column::new("name", "text", |to, rows| bind(to, rows, |code| &code.name)),
        Column::new("short_code", "text", |to, rows| bind(to, rows, |code| &*code.short_code)),
        Column::new("state", "text", |to, rows| bind(to, rows, |code| code.state.as_ref())),
        Column::new("string_key_1", "text", |to, rows| {
            bind(to, rows, |code| code.string_key_1.as_ref())
        }),
        Column::new("string_key_2", "text", |to, rows| {
            bind(to, rows, |code| code.string_key_2.as_ref())
        }),
    ];

    fn sid(&self) -> Uuid {
        self.short_code_sid
    }

    fn partner_sid(&self) -> Uuid {
        self.partner_sid
    }

    fn constraint_error(&self, constraint: &str) -> Option<ApiError> {
        match constraint {
            "short_codes_did_group_fkey" => Some(ApiError::invalid(
                "did_group_sid",
                "must be a DID group of the short code's owner",
            )),
            "short_codes_partner_fkey" => Some(unknown_partner()),
            "short_codes_number_key" => Some(ApiError::Conflict(self.number_in_use())),
            _ => None,
        }
    }
}
