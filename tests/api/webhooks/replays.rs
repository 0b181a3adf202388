//! Replays of past events.

use serde_json::json;

use super::{endpoint, path_of, rename, versions};
use crate::support::check;

#[test]
fn past_events_are_delivered_again() {
    check(async |app| {
        rename(app, &app.partner.code_path(), 2).await;
        let (sink, endpoint) = endpoint(app).await;
        rename(app, &app.partner.code_path(), 2).await;
        rename(app, &app.partner.group_path(), 1).await;
        sink.wait_for(3).await;
        let replay = format!("{}/replay", path_of(&endpoint));
        let body = json!({"after": "2026-01-01T00:00:00Z", "types": ["short_code.updated"]});
        assert_eq!(app.post(&replay, &body).await.status, 204);
        // Those from before the creation of the endpoint too.
        let received = sink.wait_for(7).await;
        assert_eq!(versions(&received[3..], app.partner.code_sid), [2, 3, 4, 5]);
        rename(app, &app.partner.group_path(), 1).await;
        let received = sink.wait_for(8).await;
        assert_eq!(versions(&received[7..], app.partner.group_sid), [3]);
        let open: i64 = sqlx::query_scalar("select count(*) from event_replays")
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
        assert_eq!(open, 0);
    });
}

#[test]
fn a_replay_ends_at_its_date() {
    check(async |app| {
        let (sink, endpoint) = endpoint(app).await;
        rename(app, &app.partner.code_path(), 1).await;
        sink.wait_for(1).await;
        let date: String = sqlx::query_scalar(
            "select to_char(max(date), 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') from history",
        )
        .fetch_one(&mut app.connection().await)
        .await
        .unwrap();
        let replay = format!("{}/replay", path_of(&endpoint));
        let body = json!({"after": "2026-01-01T00:00:00Z", "before": date, "types": ["short_code.updated"]});
        assert_eq!(app.post(&replay, &body).await.status, 204);
        let all = json!({"after": "2026-01-01T00:00:00Z", "types": ["did_group.created"]});
        assert_eq!(app.post(&replay, &all).await.status, 204);
        // The first replay contained nothing; the second follows it.
        let received = sink.wait_for(2).await;
        assert_eq!(received[1].name(), "did_group.created");
    });
}
