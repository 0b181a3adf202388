//! What a token is issued for, and the end of the tokens that were issued for it.
//!
//! A secret that is changed while it is used must not leave a token behind. So the transaction that
//! issues a token holds a shared lock on each of its grantors and checks them under it, and the
//! transaction that changes a grantor holds the exclusive lock. The locks are advisory: they write
//! nothing, and need no right to change a client or login.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::token::OauthToken;
use crate::auth::Actor;
use crate::error::ApiError;
use crate::store;

/// The key of the locks: "toke" in ASCII. The second key is the hash of the grantor.
const LOCKS: i32 = 0x746f_6b65;
/// How often tokens are looked for. One time is enough, unless an instance of an earlier release,
/// which takes no locks, issues tokens at the same time.
const MAX_ROUNDS: usize = 8;
/// The most tokens that one statement ends.
const BATCH: usize = 500;

/// What a token is issued for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grantor {
    /// The client of that sid.
    Client(Uuid),
    /// The login of that partner.
    Login(Uuid),
    /// The tokens that are refreshed from each other.
    Family(Uuid),
}

impl Grantor {
    fn key(self) -> String {
        match self {
            Self::Client(sid) => format!("client {sid}"),
            Self::Login(partner_sid) => format!("login {partner_sid}"),
            Self::Family(sid) => format!("family {sid}"),
        }
    }

    /// The condition of its tokens, with its sid as `$1`.
    fn condition(self) -> (&'static str, Uuid) {
        match self {
            // The index by partner finds them: a client issues tokens of its partner and of
            // descendants.
            Self::Client(sid) => (
                "client_id = $1::text and partner_sid in (
                     select descendant_sid from partner_tree
                     where ancestor_sid = (select partner_sid from oauth_clients where sid = $1))",
                sid,
            ),
            // Of all tokens, only those of a login are refreshed, and a partner has one login.
            Self::Login(sid) => ("partner_sid = $1 and family_sid is not null", sid),
            Self::Family(sid) => ("family_sid = $1", sid),
        }
    }
}

/// Keeps these grantors from being changed until the transaction ends.
pub(super) async fn hold(tx: &mut PgConnection, grantors: &[Grantor]) -> Result<(), ApiError> {
    sqlx::query(
        "select pg_advisory_xact_lock_shared($1, hashtext(key)) from unnest($2::text[]) as key",
    )
    .bind(LOCKS)
    .bind(grantors.iter().map(|grantor| grantor.key()).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

/// Keeps tokens from being issued for a grantor until the transaction ends.
pub(super) async fn stop(tx: &mut PgConnection, grantor: Grantor) -> Result<(), ApiError> {
    sqlx::query("select pg_advisory_xact_lock($1, hashtext($2))")
        .bind(LOCKS)
        .bind(grantor.key())
        .execute(tx)
        .await?;
    Ok(())
}

/// Ends the tokens that were issued for a grantor: at that date, or at once.
///
/// A token is ended by its state and not by a clock, since the clocks of two instances may differ.
///
/// # Errors
/// [`ApiError::NoItem`] if there are such tokens and none of them is visible to the actor.
pub(super) async fn end_tokens(
    tx: &mut PgConnection,
    actor: &Actor,
    grantor: Grantor,
    end: Option<OffsetDateTime>,
) -> Result<(), ApiError> {
    let (condition, sid) = grantor.condition();
    // Those that have expired by every clock need no end. A refresh token expires when it is used;
    // if that was a moment ago, it could still be used again.
    let statement = format!(
        "select sid
         from oauth_tokens,
             (select clock_timestamp() - interval '5 minutes' as expired) as clock
         where {condition}
           and (date_expiration_access_token > greatest(date_created, $2, expired)
                or date_expiration_refresh_token > greatest(date_created, $2, expired))
         order by ordinal"
    );
    for _ in 0..MAX_ROUNDS {
        let alive: Vec<Uuid> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement.clone()))
            .bind(sid)
            .bind(end)
            .fetch_all(&mut *tx)
            .await?;
        if alive.is_empty() {
            return Ok(());
        }
        let end_token = |token: &mut OauthToken| {
            token.end(end);
            Ok(())
        };
        for sids in alive.chunks(BATCH) {
            let ended = store::update_many_within(tx, actor, sids, end_token).await?;
            if ended == 0 {
                return Err(ApiError::NoItem);
            }
        }
    }
    Err(ApiError::Unavailable(None))
}
