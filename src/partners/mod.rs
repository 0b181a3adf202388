//! Partners: the tenants, a tree by `parent_sid`.

use serde::Serialize;
use sqlx::postgres::PgArguments;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::Scopes;
use crate::date;
use crate::error::{ApiError, FieldError};
use crate::fields::{Attributes, Name};
use crate::store::{Column, Resource};

/// Whether a partner's tokens, and those of its descendants, are good for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(rename_all = "lowercase", type_name = "text")]
pub enum Status {
    /// They are.
    Active,
    /// They are not: 401.
    Suspended,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Serialize, FromRow, ToSchema)]
pub struct Partner {
    /// Free-form, nested.
    pub attributes: Attributes,
    /// The scopes that its tokens can have.
    pub available_scopes: Scopes,
    /// Where events go, by their kind: `sms` among others.
    pub callbacks: Attributes,
    /// The company behind it.
    #[schema(required)]
    pub company_name: Option<String>,
    /// Its country, ISO 3166-1 alpha-3.
    #[schema(required)]
    pub country_code: Option<String>,
    /// When it was created.
    #[serde(with = "date")]
    pub date_created: OffsetDateTime,
    /// Its number for humans: `CX` and 8 digits.
    pub display_id: String,
    /// The name it logs in by.
    #[schema(required)]
    pub login: Option<String>,
    /// What it is called.
    pub name: Name,
    /// The partner it belongs to.
    #[schema(required)]
    pub parent_sid: Option<Uuid>,
    /// Its own sid.
    #[sqlx(rename = "sid")]
    pub partner_sid: Uuid,
    /// Whether its tokens are good for anything.
    pub status: Status,
}

impl Partner {
    /// A new, active partner under the next number.
    ///
    /// # Errors
    /// Where the database cannot be asked for the number.
    pub async fn new(
        connection: &mut PgConnection,
        sid: Uuid,
        parent_sid: Option<Uuid>,
        name: Name,
        available_scopes: Scopes,
    ) -> Result<Self, ApiError> {
        let number: i64 = sqlx::query_scalar("select nextval('partner_display_numbers')")
            .fetch_one(connection)
            .await?;
        Ok(Self {
            attributes: Attributes::default(),
            available_scopes,
            callbacks: Attributes::default(),
            company_name: None,
            country_code: None,
            date_created: date::now(),
            display_id: format!("CX{number:08}"),
            login: None,
            name,
            parent_sid,
            partner_sid: sid,
            status: Status::Active,
        })
    }
}

impl Resource for Partner {
    const KIND: &'static str = "partner";
    const TABLE: &'static str = "partners";
    const SID: &'static str = "partner_sid";
    const OWNER: &'static str = "sid";
    const COLUMNS: &'static [Column] = &[
        Column::new("attributes", "jsonb"),
        Column::new("available_scopes", "text"),
        Column::new("callbacks", "jsonb"),
        Column::new("company_name", "text"),
        Column::new("country_code", "text"),
        Column::new("date_created", "timestamptz"),
        Column::new("display_id", "text"),
        Column::new("login", "text"),
        Column::new("name", "text"),
        Column::new("parent_sid", "uuid"),
        Column::new("status", "text"),
    ];

    fn sid(&self) -> Uuid {
        self.partner_sid
    }

    fn partner_sid(&self) -> Uuid {
        self.partner_sid
    }

    fn bind(
        partners: &[&Self],
        arguments: &mut PgArguments,
    ) -> Result<(), sqlx::error::BoxDynError> {
        use sqlx::Arguments;
        arguments.add(partners.iter().map(|partner| &partner.attributes).collect::<Vec<_>>())?;
        arguments.add(
            partners.iter().map(|partner| partner.available_scopes.as_str()).collect::<Vec<_>>(),
        )?;
        arguments.add(partners.iter().map(|partner| &partner.callbacks).collect::<Vec<_>>())?;
        arguments.add(
            partners.iter().map(|partner| partner.company_name.as_deref()).collect::<Vec<_>>(),
        )?;
        arguments.add(
            partners.iter().map(|partner| partner.country_code.as_deref()).collect::<Vec<_>>(),
        )?;
        arguments.add(partners.iter().map(|partner| partner.date_created).collect::<Vec<_>>())?;
        arguments.add(partners.iter().map(|partner| &*partner.display_id).collect::<Vec<_>>())?;
        arguments
            .add(partners.iter().map(|partner| partner.login.as_deref()).collect::<Vec<_>>())?;
        arguments.add(partners.iter().map(|partner| &partner.name).collect::<Vec<_>>())?;
        arguments.add(partners.iter().map(|partner| partner.parent_sid).collect::<Vec<_>>())?;
        arguments.add(partners.iter().map(|partner| partner.status).collect::<Vec<_>>())
    }

    fn broken(&self, constraint: &str) -> Option<ApiError> {
        match constraint {
            "partners_parent_fkey" => Some(ApiError::invalid("parent_sid", "must be a partner")),
            "partners_pkey" => Some(ApiError::Conflict(FieldError::new("partner_sid", "is taken"))),
            _ => None,
        }
    }
}
