//! OAuth clients: the programs of a partner that ask for tokens.

use serde::Serialize;
use sqlx::FromRow;
use sqlx::postgres::PgArguments;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::auth::{Scopes, hash_password};
use crate::date;
use crate::store::{Column, Resource};

/// A program that asks for tokens. Its secret is shown once, when it is made.
#[derive(Clone, Debug, PartialEq, Serialize, FromRow)]
pub struct OauthClient {
    /// Its own sid.
    #[sqlx(rename = "sid")]
    pub client_id: Uuid,
    /// The secret itself, on the day it is made; `null` later.
    #[sqlx(skip)]
    pub client_secret: Option<String>,
    /// When it was made.
    #[serde(with = "date")]
    pub date_created: OffsetDateTime,
    /// The partner whose it is.
    pub partner_sid: Uuid,
    /// The scopes that its tokens can have.
    pub scopes: Scopes,
    #[serde(skip)]
    secret_hash: String,
}

impl OauthClient {
    /// A new client and its secret. Takes the time of hashing.
    ///
    /// # Errors
    /// Where the machine has no randomness.
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

    /// The PHC string of its secret.
    pub(super) fn secret_hash(&self) -> &str {
        &self.secret_hash
    }
}

impl Resource for OauthClient {
    const KIND: &'static str = "oauth_client";
    const TABLE: &'static str = "oauth_clients";
    const SID: &'static str = "client_id";
    const COLUMNS: &'static [Column] = &[
        Column::new("date_created", "timestamptz"),
        Column::new("scopes", "text"),
        Column::hidden("secret_hash", "text"),
    ];

    fn sid(&self) -> Uuid {
        self.client_id
    }

    fn partner_sid(&self) -> Uuid {
        self.partner_sid
    }

    fn bind(
        clients: &[&Self],
        arguments: &mut PgArguments,
    ) -> Result<(), sqlx::error::BoxDynError> {
        use sqlx::Arguments;
        arguments.add(clients.iter().map(|client| client.date_created).collect::<Vec<_>>())?;
        arguments.add(clients.iter().map(|client| client.scopes.as_str()).collect::<Vec<_>>())?;
        arguments.add(clients.iter().map(|client| &*client.secret_hash).collect::<Vec<_>>())
    }
}
