//! Several instances: one delivers for an endpoint, and another one takes over.

use std::time::Duration;

use serde_json::json;

use super::{endpoint, rename, versions, wait_for_another_partner};
use crate::support::{App, check, status, wait_at_most, wait_until};

async fn dispatchers(app: &App) -> i64 {
    let count = "select count(distinct dispatcher_sid) from event_endpoints where enabled";
    sqlx::query_scalar(count).fetch_one(&mut app.connection().await).await.unwrap()
}

/// Makes another instance deliver, which has reported that it runs at that distance from now.
async fn hand_over(app: &App, ahead: &str) {
    let hand_over = "with other as (
                         insert into event_dispatchers
                         values (gen_random_uuid(), now() + $1::text::interval) returning sid
                     )
                     update event_endpoints set dispatcher_sid = other.sid from other where enabled";
    sqlx::query(hand_over).bind(ahead).execute(&mut app.connection().await).await.unwrap();
}

#[test]
fn one_instance_delivers_each_event_once() {
    check(async |app| {
        let (_, second) = app.second_instance().await;
        let (_, third) = app.second_instance().await;
        let (sink, _) = endpoint(app).await;
        for _ in 0..3 {
            rename(app, &app.partner.code_path(), 20).await;
            rename(app, &app.partner.group_path(), 20).await;
        }
        sink.wait_for(120).await;
        let expected: Vec<_> = (2..62).collect();
        assert_eq!(versions(&sink.received(), app.partner.code_sid), expected);
        assert_eq!(versions(&sink.received(), app.partner.group_sid), expected);
        assert_eq!(dispatchers(app).await, 1);
        second.stop(false).await;
        third.stop(false).await;
    });
}

#[test]
fn the_endpoints_of_an_instance_that_has_ended_are_taken_over() {
    check(async |app| {
        let (sink, _) = endpoint(app).await;
        rename(app, &app.partner.code_path(), 1).await;
        sink.wait_for(1).await;
        let idle = "select count(*) from event_endpoints where cursor_version = 2";
        wait_until("the cursor has moved", async || {
            let count = sqlx::query_scalar::<_, i64>(idle);
            count.fetch_one(&mut app.connection().await).await.unwrap() == 1
        })
        .await;
        // As if another instance delivered, which then ends.
        hand_over(app, "5.9 seconds").await;
        rename(app, &app.partner.code_path(), 1).await;
        wait_for_another_partner(app).await;
        assert_eq!(versions(&sink.received(), app.partner.code_sid), [2], "the other one delivers");
        let end = "update event_dispatchers set seen_at = now() where seen_at > now()";
        sqlx::query(end).execute(&mut app.connection().await).await.unwrap();
        sink.wait_for(2).await;
        assert_eq!(versions(&sink.received(), app.partner.code_sid), [2, 3]);
    });
}

#[test]
fn a_report_from_the_future_is_none() {
    check(async |app| {
        let (sink, _) = endpoint(app).await;
        rename(app, &app.partner.code_path(), 1).await;
        sink.wait_for(1).await;
        // The clock of the database has jumped back, and the instance has ended.
        hand_over(app, "1 hour").await;
        rename(app, &app.partner.code_path(), 1).await;
        wait_until("the event is delivered", async || {
            versions(&sink.received(), app.partner.code_sid).contains(&3)
        })
        .await;
    });
}

#[test]
fn an_instance_that_has_lost_an_endpoint_does_not_move_its_cursor() {
    check(async |app| {
        let (sink, _) = endpoint(app).await;
        sink.respond(|received| {
            // The answer arrives after another instance has taken over.
            let is_first = received.place().1 == 2;
            if is_first { None } else { Some(status(204)) }
        });
        rename(app, &app.partner.code_path(), 1).await;
        sink.wait_for(1).await;
        let cursor = "select cursor_epoch from event_endpoints where enabled";
        let mut connection = app.connection().await;
        let before: i64 = sqlx::query_scalar(cursor).fetch_one(&mut connection).await.unwrap();
        let lose = "update event_endpoints set dispatcher_sid = gen_random_uuid() where enabled";
        sqlx::query(lose).execute(&mut connection).await.unwrap();
        sink.respond(|_| Some(status(204)));
        // The delivery ends after 15 s. Then this instance takes the endpoint over again, and
        // delivers the event again.
        let is_repeated = async || sink.received().len() == 2;
        wait_at_most(Duration::from_secs(30), "the second delivery", is_repeated).await;
        assert_eq!(versions(&sink.received(), app.partner.code_sid), [2, 2]);
        wait_until("the cursor moves", async || {
            let now: i64 = sqlx::query_scalar(cursor).fetch_one(&mut connection).await.unwrap();
            now > before
        })
        .await;
    });
}

#[test]
fn nothing_is_delivered_while_webhooks_are_paused() {
    check(async |app| {
        let (sink, _) = endpoint(app).await;
        rename(app, &app.partner.code_path(), 1).await;
        sink.wait_for(1).await;
        let set = async |is_paused: bool| {
            let set = "update event_generations set is_paused = $1";
            sqlx::query(set).bind(is_paused).execute(&mut app.connection().await).await.unwrap();
        };
        set(true).await;
        let (mut count, mut previous) = (1, 0);
        // Until the next report of the instance, events are delivered.
        wait_until("deliveries are paused", async || {
            previous = count;
            app.patch(&app.partner.code_path(), &json!({"name": format!("{count}")})).await;
            actix_web::rt::time::sleep(Duration::from_millis(600)).await;
            count = sink.received().len();
            count == previous
        })
        .await;
        rename(app, &app.partner.code_path(), 1).await;
        set(false).await;
        // That one, and the one before it.
        sink.wait_for(count + 2).await;
    });
}
