//! The lane for reads.

use std::mem;
use std::time::Instant;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Asked, Found, PATIENCE, Session, refuse};
use crate::auth::Reach;
use crate::error::ApiError;
use crate::store::{Resource, Stored};

/// A request for a row.
pub(super) struct Read<R> {
    pub reach: Reach,
    pub sid: Uuid,
    pub reply: oneshot::Sender<Result<Stored<R>, ApiError>>,
    pub since: Instant,
}

/// Answers all of them with one statement.
pub(super) async fn read<R: Resource>(session: &mut Session, mut batch: Vec<Read<R>>) {
    batch.retain(|read| !read.reply.is_closed());
    let mut asked = Asked::default();
    let mut waiting: Vec<Vec<Read<R>>> = Vec::new();
    for read in batch {
        if read.since.elapsed() > PATIENCE {
            continue;
        }
        let place = asked.place(read.sid, read.reach);
        waiting.resize_with(asked.what.len(), Vec::new);
        waiting[place].push(read);
    }
    if asked.what.is_empty() {
        return;
    }
    let found = match session.find::<R>(&asked.what, false).await {
        Ok(found) => found,
        Err(error) => {
            session.close();
            return refuse(waiting.into_iter().flatten().map(|read| read.reply), error);
        }
    };
    for Found { number, stored, .. } in found {
        for read in mem::take(&mut waiting[number as usize]) {
            let _ = read.reply.send(Ok(stored.clone()));
        }
    }
    for read in waiting.into_iter().flatten() {
        let _ = read.reply.send(Err(ApiError::NoItem));
    }
}
