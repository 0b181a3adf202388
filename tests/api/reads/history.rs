//! Every change on record and reversible.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use shortline::store;
use sqlx::AssertSqlSafe;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{Answer, App, check, code_path, group_path};

async fn execute(app: &App, statement: &str) {
    let statement = AssertSqlSafe(statement.to_owned());
    sqlx::query(statement).execute(&mut app.connection().await).await.unwrap();
}

#[test]
fn a_history_tells_who_did_what_and_when() {
    check(async |app| {
        let path = app.partner.code_path();
        let sid = app.partner.token_sid;
        let patch = app.request(Method::PATCH, &path).header("X-Request-Id", "mine");
        Answer::to(patch.json(&json!({"name": "second", "attributes": {"a": null}})))
            .await
            .expect(200);
        let history = app.get(&format!("{path}/history")).await.expect(200);
        assert_eq!((&history["count"], &history["total"]), (&json!(2), &json!(2)));
        assert_eq!((&history["has_more"], &history["pagination"]), (&json!(false), &json!({})));
        let [created, updated] = history["items"].as_array().unwrap().as_slice() else { panic!() };
        assert_eq!(created["action"], "create");
        assert_eq!(created["changes"]["short_code"], json!({"after": "10001", "before": null}));
        assert_eq!((&created["ip"], &created["partner_sid"]), (&Value::Null, &Value::Null));
        let date = updated["date"].as_str().unwrap();
        assert_eq!(date.len(), "2026-11-22T12:00:00.000Z".len());
        assert_eq!(
            *updated,
            json!({
                "action": "update",
                "changes": {
                    "attributes": {
                        "after": {"n": 5},
                        "before": {"a": {"b": 1, "c": [1, 2]}, "n": 5},
                    },
                    "name": {"after": "second", "before": "before"},
                },
                "date": date,
                "ip": "127.0.0.1",
                "partner_sid": app.partner.sid,
                "request_id": "mine",
                // A JWT of another system has none.
                "token_sid": null,
                "version": 2,
            })
        );
        assert_ne!(sid, Uuid::nil());
    });
}

#[test]
fn a_history_is_a_list() {
    check(async |app| {
        let path = app.partner.group_path();
        for name in ["two", "three", "four", "five"] {
            app.patch(&path, &json!({"name": name})).await.expect(200);
        }
        let mut next = format!("{path}/history?limit=2&include_fields=version,changes.name.after");
        let mut seen = Vec::new();
        for _ in 0..3 {
            let page = app.get(&next).await.expect(200);
            assert_eq!((&page["total"], &page["limit"]), (&json!(5), &json!(2)));
            seen.extend(page["items"].as_array().unwrap().clone());
            match page["pagination"]["next"].as_str() {
                Some(link) => next = link.strip_prefix(&app.base).unwrap().to_owned(),
                None => break,
            }
        }
        let expected: Vec<_> = [(1, "N/A"), (2, "two"), (3, "three"), (4, "four"), (5, "five")]
            .map(
                |(version, name)| json!({"changes": {"name": {"after": name}}, "version": version}),
            )
            .into();
        assert_eq!(seen, expected);
        for wrong in [
            "filter=version eq 1",
            "order=version desc",
            "after=x",
            "limit=1001",
            "include_fields=object",
        ] {
            app.get(&format!("{path}/history?{wrong}")).await.expect(400);
        }
    });
}

#[test]
fn the_past_can_be_read() {
    check(async |app| {
        let path = app.partner.code_path();
        let mut pasts = Vec::new();
        for name in ["second", "third"] {
            pasts.push((OffsetDateTime::now_utc(), app.get(&path).await.expect(200)));
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            app.patch(&path, &json!({"name": name, "attributes": {"exact": 1.10}}))
                .await
                .expect(200);
        }
        pasts.push((
            OffsetDateTime::now_utc() + Duration::days(1),
            app.get(&path).await.expect(200),
        ));
        let at = |date: OffsetDateTime| {
            format!(
                "{path}?at={}",
                date.format(&time::format_description::well_known::Rfc3339).unwrap()
            )
        };
        for (date, past) in &pasts {
            assert_eq!(app.get(&at(*date)).await.expect(200), *past);
        }
        app.get(&at(OffsetDateTime::now_utc() - Duration::days(1))).await.expect(404);
        let shaped =
            format!("{}&with_related=true&include_fields=name,partner.name", at(pasts[0].0));
        assert_eq!(
            app.get(&shaped).await.expect(200),
            json!({"name": "before", "partner": {"name": "a tenant"}})
        );
        for wrong in [
            "yesterday",
            "2026-13-01T00:00:00Z",
            "2026-11-22",
            "2026-11-22T12:00:00",
            "9999-12-31T23:59:59-01:00",
            "-005000-01-01T00:00:00Z",
        ] {
            app.get(&format!("{path}?at={wrong}")).await.expect(400);
        }
    });
}

#[test]
fn an_object_is_brought_back_as_a_new_version() {
    check(async |app| {
        let path = app.partner.code_path();
        let first = app.get(&path).await.expect(200);
        let changes = json!({"name": "second", "attributes": null, "callback_url": null, "did_group_sid": null});
        app.patch(&path, &changes).await.expect(200);
        let reverted = app.post(&format!("{path}/revert"), &json!({"version": 1})).await;
        assert_eq!(reverted.header("etag"), Some("\"3\""));
        assert_eq!(reverted.expect(200), first);
        assert_eq!(app.get(&path).await.expect(200), first);
        let last = app.get(&format!("{path}/history?offset=2")).await.expect(200);
        assert_eq!(last["items"][0]["action"], "revert");
        assert_eq!(
            last["items"][0]["changes"]["name"],
            json!({"after": "before", "before": "second"})
        );
        // Back to what it is: nothing changes.
        let same = app.post(&format!("{path}/revert"), &json!({"version": 3})).await;
        assert_eq!(same.header("etag"), Some("\"3\""));
        let stale =
            app.request(Method::POST, &format!("{path}/revert")).header("If-Match", "\"2\"");
        Answer::to(stale.json(&json!({"version": 1}))).await.expect(412);
        for wrong in [
            json!({}),
            json!({"version": 0}),
            json!({"version": "1"}),
            json!({"version": 1.5}),
            json!({"version": 9}),
            json!({"version": null}),
        ] {
            let refused = app.post(&format!("{path}/revert"), &wrong).await;
            assert_eq!(refused.expect(422)["errors"][0]["field"], "version", "{wrong}");
        }
    });
}

#[test]
fn a_revert_is_checked_as_any_write() {
    check(async |app| {
        // The group that it was in is gone.
        let group = app.post("/core/v2/phonenumber/did_groups", &json!({})).await.expect(200);
        let group = group["did_group_sid"].as_str().unwrap();
        let path = app.partner.code_path();
        app.patch(&path, &json!({"did_group_sid": group})).await.expect(200);
        app.patch(&path, &json!({"did_group_sid": null})).await.expect(200);
        assert_eq!(app.delete(&group_path(group)).await.status, 204);
        let refused = app.post(&format!("{path}/revert"), &json!({"version": 2})).await;
        assert_eq!(refused.expect(422)["errors"][0]["field"], "did_group_sid");
        assert_eq!(app.version(app.partner.code.short_code_sid).await, 3);
    });
}

#[test]
fn what_was_deleted_has_a_history_and_comes_back() {
    check(async |app| {
        let path = app.partner.code_path();
        app.patch(&path, &json!({"name": "second"})).await.expect(200);
        let whole = app.get(&path).await.expect(200);
        let alive = OffsetDateTime::now_utc();
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        assert_eq!(app.delete(&path).await.status, 204);
        app.get(&path).await.expect(404);
        let history = app.get(&format!("{path}/history")).await.expect(200);
        assert_eq!(history["items"][2]["action"], "delete");
        assert_eq!(
            history["items"][2]["changes"]["name"],
            json!({"after": null, "before": "second"})
        );
        let alive = alive.format(&time::format_description::well_known::Rfc3339).unwrap();
        assert_eq!(app.get(&format!("{path}?at={alive}")).await.expect(200), whole);
        app.get(&format!("{path}?at=2100-01-01T00:00:00Z")).await.expect(404);

        let revert = format!("{path}/revert");
        let plain = app.token(app.partner.sid, &[Scope::PhonenumberManage]);
        let plain = app.anonymous(Method::POST, &revert).bearer_auth(plain);
        Answer::to(plain.json(&json!({"version": 2}))).await.expect(403);
        app.post(&revert, &json!({"version": 3})).await.expect(422);
        let matching = app.request(Method::POST, &revert).header("If-Match", "*");
        Answer::to(matching.json(&json!({"version": 2}))).await.expect(412);
        let back = app.post(&revert, &json!({"version": 2})).await;
        assert_eq!(back.header("etag"), Some("\"4\""));
        assert_eq!(back.expect(200), whole);
        assert_eq!(app.get(&path).await.expect(200), whole);
        assert_eq!(app.patch(&path, &json!({"name": "fifth"})).await.header("etag"), Some("\"5\""));
    });
}

#[test]
fn a_short_code_whose_number_is_taken_does_not_come_back() {
    check(async |app| {
        let path = app.partner.code_path();
        assert_eq!(app.delete(&path).await.status, 204);
        let taken = json!({"partner_sid": app.partner.sid, "short_code": "10001"});
        let other = app.post("/core/v2/phonenumber/short_codes", &taken).await.expect(200);
        let refused = app.post(&format!("{path}/revert"), &json!({"version": 1})).await.expect(409);
        assert_eq!(refused["errors"][0]["field"], "short_code");
        assert_eq!(
            app.delete(&code_path(other["short_code_sid"].as_str().unwrap())).await.status,
            204
        );
        app.post(&format!("{path}/revert"), &json!({"version": 1})).await.expect(200);
    });
}

#[test]
fn a_deleted_group_comes_back_for_who_may_create_one() {
    check(async |app| {
        let group =
            app.post("/core/v2/phonenumber/did_groups", &json!({"name": "mine"})).await.expect(200);
        let path = group_path(group["did_group_sid"].as_str().unwrap());
        assert_eq!(app.delete(&path).await.status, 204);
        let revert = |scopes: &[Scope]| {
            let request = app.anonymous(Method::POST, &format!("{path}/revert"));
            request.bearer_auth(app.token(app.partner.sid, scopes)).json(&json!({"version": 1}))
        };
        Answer::to(revert(&[Scope::PhonenumberUpdate])).await.expect(403);
        // Two at once: one brings it back, the other finds it there, as it was.
        let back = || {
            let scopes = [Scope::PhonenumberUpdate, Scope::PhonenumberCreate];
            Answer::to(revert(&scopes))
        };
        let (one, other) = futures_util::join!(back(), back());
        for answer in [&one, &other].into_iter().filter(|answer| answer.status != 409) {
            assert_eq!(answer.expect(200), group);
        }
        assert!([one.status, other.status].contains(&200));
    });
}

#[test]
fn no_history_of_another_tenant_is_seen() {
    check(async |app| {
        let group = app.partner.group.did_group_sid;
        for path in [
            app.stranger.code_path(),
            app.child.code_path(),
            app.stranger.group_path(),
            code_path(Uuid::now_v7()),
            code_path("no-sid"),
            // Of another kind.
            code_path(group),
        ] {
            app.get(&format!("{path}/history")).await.expect(404);
            app.get(&format!("{path}?at=2100-01-01T00:00:00Z")).await.expect(404);
            app.post(&format!("{path}/revert"), &json!({"version": 1})).await.expect(404);
        }
        let far = app
            .token(app.partner.sid, &[Scope::PhonenumberManage, Scope::PhonenumberReadDescendant]);
        let history = app.anonymous(Method::GET, &format!("{}/history", app.child.code_path()));
        Answer::to(history.bearer_auth(&far)).await.expect(200);
    });
}

#[test]
fn the_oldest_entries_are_dropped_and_the_rest_stays_verifiable() {
    check(async |app| {
        let (path, sid) = (app.partner.code_path(), app.partner.code.short_code_sid);
        for name in ["second", "third", "fourth"] {
            app.patch(&path, &json!({"name": name})).await.expect(200);
        }
        let mut connection = app.connection().await;
        execute(app, &format!("update history set date = date - interval '2 months' where sid = '{sid}' and version < 3")).await;
        let month_ago = OffsetDateTime::now_utc() - Duration::days(30);
        assert_eq!(store::drop_before(&mut connection, month_ago, 1).await.unwrap(), 1);
        store::drop_before(&mut connection, month_ago, 1_000).await.unwrap();
        assert_eq!(store::drop_before(&mut connection, month_ago, 1_000).await.unwrap(), 0);
        let history = app.get(&format!("{path}/history")).await.expect(200);
        assert_eq!((&history["total"], &history["items"][0]["version"]), (&json!(2), &json!(3)));
        app.post(&format!("{path}/revert"), &json!({"version": 1})).await.expect(422);
        app.post(&format!("{path}/revert"), &json!({"version": 3})).await.expect(200);

        // All of it.
        execute(app, "update history set date = date - interval '2 months'").await;
        while store::drop_before(&mut connection, month_ago, 2).await.unwrap() > 0 {}
        let history = app.get(&format!("{path}/history")).await.expect(200);
        assert_eq!((&history["total"], &history["items"]), (&json!(0), &json!([])));
        // What has not changed since is known.
        let now = app.get(&path).await.expect(200);
        assert_eq!(app.get(&format!("{path}?at=2100-01-01T00:00:00Z")).await.expect(200), now);
        app.patch(&path, &json!({"name": "sixth"})).await.expect(200);
        assert_eq!(app.get(&format!("{path}/history")).await.expect(200)["items"][0]["version"], 6);
    });
}

#[test]
fn whatever_is_altered_or_removed_is_found() {
    check(async |app| {
        let (path, sid) = (app.partner.code_path(), app.partner.code.short_code_sid);
        for name in ["second", "third", "fourth"] {
            app.patch(&path, &json!({"name": name})).await.expect(200);
        }
        let gone = app.post("/core/v2/phonenumber/did_groups", &json!({})).await.expect(200);
        let gone = gone["did_group_sid"].as_str().unwrap();
        assert_eq!(app.delete(&group_path(gone)).await.status, 204);
        assert_eq!(app.broken().await, []);
        let stolen = app.stranger.sid;
        execute(app, "create table kept as select * from history").await;
        for (damage, versions) in [
            (
                format!(
                    "update history set entry = replace(entry, 'second', 'twoth') where sid = '{sid}'"
                ),
                vec![2, 3],
            ),
            (
                format!("update history set entry = 'no JSON' where sid = '{sid}' and version = 4"),
                vec![4],
            ),
            (
                format!(
                    "update history set hash = sha256('x') where sid = '{sid}' and version = 2"
                ),
                vec![2, 3],
            ),
            (
                format!(
                    "update history set partner_sid = '{stolen}' where sid = '{sid}' and version = 1"
                ),
                vec![1],
            ),
            (
                format!("update history set kind = 'partner' where sid = '{sid}' and version = 2"),
                vec![2],
            ),
            (
                format!(
                    "update history set date = date - interval '1 day' where sid = '{sid}' and version = 3"
                ),
                vec![3],
            ),
            (format!("delete from history where sid = '{sid}' and version = 1"), vec![2]),
            (format!("delete from history where sid = '{sid}' and version = 3"), vec![4]),
            (format!("delete from history where sid = '{sid}' and version = 4"), vec![4]),
            (format!("delete from history where sid = '{sid}'"), vec![4]),
            (format!("delete from history where sid = '{gone}' and version = 2"), vec![1]),
            (format!("update short_codes set version = 7 where sid = '{sid}'"), vec![7]),
        ] {
            execute(app, &damage).await;
            let found: Vec<_> = app.broken().await.iter().map(|broken| broken.version).collect();
            assert_eq!(found, versions, "{damage}");
            execute(app, "truncate history").await;
            execute(app, "insert into history select * from kept").await;
            execute(app, &format!("update short_codes set version = 4 where sid = '{sid}'")).await;
            assert_eq!(app.broken().await, []);
        }
    });
}
