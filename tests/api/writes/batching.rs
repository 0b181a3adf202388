//! Many writers at once, over lanes of several instances: the outcome is that of some order of them, one after the other.

use std::collections::HashMap;

use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, check, code_path};

/// What a client does to one of a few short codes.
#[derive(Clone, Debug)]
struct Step {
    code: usize,
    instance: usize,
    change: Change,
    /// The version that it names, counted back from the newest that it has seen.
    behind: Option<i64>,
    key: Option<u8>,
}

#[derive(Clone, Debug)]
enum Change {
    Merge(u8, i32),
    Remove(u8),
    Name(u8),
    Nothing,
    /// A group of another partner.
    BadGroup,
    /// A member of the wrong type.
    BadName,
    Put(u8),
}

impl Change {
    fn body(&self, whole: &Value, strange: &str) -> (Method, Value) {
        match self {
            Self::Merge(key, value) => {
                (Method::PATCH, json!({"attributes": {format!("k{key}"): value}}))
            }
            Self::Remove(key) => (Method::PATCH, json!({"attributes": {format!("k{key}"): null}})),
            Self::Name(name) => (Method::PATCH, json!({"name": format!("name {name}")})),
            Self::Nothing => (Method::PATCH, json!({})),
            Self::BadGroup => (Method::PATCH, json!({"did_group_sid": strange})),
            Self::BadName => (Method::PATCH, json!({"name": 7})),
            Self::Put(name) => {
                let mut whole = whole.clone();
                whole["name"] = json!(format!("put {name}"));
                (Method::PUT, whole)
            }
        }
    }

    /// What it makes of the object: RFC 7396, as little of it as these steps need.
    fn apply(body: &Value, is_put: bool, object: &mut Value) {
        if is_put {
            object["name"] = body["name"].clone();
            object["attributes"] = body["attributes"].clone();
            return;
        }
        if let Some(name) = body.get("name") {
            object["name"] = name.clone();
        }
        for (key, value) in body["attributes"].as_object().into_iter().flatten() {
            let attributes = object["attributes"].as_object_mut().unwrap();
            if value.is_null() {
                attributes.remove(key);
            } else {
                attributes.insert(key.clone(), value.clone());
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = prop_oneof![
        5 => (0..3_u8, any::<i32>()).prop_map(|(key, value)| Change::Merge(key, value)),
        1 => (0..3_u8).prop_map(Change::Remove),
        2 => (0..4_u8).prop_map(Change::Name),
        1 => Just(Change::Nothing),
        1 => Just(Change::BadGroup),
        1 => Just(Change::BadName),
        1 => any::<u8>().prop_map(Change::Put),
    ];
    let step = (
        0..3_usize,
        0..2_usize,
        change,
        prop::option::weighted(0.2, 0..2_i64),
        prop::option::weighted(0.2, 0..6_u8),
    );
    let step = step.prop_map(|(code, instance, change, behind, key)| Step {
        code,
        instance,
        change,
        behind,
        key,
    });
    prop::collection::vec(step, 20..60)
}

struct Done {
    code: usize,
    body: Value,
    is_put: bool,
    answer: Answer,
}

/// Every version that was answered is what the change makes of the version before it, and no change is lost or made twice.
async fn expect_some_order(app: &App, codes: &[(String, Value)], done: &[Done], before: &[i64]) {
    for (number, (path, first)) in codes.iter().enumerate() {
        let history = app.get(&format!("{path}/history?limit=1000")).await.expect(200);
        let entries = history["items"].as_array().unwrap();
        let mut by_version: HashMap<i64, Vec<&Done>> = HashMap::new();
        for done in done.iter().filter(|done| done.code == number && done.answer.status == 200) {
            let version = done.answer.header("etag").unwrap().trim_matches('"').parse().unwrap();
            by_version.entry(version).or_default().push(done);
        }
        let mut object = first.clone();
        for version in before[number] + 1..=entries.len() as i64 {
            let answered = &by_version[&version];
            let told: Value = serde_json::from_str(&answered[0].answer.text).unwrap();
            // One of those who were told this version made it; the others changed nothing, or asked again under their key.
            let makers = answered.iter().filter(|done| {
                let mut made = object.clone();
                Change::apply(&done.body, done.is_put, &mut made);
                made != object && made == told
            });
            assert_ne!(makers.count(), 0, "nobody made version {version} of {path}");
            assert!(
                answered
                    .iter()
                    .all(|done| serde_json::from_str::<Value>(&done.answer.text).unwrap() == told)
            );
            object = told;
        }
        assert_eq!(app.get(path).await.expect(200), object);
    }
}

#[test]
fn whatever_comes_at_once_is_done_in_some_order() {
    check(async |app| {
        let (second, server) = app.second_instance().await;
        let instances = [app.base.clone(), second];
        let numbers = ["501", "502", "503"].map(|number| json!({"short_code": number}));
        app.partner.add_codes(app, &numbers).await;
        let filter = "/core/v2/phonenumber/short_codes?filter=short_code+in+(501,502,503)";
        let listed = app.get(filter).await.expect(200);
        let sids: Vec<_> = listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|code| code["short_code_sid"].as_str().unwrap().to_owned())
            .collect();
        let strange = app.stranger.group.did_group_sid.to_string();
        let client = reqwest::Client::new();
        let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
        for round in 0..12 {
            let steps = steps().new_tree(&mut runner).unwrap().current();
            let mut codes = Vec::new();
            let mut before = Vec::new();
            for sid in &sids {
                let answer = app.get(&code_path(sid)).await;
                before.push(answer.header("etag").unwrap().trim_matches('"').parse().unwrap());
                codes.push((code_path(sid), answer.expect(200)));
            }
            let requests =
                steps.iter().map(|step| {
                    let (path, whole) = &codes[step.code];
                    let (method, body) = step.change.body(whole, &strange);
                    let is_put = method == Method::PUT;
                    let url = format!("{}{path}", instances[step.instance]);
                    let mut request =
                        client.request(method, url).bearer_auth(&app.token).json(&body);
                    if let Some(behind) = step.behind {
                        request = request
                            .header("If-Match", format!("\"{}\"", before[step.code] - behind));
                    }
                    if let Some(key) = step.key {
                        request = request.header("Idempotency-Key", format!("{round}-{key}"));
                    }
                    async move {
                        Done { code: step.code, body, is_put, answer: Answer::to(request).await }
                    }
                });
            let done: Vec<Done> = join_all(requests).await;
            for (step, done) in steps.iter().zip(&done) {
                let expected: &[u16] = match (&step.change, step.behind, step.key) {
                    (Change::BadName, ..) => &[422],
                    (Change::BadGroup, None, _) => &[422],
                    (Change::BadGroup, Some(_), _) => &[412, 422],
                    (_, Some(1..), None) => &[412],
                    (_, Some(_), None) => &[200, 412],
                    (_, _, Some(_)) => &[200, 412, 422],
                    (_, None, None) => &[200],
                };
                assert!(expected.contains(&done.answer.status), "{step:?} {:?}", done.answer);
            }
            expect_some_order(app, &codes, &done, &before).await;
        }
        server.stop(false).await;
    });
}

#[test]
fn a_refused_request_of_a_batch_refuses_nobody_else() {
    check(async |app| {
        let path = app.partner.code_path();
        let strange = app.stranger.group.did_group_sid;
        let requests = (0..60).map(|number| {
            let body = if number % 10 == 5 {
                json!({"did_group_sid": strange})
            } else {
                json!({"attributes": {format!("k{number}"): number}})
            };
            let path = &path;
            async move { (number, app.patch(path, &body).await.status) }
        });
        for (number, status) in join_all(requests).await {
            assert_eq!(status, if number % 10 == 5 { 422 } else { 200 }, "{number}");
        }
        let attributes = app.get(&path).await.expect(200)["attributes"].clone();
        assert_eq!(
            (0..60).filter(|number| attributes[format!("k{number}")] == json!(number)).count(),
            54
        );
        assert_eq!(app.version(app.partner.code.short_code_sid).await, 55);
    });
}

#[test]
fn a_row_that_is_locked_elsewhere_holds_up_nobody_else_for_long() {
    check(async |app| {
        use sqlx::Connection;
        let mut other = app.connection().await;
        let mut tx = other.begin().await.unwrap();
        let lock = "select from short_codes where sid = $1 for update";
        sqlx::query(lock).bind(app.partner.code.short_code_sid).execute(&mut *tx).await.unwrap();
        let locked = app.partner.code_path();
        let codes: Vec<_> =
            (600..620).map(|number| json!({"short_code": number.to_string()})).collect();
        app.partner.add_codes(app, &codes).await;
        let listed = app
            .get("/core/v2/phonenumber/short_codes?limit=100&filter=short_code+like+6%25")
            .await
            .expect(200);
        let free: Vec<_> = listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|code| code_path(code["short_code_sid"].as_str().unwrap()))
            .collect();
        let started = std::time::Instant::now();
        let requests = free
            .iter()
            .chain(std::iter::repeat_n(&locked, 5))
            .map(|path| async move { app.patch(path, &json!({"name": "x"})).await });
        let answers = join_all(requests).await;
        assert!(answers[..free.len()].iter().all(|answer| answer.status == 200));
        for refused in &answers[free.len()..] {
            assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(4), "{:?}", started.elapsed());
        tx.rollback().await.unwrap();
        app.patch(&locked, &json!({"name": "x"})).await.expect(200);
    });
}

#[test]
fn what_is_acknowledged_is_stored_whatever_becomes_of_connections() {
    check(async |app| {
        let (path, sid) = (app.partner.code_path(), app.partner.code.short_code_sid);
        let (second, server) = app.second_instance().await;
        let client = reqwest::Client::new();
        // Connections end again and again, while two instances contend for one row.
        let mut admin = app.connection().await;
        let killer = actix_web::rt::spawn(async move {
            for _ in 0..20 {
                let statement = "select pg_terminate_backend(pid) from pg_stat_activity
                                 where datname = current_database() and pid <> pg_backend_pid()";
                sqlx::query(statement).execute(&mut admin).await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(40)).await;
            }
        });
        let mut told = 0;
        let mut number = 0;
        while !killer.is_finished() {
            let writes = (0..16).map(|place| {
                let base = if place % 2 == 0 { &app.base } else { &second };
                let body = json!({"name": format!("name {}", number + place)});
                let request = client.patch(format!("{base}{path}")).bearer_auth(&app.token);
                Answer::to(request.json(&body))
            });
            let answers = join_all(writes).await;
            assert!(
                answers.iter().all(|answer| [200, 503].contains(&answer.status)),
                "{answers:?}"
            );
            told += answers.iter().filter(|answer| answer.status == 200).count();
            number += 16;
        }
        assert!(told > 0);
        let updates = "select count(*) from history where sid = $1 and version > 1";
        let stored: i64 = sqlx::query_scalar(updates)
            .bind(sid)
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
        assert!(stored >= told as i64, "{told} told, {stored} stored");
        server.stop(false).await;
    });
}
