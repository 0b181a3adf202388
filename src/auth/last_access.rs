//! Who used which token last: kept in memory, and written behind.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::actor::Principal;

/// How many tokens are kept between two writes. A use of more than these is not noted.
const CAPACITY: usize = 100_000;

/// The last use of each token since the last write, to the minute.
#[derive(Default)]
pub struct LastAccess(Mutex<HashMap<Uuid, Access>>);

struct Access {
    partner_sid: Uuid,
    date: OffsetDateTime,
    ip: Option<IpAddr>,
}

impl LastAccess {
    /// Notes that the token was used now, from that address.
    pub fn note(&self, principal: &Principal, ip: Option<IpAddr>) {
        let Some(token_sid) = principal.token_sid else { return };
        let mut accesses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if accesses.len() < CAPACITY || accesses.contains_key(&token_sid) {
            let date = this_minute();
            accesses.insert(token_sid, Access { partner_sid: principal.partner_sid, date, ip });
        }
    }

    /// Writes down what was noted: no change of the token, so neither version nor history.
    ///
    /// # Errors
    /// Where the database is away; what was noted is lost then.
    pub async fn write(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let noted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if noted.is_empty() {
            return Ok(());
        }
        // A row that somebody is changing is left alone: waiting for several could end in a deadlock.
        sqlx::query(
            "with noted as (
                 select * from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[])
                     as noted (sid, partner_sid, date, ip)
             ), free as (
                 select sid, noted.date, noted.ip
                 from oauth_tokens join noted using (sid, partner_sid)
                 where date_last_accessed is null or date_last_accessed <= noted.date
                 for no key update of oauth_tokens skip locked
             )
             update oauth_tokens set date_last_accessed = free.date, ip_last_accessed = free.ip
             from free where oauth_tokens.sid = free.sid",
        )
        .bind(noted.keys().copied().collect::<Vec<_>>())
        .bind(noted.values().map(|access| access.partner_sid).collect::<Vec<_>>())
        .bind(noted.values().map(|access| access.date).collect::<Vec<_>>())
        .bind(noted.values().map(|access| access.ip.map(|ip| ip.to_string())).collect::<Vec<_>>())
        .execute(connection)
        .await?;
        Ok(())
    }
}

fn this_minute() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_second(0).and_then(|now| now.replace_nanosecond(0)).unwrap_or(now)
}
