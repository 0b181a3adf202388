//! The reader: serves a batch of reads with one statement.

use std::mem;

use super::request::{Leftover, ReadRequest, Worker};
use super::session::{BatchQuery, Loaded, Session, fail_all};
use crate::error::ApiError;
use crate::store::database::{Database, Work};
use crate::store::resource::Resource;
use crate::store::statement::Mode;

/// The worker that reads.
pub(super) struct Reader<R>(Session<R>);

impl<R: Resource> Reader<R> {
    pub fn new(database: &Database) -> Self {
        Self(Session::new(database, Work::Reads))
    }
}

impl<R: Resource> Worker for Reader<R> {
    type Request = ReadRequest<R>;

    async fn run(&mut self, mut batch: Vec<ReadRequest<R>>) -> Leftover<ReadRequest<R>> {
        let Self(session) = self;
        batch.retain(ReadRequest::is_live);
        let mut query = BatchQuery::default();
        let mut waiting: Vec<Vec<ReadRequest<R>>> = Vec::new();
        for mut request in batch {
            request.wait = None;
            let index = query.add(request.sid, request.visibility);
            waiting.resize_with(query.len(), Vec::new);
            waiting[index].push(request);
        }
        if waiting.is_empty() {
            return Leftover::default();
        }
        let rows = session.load(&query, Mode::Optimistic).await;
        session.release();
        match rows {
            Ok(rows) => {
                for Loaded { index, stored, .. } in rows {
                    for request in mem::take(&mut waiting[index as usize]) {
                        let _ = request.reply.send(Ok(stored.clone()));
                    }
                }
                for request in waiting.into_iter().flatten() {
                    let _ = request.reply.send(Err(ApiError::NoItem));
                }
            }
            Err(error) => {
                session.close();
                fail_all(waiting.into_iter().flatten().map(|request| request.reply), error);
            }
        }
        Leftover::default()
    }

    fn close(&mut self) {
        self.0.close();
    }
}
