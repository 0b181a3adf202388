//! The change feed: pages, cursors, visibility, waiting and streams.

mod cursors;
mod order;
mod pages;
mod streams;
mod waiting;

use serde_json::Value;

use crate::support::{Answer, App, wait_until};

/// The feed.
const EVENTS: &str = "/core/v2/events";

/// The types of the events of a page.
fn types(page: &Value) -> Vec<String> {
    let text = |event: &Value| event["type"].as_str().unwrap().to_owned();
    page["items"].as_array().unwrap().iter().map(text).collect()
}

/// Waits until every transaction of the cluster that runs now has ended: until then, the events after
/// it are not visible. Other tests use the same cluster.
async fn settle(app: &App) {
    let mut connection = app.connection().await;
    let newest = "select pg_snapshot_xmax(pg_current_snapshot())::text";
    let newest: String = sqlx::query_scalar(newest).fetch_one(&mut connection).await.unwrap();
    let ended = "select pg_snapshot_xmin(pg_current_snapshot()) >= $1::xid8";
    wait_until("earlier transactions end", async || {
        sqlx::query_scalar(ended).bind(&newest).fetch_one(&mut connection).await.unwrap()
    })
    .await;
}

/// The cursor at the newest event.
async fn now(app: &App) -> String {
    settle(app).await;
    cursor(&app.get(EVENTS).await.expect(200))
}

fn cursor(page: &Value) -> String {
    page["cursor"].as_str().unwrap().to_owned()
}

/// The events after a cursor.
async fn after(app: &App, cursor: &str) -> Value {
    settle(app).await;
    app.get(&format!("{EVENTS}?after={cursor}")).await.expect(200)
}

/// The first message of an error.
fn message(answer: &Answer, status: u16, kind: &str) -> String {
    answer.expect_error(status, kind);
    answer.expect(status)["errors"][0]["message"].as_str().unwrap().to_owned()
}
