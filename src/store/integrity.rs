//! Verification of the history: its hash chains, and the objects against their newest entries.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::counts;
use super::history::hidden_digest;
use super::resource::{Resource, Stored};
use super::sql;
use crate::error::ApiError;
use crate::input::date;

/// How long after its date an entry may get the transaction id that [`settled_date`] waits for:
/// longer than any statement and any wait of the service.
const MARGIN: Duration = Duration::from_secs(20);

/// A fault in the history of an object.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize)]
pub struct Violation {
    /// The object.
    pub sid: Uuid,
    /// The version at which the fault was found.
    pub version: i64,
    /// What is wrong.
    pub problem: String,
}

/// The result of a verification.
#[derive(Debug, Serialize)]
pub struct IntegrityReport {
    /// The date up to which entries are part of the head.
    #[serde(with = "date")]
    pub as_of: OffsetDateTime,
    /// The violations that were found: at most a hundred of the chains, a hundred of the
    /// numbers of objects, and a hundred of the objects of each type.
    #[serde(rename = "broken")]
    pub violations: Vec<Violation>,
    /// The number of entries.
    pub entries: i64,
    /// The SHA-256 over the newest hash of every object until then, in the order of their sids, in
    /// hexadecimal digits.
    pub head: String,
    /// The number of objects, including deleted ones.
    pub objects: i64,
    /// The number of objects that their newest entry does not cover completely, because a release
    /// that recorded less has written it.
    pub uncovered: i64,
}

/// Returns a date for a head that does not change any more: every transaction that can still add
/// entries from before it has ended. `is_waiting` is called every few seconds until then.
///
/// # Errors
/// If the database is not available.
pub async fn settled_date(
    connection: &mut PgConnection,
    is_waiting: impl Fn(),
) -> Result<OffsetDateTime, sqlx::Error> {
    const POLL: Duration = Duration::from_millis(200);
    const REPORT: Duration = Duration::from_secs(10);
    let (date, newest): (OffsetDateTime, String) = sqlx::query_as(
        "select date_trunc('milliseconds', clock_timestamp()) - make_interval(secs => $1),
             pg_snapshot_xmax(pg_current_snapshot())::text",
    )
    .bind(MARGIN.as_secs_f64())
    .fetch_one(&mut *connection)
    .await?;
    let mut reported = Instant::now();
    let ended = "select pg_snapshot_xmin(pg_current_snapshot()) >= $1::xid8";
    while !sqlx::query_scalar(ended).bind(&newest).fetch_one(&mut *connection).await? {
        if reported.elapsed() > REPORT {
            is_waiting();
            reported = Instant::now();
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(date)
}

/// Computes every hash of the history again, and compares the chains with the versions of the
/// objects in `tables`, and the stored numbers of objects with the objects. [`verify_objects`] adds
/// the contents of the objects.
///
/// # Errors
/// If the database is not available.
pub async fn verify_chains(
    connection: &mut PgConnection,
    tables: &[&str],
    as_of: OffsetDateTime,
) -> Result<IntegrityReport, sqlx::Error> {
    let violations = sqlx::query_as(AssertSqlSafe(sql::integrity_violations(tables)));
    let mut violations: Vec<Violation> = violations.fetch_all(&mut *connection).await?;
    violations.extend(wrong_counts(connection).await?);
    let (entries, objects, head): (i64, i64, String) =
        sqlx::query_as(sql::HEAD).bind(as_of).fetch_one(connection).await?;
    Ok(IntegrityReport { as_of, violations, entries, head, objects, uncovered: 0 })
}

/// Returns the partners whose stored numbers of objects are wrong, at most a hundred.
async fn wrong_counts(connection: &mut PgConnection) -> Result<Vec<Violation>, sqlx::Error> {
    let wrong = format!(
        "select partner_sid as sid, coalesce(partners.version, 0) as version,
             format('the stored number of objects of kind %s is wrong by %s; `shortline migrate` '
                 'corrects it', kind, -change) as problem
         from ({}) as differences left join partners on partners.sid = partner_sid
         order by 1, 3 limit 100",
        counts::differences()
    );
    sqlx::query_as(AssertSqlSafe(wrong)).fetch_all(connection).await
}

/// An object with the text of its newest entry.
#[derive(FromRow)]
struct Recorded<T> {
    #[sqlx(flatten)]
    stored: Stored<T>,
    /// `None` if it was pruned.
    entry: Option<String>,
}

/// The parts of an entry that describe the object.
#[derive(Deserialize)]
struct Description<'a> {
    hidden: Option<String>,
    #[serde(borrow)]
    object: BTreeMap<&'a str, &'a RawValue>,
}

/// Compares every object of a type with its newest entry: its members, and the digest of its hidden
/// columns.
///
/// # Errors
/// If the database is not available, or an object cannot be serialized.
pub async fn verify_objects<R: Resource>(
    connection: &mut PgConnection,
    report: &mut IntegrityReport,
) -> Result<(), ApiError> {
    const MAX_VIOLATIONS: usize = 100;
    let statement = AssertSqlSafe(sql::recorded_objects::<R>());
    let mut rows = sqlx::query_as::<_, Recorded<R>>(statement).fetch(connection);
    let mut found = 0;
    while let Some(Recorded { stored, entry }) = rows.try_next().await? {
        let Some(entry) = entry else {
            report.uncovered += 1;
            continue;
        };
        match compare(&stored.object, &entry)? {
            Comparison::Same => {}
            Comparison::Uncovered => report.uncovered += 1,
            Comparison::Differs(problem) if found < MAX_VIOLATIONS => {
                found += 1;
                let (sid, version) = (stored.object.sid(), stored.version);
                report.violations.push(Violation { sid, version, problem });
            }
            Comparison::Differs(_) => {}
        }
    }
    Ok(())
}

enum Comparison {
    Same,
    Uncovered,
    Differs(String),
}

fn compare<R: Resource>(object: &R, entry: &str) -> Result<Comparison, ApiError> {
    let internal = |error: serde_json::Error| ApiError::Internal(error.into());
    let snapshot = object.snapshot()?;
    let members: BTreeMap<&str, &RawValue> =
        serde_json::from_str(snapshot.get()).map_err(internal)?;
    let Ok(recorded) = serde_json::from_str::<Description<'_>>(entry) else {
        return Ok(Comparison::Differs("the last entry of the object cannot be read".to_owned()));
    };
    let mut covered = true;
    let is_covered = |name: &&str| !R::UNVERSIONED.contains(name) && !R::UNSTORED.contains(name);
    for (name, value) in members.iter().filter(|(name, _)| is_covered(name)) {
        match recorded.object.get(name) {
            Some(recorded) if recorded.get() == value.get() => {}
            Some(_) => {
                let problem = format!("`{name}` of the object differs from its last entry");
                return Ok(Comparison::Differs(problem));
            }
            None => covered = false,
        }
    }
    let hidden = hidden_digest(object);
    if recorded.hidden.is_some() && recorded.hidden != hidden {
        let problem = "a secret or internal column of the object differs from its last entry";
        return Ok(Comparison::Differs(problem.to_owned()));
    }
    covered &= recorded.hidden.is_some() == hidden.is_some();
    Ok(if covered { Comparison::Same } else { Comparison::Uncovered })
}
