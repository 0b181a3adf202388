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
use crate::error::{ApiError, is_connection_lost};
use crate::store::database::{BatchConnection, Database, Work};
use crate::store::resource::{Resource, Stored};
use crate::store::session;
use crate::store::statement::{self, Mode, Write};

/// The connection of a worker, opened when it is needed.
pub(super) struct Connection {
    database: Database,
    work: Work,
    open: Option<Open>,
}

/// An open connection.
struct Open {
    connection: BatchConnection,
    /// When it was opened.
    since: Instant,
    /// When it was used last.
    used: Instant,
}

impl Connection {
    pub fn new(database: &Database, work: Work) -> Self {
        Self { database: database.clone(), work, open: None }
    }

    /// Closes the connection. The next use opens another one.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Ends a round: returns the connection to the other workers, if it is shared.
    pub fn release(&mut self) {
        match &mut self.open {
            Some(Open { connection: BatchConnection::Shared(_), .. }) => self.open = None,
            Some(Open { connection, used, .. }) => {
                connection.rest();
                *used = Instant::now();
            }
            None => {}
        }
    }

    /// The connection, replaced if it is stale or was closed while it was idle.
    pub async fn get(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        let mut open = self.open.take();
        if let Some(Open { connection, since, used }) = &mut open {
            let is_stale = self.database.staleness().is_stale(since.elapsed());
            if is_stale || !session::is_usable(connection.as_mut(), used.elapsed()).await {
                open = None;
            }
        }
        let open = match open {
            Some(open) => open,
            None => {
                let since = Instant::now();
                let connection = self.database.batch_connection(self.work).await?;
                Open { connection, since, used: Instant::now() }
            }
        };
        Ok(self.open.insert(open).connection.as_mut())
    }

    /// Runs a read; if its connection was lost, once more on another one.
    pub async fn read<T>(
        &mut self,
        read: impl AsyncFn(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        match read(self.get().await?).await {
            Err(error) if is_connection_lost(&error) => {
                self.abandon(&error);
                read(self.get().await?).await
            }
            outcome => outcome,
        }
    }

    /// Closes the connection, which the error has broken, with all others that it affects.
    pub fn abandon(&mut self, error: &sqlx::Error) {
        self.database.staleness().observe(error);
        self.close();
    }

    /// Rolls back a transaction that has written nothing.
    pub async fn roll_back(&mut self) {
        if let Some(Open { connection, .. }) = &mut self.open
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
        let load = async |connection: &mut PgConnection| {
            let arguments = query.arguments(PgArguments::add).map_err(sqlx::Error::Encode)?;
            if mode == Mode::Locked {
                sqlx::raw_sql("begin").execute(&mut *connection).await?;
            }
            let statement = AssertSqlSafe(statement.clone());
            sqlx::query_as_with(statement, arguments).fetch_all(connection).await
        };
        self.connection.read(load).await
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
