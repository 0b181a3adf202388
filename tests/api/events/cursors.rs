//! Cursors that cannot be continued.

use reqwest::Method;
use serde_json::json;
use shortline::auth::Scope;
use shortline::events::Cursor;
use sqlx::{Connection, Executor};

use super::{EVENTS, after, cursor, message, now};
use crate::support::{Answer, App, check};

async fn expect_resync(app: &App, cursor: &str, reason: &str) {
    let answer = app.get(&format!("{EVENTS}?after={cursor}")).await;
    let message = message(&answer, 410, "resync");
    assert!(message.contains(reason) && message.contains("snapshot=true"), "{message}");
}

#[test]
fn text_that_is_no_cursor_is_rejected() {
    check(async |app| {
        let valid = now(app).await;
        let cut = &valid[..valid.len() - 4];
        for text in ["x", "12", "%20", cut, &format!("{valid}AAAA")] {
            let answer = app.get(&format!("{EVENTS}?after={text}")).await;
            assert_eq!(answer.expect_error(400, "bad request"), ["after"], "{text}");
        }
        let both = app.get(&format!("{EVENTS}?after={valid}&snapshot=true")).await;
        both.expect_error(400, "bad request");
        let bad = ["limit=1001", "limit=-1", "wait=31", "wait=x", "snapshot=yes"];
        for argument in bad {
            app.get(&format!("{EVENTS}?{argument}")).await.expect_error(400, "bad request");
        }
    });
}

#[test]
fn a_cursor_of_another_reader_is_gone() {
    check(async |app| {
        let other = app.token(app.unrelated.sid, &Scope::ALL);
        let request = app.anonymous(Method::GET, EVENTS).bearer_auth(other);
        let other = cursor(&Answer::to(request).await.expect(200));
        expect_resync(app, &other, "another partner").await;
        let scopes = [Scope::EventsRead, Scope::PhonenumberRead];
        let fewer = app.token(app.partner.sid, &scopes);
        let request = app.anonymous(Method::GET, EVENTS).bearer_auth(fewer);
        let fewer = cursor(&Answer::to(request).await.expect(200));
        expect_resync(app, &fewer, "other scopes").await;
    });
}

#[test]
fn a_cursor_of_an_earlier_generation_is_gone() {
    check(async |app| {
        let old = now(app).await;
        let mut connection = app.connection().await;
        let restored = "update event_generations set timeline = 'FFFFFFFF'
                        where generation = (select max(generation) from event_generations)";
        connection.execute(restored).await.unwrap();
        let generation = "select begin_event_generation()";
        let begun: i64 = sqlx::query_scalar(generation).fetch_one(&mut connection).await.unwrap();
        let again: i64 = sqlx::query_scalar(generation).fetch_one(&mut connection).await.unwrap();
        assert_eq!(begun, again);
        expect_resync(app, &old, "restored or has failed over").await;
        // A new cursor continues, and changes are behind those of the earlier generation.
        let new = now(app).await;
        app.patch(&app.partner.code_path(), &json!({"name": "new"})).await.expect(200);
        let page = after(app, &new).await;
        assert_eq!(page["items"].as_array().unwrap().len(), 1);
        connection.close().await.unwrap();
    });
}

#[test]
fn a_cursor_before_deleted_entries_is_gone() {
    check(async |app| {
        let old = now(app).await;
        let path = app.partner.code_path();
        app.patch(&path, &json!({"name": "one"})).await.expect(200);
        let read = cursor(&after(app, &old).await);
        let mut connection = app.connection().await;
        connection.execute("insert into history_retention (months) values (1)").await.unwrap();
        // Entries cannot be made older, so the clock of the function is a year ahead.
        let function: String =
            sqlx::query_scalar("select pg_get_functiondef('prune_history'::regproc)")
                .fetch_one(&mut connection)
                .await
                .unwrap();
        let ahead = function.replace("select now() -", "select now() + interval '1 year' -");
        assert_ne!(function, ahead);
        connection.execute(sqlx::AssertSqlSafe(ahead)).await.unwrap();
        let prune = "select prune_history(now() + interval '1 year', 1000000)";
        let pruned: i64 = sqlx::query_scalar(prune).fetch_one(&mut connection).await.unwrap();
        assert!(pruned > 0);
        expect_resync(app, &old, "deleted").await;
        // A reader that has read everything has missed nothing.
        let page = after(app, &read).await;
        assert_eq!(page["items"], json!([]));
        let now = now(app).await;
        app.patch(&path, &json!({"name": "two"})).await.expect(200);
        for place in [&read, &cursor(&page), &now] {
            let page = after(app, place).await;
            assert_eq!(page["items"].as_array().unwrap().len(), 1);
        }
    });
}

#[test]
fn a_cursor_beyond_the_newest_event_is_gone() {
    check(async |app| {
        let mut ahead = Cursor::decode(&now(app).await).unwrap();
        ahead.position.epoch += 1_000;
        expect_resync(app, &ahead.encode(), "beyond the newest").await;
    });
}
