//! Entity tags, `If-Match` and `If-None-Match`: no update is lost.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;

use crate::support::{Answer, App, GROUPS, check, code_path, group_path};

async fn send(app: &App, method: Method, path: &str, tag: &str, body: Value) -> Answer {
    Answer::to(app.request(method, path).header("If-Match", tag).json(&body)).await
}

#[test]
fn every_object_has_an_etag() {
    check(async |app| {
        for path in [app.partner.code_path(), app.partner.group_path()] {
            assert_eq!(app.get(&path).await.header("etag"), Some("\"1\""));
            let patched = app.patch(&path, &json!({"name": "second"})).await;
            assert_eq!((patched.status, patched.header("etag")), (200, Some("\"2\"")));
            let unchanged = app.patch(&path, &json!({"name": "second"})).await;
            assert_eq!(unchanged.header("etag"), Some("\"2\""));
            let whole: Value = serde_json::from_str(&unchanged.text).unwrap();
            assert_eq!(app.put(&path, &whole).await.header("etag"), Some("\"2\""));
            for shaped in ["with_related=true", "include_fields=name", "at=2100-01-01T00:00:00Z"] {
                let answer = app.get(&format!("{path}?{shaped}")).await;
                assert_eq!((answer.status, answer.header("etag")), (200, None), "{shaped}");
            }
        }
        let created = app.post(GROUPS, &json!({})).await;
        assert_eq!((created.status, created.header("etag")), (200, Some("\"1\"")));
    });
}

#[test]
fn stale_if_match_is_rejected() {
    check(async |app| {
        let path = app.partner.code_path();
        app.patch(&path, &json!({"name": "second"})).await.expect(200);
        let whole = app.get(&path).await.expect(200);
        for tag in ["\"1\"", "\"1\", \"3\"", "W/\"1\"", "\"\"", "\"02\"", "\"a,b\""] {
            for (method, body) in
                [(Method::PATCH, json!({"name": "x"})), (Method::PUT, whole.clone())]
            {
                let rejected = send(app, method, &path, tag, body).await.expect(412);
                assert_eq!(rejected["message"], "precondition failed");
            }
        }
        assert_eq!(app.version(app.partner.code_sid).await, 2);
        for (tag, name) in [
            ("\"2\"", "third"),
            ("*", "fourth"),
            (" \"1\" ,, W/\"4\" ", "fifth"),
            ("W/\"5\"", "sixth"),
        ] {
            let answer = send(app, Method::PATCH, &path, tag, json!({"name": name})).await;
            assert_eq!(answer.expect(200)["name"], name, "{tag}");
        }
    });
}

#[test]
fn malformed_entity_tags_are_400() {
    check(async |app| {
        let path = app.partner.code_path();
        for tag in ["2", "\"2", "\"1\" \"2\"", "*, \"1\"", "", ",", "w/\"1\""] {
            let rejected = send(app, Method::PATCH, &path, tag, json!({"name": "x"})).await;
            assert_eq!(rejected.expect(400)["errors"][0]["field"], "If-Match", "{tag:?}");
            let read = app.request(Method::GET, &path).header("If-None-Match", tag);
            assert_eq!(Answer::to(read).await.expect(400)["errors"][0]["field"], "If-None-Match");
        }
        // Two header lines form one list.
        let twice = app.request(Method::PATCH, &path).header("If-Match", "\"7\"");
        Answer::to(twice.header("If-Match", "\"1\"").json(&json!({}))).await.expect(200);
    });
}

#[test]
fn deleting_with_a_stale_if_match_is_rejected() {
    check(async |app| {
        let group = app.post(GROUPS, &json!({})).await.expect(200);
        let path = group_path(group["did_group_sid"].as_str().unwrap());
        app.patch(&path, &json!({"name": "second"})).await.expect(200);
        let delete = |tag| app.request(Method::DELETE, &path).header("If-Match", tag);
        Answer::to(delete("\"1\"")).await.expect(412);
        app.get(&path).await.expect(200);
        assert_eq!(Answer::to(delete("\"2\"")).await.status, 204);
        // A deleted object has no version to match.
        Answer::to(delete("\"3\"")).await.expect(404);
    });
}

#[test]
fn a_matching_if_none_match_is_304() {
    check(async |app| {
        let path = app.partner.group_path();
        let read = async |tag| {
            Answer::to(app.request(Method::GET, &path).header("If-None-Match", tag)).await
        };
        for known in ["\"1\"", "W/\"1\"", "*", "\"9\", \"1\""] {
            let answer = read(known).await;
            assert_eq!((answer.status, answer.text.as_str()), (304, ""), "{known}");
            assert_eq!(answer.header("etag"), Some("\"1\""));
        }
        assert_eq!(read("\"2\"").await.status, 200);
        app.patch(&path, &json!({"name": "second"})).await.expect(200);
        assert_eq!(read("\"1\"").await.expect(200)["name"], "second");
    });
}

#[test]
fn a_matching_if_none_match_prevents_a_write() {
    check(async |app| {
        let (path, group) = (app.partner.code_path(), app.partner.group_path());
        let whole = app.get(&path).await.expect(200);
        let child = format!("/core/v2/partners/{}", app.child.sid);
        let whole_child = app.get(&child).await.expect(200);
        let revert = format!("{path}/revert");
        let token = format!("/core/v2/oauth/tokens/{}", app.partner.token_sid);
        let change = json!({"name": "x"});
        for tag in ["*", "\"1\"", "W/\"1\"", "\"7\", \"1\""] {
            for (method, path, body) in [
                (Method::PATCH, &path, &change),
                (Method::PUT, &path, &whole),
                (Method::DELETE, &path, &json!({})),
                (Method::POST, &revert, &json!({"version": 1})),
                (Method::PATCH, &group, &change),
                (Method::DELETE, &group, &json!({})),
                (Method::PATCH, &child, &change),
                (Method::PUT, &child, &whole_child),
                (Method::PATCH, &token, &change),
            ] {
                for path in [path, &format!("{path}?validate_only=true")] {
                    let request = app.request(method.clone(), path).header("If-None-Match", tag);
                    let rejected = Answer::to(request.json(body)).await.expect(412);
                    let message = rejected["errors"][0]["message"].as_str().unwrap();
                    assert!(
                        message.starts_with("If-None-Match names"),
                        "{method} {path}: {message}"
                    );
                }
            }
        }
        assert_eq!(app.version(app.partner.code_sid).await, 1);
        // Another version does not match, and `If-Match` is checked first.
        let patch = |tags: [(&'static str, &'static str); 2]| {
            let [(name, tag), (other_name, other_tag)] = tags;
            let request = app.request(Method::PATCH, &path).header(name, tag);
            Answer::to(request.header(other_name, other_tag).json(&change))
        };
        let stale = patch([("If-Match", "\"2\""), ("If-None-Match", "*")]).await.expect(412);
        let message = stale["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("If-Match"), "{message}");
        patch([("If-Match", "\"1\""), ("If-None-Match", "\"2\"")]).await.expect(200);
        let malformed = app.request(Method::DELETE, &path).header("If-None-Match", "2");
        assert_eq!(Answer::to(malformed).await.expect(400)["errors"][0]["field"], "If-None-Match");
    });
}

#[test]
fn if_none_match_holds_for_a_deleted_object_and_after_a_replay() {
    check(async |app| {
        let sid = app.post(GROUPS, &json!({})).await.expect(200)["did_group_sid"].clone();
        let path = group_path(sid.as_str().unwrap());
        let patch = |tag: &'static str| {
            let request = app.request(Method::PATCH, &path).header("Idempotency-Key", "key");
            Answer::to(request.header("If-None-Match", tag).json(&json!({"name": "x"})))
        };
        patch("\"2\"").await.expect(200);
        // The headers are no part of the request that a key stands for.
        assert_eq!(patch("*").await.header("idempotency-replayed"), Some("true"));
        assert_eq!(app.delete(&path).await.status, 204);
        let revert = app.request(Method::POST, &format!("{path}/revert"));
        let revert = revert.header("If-None-Match", "*").json(&json!({"version": 1}));
        Answer::to(revert).await.expect(200);
    });
}

#[test]
fn one_of_two_concurrent_conditional_writes_wins() {
    check(async |app| {
        let path = app.partner.code_path();
        for version in 1..=10 {
            let tag = format!("\"{version}\"");
            let write = |name: &'static str| {
                send(app, Method::PATCH, &path, &tag, json!({"name": name, "string_key_1": tag}))
            };
            let (one, other) = futures_util::join!(write("one"), write("other"));
            let mut statuses = [one.status, other.status];
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 412]);
        }
        assert_eq!(app.version(app.partner.code_sid).await, 11);
    });
}

#[test]
fn if_match_can_be_mandatory_for_a_partner() {
    check(async |app| {
        app.require_if_match(&[app.partner.sid]).await;
        let path = app.partner.code_path();
        let rejected = app.patch(&path, &json!({"name": "x"})).await.expect(428);
        assert_eq!(rejected["message"], "precondition required");
        // The check precedes the body.
        assert_eq!(app.patch_text(&path, "{", &[]).await.status, 428);
        app.put(&path, &json!({})).await.expect(428);
        app.delete(&app.partner.group_path()).await.expect(428);
        app.post(&format!("{path}/revert"), &json!({"version": 1})).await.expect(428);
        // A new object has no version to name.
        app.post(GROUPS, &json!({})).await.expect(200);
        send(app, Method::PATCH, &path, "\"1\"", json!({"name": "x"})).await.expect(200);
        assert_eq!(app.version(app.partner.code_sid).await, 2);
    });
}

#[test]
fn mandatory_if_match_depends_on_the_owner_and_not_on_the_caller() {
    check(async |app| {
        app.require_if_match(&[app.child.sid]).await;
        let token = app.token(
            app.partner.sid,
            &[Scope::PhonenumberManage, Scope::PhonenumberManageDescendant],
        );
        let patch = |path: &str| {
            let request = app.anonymous(Method::PATCH, path).bearer_auth(&token);
            request.json(&json!({"name": "by the parent"}))
        };
        Answer::to(patch(&app.child.code_path())).await.expect(428);
        Answer::to(patch(&app.child.code_path()).header("If-Match", "*")).await.expect(200);
        Answer::to(patch(&app.partner.code_path())).await.expect(200);
        // An invisible object is 404, whatever its owner requires.
        Answer::to(patch(&app.unrelated.code_path())).await.expect(404);
        Answer::to(patch(&code_path("no-sid"))).await.expect(404);
    });
}
