//! The deletion of tokens that have ended.

use std::sync::{Mutex, PoisonError};

use sqlx::PgConnection;
use uuid::Uuid;

use super::token::OauthToken;
use crate::auth::Actor;
use crate::error::ApiError;
use crate::store;

/// The number of tokens that one statement reads, and the most that one transaction deletes.
const BATCH: i64 = 500;
/// The most batches of one run: maintenance has other work.
const MAX_BATCHES: usize = 20;

/// Returns the sids after `$1`, at most `$2`, each with whether the token ended a day ago or
/// earlier and its row is not needed any more. A day is more than clocks differ, and leaves time to
/// look at the last access.
///
/// A token of a release that did not store how long its row is needed may be a JWT, whose own
/// expiry is that of its first history entry. The statement reads no other index than the primary
/// key, whose order is roughly that of creation.
const PAGE: &str = "
    select sid,
        greatest(
            date_expiration_access_token,
            date_expiration_refresh_token,
            coalesce(retained_until, greatest(
                case when refresh_hash is not null then date_created + interval '30 days' end,
                case when version > 1 then coalesce(
                    (select (entry::json #>> '{object,date_expiration_access_token}')::timestamptz
                     from history
                     where history.sid = oauth_tokens.sid and history.version = 1),
                    'infinity')
                end
            ))
        ) < now() - interval '1 day' as has_ended
    from oauth_tokens where sid > $1 order by sid limit $2";

/// Deletes tokens that have ended, with what belongs to them: their refresh tokens.
///
/// Each run looks through a part of all tokens and continues where the one before ended, so that it
/// needs no index and takes a bounded time.
#[derive(Debug, Default)]
pub struct EndedTokens {
    /// The sid up to which tokens were looked at.
    seen: Mutex<Uuid>,
}

impl EndedTokens {
    /// Looks through the next tokens and deletes those that have ended. Their history remains, with
    /// an entry of the deletion. Returns their number.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn purge(&self, connection: &mut PgConnection) -> Result<usize, ApiError> {
        let mut seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut deleted = 0;
        for _ in 0..MAX_BATCHES {
            let page: Vec<(Uuid, bool)> =
                sqlx::query_as(PAGE).bind(seen).bind(BATCH).fetch_all(&mut *connection).await?;
            let ended: Vec<_> =
                page.iter().filter(|(_, has_ended)| *has_ended).map(|(sid, _)| *sid).collect();
            if !ended.is_empty() {
                let operator = Actor::operator();
                deleted += store::delete_many::<OauthToken>(connection, &operator, &ended).await?;
            }
            let is_last = page.len() < BATCH as usize;
            seen = page.last().filter(|_| !is_last).map_or(Uuid::nil(), |(sid, _)| *sid);
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
            if is_last {
                break;
            }
        }
        Ok(deleted)
    }
}
