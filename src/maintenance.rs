//! The periodic work of a service, once a minute: writes what was deferred, and deletes what has
//! expired.

use std::time::Duration;

use actix_web::web::Data;
use sqlx::{Connection, PgConnection};

use crate::auth::{Authenticator, RateLimit};
use crate::dids;
use crate::oauth::EndedTokens;
use crate::store::{self, Database};
use crate::webhooks;

/// The interval. The last access of a token is written this late at most.
const INTERVAL: Duration = Duration::from_secs(60);
/// The longest time that one run takes. The next run continues with what is left.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest time that the last write takes.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// The number of history entries that one statement prunes, so that it holds its locks briefly.
const PRUNE_BATCH: i64 = 1_000;

/// What maintenance works on.
pub struct Maintenance {
    /// Holds the last accesses of tokens.
    pub authenticator: Data<Authenticator>,
    /// Deletes tokens that have ended.
    ended_tokens: EndedTokens,
    /// Holds the buckets of partners.
    rate_limit: Data<RateLimit>,
    /// How long history entries are retained, in months; without a limit if `None`.
    history_months: Option<u32>,
    /// The database. Maintenance does not use the pools, whose connections belong to the threads
    /// that serve and end with them.
    database: Database,
}

impl Maintenance {
    /// Returns the maintenance of a service. History entries are retained for `history_months`, or
    /// without a limit.
    pub fn new(
        database: &Database,
        authenticator: Data<Authenticator>,
        rate_limit: Data<RateLimit>,
        history_months: Option<u32>,
    ) -> Self {
        let (database, ended_tokens) = (database.clone(), EndedTokens::default());
        Self { authenticator, ended_tokens, rate_limit, history_months, database }
    }

    /// Runs once a minute until it is dropped.
    pub async fn run(&self) {
        loop {
            self.measure().await;
            tokio::time::sleep(INTERVAL).await;
            self.rate_limit.sweep();
            self.run_once().await;
        }
    }

    /// Runs once. A failure is logged.
    pub async fn run_once(&self) {
        let outcome = tokio::time::timeout(TIMEOUT, self.work()).await;
        if let Err(error) = outcome.map_err(anyhow::Error::from).flatten() {
            let cause = &*error as &dyn std::error::Error;
            tracing::warn!(error = cause, "maintenance failed");
        }
    }

    /// Writes what was deferred, before the process ends. A failure is logged.
    pub async fn write_deferred(&self) {
        let write = async {
            let mut connection = self.database.maintenance_connection().await?;
            self.authenticator.last_access().save(&mut connection).await?;
            Ok(connection.close().await?)
        };
        let outcome = tokio::time::timeout(LAST_WRITE_TIMEOUT, write).await;
        if let Err(error) = outcome.map_err(anyhow::Error::from).flatten() {
            let cause = &*error as &dyn std::error::Error;
            tracing::warn!(error = cause, "the last accesses of tokens were not written");
        }
    }

    /// Counts and measures what is in the database, for the metrics. A failure leaves the last
    /// values.
    async fn measure(&self) {
        let measure = async {
            let mut connection = self.database.maintenance_connection().await?;
            let alive =
                "select count(*) from oauth_tokens where date_expiration_access_token > now()";
            let alive: i64 = sqlx::query_scalar(alive).fetch_one(&mut connection).await?;
            let activity = self.database.activity();
            activity.tokens.set(alive);
            store::measure_delay(&mut connection, &activity.event_delay).await?;
            webhooks::measure_lag(&mut connection, activity).await?;
            anyhow::Ok(connection.close().await?)
        };
        let _ = tokio::time::timeout(TIMEOUT, measure).await;
    }

    async fn work(&self) -> anyhow::Result<()> {
        let mut connection = self.database.maintenance_connection().await?;
        self.authenticator.last_access().save(&mut connection).await?;
        Authenticator::purge_revocations(&mut connection).await?;
        store::purge_expired(&mut connection).await?;
        self.ended_tokens.purge(&mut connection).await?;
        dids::end_aging(&mut connection).await?;
        webhooks::purge_deliveries(&mut connection).await?;
        store::sum_counts(&mut connection).await?;
        // Last, since a backlog takes the rest of the time.
        if let Some(months) = self.history_months {
            prune_history(&mut connection, months).await?;
        }
        Ok(connection.close().await?)
    }
}

async fn prune_history(connection: &mut PgConnection, months: u32) -> Result<(), sqlx::Error> {
    let allowed = store::retention_limit(connection).await?;
    if allowed.is_none_or(|allowed| i64::from(allowed) > i64::from(months)) {
        let allowed = allowed.map_or("none".to_owned(), |allowed| allowed.to_string());
        tracing::warn!(
            "SHORTLINE_HISTORY_MONTHS is {months}, but the limit of the owner of the schema is \
             {allowed}; set it by `shortline migrate --history-months {months}`"
        );
    }
    let oldest = sqlx::query_scalar("select now() - make_interval(months => $1::integer)")
        .bind(i64::from(months))
        .fetch_one(&mut *connection)
        .await?;
    while store::prune(connection, oldest, PRUNE_BATCH).await? > 0 {}
    Ok(())
}
