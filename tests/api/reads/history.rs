//! History: entries, past states, reverts, retention and integrity.

use reqwest::Method;
use serde_json::json;
use shortline::auth::Scope;
use shortline::store;
use sqlx::AssertSqlSafe;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{Answer, App, CODES, GROUPS, check, code_path, group_path, snapshot};

async fn execute(app: &App, statement: &str) {
    let statement = AssertSqlSafe(statement.to_owned());
    sqlx::query(statement).execute(&mut app.connection().await).await.unwrap();
}

/// Waits for the clock to advance: dates in the history have milliseconds.
async fn next_millisecond() {
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
}

#[test]
fn history_records_who_changed_what_and_when() {
    check(async |app| {
        let path = app.partner.code_path();
        let patch = app.request(Method::PATCH, &path).header("X-Request-Id", "mine");
        Answer::to(patch.json(&json!({"name": "second", "attributes": {"a": null}})))
            .await
            .expect(200);
        let history = app.get(&format!("{path}/history")).await.expect(200);
        // The token is a JWT of another system, which has no row and therefore no sid.
        insta::assert_snapshot!(snapshot(app, &history), @r#"
        {
          "count": 2,
          "has_more": false,
          "items": [
            {
              "action": "create",
              "changes": {
                "attributes": {"after": {"a": {"b": 1, "c": [1, 2]}, "n": 5}, "before": null},
                "callback_url": {"after": "https://example.com/before", "before": null},
                "country_code": {"after": "USA", "before": null},
                "did_group_sid": {"after": "0000000c-0000-4000-8000-000000000001", "before": null},
                "name": {"after": "before", "before": null},
                "partner_sid": {"after": "0000000a-0000-4000-8000-000000000001", "before": null},
                "short_code": {"after": "10001", "before": null},
                "short_code_sid": {"after": "0000000d-0000-4000-8000-000000000001", "before": null},
                "state": {"after": "IL", "before": null},
                "string_key_1": {"after": "before", "before": null}
              },
              "date": "[date]",
              "ip": null,
              "partner_sid": null,
              "request_id": null,
              "token_sid": null,
              "version": 1
            },
            {
              "action": "update",
              "changes": {
                "attributes": {"after": {"n": 5}, "before": {"a": {"b": 1, "c": [1, 2]}, "n": 5}},
                "name": {"after": "second", "before": "before"}
              },
              "date": "[date]",
              "ip": "127.0.0.1",
              "partner_sid": "0000000a-0000-4000-8000-000000000001",
              "request_id": "mine",
              "token_sid": null,
              "version": 2
            }
          ],
          "limit": 10,
          "offset": 0,
          "pagination": {},
          "total": 2
        }
        "#);
        let date = history["items"][1]["date"].as_str().unwrap();
        assert_eq!(date.len(), "2026-11-22T12:00:00.000Z".len());
    });
}

#[test]
fn history_is_paged_like_a_list() {
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
fn past_states_can_be_read() {
    check(async |app| {
        let path = app.partner.code_path();
        let mut pasts = Vec::new();
        for name in ["second", "third"] {
            pasts.push((OffsetDateTime::now_utc(), app.get(&path).await.expect(200)));
            next_millisecond().await;
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
fn a_revert_creates_a_new_version() {
    check(async |app| {
        let path = app.partner.code_path();
        let first = app.get(&path).await.expect(200);
        let changes = json!({
            "name": "second", "attributes": null, "callback_url": null, "did_group_sid": null
        });
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
        // A revert to the current state changes nothing.
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
            let rejected = app.post(&format!("{path}/revert"), &wrong).await;
            assert_eq!(rejected.expect(422)["errors"][0]["field"], "version", "{wrong}");
        }
    });
}

#[test]
fn a_revert_is_validated_like_any_write() {
    check(async |app| {
        // The group of the old version no longer exists.
        let group = app.post(GROUPS, &json!({})).await.expect(200);
        let group = group["did_group_sid"].as_str().unwrap();
        let path = app.partner.code_path();
        app.patch(&path, &json!({"did_group_sid": group})).await.expect(200);
        app.patch(&path, &json!({"did_group_sid": null})).await.expect(200);
        assert_eq!(app.delete(&group_path(group)).await.status, 204);
        let rejected = app.post(&format!("{path}/revert"), &json!({"version": 2})).await;
        assert_eq!(rejected.expect(422)["errors"][0]["field"], "did_group_sid");
        assert_eq!(app.version(app.partner.code_sid).await, 3);
    });
}

#[test]
fn a_deleted_object_keeps_its_history_and_can_be_restored() {
    check(async |app| {
        let path = app.partner.code_path();
        app.patch(&path, &json!({"name": "second"})).await.expect(200);
        let whole = app.get(&path).await.expect(200);
        let alive = OffsetDateTime::now_utc();
        next_millisecond().await;
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
fn a_short_code_cannot_be_restored_while_its_number_is_taken() {
    check(async |app| {
        let path = app.partner.code_path();
        assert_eq!(app.delete(&path).await.status, 204);
        let taken = json!({"partner_sid": app.partner.sid, "short_code": "10001"});
        let other = app.post(CODES, &taken).await.expect(200);
        let rejected =
            app.post(&format!("{path}/revert"), &json!({"version": 1})).await.expect(409);
        assert_eq!(rejected["errors"][0]["field"], "short_code");
        assert_eq!(
            app.delete(&code_path(other["short_code_sid"].as_str().unwrap())).await.status,
            204
        );
        app.post(&format!("{path}/revert"), &json!({"version": 1})).await.expect(200);
    });
}

#[test]
fn restoring_a_group_needs_the_create_scope() {
    check(async |app| {
        let group = app.post(GROUPS, &json!({"name": "mine"})).await.expect(200);
        let path = group_path(group["did_group_sid"].as_str().unwrap());
        assert_eq!(app.delete(&path).await.status, 204);
        let revert = |scopes: &[Scope]| {
            let request = app.anonymous(Method::POST, &format!("{path}/revert"));
            request.bearer_auth(app.token(app.partner.sid, scopes)).json(&json!({"version": 1}))
        };
        Answer::to(revert(&[Scope::PhonenumberUpdate])).await.expect(403);
        // Of two concurrent reverts one restores the group and the other finds it restored.
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
fn the_history_of_another_tenant_is_invisible() {
    check(async |app| {
        let group = app.partner.group_sid;
        for path in [
            app.unrelated.code_path(),
            app.child.code_path(),
            app.unrelated.group_path(),
            code_path(Uuid::now_v7()),
            code_path("no-sid"),
            // The sid of an object of another kind.
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
fn pruned_history_stays_verifiable() {
    check(async |app| {
        let (path, sid) = (app.partner.code_path(), app.partner.code_sid);
        for name in ["second", "third", "fourth"] {
            app.patch(&path, &json!({"name": name})).await.expect(200);
        }
        let mut connection = app.connection().await;
        store::migrations::allow_retention(&mut connection, 1).await.unwrap();
        let age = "update history set date = date - interval '2 months'";
        execute(app, &format!("{age} where sid = '{sid}' and version < 3")).await;
        let month_ago = OffsetDateTime::now_utc() - Duration::days(30);
        assert_eq!(store::prune(&mut connection, month_ago, 1).await.unwrap(), 1);
        store::prune(&mut connection, month_ago, 1_000).await.unwrap();
        assert_eq!(store::prune(&mut connection, month_ago, 1_000).await.unwrap(), 0);
        let history = app.get(&format!("{path}/history")).await.expect(200);
        assert_eq!((&history["total"], &history["items"][0]["version"]), (&json!(2), &json!(3)));
        app.post(&format!("{path}/revert"), &json!({"version": 1})).await.expect(422);
        app.post(&format!("{path}/revert"), &json!({"version": 3})).await.expect(200);

        // Prunes the whole history.
        execute(app, age).await;
        while store::prune(&mut connection, month_ago, 2).await.unwrap() > 0 {}
        let history = app.get(&format!("{path}/history")).await.expect(200);
        assert_eq!((&history["total"], &history["items"]), (&json!(0), &json!([])));
        // The state since the last change is still known.
        let now = app.get(&path).await.expect(200);
        assert_eq!(app.get(&format!("{path}?at=2100-01-01T00:00:00Z")).await.expect(200), now);
        app.patch(&path, &json!({"name": "sixth"})).await.expect(200);
        assert_eq!(app.get(&format!("{path}/history")).await.expect(200)["items"][0]["version"], 6);
    });
}

/// Statements that damage the history of the short code $code or of the deleted group $group, and
/// the versions that a check reports.
const DAMAGES: [(&str, &[i64]); 12] = [
    ("update history set entry = replace(entry, 'second', 'twoth') where sid = $code", &[2, 3]),
    ("update history set entry = 'no JSON' where sid = $code and version = 4", &[4]),
    ("update history set hash = sha256('x') where sid = $code and version = 2", &[2, 3]),
    ("update history set partner_sid = $partner where sid = $code and version = 1", &[1]),
    ("update history set kind = 'partner' where sid = $code and version = 2", &[2]),
    ("update history set date = date - interval '1 day' where sid = $code and version = 3", &[3]),
    ("delete from history where sid = $code and version = 1", &[2]),
    ("delete from history where sid = $code and version = 3", &[4]),
    ("delete from history where sid = $code and version = 4", &[4]),
    ("delete from history where sid = $code", &[4]),
    ("delete from history where sid = $group and version = 2", &[1]),
    ("update short_codes set version = 7 where sid = $code", &[7]),
];

#[test]
fn altered_or_removed_history_is_detected() {
    check(async |app| {
        let (path, sid) = (app.partner.code_path(), app.partner.code_sid);
        for name in ["second", "third", "fourth"] {
            app.patch(&path, &json!({"name": name})).await.expect(200);
        }
        let deleted = app.post(GROUPS, &json!({})).await.expect(200);
        let deleted = deleted["did_group_sid"].as_str().unwrap();
        assert_eq!(app.delete(&group_path(deleted)).await.status, 204);
        assert_eq!(app.violations().await, []);
        execute(app, "create table intact as select * from history").await;
        for (damage, versions) in DAMAGES {
            let damage = damage
                .replace("$code", &format!("'{sid}'"))
                .replace("$group", &format!("'{deleted}'"))
                .replace("$partner", &format!("'{}'", app.unrelated.sid));
            execute(app, &damage).await;
            let mut found: Vec<_> =
                app.violations().await.iter().map(|violation| violation.version).collect();
            found.dedup();
            assert_eq!(found, versions, "{damage}");
            execute(app, "truncate history").await;
            execute(app, "insert into history select * from intact").await;
            execute(app, &format!("update short_codes set version = 4 where sid = '{sid}'")).await;
            assert_eq!(app.violations().await, []);
        }
    });
}

#[test]
fn an_object_that_was_changed_without_its_history_is_detected() {
    check(async |app| {
        let (code, token) = (app.partner.code_sid, app.partner.token_sid);
        // The last access is written without a version.
        let access = "update oauth_tokens set date_last_accessed = now(), ip_last_accessed = 'x'";
        execute(app, access).await;
        assert_eq!(app.violations().await, []);
        for (table, column, damage, sid) in [
            ("short_codes", "callback_url", "'https://mallory.example/'", code),
            ("short_codes", "attributes", "'{\"a\": 1}'", code),
            ("oauth_tokens", "scopes", "'admin.manage'", token),
            ("oauth_tokens", "access_hash", "sha256('mine')", token),
            ("oauth_tokens", "retained_until", "now()", token),
            ("partners", "requires_if_match", "true", app.partner.sid),
        ] {
            let intact = format!("create table intact as select * from {table}");
            execute(app, &intact).await;
            let change = format!("update {table} set {column} = {damage} where sid = '{sid}'");
            execute(app, &change).await;
            let found: Vec<_> = app.violations().await.iter().map(|found| found.sid).collect();
            assert_eq!(found, [sid], "{change}");
            execute(app, &format!("update {table} set {column} = intact.{column} from intact where intact.sid = {table}.sid")).await;
            execute(app, "drop table intact").await;
        }
        assert_eq!(app.violations().await, []);
    });
}
