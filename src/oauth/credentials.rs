//! The credentials that a token is issued for: the secrets of clients and the passwords of logins.
//!
//! A secret that was verified in the last five minutes is recognised by a keyed hash, at once.
//! Others wait in a fair queue ([`crate::auth`]), before they are looked up.
//!
//! Guessing is slowed down without locking anyone out. After five failures in a row for one client
//! or login, the response to each further *failure* is delayed, by 5 s at most, and until then
//! other requests for the same client or login from the same address wait. The right secret itself
//! is not delayed. Each instance has its own count, which expires after 15 minutes.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use moka::future::Cache;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::form_urlencoded;
use uuid::Uuid;

use super::clients::OauthClient;
use super::forms::TokenForm;
use super::logins::PartnerLogin;
use crate::auth::{Actor, Passwords, Subject, hash};
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
/// The most requests with a recognised secret of one client or login that run at a time: the rest
/// wait, so that they do not take every connection.
const MAX_IN_USE: usize = 4;
/// The longest time that they wait.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a secret is recognised after it was verified.
const RECOGNITION_TTL: Duration = Duration::from_secs(5 * 60);

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
    /// The right of a recognised secret to be in use; see [`MAX_IN_USE`].
    _permit: Option<OwnedSemaphorePermit>,
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

/// An object with secrets.
trait HasSecrets {
    /// The hashes of the secrets that are accepted.
    fn hashes(&self) -> Vec<&str>;
}

impl HasSecrets for OauthClient {
    fn hashes(&self) -> Vec<&str> {
        self.secret_hashes()
    }
}

impl HasSecrets for PartnerLogin {
    fn hashes(&self) -> Vec<&str> {
        self.password_hash().into_iter().collect()
    }
}

/// Checks secrets and passwords.
pub struct Credentials {
    db: PgPool,
    passwords: Passwords,
    /// Failures in a row, by client or login.
    failures: Cache<Subject, u32>,
    /// The hashes of secrets that were verified, by their fingerprints. The hash must still be that
    /// of the client or login.
    recognised: Cache<[u8; 32], String>,
    /// The requests with recognised secrets that run, by client or login.
    in_use: Cache<Subject, Arc<Semaphore>>,
    /// The random key of the fingerprints.
    key: [u8; 32],
}

impl Credentials {
    /// Checks credentials against `db`.
    ///
    /// # Errors
    /// If the operating system returns no random bytes.
    pub fn new(db: PgPool) -> anyhow::Result<Self> {
        let failures = Cache::builder().max_capacity(CAPACITY).time_to_live(FAILURES_TTL).build();
        let recognised =
            Cache::builder().max_capacity(CAPACITY).time_to_live(RECOGNITION_TTL).build();
        let in_use = Cache::builder().max_capacity(CAPACITY).time_to_idle(RECOGNITION_TTL).build();
        let key = hash(&[Uuid::new_v4(), Uuid::new_v4()].map(|key| key.to_string()).concat());
        Ok(Self { db, passwords: Passwords::new()?, failures, recognised, in_use, key })
    }

    /// Returns the client of these credentials, which were sent from that address.
    ///
    /// # Errors
    /// `invalid_client` if they are wrong, [`ApiError::TooManyRequests`] if too many requests wait.
    /// An unknown client takes as long as a wrong secret.
    pub(super) async fn client(
        &self,
        presented: &ClientCredentials,
        address: Option<IpAddr>,
    ) -> Result<Verified<OauthClient>, ApiError> {
        let ClientCredentials { client_id, client_secret } = presented;
        let sid = parse_sid(client_id);
        // All spellings of a sid are one client, and what is no sid is none.
        let subject =
            hash(&format!("client {}", sid.map(|sid| sid.to_string()).unwrap_or_default()));
        let find = async || match sid {
            Some(sid) => self.find_client(sid).await,
            None => Ok(None),
        };
        let verified = self.verify(subject, address, client_secret, find).await?;
        verified.ok_or_else(no_client)
    }

    async fn find_client(&self, sid: Uuid) -> Result<Option<OauthClient>, ApiError> {
        match store::get(&self.db, &Actor::operator(), sid).await {
            Ok(stored) => Ok(Some(stored.object)),
            Err(ApiError::NoItem) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the login of that name and password, which were sent from that address.
    ///
    /// # Errors
    /// `invalid_grant` if they are wrong, [`ApiError::TooManyRequests`] if too many requests wait.
    /// An unknown name takes as long as a wrong password.
    pub(super) async fn login(
        &self,
        name: &str,
        password: &str,
        address: Option<IpAddr>,
    ) -> Result<Verified<PartnerLogin>, ApiError> {
        let find = async || Ok(self.find_login(name).await?);
        let verified = self.verify(hash(&format!("login {name}")), address, password, find).await?;
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

    /// Returns the client or login that `find` returns, if it has that secret. Delays the result
    /// after too many failures.
    async fn verify<T: HasSecrets>(
        &self,
        subject: Subject,
        address: Option<IpAddr>,
        secret: &str,
        find: impl AsyncFn() -> Result<Option<T>, ApiError>,
    ) -> Result<Option<Verified<T>>, ApiError> {
        let fingerprint = self.fingerprint(subject, secret);
        if let Some(hash) = self.recognised.get(&fingerprint).await {
            let permit = Some(self.permit(subject).await?);
            if let Some(object) = store::within_limit(find()).await?
                && object.hashes().contains(&&*hash)
            {
                return Ok(Some(Verified { object, hash, _permit: permit }));
            }
            self.recognised.invalidate(&fingerprint).await;
        }
        // The look-up follows, so that guesses take no connection while they wait.
        let turn = self.passwords.turn(subject, address).await?;
        let found = store::within_limit(find()).await?;
        let hashes = found.as_ref().map(HasSecrets::hashes).unwrap_or_default();
        let hashes = hashes.into_iter().map(str::to_owned).collect();
        let (hash, _lane) = self.passwords.verify(turn, secret, hashes).await?;
        if let Some((object, hash)) = found.zip(hash) {
            self.failures.invalidate(&subject).await;
            self.recognised.insert(fingerprint, hash.clone()).await;
            return Ok(Some(Verified { object, hash, _permit: None }));
        }
        let failures = self.failures.entry(subject).and_upsert_with(|before| {
            std::future::ready(before.map_or(1, |entry| entry.into_value().saturating_add(1)))
        });
        tokio::time::sleep(delay(failures.await.into_value())).await;
        Ok(None)
    }

    /// Waits until another request with a recognised secret can run.
    async fn permit(&self, subject: Subject) -> Result<OwnedSemaphorePermit, ApiError> {
        let new = async { Arc::new(Semaphore::new(MAX_IN_USE)) };
        let permit = self.in_use.get_with(subject, new).await.acquire_owned();
        let permit = tokio::time::timeout(PERMIT_TIMEOUT, permit).await.ok().and_then(Result::ok);
        permit.ok_or(ApiError::TooManyRequests { retry_after: 1 })
    }

    /// Returns a keyed hash of a secret. The key never leaves the process.
    fn fingerprint(&self, subject: Subject, secret: &str) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.key)
            .chain_update(subject)
            .chain_update(secret)
            .finalize()
            .into()
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
