//! DID groups: named sets of phone numbers with a callback URL.

pub mod handlers;
mod sample;

use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::ApiError;
use crate::input::patch::Patch;
use crate::input::types::{CallbackUrl, ClearableUrl, Name};
use crate::input::{Input, Members};
use crate::partners::Partner;
use crate::store::{Column, Reference, Resource, bind};

/// A named set of phone numbers with a callback URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, FromRow, ToSchema)]
pub struct DidGroup {
    /// The URL to which events of the group's numbers are sent.
    #[schema(required)]
    pub callback_url: Option<CallbackUrl>,
    /// The sid of the group.
    #[sqlx(rename = "sid")]
    pub did_group_sid: Uuid,
    /// The name.
    pub name: Name,
    /// The partner that owns the group.
    pub partner_sid: Uuid,
}

impl DidGroup {
    /// Returns a new group of that partner with default values.
    pub fn new(partner_sid: Uuid) -> Self {
        Self {
            callback_url: None,
            did_group_sid: Uuid::now_v7(),
            name: Name::default(),
            partner_sid,
        }
    }

    /// Applies the changes.
    ///
    /// # Errors
    /// None: any combination of valid members is valid.
    pub fn change(&mut self, changes: DidGroupChanges) -> Result<(), ApiError> {
        let DidGroupChanges { callback_url, name } = changes;
        callback_url.apply(&mut self.callback_url);
        self.name = name.unwrap_or_else(|| self.name.clone());
        Ok(())
    }
}

/// The changes of a DID group, or the members of a new one.
#[derive(Clone, Debug, Default, ToSchema)]
pub struct DidGroupChanges {
    /// The URL to which events of the group's numbers are sent. `null` or `""` clears it.
    #[schema(value_type = ClearableUrl, required = false)]
    pub callback_url: Patch<CallbackUrl>,
    /// The name. It cannot be cleared.
    #[schema(value_type = Name, required = false)]
    pub name: Option<Name>,
}

impl Input for DidGroupChanges {
    const READ_ONLY: &'static [&'static str] = &["did_group_sid", "partner_sid"];

    fn take(members: &mut Members) -> Option<Self> {
        Some(Self {
            callback_url: members.nullable("callback_url"),
            name: members.not_null("name"),
        })
    }
}

impl Resource for DidGroup {
    type Owner = Partner;

    const KIND: &'static str = "did_group";
    const TABLE: &'static str = "did_groups";
    const SID: &'static str = "did_group_sid";
    const RESTORABLE: bool = true;
    const REFERRED_BY: &'static [Reference] = &[
        Reference { noun: "DID", table: "dids", column: "did_group_sid" },
        Reference { noun: "short code", table: "short_codes", column: "did_group_sid" },
    ];
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("callback_url", "text", |to, rows| {
            bind(to, rows, |group| group.callback_url.as_ref())
        }),
        Column::new("name", "text", |to, rows| bind(to, rows, |group| &group.name)),
    ];

    fn sid(&self) -> Uuid {
        self.did_group_sid
    }

    fn partner_sid(&self) -> Uuid {
        self.partner_sid
    }
}
