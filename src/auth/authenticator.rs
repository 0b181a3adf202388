//! From a bearer token to its [`Principal`], remembered for a moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::future::Cache;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgExecutor, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::actor::Principal;
use super::jwt::Keys;
use super::last_access::LastAccess;
use super::scope::{Scope, Scopes};
use crate::input::parse_sid;

/// A revoked token, a narrowed scope or a suspended partner is believed for no longer than this.
const REMEMBERED: Duration = Duration::from_secs(3);
/// How many tokens are remembered at a time.
const CAPACITY: u64 = 100_000;

/// The SHA-256 of a secret: all of it that is ever kept.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Head and claims of a JWT. For some algorithms, anybody can make a second valid signature of these from a first.
pub fn signed_part(jwt: &str) -> &str {
    jwt.rsplit_once('.').map_or(jwt, |(signed, _)| signed)
}

/// Knows the bearers of tokens.
pub struct Authenticator {
    db: PgPool,
    keys: Keys,
    last_access: LastAccess,
    remembered: Cache<[u8; 32], Remembered>,
}

/// What became of a look-up.
#[derive(Clone)]
struct Remembered {
    /// The principal and the second in which it ends; none where the token is no good.
    found: Option<(Arc<Principal>, i64)>,
    /// When the look-up began: what it found is no older.
    since: Instant,
}

impl Authenticator {
    /// An authenticator that verifies JWTs with `keys` and looks everything else up in `db`.
    pub fn new(db: PgPool, keys: Keys) -> Self {
        let remembered = Cache::builder().max_capacity(CAPACITY).time_to_live(REMEMBERED).build();
        Self { db, keys, last_access: LastAccess::default(), remembered }
    }

    /// The keys that JWTs are made with.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Who used which token last.
    pub fn last_access(&self) -> &LastAccess {
        &self.last_access
    }

    /// Writes down what can wait: who used which token last. Forgets revocations of tokens that have ended by themselves.
    ///
    /// # Errors
    /// Where the database is away; what was to be written is lost then.
    pub async fn write_behind(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.last_access.write(connection).await?;
        sqlx::query("delete from revoked_tokens where date_expiration < $1")
            .bind(OffsetDateTime::now_utc())
            .execute(connection)
            .await?;
        Ok(())
    }

    /// The bearer of `token`; none where it is malformed, expired, revoked or unknown, or its partner is suspended.
    ///
    /// # Errors
    /// Where the database could not be asked.
    pub async fn principal(&self, token: &str) -> Result<Option<Arc<Principal>>, Arc<sqlx::Error>> {
        let key = hash(token);
        let mut remembered = self.remembered.try_get_with(key, self.look_up(token)).await?;
        // A look-up that took long tells of what may be over.
        if remembered.since.elapsed() > REMEMBERED {
            self.remembered.invalidate(&key).await;
            remembered = self.remembered.try_get_with(key, self.look_up(token)).await?;
        }
        let now = OffsetDateTime::now_utc().unix_timestamp();
        Ok(remembered.found.filter(|(_, expiry)| now < *expiry).map(|(principal, _)| principal))
    }

    async fn look_up(&self, token: &str) -> Result<Remembered, sqlx::Error> {
        let since = Instant::now();
        Ok(Remembered { found: self.find(token).await?, since })
    }

    /// The principal and the second in which it ends.
    async fn find(&self, token: &str) -> Result<Option<(Arc<Principal>, i64)>, sqlx::Error> {
        let presented = if token.split('.').count() == 3 {
            self.verified(token).await?
        } else {
            self.known(token).await?
        };
        let Some(presented) = presented else { return Ok(None) };
        let lineage = PartnerAncestry::of(&self.db, presented.partner_sid).await?;
        let requires_if_match = lineage.as_ref().is_some_and(|lineage| lineage.requires_if_match);
        let Some(partner_scopes) = lineage.and_then(PartnerAncestry::effective) else {
            return Ok(None);
        };
        let scopes =
            presented.scopes.into_iter().filter(|scope| partner_scopes.contains(scope)).collect();
        let Presented { partner_sid, token_sid, expiry, .. } = presented;
        Ok(Some((
            Arc::new(Principal { partner_sid, token_sid, scopes, requires_if_match }),
            expiry,
        )))
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
        match self.row_of(&presented).await? {
            Some(row) => {
                presented.scopes.retain(|scope| row.scopes.contains(scope));
                presented.expiry = presented.expiry.min(row.expiry);
                Ok(Some(presented))
            }
            // Another system that signs with our keys may use sids of its own.
            None if self.was_revoked(token).await? => Ok(None),
            None => Ok(Some(presented)),
        }
    }

    /// Our row of a JWT.
    async fn row_of(&self, presented: &Presented) -> Result<Option<Presented>, sqlx::Error> {
        let Some(token_sid) = presented.token_sid else { return Ok(None) };
        let row: Option<TokenRow> = sqlx::query_as(
            "select sid, partner_sid, scopes, date_expiration_access_token
             from oauth_tokens where sid = $1 and partner_sid = $2",
        )
        .bind(token_sid)
        .bind(presented.partner_sid)
        .fetch_optional(&self.db)
        .await?;
        Ok(row.map(TokenRow::presented))
    }

    /// Whether a JWT of which we have no row was revoked.
    async fn was_revoked(&self, token: &str) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("select exists (select from revoked_tokens where hash = $1)")
            .bind(hash(signed_part(token)))
            .fetch_one(&self.db)
            .await
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
pub struct PartnerAncestry {
    /// Whether none of them is suspended.
    pub active: bool,
    /// The scopes that all of them hold.
    pub scopes: Vec<Scope>,
    /// Whether the partner itself wants every change of its objects to say which version it is for.
    pub requires_if_match: bool,
}

impl PartnerAncestry {
    /// That of the partner; none where there is no such partner.
    ///
    /// # Errors
    /// Where the database could not be asked.
    pub async fn of(
        db: impl PgExecutor<'_>,
        partner_sid: Uuid,
    ) -> Result<Option<Self>, sqlx::Error> {
        let lineage: Vec<(bool, Scopes, bool)> = sqlx::query_as(
            "select partners.status = 'active', partners.available_scopes, partners.sid = $1 and partners.requires_if_match
             from partner_tree join partners on partners.sid = partner_tree.ancestor_sid
             where partner_tree.descendant_sid = $1",
        )
        .bind(partner_sid)
        .fetch_all(db)
        .await?;
        let generations = lineage.into_iter().map(|(active, scopes, requires_if_match)| Self {
            requires_if_match,
            active,
            scopes: scopes.iter().collect(),
        });
        Ok(generations.reduce(Self::and))
    }

    fn and(mut self, other: Self) -> Self {
        self.active &= other.active;
        self.requires_if_match |= other.requires_if_match;
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
