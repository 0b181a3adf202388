//! What holds the feed back: the oldest transaction of the cluster that writes.

use std::time::{Duration, Instant};

use sqlx::FromRow;

use super::Feed;

/// The time between two looks.
const INTERVAL: Duration = Duration::from_secs(2);
/// The age from which on a transaction is logged.
const WARN_AGE: f64 = 5.0;
/// The time between two log lines.
const WARN_INTERVAL: Duration = Duration::from_secs(30);

/// A transaction that has an id.
#[derive(FromRow)]
struct Writer {
    /// Its session, or the name of a prepared transaction.
    name: String,
    /// In seconds.
    age: f64,
}

/// The oldest transaction that has an id. A role without the rights of `pg_read_all_stats` sees its
/// own sessions only.
const OLDEST: &str = "
    select name, extract(epoch from clock_timestamp() - since)::float8 as age
    from (
        select format('process %s of user %s, state %s', pid, usename, state) as name,
            xact_start as since, backend_xid as id
        from pg_stat_activity where backend_xid is not null
        union all
        select format('prepared transaction %s of user %s', gid, owner), prepared, transaction
        from pg_prepared_xacts
    ) as writer
    where since is not null order by age(id) desc limit 1";

impl Feed {
    /// Measures the delay of events every few seconds until it is dropped, and logs what causes a
    /// long one.
    pub async fn watch_delay(&self) {
        let delay = &self.0.database.activity().event_delay;
        let mut warned: Option<Instant> = None;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let oldest = sqlx::query_as(OLDEST).fetch_optional(self.0.database.probe()).await;
            // `/readyz` reports a database that is not available.
            let Ok(oldest) = oldest else { continue };
            let oldest: Option<Writer> = oldest;
            delay.set(oldest.as_ref().map_or(0.0, |writer| writer.age));
            let is_quiet = warned.is_none_or(|warned| warned.elapsed() > WARN_INTERVAL);
            if let Some(Writer { name, age }) = oldest.filter(|writer| writer.age > WARN_AGE)
                && is_quiet
            {
                tracing::warn!(
                    "events are delayed: {name} has had a transaction open for {age:.0} s"
                );
                warned = Some(Instant::now());
            }
        }
    }
}
