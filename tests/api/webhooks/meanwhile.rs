//! What happens to an endpoint, its partner or a clock while a delivery is under way.

use std::time::Duration;

use serde_json::json;
use shortline::auth::Scope;
use shortline::partners::Status;

use super::{
    deliveries, endpoint, endpoint_with, make_due, path_of, rename, versions,
    wait_for_another_partner,
};
use crate::support::{App, ENDPOINTS, Sink, check, status, wait_until};

async fn set_status(app: &App, status: Status) {
    app.update_partner(app.partner.sid, |partner| partner.set_status_as_operator(status)).await;
}

async fn set_scopes(app: &App, scopes: impl Fn(Scope) -> bool) {
    let scopes = Scope::ALL.into_iter().filter(|scope| scopes(*scope));
    app.update_partner(app.partner.sid, |partner| partner.available_scopes = scopes.collect())
        .await;
}

fn is_of_events(scope: Scope) -> bool {
    scope.as_str().starts_with("events.")
}

fn is_of_numbers(scope: Scope) -> bool {
    scope.as_str().starts_with("phonenumber.")
}

/// Waits until the cursors of endpoints have passed that version of the short code.
async fn passed(app: &App, version: i64) {
    let passed = "select count(*) from event_endpoints
                  where partner_sid = $3 and enabled and (cursor_epoch, cursor_sid, cursor_version) >= (
                      select epoch, sid, version from history where sid = $1 and version = $2)";
    let mut connection = app.connection().await;
    wait_until("the cursor has moved", async || {
        let passed = sqlx::query_scalar(passed).bind(app.partner.code_sid).bind(version);
        let passed = passed.bind(app.partner.sid);
        passed.fetch_one(&mut connection).await.unwrap_or(0_i64) == 1
    })
    .await;
}

#[test]
fn a_delivery_under_way_is_the_last_one_of_a_suspended_partner() {
    check(async |app| {
        let (sink, _) = endpoint(app).await;
        sink.hold();
        rename(app, &app.partner.code_path(), 1).await;
        sink.wait_for(1).await;
        rename(app, &app.partner.code_path(), 1).await;
        set_status(app, Status::Suspended).await;
        sink.release();
        passed(app, 2).await;
        wait_for_another_partner(app).await;
        assert_eq!(versions(&sink.received(), app.partner.code_sid), [2]);
        set_status(app, Status::Active).await;
        passed(app, 3).await;
        assert_eq!(versions(&sink.received(), app.partner.code_sid), [2, 3], "each of them once");
    });
}

#[test]
fn a_delivery_under_way_is_the_last_one_of_a_partner_without_scopes_of_events() {
    check(async |app| {
        let (sink, _) = endpoint(app).await;
        sink.hold();
        rename(app, &app.partner.code_path(), 1).await;
        sink.wait_for(1).await;
        rename(app, &app.partner.code_path(), 1).await;
        set_scopes(app, |scope| !is_of_events(scope)).await;
        sink.release();
        passed(app, 2).await;
        wait_for_another_partner(app).await;
        assert_eq!(versions(&sink.received(), app.partner.code_sid), [2]);
        set_scopes(app, |_| true).await;
        passed(app, 3).await;
        assert_eq!(versions(&sink.received(), app.partner.code_sid), [2, 3]);
    });
}

#[test]
fn a_failed_delivery_ends_when_its_partner_cannot_read_the_object_any_more() {
    check(async |app| {
        let sink = Sink::start().await;
        // Without the change of the partner, whose delivery fails too.
        let types = json!({"types": ["short_code.updated"]});
        let endpoint = endpoint_with(app, &sink, types).await;
        sink.respond(|_| Some(status(500)));
        sink.hold();
        rename(app, &app.partner.code_path(), 1).await;
        sink.wait_for(1).await;
        set_scopes(app, |scope| !is_of_numbers(scope)).await;
        sink.release();
        wait_until("a failure", async || deliveries(app, &endpoint).await.len() == 1).await;
        make_due(app).await;
        wait_until("no delivery", async || deliveries(app, &endpoint).await.is_empty()).await;
        assert_eq!(versions(&sink.received(), app.partner.code_sid), [2]);
    });
}

#[test]
fn events_behind_a_slow_delivery_stop_with_the_suspension_of_their_partner() {
    check(async |app| {
        let sink = Sink::start().await;
        let slow = endpoint_with(app, &sink, json!({"ordering": "strict", "enabled": false})).await;
        rename(app, &app.partner.code_path(), 4).await;
        sink.hold();
        app.patch(&path_of(&slow), &json!({"enabled": true})).await.expect(200);
        sink.wait_for(1).await;
        set_status(app, Status::Suspended).await;
        // Longer than what is loaded counts as current.
        actix_web::rt::time::sleep(Duration::from_millis(2_100)).await;
        sink.release();
        passed(app, 2).await;
        assert_eq!(versions(&sink.received(), app.partner.code_sid), [2]);
        set_status(app, Status::Active).await;
        passed(app, 5).await;
        assert_eq!(versions(&sink.received(), app.partner.code_sid), [2, 3, 4, 5]);
    });
}

#[test]
fn a_retry_goes_to_the_url_that_was_set_while_the_delivery_was_under_way() {
    check(async |app| {
        let (old, endpoint) = endpoint(app).await;
        let new = Sink::start().await;
        old.respond(|_| Some(status(500)));
        old.hold();
        rename(app, &app.partner.code_path(), 1).await;
        old.wait_for(1).await;
        app.patch(&path_of(&endpoint), &json!({"url": new.url})).await.expect(200);
        old.release();
        wait_until("a failure", async || deliveries(app, &endpoint).await.len() == 1).await;
        rename(app, &app.partner.code_path(), 1).await;
        make_due(app).await;
        new.wait_for(2).await;
        assert_eq!(versions(&new.received(), app.partner.code_sid), [2, 3]);
        assert_eq!(old.received().len(), 1);
    });
}

#[test]
fn events_behind_a_slow_delivery_go_to_the_new_url() {
    check(async |app| {
        let old = Sink::start().await;
        let new = Sink::start().await;
        let slow = endpoint_with(app, &old, json!({"ordering": "strict", "enabled": false})).await;
        rename(app, &app.partner.code_path(), 3).await;
        old.hold();
        app.patch(&path_of(&slow), &json!({"enabled": true})).await.expect(200);
        old.wait_for(1).await;
        app.patch(&path_of(&slow), &json!({"url": new.url})).await.expect(200);
        actix_web::rt::time::sleep(Duration::from_millis(2_100)).await;
        old.release();
        new.wait_for(2).await;
        assert_eq!(versions(&old.received(), app.partner.code_sid), [2]);
        assert_eq!(versions(&new.received(), app.partner.code_sid), [3, 4]);
    });
}

/// Makes the database's clock a function of this test, and returns what sets it ahead.
async fn inject_clock(app: &App) -> impl AsyncFn(&str) {
    let inject = "
        create schema clock;
        create table clock.setting as select interval '0' as ahead;
        create function clock.clock_timestamp() returns timestamptz language sql volatile
            return (select pg_catalog.clock_timestamp() + ahead from clock.setting);
        do $$ begin
            execute format('alter database %I set search_path = clock, pg_catalog, public',
                current_database());
        end $$;
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()";
    sqlx::raw_sql(inject).execute(&mut app.connection().await).await.unwrap();
    async |ahead: &str| {
        let set = "update clock.setting set ahead = $1::text::interval";
        sqlx::query(set).bind(ahead).execute(&mut app.connection().await).await.unwrap();
    }
}

#[test]
fn a_clock_that_jumps_moves_retries_only() {
    check(async |app| {
        let set_ahead = inject_clock(app).await;
        let code = app.partner.code_sid;
        let sink = Sink::start().await;
        let body = json!({"url": sink.url});
        let mut endpoint = json!(null);
        // The connections of the service have ended.
        wait_until("the service writes again", async || {
            let answer = app.post(ENDPOINTS, &body).await;
            endpoint = serde_json::from_str(&answer.text).unwrap_or_default();
            answer.status == 200
        })
        .await;
        sink.respond_in_turn(&[500, 500]);
        let attempts = async |count: usize| {
            let listed = async || {
                let rows = deliveries(app, &endpoint).await;
                rows.first().and_then(|row| Some(row["attempts"].as_array()?.len()))
            };
            wait_until("the attempts", async || listed().await == Some(count)).await;
        };
        rename(app, &app.partner.code_path(), 1).await;
        attempts(1).await;
        set_ahead("1 hour").await;
        attempts(2).await;
        // Back: new events are delivered as before, and the retry waits for its time.
        set_ahead("-2 hours").await;
        rename(app, &app.partner.group_path(), 3).await;
        sink.wait_for(5).await;
        assert_eq!(versions(&sink.received(), code), [2, 2]);
        set_ahead("2 hours").await;
        attempts(3).await;
        assert_eq!(versions(&sink.received(), code), [2, 2, 2]);
        assert_eq!(deliveries(app, &endpoint).await[0]["status"], "delivered");
    });
}
