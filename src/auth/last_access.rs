//! The last access of each token: collected in memory, saved by maintenance.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::actor::Principal;

/// The most tokens whose access is collected between two saves. Accesses of further tokens are
/// ignored.
const CAPACITY: usize = 100_000;

/// The last access of each token since the last save, to the minute.
#[derive(Default)]
pub struct LastAccess(Mutex<HashMap<Uuid, Access>>);

struct Access {
    partner_sid: Uuid,
    date: OffsetDateTime,
    ip: Option<IpAddr>,
}

impl LastAccess {
    /// Records an access of the token now, from that address.
    pub fn note(&self, principal: &Principal, ip: Option<IpAddr>) {
        let Some(token_sid) = principal.token_sid else { return };
        let mut accesses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if accesses.len() < CAPACITY || accesses.contains_key(&token_sid) {
            let date = this_minute();
            accesses.insert(token_sid, Access { partner_sid: principal.partner_sid, date, ip });
        }
    }

    /// Saves the accesses. This is not a change of the token: it adds neither a version nor a
    /// history entry.
    ///
    /// # Errors
    /// [`sqlx::Error`] if the database is not available. The accesses are lost then.
    pub async fn save(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let accesses = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if accesses.is_empty() {
            return Ok(());
        }
        // Rows that are locked are skipped: waiting for several of them could cause a deadlock.
        sqlx::query(
            "with accesses as (
                 select * from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[])
                     as accesses (sid, partner_sid, date, ip)
             ), unlocked as (
                 select sid, accesses.date, accesses.ip
                 from oauth_tokens join accesses using (sid, partner_sid)
                 where date_last_accessed is null or date_last_accessed <= accesses.date
                 for no key update of oauth_tokens skip locked
             )
             update oauth_tokens
             set date_last_accessed = unlocked.date, ip_last_accessed = unlocked.ip
             from unlocked where oauth_tokens.sid = unlocked.sid",
        )
        .bind(accesses.keys().copied().collect::<Vec<_>>())
        .bind(accesses.values().map(|access| access.partner_sid).collect::<Vec<_>>())
        .bind(accesses.values().map(|access| access.date).collect::<Vec<_>>())
        .bind(
            accesses.values().map(|access| access.ip.map(|ip| ip.to_string())).collect::<Vec<_>>(),
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}

fn this_minute() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_second(0).and_then(|now| now.replace_nanosecond(0)).unwrap_or(now)
}
