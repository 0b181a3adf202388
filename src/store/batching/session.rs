//! The connection of a worker, and the rows that a batch asks for.

use std::collections::HashMap;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, AssertSqlSafe, FromRow, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::request::Reply;
use crate::auth::Visibility;
use crate::error::ApiError;
use crate::store::database::{BatchConnection, Database, Work};
use crate::store::resource::{Resource, Stored};
use crate::store::statement::{self, Mode, Write};

/// The connection of a worker, opened when it is needed.
pub(super) struct Connection {
    database: Database,
    work: Work,
    open: Option<(BatchConnection, Instant)>,
}

impl Connection {
    pub fn new(database: &Database, work: Work) -> Self {
        Self { database: database.clone(), work, open: None }
    }

    /// Closes the connection. The next use opens another one.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Returns the connection to the other workers, if it is shared.
    pub fn release(&mut self) {
        if matches!(self.open, Some((BatchConnection::Shared(_), _))) {
            self.open = None;
        }
    }

    /// The connection, replaced if it is stale.
    pub async fn get(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        let is_fresh =
            |(_, since): &(_, Instant)| !self.database.staleness().is_stale(since.elapsed());
        let open = match self.open.take().filter(is_fresh) {
            Some(open) => open,
            None => {
                let since = Instant::now();
                (self.database.batch_connection(self.work).await?, since)
            }
        };
        Ok(self.open.insert(open).0.as_mut())
    }

    /// Rolls back a transaction that has written nothing.
    pub async fn roll_back(&mut self) {
        if let Some((connection, _)) = &mut self.open
            && sqlx::raw_sql("rollback").execute(connection.as_mut()).await.is_err()
        {
            self.close();
        }
    }
}

/// The connection of a writer, and the texts of its statements.
pub(super) struct Session<R> {
    pub connection: Connection,
    load: Arc<str>,
    load_locked: Arc<str>,
    update: Arc<str>,
    update_with_responses: Arc<str>,
    of: PhantomData<R>,
}

impl<R: Resource> Session<R> {
    pub fn new(database: &Database) -> Self {
        Self {
            connection: Connection::new(database, Work::Updates),
            load: statement::load::<R>(Mode::Optimistic).into(),
            load_locked: statement::load::<R>(Mode::Locked).into(),
            update: statement::write::<R>(Write::Update, false).into(),
            update_with_responses: statement::write::<R>(Write::Update, true).into(),
            of: PhantomData,
        }
    }

    /// The text of the statement that updates rows.
    pub fn update_statement(&self, with_responses: bool) -> Arc<str> {
        if with_responses { self.update_with_responses.clone() } else { self.update.clone() }
    }

    /// Loads the visible rows of a query. [`Mode::Locked`] begins a transaction, which holds the
    /// locks.
    pub async fn load(
        &mut self,
        query: &BatchQuery<Uuid>,
        mode: Mode,
    ) -> Result<Vec<Loaded<R>>, sqlx::Error> {
        let statement = match mode {
            Mode::Optimistic => self.load.clone(),
            Mode::Locked => self.load_locked.clone(),
        };
        let arguments = query.arguments(PgArguments::add).map_err(sqlx::Error::Encode)?;
        let connection = self.connection.get().await?;
        if mode == Mode::Locked {
            sqlx::raw_sql("begin").execute(&mut *connection).await?;
        }
        sqlx::query_as_with(AssertSqlSafe(statement), arguments).fetch_all(connection).await
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
    /// Whether the owner requires `If-Match` and is another partner than the caller's, whose own
    /// requirement was checked with its token.
    pub if_match_required: bool,
}

/// The distinct keys and visibilities that the requests of a batch ask for.
pub(super) struct BatchQuery<K> {
    rows: Vec<(K, Visibility)>,
    indexes: HashMap<(K, Visibility), usize>,
}

impl<K> Default for BatchQuery<K> {
    fn default() -> Self {
        Self { rows: Vec::new(), indexes: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash> BatchQuery<K> {
    /// Adds a row, and returns its index. The same row with the same visibility has one index.
    pub fn add(&mut self, key: K, visibility: Visibility) -> usize {
        *self.indexes.entry((key, visibility)).or_insert_with_key(|(key, visibility)| {
            self.rows.push((key.clone(), *visibility));
            self.rows.len() - 1
        })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The arguments of a statement: the indexes, the keys, and the arguments of the visibility.
    pub fn arguments(
        &self,
        bind_keys: impl Fn(&mut PgArguments, Vec<K>) -> Result<(), BoxDynError>,
    ) -> Result<PgArguments, BoxDynError> {
        let rows = &self.rows;
        let mut arguments = PgArguments::default();
        arguments.add((0..).take(rows.len()).collect::<Vec<i64>>())?;
        bind_keys(&mut arguments, rows.iter().map(|(key, _)| key.clone()).collect())?;
        let visibility = |(_, visibility): &(K, Visibility)| visibility.arguments();
        arguments.add(rows.iter().map(|row| visibility(row).0).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|row| visibility(row).1).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|row| visibility(row).2).collect::<Vec<_>>())?;
        Ok(arguments)
    }
}

/// Fails all of these requests. The first one whose client is still connected gets the cause,
/// which is logged with its response; if there is none, the cause is logged here.
pub(super) fn fail_all<T>(replies: impl Iterator<Item = Reply<T>>, error: sqlx::Error) {
    let mut cause = Some(ApiError::from(error));
    for reply in replies {
        let error = cause.take().unwrap_or(ApiError::Unavailable(None));
        if let Err(Err(undelivered)) = reply.send(Err(error)) {
            cause = Some(undelivered);
        }
    }
    if let Some(cause) = cause {
        log_undelivered(&cause);
    }
}

/// Logs the cause of an error that no client is left to receive.
pub(super) fn log_undelivered(error: &ApiError) {
    if let Some(cause) = error.internal_cause() {
        tracing::error!(error = cause, "a request failed after its client had disconnected");
    }
}
