//! From a bearer token to its [`Principal`], with a cache.
//!
//! Functions that query the database fail with [`sqlx::Error`] if it is not available.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::future::Cache;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgExecutor, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::actor::Principal;
use super::keys::Keys;
use super::last_access::LastAccess;
use super::scope::{Scope, Scopes};
use crate::error::is_connection_lost;
use crate::input::parse_sid;

/// The longest time that a look-up takes: longer than its statements, unless the database hangs.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);
/// The lifetime of a cached lookup. A revocation, a removed scope or a suspension takes effect
/// after this time at the latest.
const CACHE_LIFETIME: Duration = Duration::from_secs(3);
/// The most lookups that are cached.
const CACHE_CAPACITY: u64 = 100_000;

/// Returns the SHA-256 of a secret. Only this hash is stored.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Returns the header and claims of a JWT, without the signature.
///
/// A revocation stores the hash of this part: with some algorithms, a second valid signature can be
/// derived from the first without the key.
pub fn signed_part(jwt: &str) -> &str {
    jwt.rsplit_once('.').map_or(jwt, |(signed, _)| signed)
}

/// Called with the error of a connection that was lost, before the look-up is repeated.
pub type OnLoss = Box<dyn Fn(&sqlx::Error) + Send + Sync>;

/// Finds the principals of bearer tokens.
pub struct Authenticator {
    db: PgPool,
    on_loss: OnLoss,
    keys: Keys,
    last_access: LastAccess,
    cache: Cache<[u8; 32], Lookup>,
}

/// The result of looking up a token.
#[derive(Clone)]
struct Lookup {
    /// The principal and its expiry in seconds since 1970. `None` if the token is not valid.
    found: Option<(Arc<Principal>, i64)>,
    /// The start of the lookup. The result is not older.
    started: Instant,
}

impl Authenticator {
    /// Returns an authenticator that verifies JWTs with `keys` and finds opaque tokens in `db`.
    pub fn new(db: PgPool, on_loss: OnLoss, keys: Keys) -> Self {
        let cache =
            Cache::builder().max_capacity(CACHE_CAPACITY).time_to_live(CACHE_LIFETIME).build();
        Self { db, on_loss, keys, last_access: LastAccess::default(), cache }
    }

    /// Returns the keys that sign and verify JWTs.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Reads the keys again if their files have changed. A failure is logged, and the keys remain.
    pub fn reload_keys(&self) {
        match self.keys.reload() {
            Ok(false) => {}
            Ok(true) => {
                self.cache.invalidate_all();
                tracing::info!("read the keys of JWTs again, because a file has changed");
            }
            Err(error) => {
                let cause = &*error as &dyn std::error::Error;
                tracing::error!(error = cause, "the keys of JWTs were not replaced");
            }
        }
    }

    /// Returns the last accesses that are not saved yet.
    pub fn last_access(&self) -> &LastAccess {
        &self.last_access
    }

    /// Saves the last accesses of tokens and deletes the revocations of tokens that have expired.
    ///
    /// # Errors
    /// As this module. The last accesses are lost then.
    pub async fn maintain(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.last_access.save(connection).await?;
        sqlx::query("delete from revoked_tokens where date_expiration < $1")
            .bind(OffsetDateTime::now_utc())
            .execute(connection)
            .await?;
        Ok(())
    }

    /// Returns the bearer of `token`. `None` if the token is malformed, expired, revoked or
    /// unknown, or its partner is suspended.
    ///
    /// # Errors
    /// As this module.
    pub async fn principal(&self, token: &str) -> Result<Option<Arc<Principal>>, Arc<sqlx::Error>> {
        let key = hash(token);
        let mut lookup = self.cache.try_get_with(key, self.look_up(token)).await?;
        // The cache counts from the end of a lookup. One that took long may be out of date.
        if lookup.started.elapsed() > CACHE_LIFETIME {
            self.cache.invalidate(&key).await;
            lookup = self.cache.try_get_with(key, self.look_up(token)).await?;
        }
        let now = OffsetDateTime::now_utc().unix_timestamp();
        Ok(lookup.found.filter(|(_, expiry)| now < *expiry).map(|(principal, _)| principal))
    }

    async fn look_up(&self, token: &str) -> Result<Lookup, sqlx::Error> {
        let started = Instant::now();
        let find = async || match self.find(token).await {
            Err(error) if is_connection_lost(&error) => {
                (self.on_loss)(&error);
                self.find(token).await
            }
            outcome => outcome,
        };
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, find()).await;
        let hangs = || sqlx::Error::Io(io::ErrorKind::TimedOut.into());
        Ok(Lookup { found: found.unwrap_or_else(|_| Err(hangs()))?, started })
    }

    /// Finds the principal and its expiry in seconds since 1970.
    async fn find(&self, token: &str) -> Result<Option<(Arc<Principal>, i64)>, sqlx::Error> {
        let presented = if token.split('.').count() == 3 {
            self.verify_jwt(token).await?
        } else {
            self.find_opaque(token).await?
        };
        let Some(presented) = presented else { return Ok(None) };
        let ancestry = PartnerAncestry::of(&self.db, presented.partner_sid).await?;
        let Some(ancestry) = ancestry.filter(|ancestry| ancestry.active) else {
            return Ok(None);
        };
        let PartnerAncestry {
            scopes: partner_scopes, requires_if_match, depth, subtree_sid, ..
        } = ancestry;
        let scopes =
            presented.scopes.into_iter().filter(|scope| partner_scopes.contains(scope)).collect();
        let Presented { partner_sid, token_sid, expiry, .. } = presented;
        let principal =
            Principal { partner_sid, subtree_sid, token_sid, scopes, requires_if_match, depth };
        Ok(Some((Arc::new(principal), expiry)))
    }

    /// Verifies a JWT. Its row, if there is one, can shorten its life and narrow its scopes.
    async fn verify_jwt(&self, token: &str) -> Result<Option<Presented>, sqlx::Error> {
        let Some(claims) = self.keys.verify(token) else { return Ok(None) };
        let mut presented = Presented {
            partner_sid: claims.sub,
            token_sid: claims.jti.as_deref().and_then(parse_sid),
            scopes: Scopes::from(claims.scope.clone()).iter().collect(),
            expiry: claims.expiry(),
        };
        match self.row_of(&presented).await? {
            Some(row) => {
                presented.scopes.retain(|scope| row.scopes.contains(scope));
                presented.expiry = presented.expiry.min(row.expiry);
                Ok(Some(presented))
            }
            // A JWT of another system that signs with the same keys has no row.
            None if self.was_revoked(token).await? => Ok(None),
            None => Ok(Some(presented)),
        }
    }

    /// Finds the row of a JWT.
    async fn row_of(&self, presented: &Presented) -> Result<Option<Presented>, sqlx::Error> {
        let Some(token_sid) = presented.token_sid else { return Ok(None) };
        let row: Option<TokenRow> = sqlx::query_as(
            "select sid, partner_sid, scopes, date_expiration_access_token,
                 date_expiration_access_token <= date_created as is_revoked
             from oauth_tokens where sid = $1 and partner_sid = $2",
        )
        .bind(token_sid)
        .bind(presented.partner_sid)
        .fetch_optional(&self.db)
        .await?;
        Ok(row.map(TokenRow::presented))
    }

    /// Returns whether a JWT without a row was revoked.
    async fn was_revoked(&self, token: &str) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("select exists (select from revoked_tokens where hash = $1)")
            .bind(hash(signed_part(token)))
            .fetch_one(&self.db)
            .await
    }

    /// Finds an opaque token.
    async fn find_opaque(&self, token: &str) -> Result<Option<Presented>, sqlx::Error> {
        let Some(token) = parse_sid(token) else { return Ok(None) };
        let row: Option<TokenRow> = sqlx::query_as(
            "select sid, partner_sid, scopes, date_expiration_access_token,
                 date_expiration_access_token <= date_created as is_revoked
             from oauth_tokens where access_hash = $1",
        )
        .bind(hash(&token.to_string()))
        .fetch_optional(&self.db)
        .await?;
        Ok(row.map(TokenRow::presented))
    }
}

/// The properties that a partner shares with all its ancestors.
#[derive(Debug)]
pub struct PartnerAncestry {
    /// Whether all of them are active.
    pub active: bool,
    /// The scopes that all of them have.
    pub scopes: Vec<Scope>,
    /// Whether writes to objects of the partner itself require `If-Match`.
    pub requires_if_match: bool,
    /// The depth of the partner in its tree. A root has depth 1.
    pub depth: i32,
    /// The partner that starts the subtree of the partner itself.
    pub subtree_sid: Uuid,
}

impl PartnerAncestry {
    /// Loads the properties of that partner and its ancestors. `None` if there is no such partner.
    ///
    /// # Errors
    /// As this module.
    pub async fn of(
        db: impl PgExecutor<'_>,
        partner_sid: Uuid,
    ) -> Result<Option<Self>, sqlx::Error> {
        let partners: Vec<(bool, Scopes, bool, Uuid)> = sqlx::query_as(
            "select partners.status = 'active', partners.available_scopes,
                 partners.sid = $1 and partners.requires_if_match,
                 (select coalesce(subtree_sid, sid) from partners where sid = $1)
             from partner_tree join partners on partners.sid = partner_tree.ancestor_sid
             where partner_tree.descendant_sid = $1",
        )
        .bind(partner_sid)
        .fetch_all(db)
        .await?;
        let partners =
            partners.into_iter().map(|(active, scopes, requires_if_match, subtree_sid)| Self {
                requires_if_match,
                active,
                scopes: scopes.iter().collect(),
                depth: 1,
                subtree_sid,
            });
        Ok(partners.reduce(Self::and))
    }

    fn and(mut self, other: Self) -> Self {
        self.active &= other.active;
        self.requires_if_match |= other.requires_if_match;
        // One row for each ancestor and for the partner itself.
        self.depth += other.depth;
        self.scopes.retain(|scope| other.scopes.contains(scope));
        self
    }
}

/// The content of a token that is valid in itself.
struct Presented {
    partner_sid: Uuid,
    token_sid: Option<Uuid>,
    scopes: Vec<Scope>,
    expiry: i64,
}

#[derive(sqlx::FromRow)]
struct TokenRow {
    sid: Uuid,
    partner_sid: Uuid,
    scopes: Scopes,
    date_expiration_access_token: OffsetDateTime,
    /// A revoked token expires at its date of issue, which may be later by the clock of this
    /// instance.
    is_revoked: bool,
}

impl TokenRow {
    fn presented(self) -> Presented {
        Presented {
            partner_sid: self.partner_sid,
            token_sid: Some(self.sid),
            scopes: self.scopes.iter().collect(),
            expiry: if self.is_revoked {
                i64::MIN
            } else {
                self.date_expiration_access_token.unix_timestamp()
            },
        }
    }
}
