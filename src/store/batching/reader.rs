//! The reader: serves a batch of lookups with one statement.

use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::request::{Leftover, ReadRequest, Worker};
use super::session::{BatchQuery, Connection, fail_all};
use crate::error::ApiError;
use crate::store::database::{Database, Work};
use crate::store::lookup::Lookup;

/// The worker that reads.
pub(super) struct Reader<L> {
    connection: Connection,
    statement: Arc<str>,
    of: PhantomData<L>,
}

/// A row with the index of its key and visibility in the query.
#[derive(FromRow)]
struct Indexed<T> {
    index: i64,
    #[sqlx(flatten)]
    row: T,
}

impl<L: Lookup> Reader<L> {
    pub fn new(database: &Database) -> Self {
        let connection = Connection::new(database, Work::Reads);
        Self { connection, statement: L::statement().into(), of: PhantomData }
    }

    async fn load(
        &mut self,
        query: &BatchQuery<L::Key>,
    ) -> Result<Vec<Indexed<L::Row>>, sqlx::Error> {
        let statement = self.statement.clone();
        let load = async |connection: &mut PgConnection| {
            let arguments = query.arguments(L::bind_keys).map_err(sqlx::Error::Encode)?;
            let statement = AssertSqlSafe(statement.clone());
            sqlx::query_as_with(statement, arguments).fetch_all(connection).await
        };
        self.connection.read(load).await
    }
}

impl<L: Lookup> Worker for Reader<L> {
    type Request = ReadRequest<L>;

    async fn run(&mut self, mut batch: Vec<ReadRequest<L>>) -> Leftover<ReadRequest<L>> {
        batch.retain(ReadRequest::is_live);
        let mut query = BatchQuery::default();
        let mut waiting: Vec<Vec<ReadRequest<L>>> = Vec::new();
        for mut request in batch {
            request.wait = None;
            let index = query.add(request.key.clone(), request.visibility);
            waiting.resize_with(query.len(), Vec::new);
            waiting[index].push(request);
        }
        if waiting.is_empty() {
            return Leftover::default();
        }
        let rows = self.load(&query).await;
        self.connection.release();
        match rows {
            Ok(rows) => {
                for Indexed { index, row } in rows {
                    for request in mem::take(&mut waiting[index as usize]) {
                        let _ = request.reply.send(Ok(row.clone()));
                    }
                }
                for request in waiting.into_iter().flatten() {
                    let _ = request.reply.send(Err(ApiError::NoItem));
                }
            }
            Err(error) => {
                self.connection.close();
                fail_all(waiting.into_iter().flatten().map(|request| request.reply), error);
            }
        }
        Leftover::default()
    }

    fn close(&mut self) {
        self.connection.close();
    }
}
