//! The numbers of objects of the partners, which triggers maintain: see
//! `migrations/V19__object_counts.sql`.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The kinds of objects whose numbers are stored, by their names in the history, with their tables.
const COUNTED: [(&str, &str); 3] =
    [("did", "dids"), ("did_group", "did_groups"), ("short_code", "short_codes")];
/// The key of the advisory lock that a correction holds: "counting" in ASCII.
const LOCK: i64 = 0x636f_756e_7469_6e67;
/// The most rows that one statement replaces.
const BATCH: i64 = 10_000;

/// Whether the numbers of objects of that kind are stored.
pub(super) fn are_stored(kind: &str) -> bool {
    COUNTED.iter().any(|(counted, _)| *counted == kind)
}

/// Replaces the rows of each number by one with their sum, at most a batch of rows at once.
///
/// # Errors
/// If the database is not available.
pub async fn sum_counts(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    // Another instance that does the same skips the rows. In this order, a batch contains all rows of
    // each number but the last.
    let sum = "
        with many as (
            select partner_sid, kind from object_counts group by 1, 2 having count(*) > 1
        ), chosen as (
            select ctid from object_counts where (partner_sid, kind) in (select * from many)
            order by partner_sid, kind limit $1 for update skip locked
        ), removed as (
            delete from object_counts where ctid in (select ctid from chosen) returning *
        ), added as (
            insert into object_counts (partner_sid, kind, change)
            select partner_sid, kind, sum(change) from removed group by 1, 2 having sum(change) <> 0
        )
        select count(*) from removed";
    loop {
        let removed: i64 = sqlx::query_scalar(sum).bind(BATCH).fetch_one(&mut *connection).await?;
        if removed < BATCH {
            return Ok(());
        }
    }
}

/// Returns the query for the numbers that are wrong, and by how much.
pub(super) fn differences() -> String {
    let objects = COUNTED.map(|(kind, table)| {
        format!("select partner_sid, '{kind}' as kind, count(*) as change from {table} group by 1")
    });
    format!(
        "select partner_sid, kind, sum(change)::bigint as change
         from (
             {} union all select partner_sid, kind, -change from object_counts
         ) as changes
         group by 1, 2 having sum(change) <> 0",
        objects.join(" union all ")
    )
}

/// Corrects numbers that are wrong, as after a restore of the data alone, and returns how many.
/// Objects can be created and deleted meanwhile.
///
/// # Errors
/// If the database is not available.
pub async fn correct_counts(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let correct =
        format!("insert into object_counts (partner_sid, kind, change) {}", differences());
    let mut tx = connection.begin().await?;
    // Two corrections of the same numbers would add up.
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
    let corrected = sqlx::query(AssertSqlSafe(correct)).execute(&mut *tx).await?.rows_affected();
    tx.commit().await?;
    Ok(corrected)
}
