//! The reader: serves a batch of reads with one statement.

use std::mem;

use super::request::ReadRequest;
use super::session::{BatchQuery, Loaded, Session, fail_all};
use crate::error::ApiError;
use crate::store::resource::Resource;
use crate::store::statement::Mode;

/// Serves a batch. Requests whose client has gone away, or that waited too long, are dropped.
pub(super) async fn read<R: Resource>(session: &mut Session, mut batch: Vec<ReadRequest<R>>) {
    batch.retain(ReadRequest::is_waiting);
    let mut query = BatchQuery::default();
    let mut waiting: Vec<Vec<ReadRequest<R>>> = Vec::new();
    for request in batch {
        let index = query.add(request.sid, request.visibility);
        waiting.resize_with(query.len(), Vec::new);
        waiting[index].push(request);
    }
    if waiting.is_empty() {
        return;
    }
    let rows = match session.load::<R>(&query, Mode::Optimistic).await {
        Ok(rows) => rows,
        Err(error) => {
            session.close();
            return fail_all(waiting.into_iter().flatten().map(|request| request.reply), error);
        }
    };
    for Loaded { index, stored, .. } in rows {
        for request in mem::take(&mut waiting[index as usize]) {
            let _ = request.reply.send(Ok(stored.clone()));
        }
    }
    for request in waiting.into_iter().flatten() {
        let _ = request.reply.send(Err(ApiError::NoItem));
    }
}
