//! Logins: the names and passwords of partners.

use anyhow::ensure;
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::auth::hash_password;
use crate::error::{ApiError, FieldError};
use crate::input::date;
use crate::input::types::Name;
use crate::partners::Partner;
use crate::store::{Column, Resource, bind};

/// A password that is not too short: 12 characters at least, 1,024 bytes at most.
pub struct Password(String);

impl Password {
    /// The password in that text.
    ///
    /// # Errors
    /// Where it is too short or too long, or holds what no form can send.
    pub fn new(text: &str) -> anyhow::Result<Self> {
        ensure!(text.chars().count() >= 12, "a password has at least 12 characters");
        ensure!(text.len() <= 1_024, "a password has at most 1024 bytes");
        ensure!(!text.contains(char::is_control), "a password has no control characters");
        Ok(Self(text.to_owned()))
    }
}

/// The name and password by which a partner gets tokens.
#[derive(Clone, Debug, PartialEq, Serialize, FromRow)]
pub struct PartnerLogin {
    /// When it was made.
    #[serde(with = "date")]
    pub date_created: OffsetDateTime,
    /// When its password was set.
    #[serde(with = "date")]
    pub date_password_changed: OffsetDateTime,
    /// The name, the partner's `login`.
    pub login: Name,
    /// Its own sid.
    #[sqlx(rename = "sid")]
    pub login_sid: Uuid,
    /// The partner whose it is.
    pub partner_sid: Uuid,
    #[serde(skip)]
    password_hash: String,
}

impl PartnerLogin {
    /// A new login. Takes the time of hashing.
    ///
    /// # Errors
    /// Where the machine has no randomness.
    pub fn new(partner_sid: Uuid, login: Name, password: &Password) -> anyhow::Result<Self> {
        let now = date::now();
        Ok(Self {
            date_created: now,
            date_password_changed: now,
            login,
            login_sid: Uuid::now_v7(),
            partner_sid,
            password_hash: hash_password(&password.0)?,
        })
    }

    /// Sets another password. Takes the time of hashing.
    ///
    /// # Errors
    /// Where the machine has no randomness.
    pub fn set_password(&mut self, password: &Password) -> anyhow::Result<()> {
        self.password_hash = hash_password(&password.0)?;
        self.date_password_changed = date::now();
        Ok(())
    }

    /// The PHC string of its password.
    pub(super) fn password_hash(&self) -> &str {
        &self.password_hash
    }
}

impl Resource for PartnerLogin {
    type Owner = Partner;

    const KIND: &'static str = "partner_login";
    const TABLE: &'static str = "partner_logins";
    const SID: &'static str = "login_sid";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("date_created", "timestamptz", |to, rows| {
            bind(to, rows, |login| login.date_created)
        }),
        Column::new("date_password_changed", "timestamptz", |to, rows| {
            bind(to, rows, |login| login.date_password_changed)
        }),
        Column::new("login", "text", |to, rows| bind(to, rows, |login| &login.login)),
        Column::hidden("password_hash", "text", |to, rows| {
            bind(to, rows, |login| &*login.password_hash)
        }),
    ];

    fn sid(&self) -> Uuid {
        self.login_sid
    }

    fn partner_sid(&self) -> Uuid {
        self.partner_sid
    }

    fn hidden(&self) -> Option<Value> {
        Some(Value::from(&*self.password_hash))
    }

    fn constraint_error(&self, constraint: &str) -> Option<ApiError> {
        let conflict = |message| Some(ApiError::Conflict(FieldError::new("login", message)));
        match constraint {
            "partner_logins_login_key" => conflict("is taken"),
            "partner_logins_partner_key" => conflict("the partner has one already"),
            "partner_logins_partner_fkey" => {
                Some(ApiError::invalid("partner_sid", "must be a partner"))
            }
            _ => None,
        }
    }
}
