//! The connection of a worker, and the rows that it loads.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use time::OffsetDateTime;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::auth::Visibility;
use crate::error::ApiError;
use crate::store::database::Database;
use crate::store::resource::{Resource, Stored};
use crate::store::statement::{self, Mode, Write};

/// The connection of a worker, opened when it is needed, and the texts of its statements.
pub(super) struct Session {
    database: Database,
    open: Option<(PgConnection, Instant)>,
    load: Arc<str>,
    load_locked: Arc<str>,
    update: Arc<str>,
    update_with_responses: Arc<str>,
}

impl Session {
    pub fn new<R: Resource>(database: &Database) -> Self {
        Self {
            database: database.clone(),
            open: None,
            load: statement::load::<R>(Mode::Optimistic).into(),
            load_locked: statement::load::<R>(Mode::Locked).into(),
            update: statement::write::<R>(Write::Update, false).into(),
            update_with_responses: statement::write::<R>(Write::Update, true).into(),
        }
    }

    /// Closes the connection. The next use opens another one.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// The connection, replaced if it is stale.
    pub async fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        let is_fresh =
            |(_, since): &(_, Instant)| !self.database.staleness().is_stale(since.elapsed());
        let (connection, since) = match self.open.take().filter(is_fresh) {
            Some(open) => open,
            None => {
                let since = Instant::now();
                let mut connection = self.database.connect().await?;
                // The plan is the same for arrays of any length, and costs more than the execution.
                let generic = sqlx::raw_sql("set plan_cache_mode = force_generic_plan");
                generic.execute(&mut connection).await?;
                (connection, since)
            }
        };
        Ok(&mut self.open.insert((connection, since)).0)
    }

    /// Rolls back a transaction that has written nothing.
    pub async fn roll_back(&mut self) {
        if let Some((connection, _)) = &mut self.open
            && sqlx::raw_sql("rollback").execute(connection).await.is_err()
        {
            self.close();
        }
    }

    /// The text of the statement that updates rows.
    pub fn update_statement(&self, with_responses: bool) -> Arc<str> {
        if with_responses { self.update_with_responses.clone() } else { self.update.clone() }
    }

    /// Loads the rows of a query that are visible. [`Mode::Locked`] begins a transaction.
    pub async fn load<R: Resource>(
        &mut self,
        query: &BatchQuery,
        mode: Mode,
    ) -> Result<Vec<Loaded<R>>, sqlx::Error> {
        let statement = match mode {
            Mode::Optimistic => self.load.clone(),
            Mode::Locked => self.load_locked.clone(),
        };
        let connection = self.connection().await?;
        if mode == Mode::Locked {
            sqlx::raw_sql("begin").execute(&mut *connection).await?;
        }
        let rows = &query.rows;
        let visibility = |(_, visibility): &(Uuid, Visibility)| visibility.arguments();
        sqlx::query_as(AssertSqlSafe(statement))
            .bind((0..).take(rows.len()).collect::<Vec<i64>>())
            .bind(rows.iter().map(|(sid, _)| *sid).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| visibility(row).0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| visibility(row).1).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| visibility(row).2).collect::<Vec<_>>())
            .fetch_all(connection)
            .await
    }
}

/// A row that was loaded.
#[derive(FromRow)]
pub(super) struct Loaded<T> {
    /// The index of its sid and visibility in the query.
    pub index: i64,
    #[sqlx(flatten)]
    pub stored: Stored<T>,
    /// The database's clock, in milliseconds.
    pub now: OffsetDateTime,
    /// Whether the owner requires `If-Match` and is another partner than the caller's.
    pub if_match_required: bool,
}

/// The distinct rows and visibilities that the requests of a batch ask for.
#[derive(Default)]
pub(super) struct BatchQuery {
    rows: Vec<(Uuid, Visibility)>,
    indexes: HashMap<(Uuid, Visibility), usize>,
}

impl BatchQuery {
    /// Adds a row, and returns its index. The same row with the same visibility has one index.
    pub fn add(&mut self, sid: Uuid, visibility: Visibility) -> usize {
        *self.indexes.entry((sid, visibility)).or_insert_with(|| {
            self.rows.push((sid, visibility));
            self.rows.len() - 1
        })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
}

/// Fails all of these requests. The first that still has a client gets the cause, which is logged with
/// its response; without any client it is logged here.
pub(super) fn fail_all<T>(
    replies: impl Iterator<Item = oneshot::Sender<Result<T, ApiError>>>,
    error: sqlx::Error,
) {
    let mut cause = Some(ApiError::from(error));
    for reply in replies {
        let error = cause.take().unwrap_or(ApiError::Unavailable(None));
        if let Err(Err(undelivered)) = reply.send(Err(error)) {
            cause = Some(undelivered);
        }
    }
    if let Some(cause) = cause.as_ref().and_then(ApiError::internal_cause) {
        tracing::error!(error = cause, "a batch failed after its clients had gone away");
    }
}
