//! Failures: retries, `Retry-After`, 410, and endpoints that fail for days.

use serde_json::json;
use sqlx::AssertSqlSafe;

use super::{deliveries, endpoint, make_due, path_of, rename, sid_of, versions};
use crate::support::{App, Sink, check, status, wait_until};

async fn execute(app: &App, statement: String) {
    sqlx::query(AssertSqlSafe(statement)).execute(&mut app.connection().await).await.unwrap();
}

#[test]
fn a_failed_delivery_is_attempted_again_on_schedule() {
    check(async |app| {
        let (sink, endpoint) = endpoint(app).await;
        sink.respond_in_turn(&[500, 302, 404]);
        rename(app, &app.partner.code_path(), 1).await;
        for (attempts, (least, most)) in
            [(1, (4.0, 6.0)), (2, (240.0, 360.0)), (3, (1_440.0, 2_160.0))]
        {
            let is_attempted = async || {
                let rows = deliveries(app, &endpoint).await;
                rows.first()
                    .is_some_and(|row| row["attempts"].as_array().unwrap().len() == attempts)
            };
            wait_until(&format!("{attempts} attempts"), is_attempted).await;
            let wait = "select extract(epoch from next_attempt_at - now())::float8
                        from event_deliveries";
            let mut connection = app.connection().await;
            let wait: f64 = sqlx::query_scalar(wait).fetch_one(&mut connection).await.unwrap();
            assert!((least - 3.0..=most).contains(&wait), "{attempts}: {wait}");
            make_due(app).await;
        }
        sink.wait_for(4).await;
        let row = async || deliveries(app, &endpoint).await.remove(0);
        wait_until("it is delivered", async || row().await["status"] == "delivered").await;
        let row = row().await;
        let statuses: Vec<_> = row["attempts"].as_array().unwrap().iter().collect();
        let statuses: Vec<_> = statuses.iter().map(|attempt| attempt["status"].clone()).collect();
        assert_eq!(statuses, [500, 302, 404, 204]);
        assert_eq!(row["date_next_attempt"], json!(null));
        // The same event each time.
        let ids =
            sink.received().into_iter().map(|received| received.header("webhook-id").to_owned());
        assert_eq!(ids.collect::<std::collections::HashSet<_>>().len(), 1);
    });
}

#[test]
fn retry_after_delays_the_next_attempt() {
    check(async |app| {
        let (sink, endpoint) = endpoint(app).await;
        sink.respond(|_| {
            Some("HTTP/1.1 429 x\r\nretry-after: 7200\r\ncontent-length: 0\r\n\r\n".to_owned())
        });
        rename(app, &app.partner.code_path(), 1).await;
        wait_until("a failure", async || deliveries(app, &endpoint).await.len() == 1).await;
        let wait =
            "select extract(epoch from next_attempt_at - now())::float8 from event_deliveries";
        let mut connection = app.connection().await;
        let wait: f64 = sqlx::query_scalar(wait).fetch_one(&mut connection).await.unwrap();
        assert!((7_180.0..=7_201.0).contains(&wait), "{wait}");
    });
}

#[test]
fn a_delivery_fails_finally_after_its_last_attempt_and_the_next_event_follows() {
    check(async |app| {
        let (sink, endpoint) = endpoint(app).await;
        sink.respond_in_turn(&[500, 500]);
        rename(app, &app.partner.code_path(), 2).await;
        wait_until("a failure", async || deliveries(app, &endpoint).await.len() == 1).await;
        execute(
            app,
            "update event_deliveries set attempts = 9, next_attempt_at = now()".to_owned(),
        )
        .await;
        sink.wait_for(3).await;
        assert_eq!(versions(&sink.received(), app.partner.code_sid), [2, 2, 3]);
        wait_until("it has failed", async || {
            let rows = deliveries(app, &endpoint).await;
            rows.len() == 1 && rows[0]["status"] == "failed" && rows[0]["version"] == 2
        })
        .await;
    });
}

/// Waits until the endpoint is disabled, and returns the reason.
async fn disabled_reason(app: &App, path: &str) -> String {
    let reason = async || app.get(path).await.expect(200)["disabled_reason"].clone();
    wait_until("the endpoint is disabled", async || reason().await.is_string()).await;
    reason().await.as_str().unwrap().to_owned()
}

#[test]
fn a_receiver_that_is_gone_disables_its_endpoint_and_the_others_are_informed() {
    check(async |app| {
        let (other, _) = endpoint(app).await;
        let (sink, endpoint) = endpoint(app).await;
        sink.respond_in_turn(&[410]);
        rename(app, &app.partner.code_path(), 1).await;
        let path = path_of(&endpoint);
        assert_eq!(disabled_reason(app, &path).await, "it answered 410 Gone");
        let is_informed =
            async || other.received().iter().any(|received| received.name() == "endpoint.disabled");
        wait_until("the other endpoint is informed", is_informed).await;
        let event = other.received().into_iter().find(|event| event.name() == "endpoint.disabled");
        let data = &event.as_ref().unwrap().body["data"];
        assert_eq!(data["sid"], *sid_of(&endpoint));
        assert_eq!(data["object"]["enabled"], false);
        assert_eq!(data["object"]["secret"], json!(null));
        assert_eq!(deliveries(app, &endpoint).await[0]["attempts"][0]["status"], 410);

        // Enabled again, it gets the event at once.
        let enabled = app.patch(&path, &json!({"enabled": true})).await.expect(200);
        assert_eq!(enabled["disabled_reason"], json!(null));
        sink.wait_for(2).await;
        assert_eq!(versions(&sink.received(), app.partner.code_sid), [2, 2]);
    });
}

#[test]
fn an_endpoint_that_fails_for_five_days_is_disabled() {
    check(async |app| {
        let (sink, endpoint) = endpoint(app).await;
        let path = path_of(&endpoint);
        sink.respond(|_| Some(status(500)));
        rename(app, &app.partner.code_path(), 1).await;
        wait_until("a failure", async || deliveries(app, &endpoint).await.len() == 1).await;
        let since = |days: &str| {
            format!(
                "update event_endpoints set failing_since = now() - interval '{days}'
                     where enabled"
            )
        };
        execute(app, since("4 days 23 hours")).await;
        make_due(app).await;
        sink.wait_for(2).await;
        let is_listed =
            async || deliveries(app, &endpoint).await[0]["attempts"].as_array().unwrap().len() == 2;
        wait_until("two attempts", is_listed).await;
        assert_eq!(app.get(&path).await.expect(200)["enabled"], true);
        execute(app, since("5 days")).await;
        make_due(app).await;
        let reason = disabled_reason(app, &path).await;
        assert_eq!(reason, "every delivery has failed for five days");

        // Enabled again, it has five days more.
        app.patch(&path, &json!({"enabled": true})).await.expect(200);
        sink.wait_for(4).await;
        wait_until("the failure is stored", async || {
            let attempts = &deliveries(app, &endpoint).await[0]["attempts"];
            attempts.as_array().unwrap().len() == 4
        })
        .await;
        assert_eq!(app.get(&path).await.expect(200)["enabled"], true);
        let history = app.get(&format!("{path}/history")).await.expect(200);
        assert_eq!(history["total"], 3);
    });
}

#[test]
fn a_success_ends_the_time_of_failure() {
    check(async |app| {
        let (sink, endpoint) = endpoint(app).await;
        sink.respond_in_turn(&[500]);
        rename(app, &app.partner.code_path(), 1).await;
        wait_until("a failure", async || deliveries(app, &endpoint).await.len() == 1).await;
        let failing = "select count(*) from event_endpoints where failing_since is not null";
        let mut connection = app.connection().await;
        let failing = async |connection: &mut _| -> i64 {
            sqlx::query_scalar(failing).fetch_one(connection).await.unwrap()
        };
        assert_eq!(failing(&mut connection).await, 1);
        rename(app, &app.partner.group_path(), 1).await;
        sink.wait_for(2).await;
        wait_until("it succeeds", async || failing(&mut connection).await == 0).await;
    });
}

#[test]
fn a_receiver_that_hangs_delays_no_other_endpoint() {
    check(async |app| {
        let (hanging, _) = endpoint(app).await;
        hanging.respond(|_| None);
        let healthy = Sink::start().await;
        super::endpoint_with(app, &healthy, json!({})).await;
        rename(app, &app.partner.code_path(), 5).await;
        healthy.wait_for(5).await;
        assert_eq!(hanging.received().len(), 1);
    });
}
