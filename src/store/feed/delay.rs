//! What holds the feed back: the oldest transaction of the cluster that writes.

use prometheus::Gauge;
use sqlx::{FromRow, PgConnection};

/// The age from which on a transaction is logged.
const WARN_AGE: f64 = 5.0;

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

/// Measures the delay of events, and logs what causes a long one. A session of its own does it,
/// once a minute.
///
/// # Errors
/// If the database is not available.
pub async fn measure_delay(
    connection: &mut PgConnection,
    gauge: &Gauge,
) -> Result<(), sqlx::Error> {
    let oldest: Option<Writer> = sqlx::query_as(OLDEST).fetch_optional(connection).await?;
    gauge.set(oldest.as_ref().map_or(0.0, |writer| writer.age));
    if let Some(Writer { name, age }) = oldest.filter(|writer| writer.age > WARN_AGE) {
        tracing::warn!("events are delayed: {name} has had a transaction open for {age:.0} s");
    }
    Ok(())
}
