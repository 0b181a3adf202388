//! OAuth clients: the programs of a partner that request tokens.
//!
//! A rotation gives a client a new secret and ends the tokens that were issued through the old one.
//! It can let the old secret, and with it these tokens, live for some time.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{Connection, FromRow, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::issuance::{self, Grantor};
use crate::auth::{Actor, Scope, Scopes, hash_password};
use crate::error::{ApiError, FieldError};
use crate::input::date;
use crate::partners::Partner;
use crate::store::{self, Column, Resource, bind};

/// A program that requests tokens. Its secret is shown once, at its creation.
#[derive(Clone, Debug, PartialEq, Serialize, FromRow)]
pub struct OauthClient {
    /// The sid of the client.
    #[sqlx(rename = "sid")]
    pub client_id: Uuid,
    /// The secret, at the creation only; otherwise `null`.
    #[sqlx(skip)]
    pub client_secret: Option<String>,
    /// The date of creation.
    #[serde(with = "date")]
    pub date_created: OffsetDateTime,
    /// The date until which the secret before the last rotation is accepted.
    #[serde(with = "date::option")]
    pub date_old_secret_expires: Option<OffsetDateTime>,
    /// The date of the last rotation, or of the revocation.
    #[serde(with = "date::option")]
    pub date_secret_changed: Option<OffsetDateTime>,
    /// The partner that owns the client.
    pub partner_sid: Uuid,
    /// The scopes that tokens of the client can carry.
    pub scopes: Scopes,
    #[serde(skip)]
    secret_hash: String,
    #[serde(skip)]
    old_secret_hash: Option<String>,
}

/// The hash of a revoked client. No secret has it, in this release and in earlier ones.
const REVOKED: &str = "$argon2id$revoked";

impl OauthClient {
    /// Returns a new client and its secret. Hashes the secret, which is slow by design.
    ///
    /// # Errors
    /// If the operating system provides no random numbers.
    pub fn new(partner_sid: Uuid, scopes: Scopes) -> anyhow::Result<(Self, String)> {
        let secret = new_secret();
        let client = Self {
            client_id: Uuid::now_v7(),
            client_secret: None,
            date_created: date::now(),
            date_old_secret_expires: None,
            date_secret_changed: None,
            partner_sid,
            scopes,
            secret_hash: hash_password(&secret)?,
            old_secret_hash: None,
        };
        Ok((client, secret))
    }

    /// Returns the scopes that a token of the client can carry if its partner holds these.
    pub(super) fn scopes_within(&self, held: &[Scope]) -> Vec<Scope> {
        Scope::common(&self.scopes.to_vec(), held)
    }

    /// Whether the client is revoked.
    pub fn is_revoked(&self) -> bool {
        self.secret_hash == REVOKED
    }

    /// Returns the PHC strings of the secrets that are accepted: the newest one, and the one before
    /// until it expires. None if the client is revoked.
    pub(super) fn secret_hashes(&self) -> Vec<&str> {
        let is_accepted = self.date_old_secret_expires.is_some_and(|date| date > date::now());
        let old = self.old_secret_hash.as_deref().filter(|_| is_accepted);
        let newest = (!self.is_revoked()).then_some(&*self.secret_hash);
        newest.into_iter().chain(old).collect()
    }

    fn rotate(&mut self, secret_hash: String, old_expires: Option<OffsetDateTime>) {
        let old = std::mem::replace(&mut self.secret_hash, secret_hash);
        self.old_secret_hash = old_expires.map(|_| old);
        self.date_old_secret_expires = old_expires;
        self.date_secret_changed = Some(date::now());
    }
}

fn new_secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// Gives the client a new secret and returns it. The old secret is accepted for `keep_old`. The
/// tokens that were issued through it end when it does.
///
/// # Errors
/// [`ApiError::NoItem`] if there is no such client, [`ApiError::Conflict`] if it is revoked;
/// [`ApiError::Internal`] if the operating system provides no random numbers.
pub async fn rotate_client(
    connection: &mut PgConnection,
    client_id: Uuid,
    keep_old: Duration,
) -> Result<OauthClient, ApiError> {
    let secret = new_secret();
    // Slow, so it precedes the lock.
    let secret_hash = hash_password(&secret).map_err(ApiError::Internal)?;
    let old_expires = (!keep_old.is_zero()).then(|| date::now() + keep_old);
    let rotate = |client: &mut OauthClient| {
        if client.is_revoked() {
            return Err(ApiError::Conflict(FieldError::new("client_id", "the client is revoked")));
        }
        client.rotate(secret_hash, old_expires);
        Ok(())
    };
    let mut client = change(connection, client_id, rotate, old_expires).await?;
    client.client_secret = Some(secret);
    Ok(client)
}

/// Revokes the client: no secret is accepted any more, and the tokens that were issued through it
/// end.
///
/// # Errors
/// [`ApiError::NoItem`] if there is no such client.
pub async fn revoke_client(
    connection: &mut PgConnection,
    client_id: Uuid,
) -> Result<OauthClient, ApiError> {
    let revoke = |client: &mut OauthClient| {
        if !client.is_revoked() {
            client.rotate(REVOKED.to_owned(), None);
        }
        Ok(())
    };
    change(connection, client_id, revoke, None).await
}

/// Changes the client, and ends the tokens that were issued through it until now, at that date or
/// at once.
async fn change(
    connection: &mut PgConnection,
    client_id: Uuid,
    change: impl FnOnce(&mut OauthClient) -> Result<(), ApiError>,
    end: Option<OffsetDateTime>,
) -> Result<OauthClient, ApiError> {
    let operator = Actor::operator();
    let mut tx = connection.begin().await?;
    issuance::stop(&mut tx, Grantor::Client(client_id)).await?;
    let client = store::update_within(&mut tx, &operator, client_id, change).await?.object;
    issuance::end_tokens(&mut tx, &operator, Grantor::Client(client_id), end).await?;
    tx.commit().await?;
    Ok(client)
}

impl Resource for OauthClient {
    type Owner = Partner;

    const KIND: &'static str = "oauth_client";
    const TABLE: &'static str = "oauth_clients";
    const SID: &'static str = "client_id";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("date_created", "timestamptz", |to, rows| {
            bind(to, rows, |client| client.date_created)
        }),
        Column::new("date_old_secret_expires", "timestamptz", |to, rows| {
            bind(to, rows, |client| client.date_old_secret_expires)
        }),
        Column::new("date_secret_changed", "timestamptz", |to, rows| {
            bind(to, rows, |client| client.date_secret_changed)
        }),
        Column::hidden("old_secret_hash", "text", |to, rows| {
            bind(to, rows, |client| client.old_secret_hash.as_deref())
        }),
        Column::new("scopes", "text", |to, rows| bind(to, rows, |client| client.scopes.as_str())),
        Column::hidden("secret_hash", "text", |to, rows| {
            bind(to, rows, |client| &*client.secret_hash)
        }),
    ];

    fn sid(&self) -> Uuid {
        self.client_id
    }

    fn partner_sid(&self) -> Uuid {
        self.partner_sid
    }

    fn hidden(&self) -> Option<Value> {
        // Without an old secret, the value is that of the releases that had none.
        Some(match &self.old_secret_hash {
            None => Value::from(&*self.secret_hash),
            Some(old) => json!([self.secret_hash, old]),
        })
    }
}
