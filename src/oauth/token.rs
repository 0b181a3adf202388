//! Tokens: their secrets, dates and scopes.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use sqlx::FromRow;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::{Claims, Keys, Scopes, hash};
use crate::error::ApiError;
use crate::input::date;
use crate::input::patch::Patch;
use crate::input::types::Name;
use crate::input::{Input, Members};
use crate::partners::Partner;
use crate::settings::TokenFormat;
use crate::store::{Column, Resource, bind};

/// The default lifetime of a token, in seconds.
pub const DEFAULT_EXPIRES_IN: u64 = 3_600;
/// The longest lifetime of a token, in seconds: a hundred years, as at CarrierX.
pub const MAX_EXPIRES_IN: u64 = 3_153_600_000;

/// The lifetime of a refresh token.
const REFRESH_LIFETIME: Duration = Duration::from_secs(30 * 86_400);
/// How long after its first use a refresh token can be used again.
const REUSE_PERIOD: Duration = Duration::from_secs(10);
/// The most such uses.
const MAX_SIBLINGS: i64 = 5;

/// A token. Its secrets are shown once, in the response that issues it.
#[derive(Clone, Debug, PartialEq, Serialize, FromRow, ToSchema)]
pub struct OauthToken {
    /// The token itself, in the response that issues it; otherwise `null`.
    #[sqlx(skip)]
    #[schema(required)]
    pub access_token: Option<String>,
    /// The client to which the token was issued.
    #[schema(required)]
    pub client_id: Option<String>,
    /// The date of issue.
    #[serde(with = "date")]
    pub date_created: OffsetDateTime,
    /// The expiry. For a revoked token, the date of issue.
    #[serde(with = "date")]
    pub date_expiration_access_token: OffsetDateTime,
    /// The expiry of the refresh token.
    #[serde(with = "date::option")]
    #[schema(required)]
    pub date_expiration_refresh_token: Option<OffsetDateTime>,
    /// The date of the last use, to the minute.
    #[serde(with = "date::option")]
    #[schema(required)]
    pub date_last_accessed: Option<OffsetDateTime>,
    /// The lifetime of the token in seconds, in the response that issues it (RFC 6749).
    #[sqlx(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, required = false)]
    pub expires_in: Option<i64>,
    /// The address of the client at the last use.
    #[schema(required)]
    pub ip_last_accessed: Option<String>,
    /// The name.
    #[schema(required)]
    pub name: Option<Name>,
    /// The partner of the token.
    pub partner_sid: Uuid,
    /// The refresh token, in the response that issues it; otherwise `null`.
    #[sqlx(skip)]
    #[schema(required)]
    pub refresh_token: Option<String>,
    /// The scopes, separated by spaces, in the response that issues the token (RFC 6749).
    #[sqlx(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub scope: Option<String>,
    /// The scopes.
    pub scopes: Scopes,
    /// The sid of the token, which is the `jti` of a JWT.
    #[sqlx(rename = "sid")]
    pub token_sid: Uuid,
    /// Always `bearer`.
    #[sqlx(skip)]
    pub token_type: TokenType,
    /// The SHA-256 of the access token.
    #[serde(skip)]
    access_hash: Vec<u8>,
    /// The first of the tokens that were refreshed from each other, if there is a refresh token.
    #[serde(skip)]
    pub(super) family_sid: Option<Uuid>,
    /// The SHA-256 of the refresh token.
    #[serde(skip)]
    refresh_hash: Option<Vec<u8>>,
    /// Whether the refresh token was used. It can be used once.
    #[serde(skip)]
    refresh_spent: bool,
    /// When it was first used, by the clock of the database.
    #[serde(skip)]
    date_refresh_spent: Option<OffsetDateTime>,
    /// The token whose refresh token was used to issue this one.
    #[serde(skip)]
    refreshed_from: Option<Uuid>,
    /// How long the row is needed even if the token is revoked: a JWT would be valid without it
    /// until its own expiry, and a used refresh token is recognised by it.
    #[serde(skip)]
    retained_until: Option<OffsetDateTime>,
}

/// The result of using a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refresh {
    /// The first use, or another one that gets a sibling.
    Granted,
    /// It has expired, was revoked, or belongs to another client.
    Rejected,
    /// It was used before.
    Reused,
}

/// The tokens that were issued for a refresh token.
#[derive(FromRow)]
pub(super) struct Successors {
    /// The database's clock, in milliseconds.
    now: OffsetDateTime,
    /// Their number.
    count: i64,
    /// Whether the refresh token of one of them was used.
    is_refreshed: bool,
}

/// The type of a token (RFC 6750).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenType {
    /// Any party that has the token can use it.
    #[default]
    Bearer,
}

impl OauthToken {
    /// Issues a token, and returns it with its secret.
    ///
    /// # Errors
    /// If the format is JWT and there is no key to sign it.
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
        let mut token =
            Self::with_secret(token_sid, partner_sid, scopes, &secret, created, expires);
        if format == TokenFormat::Jwt {
            token.retained_until = Some(expires);
        }
        Ok((token, secret))
    }

    /// Returns the opaque token with that secret.
    pub(crate) fn with_secret(
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
            expires_in: None,
            ip_last_accessed: None,
            name: None,
            partner_sid,
            refresh_token: None,
            scope: None,
            scopes,
            token_sid,
            token_type: TokenType::Bearer,
            access_hash: hash(secret).to_vec(),
            family_sid: None,
            refresh_hash: None,
            refresh_spent: false,
            date_refresh_spent: None,
            refreshed_from: None,
            retained_until: Some(date_created),
        }
    }

    /// Adds what only the response that issues the token contains.
    pub(super) fn issued(self, access_token: String, refresh_token: Option<String>) -> Self {
        let lifetime = self.date_expiration_access_token - self.date_created;
        Self {
            access_token: Some(access_token),
            expires_in: Some(lifetime.whole_seconds()),
            refresh_token,
            scope: Some(self.scopes.as_str().to_owned()),
            ..self
        }
    }

    /// Adds the first refresh token of a family, and returns its secret.
    pub(super) fn make_renewable(&mut self) -> String {
        let secret = Uuid::new_v4().to_string();
        self.family_sid = Some(self.token_sid);
        self.refresh_hash = Some(hash(&secret).to_vec());
        let expiry = self.date_created + REFRESH_LIFETIME;
        self.date_expiration_refresh_token = Some(expiry);
        self.retained_until = self.retained_until.max(Some(expiry));
        secret
    }

    /// Adds a refresh token of the same family as that of `spent`, which was used to issue this
    /// token, and returns its secret.
    pub(super) fn succeed(&mut self, spent: &Self) -> String {
        let secret = self.make_renewable();
        self.family_sid = spent.family_sid;
        self.refreshed_from = Some(spent.token_sid);
        secret
    }

    /// Uses the refresh token, as that client.
    ///
    /// The first use spends it. Within [`REUSE_PERIOD`], its client gets siblings of the first
    /// successor, at most [`MAX_SIBLINGS`]: two tabs may refresh at once, and a response may be
    /// lost. That ends when a successor is refreshed, since by then the client has received a
    /// response.
    pub(super) fn refresh(&mut self, client_id: &str, successors: &Successors) -> Refresh {
        let Successors { now, count, is_refreshed } = *successors;
        let is_own = self.client_id.as_deref() == Some(client_id);
        // A revoked token expires at its date of issue, which is no later by any clock.
        let is_revoked =
            self.date_expiration_refresh_token.is_none_or(|expiry| expiry <= self.date_created);
        if self.refresh_spent {
            let is_early = self.date_refresh_spent.is_some_and(|date| now - date <= REUSE_PERIOD);
            let is_sibling =
                is_own && is_early && !is_revoked && !is_refreshed && count <= MAX_SIBLINGS;
            return if is_sibling { Refresh::Granted } else { Refresh::Reused };
        }
        let has_expired = self.date_expiration_refresh_token.is_none_or(|expiry| now >= expiry);
        if !is_own || is_revoked || has_expired {
            return Refresh::Rejected;
        }
        self.refresh_spent = true;
        self.date_refresh_spent = Some(now);
        // Later than the date of issue, which is that of a revoked token.
        self.date_expiration_refresh_token =
            Some(now.max(self.date_created + Duration::from_millis(1)));
        Refresh::Granted
    }

    /// Applies the changes.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if a scope is added.
    pub fn change(&mut self, changes: TokenChanges) -> Result<(), ApiError> {
        let TokenChanges { name, scopes } = changes;
        name.apply(&mut self.name);
        let Some(scopes) = scopes else { return Ok(()) };
        if let Some(outside) = scopes.outside(&self.scopes.to_vec()) {
            let message = format!("must be scopes of the token, which lacks {outside}");
            return Err(ApiError::invalid("scopes", message));
        }
        self.scopes = scopes;
        Ok(())
    }

    /// Ends the token and its refresh token at that date, unless they end earlier; without a date
    /// at once. Both then expire at the date of issue, which revokes them whatever the clock of an
    /// instance shows.
    pub(super) fn end(&mut self, date: Option<OffsetDateTime>) {
        let date = date.map_or(self.date_created, |date| date.max(self.date_created));
        self.date_expiration_access_token = self.date_expiration_access_token.min(date);
        self.date_expiration_refresh_token =
            self.date_expiration_refresh_token.map(|expiry| expiry.min(date));
    }

    /// Revokes the token and its refresh token.
    pub fn revoke(&mut self) {
        self.end(None);
    }
}

/// The changes of a token.
#[derive(Clone, Debug, Default, ToSchema)]
pub struct TokenChanges {
    /// The name.
    #[schema(value_type = Option<Name>)]
    pub name: Patch<Name>,
    /// The scopes. They can be removed, but not added.
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
        "expires_in",
        "ip_last_accessed",
        "partner_sid",
        "refresh_token",
        "scope",
        "token_sid",
        "token_type",
    ];

    fn take(members: &mut Members) -> Option<Self> {
        Some(Self { name: members.nullable("name"), scopes: members.not_null("scopes") })
    }
}

impl Resource for OauthToken {
    type Owner = Partner;

    const KIND: &'static str = "oauth_token";
    const TABLE: &'static str = "oauth_tokens";
    const SID: &'static str = "token_sid";
    const UNSTORED: &'static [&'static str] = &["access_token", "refresh_token", "token_type"];
    const UNVERSIONED: &'static [&'static str] = &["date_last_accessed", "ip_last_accessed"];
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
        Column::hidden("date_refresh_spent", "timestamptz", |to, rows| {
            bind(to, rows, |token| token.date_refresh_spent)
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
        Column::hidden("refreshed_from", "uuid", |to, rows| {
            bind(to, rows, |token| token.refreshed_from)
        }),
        Column::hidden("retained_until", "timestamptz", |to, rows| {
            bind(to, rows, |token| token.retained_until)
        }),
        Column::new("scopes", "text", |to, rows| bind(to, rows, |token| token.scopes.as_str())),
    ];

    fn sid(&self) -> Uuid {
        self.token_sid
    }

    fn partner_sid(&self) -> Uuid {
        self.partner_sid
    }

    /// Adds the hidden columns that releases before V12 and V13 of the schema do not know. They are
    /// no part of [`Self::hidden`], whose digest by those releases would differ.
    fn snapshot(&self) -> Result<Box<RawValue>, ApiError> {
        #[derive(Serialize)]
        struct Snapshot<'a> {
            #[serde(flatten)]
            token: &'a OauthToken,
            #[serde(skip_serializing_if = "Option::is_none", with = "date::option")]
            date_refresh_spent: Option<OffsetDateTime>,
            #[serde(skip_serializing_if = "Option::is_none")]
            refreshed_from: Option<Uuid>,
            #[serde(skip_serializing_if = "Option::is_none", with = "date::option")]
            retained_until: Option<OffsetDateTime>,
        }
        let Self { date_refresh_spent, refreshed_from, retained_until, .. } = *self;
        let snapshot = Snapshot { token: self, date_refresh_spent, refreshed_from, retained_until };
        to_raw_value(&snapshot).map_err(|error| ApiError::Internal(error.into()))
    }

    fn hidden(&self) -> Option<Value> {
        let Self { access_hash, family_sid, refresh_hash, refresh_spent, .. } = self;
        Some(json!([access_hash, family_sid, refresh_hash, refresh_spent]))
    }
}
