//! From a bearer token to its [`Principal`], remembered for a moment.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use sha2::{Digest, Sha256};
use sqlx::{PgExecutor, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Keys, Principal, Scope, Scopes};
use crate::input::parse_sid;
use crate::partners::Status;

/// A revoked token, a narrowed scope or a suspended partner is believed for no longer than this.
const REMEMBERED: Duration = Duration::from_secs(3);
/// How many tokens are remembered at a time.
const CAPACITY: u64 = 100_000;

/// The SHA-256 of a secret: all of it that is ever kept.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Knows the bearers of tokens.
pub struct Authenticator {
    db: PgPool,
    keys: Keys,
    remembered: Cache<[u8; 32], Option<(Arc<Principal>, i64)>>,
}

impl Authenticator {
    /// An authenticator that verifies JWTs with `keys` and looks everything else up in `db`.
    pub fn new(db: PgPool, keys: Keys) -> Self {
        let remembered = Cache::builder().max_capacity(CAPACITY).time_to_live(REMEMBERED).build();
        Self { db, keys, remembered }
    }

    /// The keys that JWTs are made with.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The bearer of `token`; none where it is malformed, expired, revoked or unknown, or its partner is suspended.
    ///
    /// # Errors
    /// Where the database could not be asked.
    pub async fn principal(&self, token: &str) -> Result<Option<Arc<Principal>>, Arc<sqlx::Error>> {
        let found = self.remembered.try_get_with(hash(token), self.look_up(token)).await?;
        let now = OffsetDateTime::now_utc().unix_timestamp();
        Ok(found.filter(|(_, expiry)| now < *expiry).map(|(principal, _)| principal))
    }

    /// The principal and the second in which it ends.
    async fn look_up(&self, token: &str) -> Result<Option<(Arc<Principal>, i64)>, sqlx::Error> {
        let presented = if token.split('.').count() == 3 {
            self.verified(token).await?
        } else {
            self.known(token).await?
        };
        let Some(presented) = presented else { return Ok(None) };
        let lineage = Lineage::of(&self.db, presented.partner_sid).await?;
        let Some(partner_scopes) = lineage.and_then(Lineage::effective) else { return Ok(None) };
        let scopes =
            presented.scopes.into_iter().filter(|scope| partner_scopes.contains(scope)).collect();
        let Presented { partner_sid, token_sid, expiry, .. } = presented;
        Ok(Some((Arc::new(Principal { partner_sid, token_sid, scopes }), expiry)))
    }

    /// A JWT that one of our keys signed, unless its row has ended it.
    async fn verified(&self, token: &str) -> Result<Option<Presented>, sqlx::Error> {
        let Some(claims) = self.keys.verify(token) else { return Ok(None) };
        let mut presented = Presented {
            partner_sid: claims.sub,
            token_sid: claims.jti.as_deref().and_then(parse_sid),
            scopes: Scopes::from(claims.scope.clone()).iter().collect(),
            expiry: claims.expiry(),
        };
        if let Some(token_sid) = presented.token_sid {
            let row: Option<TokenRow> = sqlx::query_as(
                "select sid, partner_sid, scopes, date_expiration_access_token from oauth_tokens where sid = $1",
            )
            .bind(token_sid)
            .fetch_optional(&self.db)
            .await?;
            // Another system that signs with our keys may use sids of its own.
            if let Some(row) = row.map(TokenRow::presented) {
                presented.scopes.retain(|scope| row.scopes.contains(scope));
                presented.expiry = presented.expiry.min(row.expiry);
            }
        }
        Ok(Some(presented))
    }

    /// An opaque token that we made.
    async fn known(&self, token: &str) -> Result<Option<Presented>, sqlx::Error> {
        let Some(token) = parse_sid(token) else { return Ok(None) };
        let row: Option<TokenRow> = sqlx::query_as(
            "select sid, partner_sid, scopes, date_expiration_access_token from oauth_tokens where access_hash = $1",
        )
        .bind(hash(&token.to_string()))
        .fetch_optional(&self.db)
        .await?;
        Ok(row.map(TokenRow::presented))
    }
}

/// What a partner and all its ancestors agree on.
#[derive(Debug)]
pub struct Lineage {
    /// Whether none of them is suspended.
    pub active: bool,
    /// The scopes that all of them hold.
    pub scopes: Vec<Scope>,
}

impl Lineage {
    /// That of the partner; none where there is no such partner.
    ///
    /// # Errors
    /// Where the database could not be asked.
    pub async fn of(
        db: impl PgExecutor<'_>,
        partner_sid: Uuid,
    ) -> Result<Option<Self>, sqlx::Error> {
        let lineage: Vec<(Status, Scopes)> = sqlx::query_as(
            "select partners.status, partners.available_scopes
             from partner_tree join partners on partners.sid = partner_tree.ancestor_sid
             where partner_tree.descendant_sid = $1",
        )
        .bind(partner_sid)
        .fetch_all(db)
        .await?;
        let generations = lineage.into_iter().map(|(status, scopes)| Self {
            active: status == Status::Active,
            scopes: scopes.iter().collect(),
        });
        Ok(generations.reduce(Self::and))
    }

    fn and(mut self, other: Self) -> Self {
        self.active &= other.active;
        self.scopes.retain(|scope| other.scopes.contains(scope));
        self
    }

    /// The scopes that are good for anything: none where one of the partners is suspended.
    pub fn effective(self) -> Option<Vec<Scope>> {
        self.active.then_some(self.scopes)
    }
}

/// What a token says of itself.
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
}

impl TokenRow {
    fn presented(self) -> Presented {
        Presented {
            partner_sid: self.partner_sid,
            token_sid: Some(self.sid),
            scopes: self.scopes.iter().collect(),
            expiry: self.date_expiration_access_token.unix_timestamp(),
        }
    }
}
