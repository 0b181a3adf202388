//! From a bearer token to its [`Principal`], with a cache.
//!
//! Functions that query the database fail with [`sqlx::Error`] if it is not available.

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use moka::future::Cache;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgExecutor, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::actor::Principal;
use super::jwt::Claims;
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
    /// The bearer. `None` if the token is not valid, whatever the time.
    found: Option<Bearer>,
    /// The start of the lookup. The result is not older.
    started: Instant,
}

/// The bearer of a token, and when the token is valid, in seconds since 1970.
#[derive(Clone)]
struct Bearer {
    principal: Arc<Principal>,
    begin: i64,
    expiry: i64,
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

    /// Deletes the revocations of tokens that expired a day ago or earlier, in small batches. A day
    /// is more than the clocks of instances differ.
    ///
    /// # Errors
    /// As this module.
    pub async fn purge_revocations(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        const BATCH: i64 = 1_000;
        let statement = "
            delete from revoked_tokens
            where hash = any(array(
                select hash from revoked_tokens
                where date_expiration < now() - interval '1 day' limit $1
            ))";
        loop {
            let purged = sqlx::query(statement).bind(BATCH).execute(&mut *connection).await?;
            if purged.rows_affected() < BATCH as u64 {
                return Ok(());
            }
        }
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
        let valid = lookup.found.filter(|bearer| (bearer.begin..bearer.expiry).contains(&now));
        Ok(valid.map(|bearer| bearer.principal))
    }

    async fn look_up(&self, token: &str) -> Result<Lookup, sqlx::Error> {
        let started = Instant::now();
        let find = async || match self.find(&[token]).await {
            Err(error) if is_connection_lost(&error) => {
                (self.on_loss)(&error);
                self.find(&[token]).await
            }
            outcome => outcome,
        };
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, find()).await;
        let hangs = || sqlx::Error::Io(io::ErrorKind::TimedOut.into());
        let found = found.unwrap_or_else(|_| Err(hangs()))?.pop().flatten();
        Ok(Lookup { found, started })
    }

    /// Looks up these tokens again with one statement, so that [`Self::principal`] finds them in
    /// the cache. A failure leaves what is cached.
    pub async fn refresh(&self, tokens: &[Box<str>]) {
        let started = Instant::now();
        let texts: Vec<_> = tokens.iter().map(|token| &**token).collect();
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, self.find(&texts)).await;
        for (token, found) in texts.iter().zip(found.ok().and_then(Result::ok).unwrap_or_default())
        {
            self.cache.insert(hash(token), Lookup { found, started }).await;
        }
    }

    /// Finds the bearer of each token with one statement, also if a token is not valid yet.
    async fn find(&self, tokens: &[&str]) -> Result<Vec<Option<Bearer>>, sqlx::Error> {
        let mut query = TokenQuery::default();
        let mut claims = Vec::with_capacity(tokens.len());
        for (index, token) in (0..).zip(tokens) {
            let is_jwt = token.split('.').count() == 3;
            let verified = is_jwt.then(|| self.keys.verify_early(token)).flatten();
            match &verified {
                Some(claims) => query.add_jwt(index, claims, token),
                None if is_jwt => {}
                None => query.add_opaque(index, token),
            }
            claims.push(verified);
        }
        let mut rows = query.rows(&self.db, tokens.len()).await?.into_iter();
        let rows = claims.into_iter().map(|claims| (claims, rows.next().unwrap_or_default()));
        Ok(rows.map(|(claims, rows)| bearer(token(claims, &rows)?, rows)).collect())
    }
}

/// The tokens that a statement looks up.
///
/// The row of a JWT, if there is one, can shorten its life and narrow its scopes. A JWT of another
/// system that signs with the same keys has no row.
#[derive(Default)]
struct TokenQuery {
    jwts: Vec<i64>,
    subjects: Vec<Uuid>,
    sids: Vec<Option<Uuid>>,
    signed: Vec<[u8; 32]>,
    opaque: Vec<i64>,
    secrets: Vec<[u8; 32]>,
}

impl TokenQuery {
    fn add_jwt(&mut self, index: i64, claims: &Claims, token: &str) {
        self.jwts.push(index);
        self.subjects.push(claims.sub);
        self.sids.push(claims.jti.as_deref().and_then(parse_sid));
        self.signed.push(hash(signed_part(token)));
    }

    fn add_opaque(&mut self, index: i64, token: &str) {
        if let Some(token) = parse_sid(token) {
            self.opaque.push(index);
            self.secrets.push(hash(&token.to_string()));
        }
    }

    /// Returns the rows of each of `count` tokens: one for its partner and each ancestor.
    async fn rows(self, db: &PgPool, count: usize) -> Result<Vec<Vec<TokenRow>>, sqlx::Error> {
        let Self { jwts, subjects, sids, signed, opaque, secrets } = self;
        let mut rows: Vec<Vec<TokenRow>> = Vec::new();
        rows.resize_with(count, Vec::new);
        if jwts.is_empty() && opaque.is_empty() {
            return Ok(rows);
        }
        let found: Vec<TokenRow> = sqlx::query_as(AssertSqlSafe(LOOKUP.clone()))
            .bind(jwts)
            .bind(subjects)
            .bind(sids)
            .bind(signed)
            .bind(opaque)
            .bind(secrets)
            .fetch_all(db)
            .await?;
        for row in found {
            rows[row.index as usize].push(row);
        }
        Ok(rows)
    }
}

/// The statement that finds tokens, JWTs by their claims and opaque ones by their hash.
static LOOKUP: LazyLock<Arc<str>> = LazyLock::new(|| {
    let columns = "oauth_tokens.sid as token_sid, oauth_tokens.partner_sid, oauth_tokens.scopes,
        date_expiration_access_token";
    format!(
        "select token.*, {ANCESTOR}
         from (
             select index, subject, {columns},
                 coalesce(date_expiration_access_token <= oauth_tokens.date_created,
                     exists (select from revoked_tokens where hash = signed)) as is_revoked
             from unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::bytea[])
                 as jwt (index, subject, sid, signed)
             left join oauth_tokens
                 on oauth_tokens.sid = jwt.sid and oauth_tokens.partner_sid = subject
             union all
             select index, partner_sid, {columns},
                 date_expiration_access_token <= oauth_tokens.date_created
             from unnest($5::bigint[], $6::bytea[]) as opaque (index, secret)
             join oauth_tokens on access_hash = secret
         ) as token
         join partner_tree on descendant_sid = subject
         join partners on partners.sid = ancestor_sid"
    )
    .into()
});

/// Returns the content of a token: of the claims of a JWT and of its row, or of the row of an
/// opaque token.
fn token(claims: Option<Claims>, rows: &[TokenRow]) -> Option<Token> {
    let stored = rows.first().and_then(TokenRow::token);
    let Some(claims) = claims else { return stored };
    let mut scopes: Vec<_> = Scopes::from(claims.scope.clone()).iter().collect();
    let mut expiry = claims.expiry();
    if let Some(stored) = stored {
        scopes = Scope::common(&scopes, &stored.scopes);
        expiry = expiry.min(stored.expiry);
    }
    let sid = claims.jti.as_deref().and_then(parse_sid);
    Some(Token { sid, partner_sid: claims.sub, scopes, begin: claims.begin(), expiry })
}

/// Returns the bearer of a token. `None` if the token was revoked, or its partner is unknown or
/// suspended.
fn bearer(token: Token, rows: Vec<TokenRow>) -> Option<Bearer> {
    if rows.iter().any(|row| row.is_revoked) {
        return None;
    }
    let ancestry = PartnerAncestry::from_rows(rows.into_iter().map(|row| row.ancestor))?;
    let PartnerAncestry { active, scopes: partner_scopes, requires_if_match, depth, subtree_sid } =
        ancestry;
    let Token { sid: token_sid, partner_sid, scopes, begin, expiry } = token;
    let scopes = Scope::common(&scopes, &partner_scopes);
    let principal =
        Principal { partner_sid, subtree_sid, token_sid, scopes, requires_if_match, depth };
    active.then(|| Bearer { principal: Arc::new(principal), begin, expiry })
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
        let statement = format!("select {ANCESTOR} from {ANCESTORS} where descendant_sid = $1");
        let rows = sqlx::query_as(AssertSqlSafe(statement)).bind(partner_sid).fetch_all(db).await?;
        Ok(Self::from_rows(rows))
    }

    fn from_rows(rows: impl IntoIterator<Item = AncestorRow>) -> Option<Self> {
        let ancestors = rows.into_iter().map(|row| {
            let AncestorRow { is_active, available_scopes, requires_if_match, subtree_sid } = row;
            Self {
                requires_if_match,
                active: is_active,
                scopes: available_scopes.iter().collect(),
                depth: 1,
                subtree_sid,
            }
        });
        ancestors.reduce(Self::and)
    }

    fn and(mut self, other: Self) -> Self {
        self.active &= other.active;
        self.requires_if_match |= other.requires_if_match;
        // One row for each ancestor and for the partner itself.
        self.depth += other.depth;
        self.scopes = Scope::common(&self.scopes, &other.scopes);
        self
    }
}

/// The partner itself or one of its ancestors.
#[derive(FromRow)]
struct AncestorRow {
    is_active: bool,
    available_scopes: Scopes,
    requires_if_match: bool,
    /// That of the partner itself.
    subtree_sid: Uuid,
}

/// The columns of an [`AncestorRow`].
const ANCESTOR: &str = "partners.status = 'active' as is_active, partners.available_scopes,
    partners.sid = descendant_sid and partners.requires_if_match as requires_if_match,
    (select coalesce(subtree_sid, sid) from partners where sid = descendant_sid) as subtree_sid";

/// The tables of the rows of all partners, each with itself and its ancestors.
const ANCESTORS: &str = "partner_tree join partners on partners.sid = ancestor_sid";

/// A partner and one of its ancestors, with the row of the token if it has one.
#[derive(FromRow)]
struct TokenRow {
    /// The index of the token in the query.
    index: i64,
    #[sqlx(flatten)]
    ancestor: AncestorRow,
    token_sid: Option<Uuid>,
    partner_sid: Option<Uuid>,
    scopes: Option<Scopes>,
    date_expiration_access_token: Option<OffsetDateTime>,
    /// A revoked token expires at its date of issue, which may be later by the clock of this
    /// instance.
    is_revoked: bool,
}

impl TokenRow {
    fn token(&self) -> Option<Token> {
        Some(Token {
            sid: self.token_sid,
            partner_sid: self.partner_sid?,
            scopes: self.scopes.as_ref()?.iter().collect(),
            begin: i64::MIN,
            expiry: self.date_expiration_access_token?.unix_timestamp(),
        })
    }
}

/// The content of a token.
struct Token {
    sid: Option<Uuid>,
    partner_sid: Uuid,
    scopes: Vec<Scope>,
    begin: i64,
    expiry: i64,
}
