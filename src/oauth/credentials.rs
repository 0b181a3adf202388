//! Who asks for a token: clients by their secret, logins by their password.
//!
//! Guessing is slowed down, nobody is locked out: after five failures in a row of one client or login, each further *failing*
//! attempt is answered later and later, by five seconds at most. The right secret is answered at once, always. Each instance
//! counts for itself, and forgets after a quarter of an hour.

use std::time::Duration;

use actix_web::HttpRequest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use moka::future::Cache;
use sqlx::PgPool;
use url::form_urlencoded;

use super::{OauthClient, PartnerLogin};
use crate::auth::{Actor, Passwords, hash};
use crate::error::{ApiError, OauthError};
use crate::http::{Form, authorization};
use crate::input::parse_sid;
use crate::store;

/// How many failures in a row are answered at once.
const FREE_FAILURES: u32 = 5;
/// How much later the next one is answered; each further one twice as late.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The latest that one is answered.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long failures are remembered, and of how many clients and logins.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);
const CAPACITY: u64 = 100_000;

/// What a client says of itself.
pub struct ClientCredentials {
    client_id: String,
    client_secret: String,
}

impl ClientCredentials {
    /// Those of `Authorization: Basic`, both halves encoded as in a form (RFC 6749, section 2.3.1).
    ///
    /// A header that says nothing is as none: some clients send one before they ask for a password.
    pub fn basic(request: &HttpRequest) -> Option<Self> {
        let decoded = BASE64_STANDARD.decode(authorization(request, "basic")?).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (client_id, client_secret) = text.split_once(':')?;
        let (client_id, client_secret) = (form_decoded(client_id), form_decoded(client_secret));
        (!client_id.is_empty()).then_some(Self { client_id, client_secret })
    }

    /// Those of the form.
    pub fn in_form(form: &Form) -> Result<Option<Self>, ApiError> {
        let Some(client_id) = form.get("client_id") else { return Ok(None) };
        let client_secret = form.get("client_secret").ok_or_else(no_client)?;
        Ok(Some(Self { client_id: client_id.to_owned(), client_secret: client_secret.to_owned() }))
    }

    /// Those of the header or of the form.
    ///
    /// # Errors
    /// `invalid_client` where there are none, `invalid_request` where there are two.
    pub fn of(request: &HttpRequest, form: &Form) -> Result<Self, ApiError> {
        let Some(basic) = Self::basic(request) else {
            return Self::in_form(form)?.ok_or_else(no_client);
        };
        let same = form.get("client_id").is_none_or(|client_id| client_id == basic.client_id);
        if same && form.get("client_secret").is_none() {
            return Ok(basic);
        }
        // RFC 6749, section 2.3: one way of authenticating a request.
        let message = "the client must prove itself in the header or in the form, not in both";
        Err(ApiError::bad_argument("client_id", message)
            .with_oauth_code(OauthError::InvalidRequest))
    }
}

fn form_decoded(text: &str) -> String {
    let field = format!("={text}");
    form_urlencoded::parse(field.as_bytes()).map(|(_, value)| value.into_owned()).collect()
}

/// A 401: the client is not who it says, or says nothing.
pub fn no_client() -> ApiError {
    ApiError::BadCredentials.with_oauth_code(OauthError::InvalidClient)
}

/// A 401: the login is unknown, or its password wrong.
pub fn no_login() -> ApiError {
    ApiError::BadCredentials.with_oauth_code(OauthError::InvalidGrant)
}

/// Judges secrets and passwords.
pub struct Credentials {
    db: PgPool,
    passwords: Passwords,
    /// Failures in a row, by the hash of who fails.
    failures: Cache<[u8; 32], u32>,
}

impl Credentials {
    /// Judges by what `db` keeps.
    ///
    /// # Errors
    /// Where the machine has no randomness.
    pub fn new(db: PgPool) -> anyhow::Result<Self> {
        let failures = Cache::builder().max_capacity(CAPACITY).time_to_live(REMEMBERED).build();
        Ok(Self { db, passwords: Passwords::new()?, failures })
    }

    /// The client that these credentials prove.
    ///
    /// # Errors
    /// `invalid_client` where they prove none, in the same time for an unknown client as for a wrong secret.
    pub async fn client(&self, presented: &ClientCredentials) -> Result<OauthClient, ApiError> {
        let ClientCredentials { client_id, client_secret } = presented;
        let client = self.find_client(client_id).await?;
        let kept = client.as_ref().map(OauthClient::secret_hash);
        let right = self.is_right(&format!("client {client_id}"), client_secret, kept).await?;
        client.filter(|_| right).ok_or_else(no_client)
    }

    async fn find_client(&self, client_id: &str) -> Result<Option<OauthClient>, ApiError> {
        let Some(sid) = parse_sid(client_id) else { return Ok(None) };
        match store::get(&self.db, &Actor::operator(), sid).await {
            Ok(stored) => Ok(Some(stored.object)),
            Err(ApiError::NoItem) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The login of that name and password.
    ///
    /// # Errors
    /// `invalid_grant` where there is none, in the same time for an unknown name as for a wrong password.
    pub async fn login(&self, name: &str, password: &str) -> Result<PartnerLogin, ApiError> {
        let login: Option<PartnerLogin> = sqlx::query_as(
            "select sid, partner_sid, date_created, date_password_changed, login, password_hash
             from partner_logins where login = $1",
        )
        .bind(name)
        .fetch_optional(&self.db)
        .await?;
        let kept = login.as_ref().map(PartnerLogin::password_hash);
        let right = self.is_right(&format!("login {name}"), password, kept).await?;
        login.filter(|_| right).ok_or_else(no_login)
    }

    /// Whether the secret is the one that was hashed. The answer no comes late after many of them.
    async fn is_right(
        &self,
        who: &str,
        secret: &str,
        kept: Option<&str>,
    ) -> Result<bool, ApiError> {
        let who = hash(who);
        if self.passwords.verify(secret, kept).await? {
            self.failures.invalidate(&who).await;
            return Ok(true);
        }
        let failures = self.failures.entry(who).and_upsert_with(|before| {
            std::future::ready(before.map_or(1, |entry| entry.into_value().saturating_add(1)))
        });
        tokio::time::sleep(pause(failures.await.into_value())).await;
        Ok(false)
    }
}

/// How long an answer waits after so many failures in a row.
fn pause(failures: u32) -> Duration {
    match failures.saturating_sub(FREE_FAILURES) {
        0 => Duration::ZERO,
        more => FIRST_PAUSE.saturating_mul(1 << (more - 1).min(10)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_five_seconds() {
        let pauses: Vec<_> = (4..=12).map(|failures| pause(failures).as_millis()).collect();
        assert_eq!(pauses, [0, 0, 250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn the_halves_of_basic_are_encoded_as_in_a_form() {
        assert_eq!(form_decoded("a%3Ab+c%25=d"), "a:b c%=d");
        assert_eq!(form_decoded(""), "");
    }
}
