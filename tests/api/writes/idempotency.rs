//! `Idempotency-Key`: a retry never writes twice.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::support::{Answer, App, GROUPS, check, group_path, plain_client, wait_until};

async fn send(app: &App, method: Method, path: &str, key: &str, body: &Value) -> Answer {
    Answer::to(app.request(method, path).header("Idempotency-Key", key).json(body)).await
}

async fn count(app: &App, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(&mut app.connection().await).await.unwrap()
}

/// Checks that a retry returns the same response, marked as replayed.
fn expect_replay(first: &Answer, again: &Answer) {
    assert_eq!((first.status, &first.text), (again.status, &again.text));
    assert_eq!(first.header("etag"), again.header("etag"));
    assert_eq!(first.header("content-type"), again.header("content-type"));
    assert_eq!(first.header("idempotency-replayed"), None);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
}

#[test]
fn a_retry_replays_the_response_and_writes_nothing() {
    check(async |app| {
        let path = app.partner.code_path();
        let mut whole = app.get(&path).await.expect(200);
        whole["name"] = json!("put");
        for (method, path, body) in [
            (Method::POST, GROUPS.to_owned(), json!({"name": "created"})),
            (Method::PATCH, path.clone(), json!({"name": "patched", "attributes": {"n": 1.10}})),
            (Method::PUT, path.clone(), whole),
            (Method::POST, format!("{path}/revert"), json!({"version": 1})),
        ] {
            let key = format!("{method}-{path}");
            let first = send(app, method.clone(), &path, &key, &body).await;
            first.expect(200);
            // The object changes; the replayed response does not.
            app.patch(&app.partner.code_path(), &json!({"string_key_2": key})).await.expect(200);
            let entries = count(app, "select count(*) from history").await;
            expect_replay(&first, &send(app, method, &path, &key, &body).await);
            assert_eq!(count(app, "select count(*) from history").await, entries);
        }
    });
}

#[test]
fn a_retried_deletion_replays_its_response() {
    check(async |app| {
        let created = app.post(GROUPS, &json!({})).await.expect(200);
        let path = group_path(created["did_group_sid"].as_str().unwrap());
        let delete = || app.request(Method::DELETE, &path).header("Idempotency-Key", "k");
        let first = Answer::to(delete()).await;
        assert_eq!(first.status, 204);
        let again = Answer::to(delete()).await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (204, Some("true")));
        app.delete(&path).await.expect(404);
    });
}

#[test]
fn a_replay_takes_precedence_over_if_match() {
    check(async |app| {
        let patch = || {
            let request = app.request(Method::PATCH, &app.partner.code_path());
            let request = request.header("Idempotency-Key", "k").header("If-Match", "\"1\"");
            request.json(&json!({"name": "second"}))
        };
        let first = Answer::to(patch()).await;
        assert_eq!(first.header("etag"), Some("\"2\""));
        expect_replay(&first, &Answer::to(patch()).await);
    });
}

#[test]
fn reusing_a_key_for_another_request_is_422() {
    check(async |app| {
        let path = app.partner.code_path();
        send(app, Method::PATCH, &path, "k", &json!({"name": "x"})).await.expect(200);
        let other = app.partner.group_path();
        for (method, path, body) in [
            (Method::PATCH, path.clone(), json!({"name": "y"})),
            (Method::PATCH, format!("{path}?nested_objects=replace"), json!({"name": "x"})),
            (Method::PATCH, other, json!({"name": "x"})),
            (Method::POST, GROUPS.to_owned(), json!({"name": "x"})),
        ] {
            let rejected = send(app, method, &path, "k", &body).await.expect(422);
            assert_eq!(rejected["errors"][0]["field"], "Idempotency-Key");
        }
        // Keys of different partners are independent.
        let child = app.anonymous(Method::PATCH, &app.child.code_path());
        let token = app.token(app.child.sid, &[shortline::auth::Scope::PhonenumberManage]);
        let child = child.bearer_auth(token).header("Idempotency-Key", "k");
        Answer::to(child.json(&json!({"name": "of the child"}))).await.expect(200);
    });
}

#[test]
fn rejected_requests_are_not_stored_for_replay() {
    check(async |app| {
        let (path, body) = (app.partner.code_path(), json!({"did_group_sid": null}));
        let matching = |tag: &'static str| {
            let request = app.request(Method::PATCH, &path).header("Idempotency-Key", "k");
            request.header("If-Match", tag).json(&body)
        };
        Answer::to(matching("\"7\"")).await.expect(412);
        Answer::to(matching("\"1\"")).await.expect(200);
        let taken = json!({"partner_sid": app.partner.sid, "short_code": "10001"});
        let codes = "/core/v2/phonenumber/short_codes";
        for _ in 0..2 {
            let rejected = send(app, Method::POST, codes, "taken", &taken).await;
            rejected.expect(409);
            assert_eq!(rejected.header("idempotency-replayed"), None);
        }
    });
}

#[test]
fn dry_runs_neither_store_nor_replay_responses() {
    check(async |app| {
        let (path, body) = (app.partner.code_path(), json!({"name": "x"}));
        let dry = format!("{path}?validate_only=true");
        send(app, Method::PATCH, &dry, "k", &body).await.expect(200);
        assert_eq!(count(app, "select count(*) from idempotency_keys").await, 0);
        send(app, Method::PATCH, &path, "k", &body).await.expect(200);
        let again = send(app, Method::PATCH, &dry, "k", &json!({"name": "y"})).await;
        assert_eq!(again.expect(200)["name"], "y");
        assert_eq!(again.header("idempotency-replayed"), None);
    });
}

#[test]
fn concurrent_retries_on_two_instances_write_once() {
    check(async |app| {
        let (second, server) = app.second_instance().await;
        for round in 0..5 {
            let (key, body) = (format!("round {round}").replace(' ', "-"), json!({"name": "once"}));
            let requests = (0..12).map(|number| {
                let base = if number % 2 == 0 { &app.base } else { &second };
                let request = plain_client().post(format!("{base}{GROUPS}"));
                let request = request.bearer_auth(&app.token).header("Idempotency-Key", &key);
                Answer::to(request.json(&body))
            });
            let answers = join_all(requests).await;
            let done: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
            assert!(answers.iter().all(|answer| [200, 409].contains(&answer.status)));
            assert!(done.iter().all(|answer| answer.text == done[0].text));
            let fresh =
                done.iter().filter(|answer| answer.header("idempotency-replayed").is_none());
            assert_eq!(fresh.count(), 1);
        }
        let created = "select count(*) from did_groups where name = 'once'";
        assert_eq!(count(app, created).await, 5);
        server.stop(false).await;
    });
}

#[test]
fn a_retry_of_a_request_in_flight_is_409() {
    check(async |app| {
        // Simulates a request on another instance that has not committed yet.
        let mut other: PgConnection = app.connection().await;
        let mut tx = other.begin().await.unwrap();
        let statement =
            "insert into idempotency_keys (partner_sid, key, request) values ($1, 'k', '')";
        sqlx::query(statement).bind(app.partner.sid).execute(&mut *tx).await.unwrap();
        let rejected = send(app, Method::POST, GROUPS, "k", &json!({"name": "x"})).await;
        assert_eq!(rejected.expect(409)["errors"][0]["field"], "Idempotency-Key");
        assert_eq!(rejected.header("retry-after"), Some("1"));
        tx.rollback().await.unwrap();
        send(app, Method::POST, GROUPS, "k", &json!({"name": "x"})).await.expect(200);
        assert_eq!(count(app, "select count(*) from did_groups where name = 'x'").await, 1);
    });
}

#[test]
fn keys_expire_after_a_day() {
    check(async |app| {
        let path = app.partner.code_path();
        send(app, Method::PATCH, &path, "k", &json!({"name": "x"})).await.expect(200);
        let age = "update idempotency_keys set date = date - interval '24 hours'";
        sqlx::query(age).execute(&mut app.connection().await).await.unwrap();
        let other = send(app, Method::PATCH, &path, "k", &json!({"name": "y"})).await;
        assert_eq!(other.expect(200)["name"], "y");
        assert_eq!(other.header("idempotency-replayed"), None);
        sqlx::query(age).execute(&mut app.connection().await).await.unwrap();
        shortline::store::purge_expired(&mut app.connection().await).await.unwrap();
        assert_eq!(count(app, "select count(*) from idempotency_keys").await, 0);
    });
}

#[test]
fn malformed_keys_are_400() {
    check(async |app| {
        let long = "k".repeat(256);
        for key in ["", "a b", "ü", &long] {
            let rejected = send(app, Method::POST, GROUPS, key, &json!({})).await.expect(400);
            assert_eq!(rejected["errors"][0]["field"], "Idempotency-Key");
        }
        send(app, Method::POST, GROUPS, &long[1..], &json!({})).await.expect(200);
        // Responses of the token endpoints are not stored.
        let token = "/core/v2/oauth/tokens";
        let sid =
            app.get(token).await.expect(200)["items"][0]["token_sid"].as_str().unwrap().to_owned();
        send(app, Method::PATCH, &format!("{token}/{sid}"), "t", &json!({"name": "x"}))
            .await
            .expect(200);
        assert_eq!(count(app, "select count(*) from idempotency_keys where key = 't'").await, 0);
    });
}

#[test]
fn a_disconnected_client_can_retry_safely() {
    check(async |app| {
        let path = app.partner.code_path();
        let mut other = app.connection().await;
        let mut tx = other.begin().await.unwrap();
        let lock = "select from short_codes where sid = $1 for update";
        sqlx::query(lock).bind(app.partner.code_sid).execute(&mut *tx).await.unwrap();
        let patch = || {
            let request = app.request(Method::PATCH, &path).header("Idempotency-Key", "k");
            request.json(&json!({"name": "stored"}))
        };
        // The client disconnects while its request waits for the lock.
        let request = actix_web::rt::spawn(patch().send());
        let mut observer = app.connection().await;
        wait_until("the request waits for the lock", async || {
            let waiting = "select exists (select from pg_stat_activity
                           where datname = current_database() and wait_event_type = 'Lock')";
            sqlx::query_scalar(waiting).fetch_one(&mut observer).await.unwrap()
        })
        .await;
        request.abort();
        request.await.unwrap_err();
        tx.rollback().await.unwrap();
        let mut again = Answer::to(patch()).await;
        // The first request may still be in flight.
        wait_until("a retry succeeds", async || {
            if again.status == 409 {
                again = Answer::to(patch()).await;
            }
            again.status != 409
        })
        .await;
        assert_eq!(again.expect(200)["name"], "stored");
        assert_eq!(app.version(app.partner.code_sid).await, 2);
    });
}
