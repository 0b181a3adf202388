//! The credentials that a token is issued for: the secrets of clients and the passwords of logins.
//!
//! Guessing is slowed down without locking anyone out. After five failures in a row for one client
//! or login, the response to each further *failure* is delayed, by 5 s at most. The right secret is
//! never delayed. Each instance has its own count, which expires after 15 minutes.

use std::ops::Deref;
use std::time::Duration;

use actix_web::HttpRequest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use moka::future::Cache;
use sqlx::PgPool;
use url::form_urlencoded;

use super::clients::OauthClient;
use super::forms::TokenForm;
use super::logins::PartnerLogin;
use crate::auth::{Actor, Passwords, hash};
use crate::error::{ApiError, OauthError};
use crate::http::authorization;
use crate::input::parse_sid;
use crate::store;

/// The number of failures in a row without a delay.
const FREE_FAILURES: u32 = 5;
/// The delay of the next failure. It doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// The longest delay.
const MAX_DELAY: Duration = Duration::from_secs(5);
/// How long failures are stored, and for how many clients and logins.
const FAILURES_TTL: Duration = Duration::from_secs(15 * 60);
const CAPACITY: u64 = 100_000;

/// The credentials of a client.
pub struct ClientCredentials {
    client_id: String,
    client_secret: String,
}

impl ClientCredentials {
    /// Returns those of `Authorization: Basic`, both halves encoded as in a form (RFC 6749, section
    /// 2.3.1). An empty header counts as absent: some clients send one before they ask for a
    /// password.
    pub fn basic(request: &HttpRequest) -> Option<Self> {
        let decoded = BASE64_STANDARD.decode(authorization(request, "basic")?).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (client_id, client_secret) = text.split_once(':')?;
        let (client_id, client_secret) = (form_decoded(client_id), form_decoded(client_secret));
        (!client_id.is_empty()).then_some(Self { client_id, client_secret })
    }

    /// Returns those of a form, if it has any.
    ///
    /// # Errors
    /// `invalid_client` if the secret is absent.
    pub fn in_form(
        client_id: Option<&str>,
        client_secret: Option<&str>,
    ) -> Result<Option<Self>, ApiError> {
        let Some(client_id) = client_id else { return Ok(None) };
        let client_secret = client_secret.ok_or_else(no_client)?;
        Ok(Some(Self { client_id: client_id.to_owned(), client_secret: client_secret.to_owned() }))
    }

    /// Returns those of the header or of the form.
    ///
    /// # Errors
    /// `invalid_client` if neither has any, `invalid_request` if both have.
    pub fn of(request: &HttpRequest, form: &TokenForm) -> Result<Self, ApiError> {
        let (client_id, client_secret) = (form.client_id.as_deref(), form.client_secret.as_deref());
        let Some(basic) = Self::basic(request) else {
            return Self::in_form(client_id, client_secret)?.ok_or_else(no_client);
        };
        let is_same = client_id.is_none_or(|client_id| client_id == basic.client_id);
        if is_same && client_secret.is_none() {
            return Ok(basic);
        }
        // RFC 6749, section 2.3: a request has one authentication.
        let message = "the client must authenticate in the header or in the form, not in both";
        Err(ApiError::bad_argument("client_id", message)
            .with_oauth_code(OauthError::InvalidRequest))
    }
}

fn form_decoded(text: &str) -> String {
    let field = format!("={text}");
    form_urlencoded::parse(field.as_bytes()).map(|(_, value)| value.into_owned()).collect()
}

/// The 401 for a client whose credentials are wrong or missing.
pub fn no_client() -> ApiError {
    ApiError::BadCredentials.with_oauth_code(OauthError::InvalidClient)
}

/// The 401 for a login that is unknown or whose password is wrong.
pub fn no_login() -> ApiError {
    ApiError::BadCredentials.with_oauth_code(OauthError::InvalidGrant)
}

/// A client or login whose secret was verified.
pub(super) struct Verified<T> {
    /// The client or login.
    pub object: T,
    /// The hash of the secret, which must still be accepted when a token is issued.
    pub hash: String,
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

/// Checks secrets and passwords.
pub struct Credentials {
    db: PgPool,
    passwords: Passwords,
    /// Failures in a row, by the hash of the client or login.
    failures: Cache<[u8; 32], u32>,
}

impl Credentials {
    /// Checks credentials against `db`.
    ///
    /// # Errors
    /// If the operating system returns no random bytes.
    pub fn new(db: PgPool) -> anyhow::Result<Self> {
        let failures = Cache::builder().max_capacity(CAPACITY).time_to_live(FAILURES_TTL).build();
        Ok(Self { db, passwords: Passwords::new()?, failures })
    }

    /// Returns the client of these credentials.
    ///
    /// # Errors
    /// `invalid_client` if they are wrong. An unknown client takes as long as a wrong secret.
    pub(super) async fn client(
        &self,
        presented: &ClientCredentials,
    ) -> Result<Verified<OauthClient>, ApiError> {
        let ClientCredentials { client_id, client_secret } = presented;
        let client = self.find_client(client_id).await?;
        let hashes = client.as_ref().map(OauthClient::secret_hashes).unwrap_or_default();
        let who = format!("client {client_id}");
        let hash = self.verify(&who, client_secret, &hashes).await?.map(str::to_owned);
        let verified = client.zip(hash).map(|(object, hash)| Verified { object, hash });
        verified.ok_or_else(no_client)
    }

    async fn find_client(&self, client_id: &str) -> Result<Option<OauthClient>, ApiError> {
        let Some(sid) = parse_sid(client_id) else { return Ok(None) };
        match store::get(&self.db, &Actor::operator(), sid).await {
            Ok(stored) => Ok(Some(stored.object)),
            Err(ApiError::NoItem) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the login of that name and password.
    ///
    /// # Errors
    /// `invalid_grant` if they are wrong. An unknown name takes as long as a wrong password.
    pub(super) async fn login(
        &self,
        name: &str,
        password: &str,
    ) -> Result<Verified<PartnerLogin>, ApiError> {
        let login = self.find_login(name).await?;
        let hashes: Vec<_> =
            login.as_ref().and_then(PartnerLogin::password_hash).into_iter().collect();
        let who = format!("login {name}");
        let hash = self.verify(&who, password, &hashes).await?.map(str::to_owned);
        let verified = login.zip(hash).map(|(object, hash)| Verified { object, hash });
        verified.ok_or_else(no_login)
    }

    async fn find_login(&self, name: &str) -> Result<Option<PartnerLogin>, sqlx::Error> {
        sqlx::query_as(
            "select sid, partner_sid, date_created, date_password_changed, login, password_hash
             from partner_logins where login = $1",
        )
        .bind(name)
        .fetch_optional(&self.db)
        .await
    }

    /// Returns the hash that the secret has. Delays the result after too many failures of `who`.
    async fn verify<'h>(
        &self,
        who: &str,
        secret: &str,
        hashes: &[&'h str],
    ) -> Result<Option<&'h str>, ApiError> {
        let who = hash(who);
        if hashes.is_empty() {
            self.passwords.verify(secret, None).await?;
        }
        for hash in hashes {
            if self.passwords.verify(secret, Some(hash)).await? {
                self.failures.invalidate(&who).await;
                return Ok(Some(hash));
            }
        }
        let failures = self.failures.entry(who).and_upsert_with(|before| {
            std::future::ready(before.map_or(1, |entry| entry.into_value().saturating_add(1)))
        });
        tokio::time::sleep(delay(failures.await.into_value())).await;
        Ok(None)
    }
}

/// The delay of a response after that many failures in a row.
fn delay(failures: u32) -> Duration {
    match failures.saturating_sub(FREE_FAILURES) {
        0 => Duration::ZERO,
        more => FIRST_DELAY.saturating_mul(1 << (more - 1).min(10)).min(MAX_DELAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_five_seconds() {
        let delays: Vec<_> = (4..=12).map(|failures| delay(failures).as_millis()).collect();
        assert_eq!(delays, [0, 0, 250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!(delay(u32::MAX), MAX_DELAY);
    }

    #[test]
    fn basic_credentials_are_encoded_as_in_a_form() {
        assert_eq!(form_decoded("a%3Ab+c%25=d"), "a:b c%=d");
        assert_eq!(form_decoded(""), "");
    }
}
