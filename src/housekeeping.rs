//! What a service does beside its requests, once a minute: writes down what could wait, forgets what says nothing any more.

use std::time::Duration;

use actix_web::web::Data;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use crate::auth::{Authenticator, RateLimit};
use crate::{startup, store};

/// How long it takes at most until it is written down who used which token last.
const EVERY: Duration = Duration::from_secs(60);
/// How long it may take. What is not done by then is done in the next minute.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How many entries of the history are dropped in one statement: it holds no lock for long.
const ENTRIES: i64 = 1_000;

/// What it takes to keep house.
pub struct Housekeeping {
    /// Knows who used which token last.
    pub authenticator: Data<Authenticator>,
    /// Knows partners that have been silent for long.
    pub rate_limit: Data<RateLimit>,
    /// How long entries of the history are kept, in months; for ever where nobody says.
    pub history_months: Option<u32>,
    /// The database. Not the pool: its connections belong to the threads that serve, and end with them.
    pub database: PgConnectOptions,
}

impl Housekeeping {
    /// Keeps house until it is aborted.
    pub async fn go_on(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.rate_limit.sweep();
            self.once().await;
        }
    }

    /// Does once what is to be done, or says why not.
    pub async fn once(&self) {
        let outcome = tokio::time::timeout(TIMEOUT, self.tidy()).await;
        if let Err(error) = outcome.map_err(anyhow::Error::from).flatten() {
            let cause = &*error as &dyn std::error::Error;
            tracing::warn!(error = cause, "could not keep house");
        }
    }

    async fn tidy(&self) -> anyhow::Result<()> {
        let mut connection = startup::connect(&self.database).await?;
        self.authenticator.write_behind(&mut connection).await?;
        store::forget_old_keys(&mut connection).await?;
        if let Some(months) = self.history_months {
            drop_old_entries(&mut connection, months).await?;
        }
        Ok(connection.close().await?)
    }
}

async fn drop_old_entries(connection: &mut PgConnection, months: u32) -> Result<(), sqlx::Error> {
    let oldest = sqlx::query_scalar("select now() - make_interval(months => $1::integer)")
        .bind(i64::from(months))
        .fetch_one(&mut *connection)
        .await?;
    while store::drop_before(connection, oldest, ENTRIES).await? > 0 {}
    Ok(())
}
