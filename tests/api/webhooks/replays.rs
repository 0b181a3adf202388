//! Replays of past events.

use serde_json::json;

use super::{endpoint, path_of, rename, sid_of, versions};
use crate::support::{check, wait_until};

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
        let mut connection = app.connection().await;
        wait_until("the replay is over", async || {
            let open = sqlx::query_scalar("select count(*) from event_replays");
            open.fetch_one(&mut connection).await.unwrap_or(1_i64) == 0
        })
        .await;
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

#[test]
fn a_replay_begins_shortly_before_its_date() {
    check(async |app| {
        let code = app.partner.code_sid;
        rename(app, &app.partner.code_path(), 10).await;
        let (sink, endpoint) = endpoint(app).await;
        sink.hold();
        // The first versions are ten days old. The check after the test needs the real dates.
        let mut connection = app.connection().await;
        let mut age = async |days: i32| {
            let age = "update history set date = date - make_interval(days => $1)
                       where version <= 6 and kind <> 'event_endpoint' returning epoch";
            let epochs: Vec<i64> =
                sqlx::query_scalar(age).bind(days).fetch_all(&mut connection).await.unwrap();
            epochs.into_iter().max().unwrap()
        };
        let newest_of_old = age(10).await;
        let date = time::OffsetDateTime::now_utc() - time::Duration::days(5);
        let date = date.format(&time::format_description::well_known::Rfc3339).unwrap();
        let body = json!({"after": date, "types": ["short_code.updated"]});
        let replay = format!("{}/replay", path_of(&endpoint));
        assert_eq!(app.post(&replay, &body).await.status, 204);
        let begin = "select cursor_epoch from event_replays where endpoint_sid = $1::uuid";
        let begin = sqlx::query_scalar(begin).bind(sid_of(&endpoint));
        let begin: i64 = begin.fetch_one(&mut app.connection().await).await.unwrap();
        assert_eq!(begin, newest_of_old);
        sink.release();
        let received = sink.wait_for(5).await;
        assert_eq!(versions(&received, code), [7, 8, 9, 10, 11]);
        age(-10).await;
    });
}
