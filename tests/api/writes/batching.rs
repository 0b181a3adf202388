//! Batches of concurrent writes on two instances: the result equals that of some serial order.

use std::collections::HashMap;

use futures_util::future::{join, join_all};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;

use crate::support::{Answer, App, check, code_path, plain_client};

/// One request of a client for one of a few short codes.
#[derive(Clone, Debug)]
struct Step {
    code: usize,
    instance: usize,
    change: Change,
    /// The version in `If-Match`, counted back from the newest known one.
    behind: Option<i64>,
    key: Option<u8>,
}

#[derive(Clone, Debug)]
enum Change {
    Merge(u8, i32),
    Remove(u8),
    Name(u8),
    Nothing,
    /// Refers to a group of another partner.
    BadGroup,
    /// Sends a member of the wrong type.
    BadName,
    Put(u8),
}

impl Change {
    fn body(&self, whole: &Value, foreign: &str) -> (Method, Value) {
        match self {
            Self::Merge(key, value) => {
                (Method::PATCH, json!({"attributes": {format!("k{key}"): value}}))
            }
            Self::Remove(key) => (Method::PATCH, json!({"attributes": {format!("k{key}"): null}})),
            Self::Name(name) => (Method::PATCH, json!({"name": format!("name {name}")})),
            Self::Nothing => (Method::PATCH, json!({})),
            Self::BadGroup => (Method::PATCH, json!({"did_group_sid": foreign})),
            Self::BadName => (Method::PATCH, json!({"name": 7})),
            Self::Put(name) => {
                let mut whole = whole.clone();
                whole["name"] = json!(format!("put {name}"));
                (Method::PUT, whole)
            }
        }
    }

    /// Applies the request to the object: RFC 7396, as far as these steps need it.
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

/// Checks that every version is the result of one acknowledged change to the version before it, and
/// that no change is lost or applied twice.
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
            let returned: Value = serde_json::from_str(&answered[0].answer.text).unwrap();
            // One of the requests that returned this version made it. The others changed nothing or
            // were replayed.
            let makers = answered.iter().filter(|done| {
                let mut made = object.clone();
                Change::apply(&done.body, done.is_put, &mut made);
                made != object && made == returned
            });
            assert_ne!(makers.count(), 0, "no request made version {version} of {path}");
            assert!(
                answered
                    .iter()
                    .all(|done| serde_json::from_str::<Value>(&done.answer.text).unwrap()
                        == returned)
            );
            object = returned;
        }
        assert_eq!(app.get(path).await.expect(200), object);
    }
}

/// The statuses that the response to a step can have.
fn expected_statuses(step: &Step) -> &'static [u16] {
    match (&step.change, step.behind, step.key) {
        (Change::BadName, ..) => &[422],
        (Change::BadGroup, None, _) => &[422],
        (Change::BadGroup, Some(_), _) => &[412, 422],
        (_, Some(1..), None) => &[412],
        (_, Some(_), None) => &[200, 412],
        (_, _, Some(_)) => &[200, 412, 422],
        (_, None, None) => &[200],
    }
}

/// Sends all steps at once to both instances and checks the result.
async fn run_round(
    app: &App,
    instances: &[String; 2],
    sids: &[String],
    round: u32,
    steps: &[Step],
) {
    let mut codes = Vec::new();
    let mut before = Vec::new();
    for sid in sids {
        let answer = app.get(&code_path(sid)).await;
        before.push(answer.header("etag").unwrap().trim_matches('"').parse().unwrap());
        codes.push((code_path(sid), answer.expect(200)));
    }
    let foreign = app.unrelated.group_sid.to_string();
    let client = plain_client();
    let requests = steps.iter().map(|step| {
        let (path, whole) = &codes[step.code];
        let (method, body) = step.change.body(whole, &foreign);
        let is_put = method == Method::PUT;
        let url = format!("{}{path}", instances[step.instance]);
        let mut request = client.request(method, url).bearer_auth(&app.token).json(&body);
        if let Some(behind) = step.behind {
            request = request.header("If-Match", format!("\"{}\"", before[step.code] - behind));
        }
        if let Some(key) = step.key {
            request = request.header("Idempotency-Key", format!("{round}-{key}"));
        }
        async move { Done { code: step.code, body, is_put, answer: Answer::to(request).await } }
    });
    let done: Vec<Done> = join_all(requests).await;
    for (step, done) in steps.iter().zip(&done) {
        let expected = expected_statuses(step).contains(&done.answer.status);
        assert!(expected, "{step:?} {:?}", done.answer);
    }
    expect_some_order(app, &codes, &done, &before).await;
}

#[test]
fn concurrent_writes_are_equivalent_to_some_serial_order() {
    check(async |app| {
        let (second, server) = app.second_instance().await;
        let instances = [app.base.clone(), second];
        let numbers = ["501", "502", "503"].map(|number| json!({"short_code": number}));
        app.partner.add_codes(app, &numbers).await;
        let filter = "/core/v2/phonenumber/short_codes?filter=short_code+in+(501,502,503)";
        let listed = app.get(filter).await.expect(200);
        let codes = listed["items"].as_array().unwrap().iter();
        let sids: Vec<_> =
            codes.map(|code| code["short_code_sid"].as_str().unwrap().to_owned()).collect();
        let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
        for round in 0..12 {
            let steps = steps().new_tree(&mut runner).unwrap().current();
            run_round(app, &instances, &sids, round, &steps).await;
        }
        server.stop(false).await;
    });
}

#[test]
fn a_rejected_request_does_not_affect_the_rest_of_its_batch() {
    check(async |app| {
        let path = app.partner.code_path();
        let foreign = app.unrelated.group_sid;
        let requests = (0..60).map(|number| {
            let body = if number % 10 == 5 {
                json!({"did_group_sid": foreign})
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
        assert_eq!(app.version(app.partner.code_sid).await, 55);
    });
}

#[test]
fn a_row_whose_requests_are_rejected_again_and_again_still_accepts_valid_ones() {
    check(async |app| {
        let (path, other) = (app.partner.code_path(), app.unrelated.code_path());
        let token = app.token(app.unrelated.sid, &Scope::DEFAULT);
        let foreign = json!({"did_group_sid": app.unrelated.group_sid});
        for round in 0..6 {
            let rejected = join_all((0..8).map(|_| app.patch(&path, &foreign)));
            let (name, named) = (json!({"name": format!("round {round}")}), json!({"name": "x"}));
            let named = app.anonymous(Method::PATCH, &other).bearer_auth(&token).json(&named);
            let valid = join(app.patch(&path, &name), Answer::to(named));
            let (rejected, (accepted, of_other)) = join(rejected, valid).await;
            for answer in rejected {
                assert_eq!(
                    answer.expect_error(422, "object validation error"),
                    ["did_group_sid"],
                    "{round}"
                );
            }
            assert_eq!(accepted.expect(200)["name"], name["name"]);
            of_other.expect(200);
        }
        assert_eq!(app.get(&path).await.expect(200)["name"], "round 5");
    });
}

#[test]
fn a_locked_row_does_not_delay_other_rows_for_long() {
    check(async |app| {
        use sqlx::Connection;
        let mut other = app.connection().await;
        let mut tx = other.begin().await.unwrap();
        let lock = "select from short_codes where sid = $1 for update";
        sqlx::query(lock).bind(app.partner.code_sid).execute(&mut *tx).await.unwrap();
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
        for rejected in &answers[free.len()..] {
            assert_eq!((rejected.status, rejected.header("retry-after")), (503, Some("1")));
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(4), "{:?}", started.elapsed());
        tx.rollback().await.unwrap();
        app.patch(&locked, &json!({"name": "x"})).await.expect(200);
    });
}

#[test]
fn acknowledged_writes_survive_dying_connections() {
    check(async |app| {
        let (path, sid) = (app.partner.code_path(), app.partner.code_sid);
        let (second, server) = app.second_instance().await;
        let client = plain_client();
        // Connections are terminated repeatedly while two instances write to one row.
        let mut admin = app.connection().await;
        let killer = actix_web::rt::spawn(async move {
            for _ in 0..20 {
                let statement = "select pg_terminate_backend(pid) from pg_stat_activity
                                 where datname = current_database() and pid <> pg_backend_pid()";
                sqlx::query(statement).execute(&mut admin).await.unwrap();
                // Time for both instances to reconnect and write again.
                tokio::time::sleep(std::time::Duration::from_millis(40)).await;
            }
        });
        let mut acknowledged = 0;
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
            acknowledged += answers.iter().filter(|answer| answer.status == 200).count();
            number += 16;
        }
        assert!(acknowledged > 0);
        let updates = "select count(*) from history where sid = $1 and version > 1";
        let stored: i64 = sqlx::query_scalar(updates)
            .bind(sid)
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
        assert!(stored >= acknowledged as i64, "{acknowledged} acknowledged, {stored} stored");
        server.stop(false).await;
    });
}
