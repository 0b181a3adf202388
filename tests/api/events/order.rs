//! No event appears behind a cursor that was returned.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, Executor};
use tokio::time::sleep;

use super::{EVENTS, after, cursor, now, types};
use crate::support::{App, GROUPS, check};

fn objects(page: &Value) -> Vec<(String, i64)> {
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|event| {
            let data = &event["data"];
            (data["sid"].as_str().unwrap().to_owned(), data["version"].as_i64().unwrap())
        })
        .collect()
}

#[test]
fn events_wait_for_transactions_that_began_to_write_before_them() {
    check(async |app| {
        let start = now(app).await;
        let mut connection = app.connection().await;
        let mut earlier = connection.begin().await.unwrap();
        // It has an id from now on.
        earlier.execute("select pg_current_xact_id()").await.unwrap();
        app.patch(&app.partner.code_path(), &json!({"name": "later"})).await.expect(200);
        let page = app.get(&format!("{EVENTS}?after={start}")).await.expect(200);
        assert_eq!(objects(&page), []);
        earlier.rollback().await.unwrap();
        let page = after(app, &start).await;
        assert_eq!(objects(&page), [(app.partner.code_sid.to_string(), 2)]);
    });
}

#[test]
fn the_versions_of_an_object_ascend_whatever_the_ids_of_transactions() {
    check(async |app| {
        let start = now(app).await;
        let mut connection = app.connection().await;
        let mut earlier = connection.begin().await.unwrap();
        earlier.execute("select pg_current_xact_id()").await.unwrap();
        app.patch(&app.partner.code_path(), &json!({"name": "two"})).await.expect(200);
        // The transaction with the smaller id writes the later version.
        let change = |code: &mut shortline::short_codes::ShortCode| {
            code.state = None;
            Ok(())
        };
        let operator = shortline::auth::Actor::operator();
        let sid = app.partner.code_sid;
        shortline::store::update_within(&mut earlier, &operator, sid, change).await.unwrap();
        earlier.commit().await.unwrap();
        let page = after(app, &start).await;
        let sid = sid.to_string();
        assert_eq!(objects(&page), [(sid.clone(), 2), (sid, 3)]);
    });
}

#[test]
fn a_cursor_names_a_committed_event_after_a_crash_of_a_writer() {
    check(async |app| {
        app.patch(&app.partner.code_path(), &json!({"name": "two"})).await.expect(200);
        let mut connection = app.connection().await;
        // Ids that are assigned and never used are assigned again after a crash.
        for _ in 0..5 {
            let mut unused = connection.begin().await.unwrap();
            unused.execute("select pg_current_xact_id()").await.unwrap();
            unused.rollback().await.unwrap();
        }
        let place = shortline::events::Cursor::decode(&now(app).await).unwrap();
        let committed: (i64,) = sqlx::query_as(
            "select count(*) from history where epoch = $1 and sid = $2 and version = $3",
        )
        .bind(place.position.epoch)
        .bind(place.position.sid)
        .bind(place.position.version)
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert_eq!(committed, (1,));
    });
}

#[test]
fn concurrent_writers_of_two_instances_lose_no_event() {
    check(async |app| {
        let start = now(app).await;
        let (other, server) = app.second_instance().await;
        let writers = (0..8).map(|writer| {
            let base = if writer % 2 == 0 { app.base.clone() } else { other.clone() };
            write(app, base, writer)
        });
        let read = async {
            let (mut place, mut read, mut quiet) = (start.clone(), Vec::new(), 0);
            while quiet < 20 {
                let page = app.get(&format!("{EVENTS}?after={place}")).await.expect(200);
                let new = objects(&page);
                quiet = if new.is_empty() && read.len() >= 8 * 25 { quiet + 1 } else { 0 };
                read.extend(new);
                place = cursor(&page);
                sleep(Duration::from_millis(10)).await;
            }
            read
        };
        let (_, read) = futures_util::future::join(
            futures_util::future::join_all(writers),
            tokio::time::timeout(Duration::from_secs(60), read),
        )
        .await;
        let mut read = read.unwrap();
        let entries: Vec<(uuid::Uuid, i64)> = sqlx::query_as(
            "select sid, version from history where epoch > $1 and kind in
                 ('did', 'did_group', 'partner', 'short_code')",
        )
        .bind(shortline::events::Cursor::decode(&start).unwrap().position.epoch)
        .fetch_all(&mut app.connection().await)
        .await
        .unwrap();
        let mut last = std::collections::BTreeMap::new();
        for (sid, version) in &read {
            let before = last.insert(sid.clone(), *version);
            assert!(before.is_none_or(|before| before + 1 == *version), "{sid} {version}");
        }
        let mut entries: Vec<_> =
            entries.into_iter().map(|(sid, version)| (sid.to_string(), version)).collect();
        entries.sort();
        read.sort();
        assert_eq!(read, entries);
        server.stop(false).await;
    });
}

async fn write(app: &App, base: String, writer: u32) {
    for round in 0..25 {
        let (method, path, body) = match (writer + round) % 4 {
            0 => (reqwest::Method::POST, GROUPS.to_owned(), json!({})),
            // All writers change this one.
            1 => (
                reqwest::Method::PATCH,
                app.partner.code_path(),
                json!({"name": format!("{writer} {round}")}),
            ),
            _ => (
                reqwest::Method::PATCH,
                app.partner.group_path(),
                json!({"name": format!("{writer} {round}")}),
            ),
        };
        let request = app.request_to(method, &format!("{base}{path}")).bearer_auth(&app.token);
        let response = request.json(&body).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
}

#[test]
fn a_release_that_does_not_know_the_order_takes_part_in_it() {
    check(async |app| {
        let start = now(app).await;
        let mut connection = app.connection().await;
        // The statement of the release before: the columns that it knows.
        connection
            .execute(
                "insert into history (sid, version, kind, partner_sid, date, entry, hash)
                 select sid, 2, kind, partner_sid, date,
                     replace(entry, '\"action\":\"create\"', '\"action\":\"update\"'), hash
                 from history where kind = 'did_group' and version = 1 and partner_sid =
                     (select partner_sid from short_codes order by ordinal limit 1)",
            )
            .await
            .unwrap();
        let page = after(app, &start).await;
        assert_eq!(types(&page), ["did_group.updated"]);
        connection
            .execute("delete from history where version = 2 and kind = 'did_group'")
            .await
            .unwrap();
    });
}
