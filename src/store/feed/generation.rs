//! Generations of events: see `migrations/V17__events.sql`.

use sqlx::PgConnection;

/// Begins a generation, whatever the database is: every cursor from before is gone. Webhooks wait
/// until [`resume`]. Returns the generation.
///
/// # Errors
/// If the database is not available or the role lacks the rights of the schema's owner.
pub async fn begin_generation(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    // The entries of a restored database can be of later generations than its own.
    sqlx::query_scalar(
        "insert into event_generations
             (generation, system_identifier, timeline, database_oid, history_oid, is_paused)
         select greatest(generation, (select max(epoch) >> 48 from history)) + 1,
             system_identifier, timeline, database_oid, history_oid, true
         from event_generations order by generation desc limit 1
         returning generation",
    )
    .fetch_one(connection)
    .await
}

/// Ends the pause of webhooks, and returns whether there was one.
///
/// # Errors
/// As [`begin_generation`].
pub async fn resume(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let resumed = sqlx::query(
        "update event_generations set is_paused = false
         where is_paused and generation = (select max(generation) from event_generations)",
    );
    Ok(resumed.execute(connection).await?.rows_affected() > 0)
}
