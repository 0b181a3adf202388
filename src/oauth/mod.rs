//! OAuth tokens: how a partner's clients prove who they are, and how they get one.

mod clients;
mod credentials;
mod forms;
mod grants;
pub mod handlers;
mod logins;
mod revocation;

use std::time::Duration;

use serde::Serialize;
use sqlx::FromRow;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

pub use clients::OauthClient;
pub use credentials::Credentials;
pub use grants::Grants;
pub use logins::{PartnerLogin, Password};

use crate::auth::{Claims, Keys, Scopes, hash};
use crate::error::ApiError;
use crate::input::date;
use crate::input::patch::Patch;
use crate::input::types::Name;
use crate::input::{Input, Members};
use crate::partners::Partner;
use crate::settings::TokenFormat;
use crate::store::{Column, Resource, bind};

/// How long a token lives where nobody says, in seconds.
pub const DEFAULT_EXPIRES_IN: u64 = 3_600;
/// The longest that a token can live, in seconds: a hundred years, as CarrierX's own.
pub const MAX_EXPIRES_IN: u64 = 3_153_600_000;

/// How long a refresh token lives.
const REFRESH_LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// A token. Its secrets are shown once, when they are made.
#[derive(Clone, Debug, PartialEq, Serialize, FromRow, ToSchema)]
pub struct OauthToken {
    /// The secret itself, on the day it is made; `null` later.
    #[sqlx(skip)]
    #[schema(required)]
    pub access_token: Option<String>,
    /// The client that asked for it.
    #[schema(required)]
    pub client_id: Option<String>,
    /// When it was made.
    #[serde(with = "date")]
    pub date_created: OffsetDateTime,
    /// When it ends; a revoked one ended when it began.
    #[serde(with = "date")]
    pub date_expiration_access_token: OffsetDateTime,
    /// When its refresh token ends.
    #[serde(with = "date::option")]
    #[schema(required)]
    pub date_expiration_refresh_token: Option<OffsetDateTime>,
    /// When it was last used, to the minute.
    #[serde(with = "date::option")]
    #[schema(required)]
    pub date_last_accessed: Option<OffsetDateTime>,
    /// Where it was last used from.
    #[schema(required)]
    pub ip_last_accessed: Option<String>,
    /// What its owner calls it.
    #[schema(required)]
    pub name: Option<Name>,
    /// The partner whose it is.
    pub partner_sid: Uuid,
    /// The secret that renews it, on the day it is made; `null` later.
    #[sqlx(skip)]
    #[schema(required)]
    pub refresh_token: Option<String>,
    /// What it may do.
    pub scopes: Scopes,
    /// Its own sid, the `jti` of a JWT.
    #[sqlx(rename = "sid")]
    pub token_sid: Uuid,
    /// Always `bearer`.
    #[sqlx(skip)]
    pub token_type: TokenType,
    /// The SHA-256 of the access token.
    #[serde(skip)]
    access_hash: Vec<u8>,
    /// The first token of those that renewed each other, where there is a refresh token.
    #[serde(skip)]
    family_sid: Option<Uuid>,
    /// The SHA-256 of the refresh token.
    #[serde(skip)]
    refresh_hash: Option<Vec<u8>>,
    /// Whether the refresh token was used. It is good once.
    #[serde(skip)]
    refresh_spent: bool,
}

/// How a token is presented (RFC 6750).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenType {
    /// Whoever bears it, has it.
    #[default]
    Bearer,
}

impl OauthToken {
    /// A new token and its secret.
    ///
    /// # Errors
    /// Where a JWT is asked for and there is no key to sign it with.
    pub fn issue(
        keys: &Keys,
        format: TokenFormat,
        partner_sid: Uuid,
        scopes: Scopes,
        expires_in: Duration,
    ) -> anyhow::Result<(Self, String)> {
        let token_sid = Uuid::now_v7();
        let created = date::now();
        let expires = created + expires_in;
        let secret = match format {
            TokenFormat::Opaque => Uuid::new_v4().to_string(),
            TokenFormat::Jwt => {
                let (iat, exp) = (created.unix_timestamp(), expires.unix_timestamp());
                keys.sign(Claims::new(partner_sid, &scopes, Some(token_sid), iat, exp))?
            }
        };
        Ok((Self::known(token_sid, partner_sid, scopes, &secret, created, expires), secret))
    }

    /// The record of a token whose secret is known.
    pub(crate) fn known(
        token_sid: Uuid,
        partner_sid: Uuid,
        scopes: Scopes,
        secret: &str,
        date_created: OffsetDateTime,
        date_expiration_access_token: OffsetDateTime,
    ) -> Self {
        Self {
            access_token: None,
            client_id: None,
            date_created,
            date_expiration_access_token,
            date_expiration_refresh_token: None,
            date_last_accessed: None,
            ip_last_accessed: None,
            name: None,
            partner_sid,
            refresh_token: None,
            scopes,
            token_sid,
            token_type: TokenType::Bearer,
            access_hash: hash(secret).to_vec(),
            family_sid: None,
            refresh_hash: None,
            refresh_spent: false,
        }
    }

    /// Gives the token a refresh token, of that family or of a new one, and tells its secret.
    fn make_renewable(&mut self, family_sid: Option<Uuid>) -> String {
        let secret = Uuid::new_v4().to_string();
        self.family_sid = family_sid.or(Some(self.token_sid));
        self.refresh_hash = Some(hash(&secret).to_vec());
        self.date_expiration_refresh_token = Some(self.date_created + REFRESH_LIFETIME);
        secret
    }

    /// Uses the refresh token up, and says whether it was good.
    fn spend(&mut self) -> bool {
        let now = date::now();
        let alive = self.date_expiration_refresh_token.is_some_and(|expires| now < expires);
        let good = alive && !self.refresh_spent;
        if good {
            self.refresh_spent = true;
            self.date_expiration_refresh_token = Some(now);
        }
        good
    }

    /// Makes the changes.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] where a scope would be added.
    pub fn change(&mut self, changes: TokenChanges) -> Result<(), ApiError> {
        let TokenChanges { name, scopes } = changes;
        name.apply(&mut self.name);
        let Some(scopes) = scopes else { return Ok(()) };
        if let Some(beyond) = scopes.beyond(&self.scopes.iter().collect::<Vec<_>>()) {
            let message = format!("can only shrink: the token does not carry {beyond}");
            return Err(ApiError::invalid("scopes", message));
        }
        self.scopes = scopes;
        Ok(())
    }

    /// Ends the token, and its refresh token, in the moment it began: whatever the clocks of those who ask may show.
    pub fn revoke(&mut self) {
        self.date_expiration_access_token = self.date_created;
        self.date_expiration_refresh_token =
            self.date_expiration_refresh_token.map(|_| self.date_created);
    }
}

/// What an update may change of a token.
#[derive(Clone, Debug, Default, ToSchema)]
pub struct TokenChanges {
    /// What its owner calls it.
    #[schema(value_type = Option<Name>)]
    pub name: Patch<Name>,
    /// What it may do: some of what it may do now.
    #[schema(value_type = Scopes, required = false)]
    pub scopes: Option<Scopes>,
}

impl Input for TokenChanges {
    const READ_ONLY: &'static [&'static str] = &[
        "access_token",
        "client_id",
        "date_created",
        "date_expiration_access_token",
        "date_expiration_refresh_token",
        "date_last_accessed",
        "ip_last_accessed",
        "partner_sid",
        "refresh_token",
        "token_sid",
        "token_type",
    ];

    fn take(members: &mut Members) -> Option<Self> {
        Some(Self { name: members.nullable("name"), scopes: members.optional("scopes") })
    }
}

impl Resource for OauthToken {
    type Owner = Partner;

    const KIND: &'static str = "oauth_token";
    const TABLE: &'static str = "oauth_tokens";
    const SID: &'static str = "token_sid";
    const UNSTORED: &'static [&'static str] = &["access_token", "refresh_token", "token_type"];
    const COLUMNS: &'static [Column<Self>] = &[
        Column::hidden("access_hash", "bytea", |to, rows| {
            bind(to, rows, |token| &*token.access_hash)
        }),
        Column::new("client_id", "text", |to, rows| {
            bind(to, rows, |token| token.client_id.as_deref())
        }),
        Column::new("date_created", "timestamptz", |to, rows| {
            bind(to, rows, |token| token.date_created)
        }),
        Column::new("date_expiration_access_token", "timestamptz", |to, rows| {
            bind(to, rows, |token| token.date_expiration_access_token)
        }),
        Column::new("date_expiration_refresh_token", "timestamptz", |to, rows| {
            bind(to, rows, |token| token.date_expiration_refresh_token)
        }),
        Column::new("date_last_accessed", "timestamptz", |to, rows| {
            bind(to, rows, |token| token.date_last_accessed)
        }),
        Column::hidden("family_sid", "uuid", |to, rows| bind(to, rows, |token| token.family_sid)),
        Column::new("ip_last_accessed", "text", |to, rows| {
            bind(to, rows, |token| token.ip_last_accessed.as_deref())
        }),
        Column::new("name", "text", |to, rows| bind(to, rows, |token| token.name.as_ref())),
        Column::hidden("refresh_hash", "bytea", |to, rows| {
            bind(to, rows, |token| token.refresh_hash.as_deref())
        }),
        Column::hidden("refresh_spent", "boolean", |to, rows| {
            bind(to, rows, |token| token.refresh_spent)
        }),
        Column::new("scopes", "text", |to, rows| bind(to, rows, |token| token.scopes.as_str())),
    ];

    fn sid(&self) -> Uuid {
        self.token_sid
    }

    fn partner_sid(&self) -> Uuid {
        self.partner_sid
    }
}
