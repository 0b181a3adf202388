//! OAuth clients: the programs of a partner that request tokens.

use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::auth::{Scopes, hash_password};
use crate::input::date;
use crate::partners::Partner;
use crate::store::{Column, Resource, bind};

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
    /// The partner that owns the client.
    pub partner_sid: Uuid,
    /// The scopes that tokens of the client can carry.
    pub scopes: Scopes,
    #[serde(skip)]
    secret_hash: String,
}

impl OauthClient {
    /// Returns a new client and its secret. Hashes the secret, which is slow by design.
    ///
    /// # Errors
    /// If the operating system provides no random numbers.
    pub fn new(partner_sid: Uuid, scopes: Scopes) -> anyhow::Result<(Self, String)> {
        let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let client = Self {
            client_id: Uuid::now_v7(),
            client_secret: None,
            date_created: date::now(),
            partner_sid,
            scopes,
            secret_hash: hash_password(&secret)?,
        };
        Ok((client, secret))
    }

    /// Returns the PHC string of the secret.
    pub(super) fn secret_hash(&self) -> &str {
        &self.secret_hash
    }
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
        Some(Value::from(&*self.secret_hash))
    }
}
