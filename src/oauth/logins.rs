//! Logins: the user names and passwords of partners.
//!
//! Functions that hash fail if the operating system provides no random numbers.

use anyhow::ensure;
use serde::Serialize;
use serde_json::Value;
use sqlx::{Connection, FromRow, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::issuance::{self, Grantor};
use crate::auth::{Actor, hash_password};
use crate::error::{ApiError, FieldError};
use crate::input::date;
use crate::input::types::Name;
use crate::partners::Partner;
use crate::store::{self, Column, Resource, bind};

/// A password of at least 12 characters and at most 1,024 bytes, without control characters.
pub struct Password(String);

impl Password {
    /// Checks a password.
    ///
    /// # Errors
    /// If the password is too short or too long, or contains control characters.
    pub fn new(text: &str) -> anyhow::Result<Self> {
        ensure!(text.chars().count() >= 12, "the password must have at least 12 characters");
        ensure!(text.len() <= 1_024, "the password must have at most 1024 bytes");
        ensure!(
            !text.contains(char::is_control),
            "the password must not contain control characters"
        );
        Ok(Self(text.to_owned()))
    }
}

/// The user name and password with which a partner obtains tokens.
#[derive(Clone, Debug, PartialEq, Serialize, FromRow)]
pub struct PartnerLogin {
    /// The date of creation.
    #[serde(with = "date")]
    pub date_created: OffsetDateTime,
    /// The date of the last change of the password.
    #[serde(with = "date")]
    pub date_password_changed: OffsetDateTime,
    /// The user name, which is the partner's `login`.
    pub login: Name,
    /// The sid of the login.
    #[sqlx(rename = "sid")]
    pub login_sid: Uuid,
    /// The partner that owns the login.
    pub partner_sid: Uuid,
    #[serde(skip)]
    password_hash: String,
}

/// The hash of a disabled login. No password has it, in this release and in earlier ones.
const DISABLED: &str = "$argon2id$disabled";

impl PartnerLogin {
    /// Returns a new login. Hashes the password, which is slow by design.
    ///
    /// # Errors
    /// As this module.
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

    /// Whether the login is disabled. A new password enables it.
    pub fn is_disabled(&self) -> bool {
        self.password_hash == DISABLED
    }

    /// Returns the PHC string of the password. `None` if the login is disabled.
    pub(super) fn password_hash(&self) -> Option<&str> {
        (!self.is_disabled()).then_some(&*self.password_hash)
    }
}

/// Sets the password of a login, and ends the tokens that were issued with the old one.
///
/// # Errors
/// [`ApiError::NoItem`] if there is no such login; [`ApiError::Internal`] as this module.
pub async fn set_password(
    connection: &mut PgConnection,
    login_sid: Uuid,
    password: &Password,
) -> Result<PartnerLogin, ApiError> {
    // Slow, so it precedes the lock.
    let password_hash = hash_password(&password.0).map_err(ApiError::Internal)?;
    change_password(connection, login_sid, password_hash).await
}

/// Disables a login until its password is set, and ends the tokens that were issued for it.
///
/// # Errors
/// [`ApiError::NoItem`] if there is no such login.
pub async fn disable_login(
    connection: &mut PgConnection,
    login_sid: Uuid,
) -> Result<PartnerLogin, ApiError> {
    change_password(connection, login_sid, DISABLED.to_owned()).await
}

async fn change_password(
    connection: &mut PgConnection,
    login_sid: Uuid,
    password_hash: String,
) -> Result<PartnerLogin, ApiError> {
    let operator = Actor::operator();
    let mut tx = connection.begin().await?;
    let login = store::get::<PartnerLogin>(&mut *tx, &operator, login_sid).await?.object;
    let grantor = Grantor::Login(login.partner_sid);
    issuance::stop(&mut tx, grantor).await?;
    let set = |login: &mut PartnerLogin| {
        // A login that is disabled again does not change.
        if login.password_hash != password_hash {
            login.password_hash = password_hash;
            login.date_password_changed = date::now();
        }
        Ok(())
    };
    let login = store::update_within(&mut tx, &operator, login_sid, set).await?.object;
    issuance::end_tokens(&mut tx, &operator, grantor, None).await?;
    tx.commit().await?;
    Ok(login)
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
            "partner_logins_partner_key" => conflict("the partner already has a login"),
            "partner_logins_partner_fkey" => {
                Some(ApiError::invalid("partner_sid", "must be a partner"))
            }
            _ => None,
        }
    }
}
