//! Endpoints as objects: members, rules, bad input, tenancy.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;

use super::{endpoint_with, path_of, sid_of};
use crate::support::{Answer, App, ENDPOINTS, Sink, check, check_with};

async fn post_with(app: &App, scopes: &[Scope], body: &Value) -> Answer {
    let token = app.token(app.partner.sid, scopes);
    Answer::to(app.anonymous(Method::POST, ENDPOINTS).bearer_auth(token).json(body)).await
}

#[test]
fn an_endpoint_is_created_changed_and_deleted() {
    check(async |app| {
        let types = json!(["short_code.updated"]);
        let body = json!({"types": types, "url": "https://example.com/a"});
        let created = app.post(ENDPOINTS, &body).await;
        assert_eq!(created.header("etag"), Some("\"1\""));
        let created = created.expect(200);
        let path = path_of(&created);
        assert!(created["secret"].as_str().unwrap().starts_with("whsec_"));
        let defaults = [
            ("descendants", json!(false)),
            ("disabled_reason", json!(null)),
            ("enabled", json!(true)),
            ("ordering", json!("object")),
            ("public_key", json!(null)),
            ("types", types),
        ];
        for (member, expected) in defaults {
            assert_eq!(created[member], expected, "{member}");
        }
        let read = app.get(&path).await.expect(200);
        assert_eq!(read["secret"], json!(null));
        let changed = app.patch(&path, &json!({"ordering": "none", "enabled": false})).await;
        let changed = changed.expect(200);
        assert_eq!((&changed["ordering"], &changed["enabled"]), (&json!("none"), &json!(false)));
        let whole = json!({
            "descendants": false, "enabled": true, "ordering": "strict",
            "types": ["did.created"], "url": "https://example.com/b",
        });
        let replaced = app.put(&path, &whole).await.expect(200);
        for (member, expected) in whole.as_object().unwrap() {
            assert_eq!(&replaced[member], expected, "{member}");
        }
        let history = app.get(&format!("{path}/history")).await.expect(200);
        assert_eq!(history["total"], 3);
        let filter = format!("{ENDPOINTS}?filter=enabled+eq+true+and+url+like+'%25/b'");
        let found = app.get(&filter).await.expect(200);
        assert_eq!(found["items"][0]["endpoint_sid"], created["endpoint_sid"]);
        assert_eq!(found["total"], 1);
        assert_eq!(app.delete(&path).await.status, 204);
        app.get(&path).await.expect_error(404, "no item error");
    });
}

#[test]
fn bad_input_is_rejected_with_its_member() {
    check(async |app| {
        let url = "https://example.com/";
        for (member, body, expected) in [
            ("url", json!({}), "must be present"),
            ("url", json!({"url": null}), "cannot be null"),
            ("url", json!({"url": "https://user@example.com/"}), "without user info"),
            ("url", json!({"url": "ftp://example.com/"}), "starts with http:// or https://"),
            ("url", json!({"url": "https://10.0.0.1/"}), "private, local or reserved"),
            ("url", json!({"url": "https://[::ffff:127.0.0.1]/"}), "host"),
            ("url", json!({"url": "https://[::1]/"}), "private, local or reserved"),
            ("url", json!({"url": "http://169.254.169.254/latest"}), "private, local or reserved"),
            ("url", json!({"url": "https://2130706433/"}), "write `127.0.0.1`"),
            ("secret", json!({"url": url, "secret": "hunter2"}), "base64 of 24 to 64 bytes"),
            ("secret", json!({"url": url, "secret": "whsec_AAAA"}), "base64 of 24 to 64 bytes"),
            ("types", json!({"url": url, "types": []}), "at least one type"),
            ("types", json!({"url": url, "types": ["did.update"]}), "`did.updated`"),
            ("types", json!({"url": url, "types": null}), "cannot be null"),
            ("ordering", json!({"url": url, "ordering": "fifo"}), "`object`, `strict` or `none`"),
            ("enabled", json!({"url": url, "enabled": 1}), "`true` or `false`"),
            ("tipes", json!({"url": url, "tipes": []}), "did you mean `types`?"),
        ] {
            let answer = app.post(ENDPOINTS, &body).await;
            let errors = answer.expect(422);
            assert_eq!(errors["message"], "object validation error");
            let message = errors["errors"][0]["message"].as_str().unwrap();
            assert_eq!(errors["errors"][0]["field"], member, "{body}: {message}");
            assert!(message.contains(expected), "{body}: {message}");
        }
        let path = path_of(&app.post(ENDPOINTS, &json!({"url": url})).await.expect(200));
        for (action, member, body) in [
            ("rotate", "grace_hours", json!({"grace_hours": 169})),
            ("rotate", "grace_hours", json!({"grace_hours": -1})),
            ("rotate", "secret", json!({"secret": "whsec_"})),
            ("replay", "after", json!({})),
            ("replay", "after", json!({"after": "yesterday"})),
            ("replay", "after", json!({"after": "2099-01-01T00:00:00Z"})),
            ("replay", "types", json!({"after": "2026-01-01T00:00:00Z", "types": ["x"]})),
            ("test", "x", json!({"x": 1})),
        ] {
            let answer = app.post(&format!("{path}/{action}"), &body).await;
            let errors = answer.expect(422);
            assert_eq!(errors["message"], "object validation error");
            assert_eq!(errors["errors"][0]["field"], member, "{action} {body}");
        }
        for (action, body) in
            [("replay", json!({"after": "2026-01-01T00:00:00Z"})), ("test", json!({}))]
        {
            let answer = app.post(&format!("{path}/{action}?validate_only=true"), &body).await;
            assert_eq!(answer.expect_error(400, "bad request"), ["validate_only"], "{action}");
        }
    });
}

#[test]
fn a_token_gets_no_events_that_it_cannot_read() {
    check(async |app| {
        let url = "https://example.com/";
        let own = [Scope::EventsManage];
        let created = post_with(app, &own, &json!({"url": url})).await.expect(200);
        assert_eq!(created["types"], json!(["endpoint.disabled"]));
        let reader = [Scope::EventsManage, Scope::PhonenumberRead];
        let created = post_with(app, &reader, &json!({"url": url})).await.expect(200);
        assert_eq!(created["types"].as_array().unwrap().len(), 13);
        for (member, body) in [
            ("types", json!({"url": url, "types": ["partner.updated"]})),
            ("descendants", json!({"url": url, "descendants": true})),
        ] {
            let answer = post_with(app, &reader, &body).await;
            let errors = answer.expect(422);
            assert_eq!(errors["message"], "object validation error");
            assert_eq!(errors["errors"][0]["field"], member);
        }
        // Nor does it lead the events of another token to a URL of its own.
        let token = app.token(app.partner.sid, &own);
        let patch = |body: Value| {
            let request = app.anonymous(Method::PATCH, &path_of(&created)).bearer_auth(&token);
            Answer::to(request.json(&body))
        };
        let answer = patch(json!({"url": "https://attacker.example/"})).await;
        answer.expect_error(422, "object validation error");
        patch(json!({"enabled": false})).await.expect(200);
        let all = [Scope::EventsManage, Scope::PhonenumberManageDescendant];
        let body = json!({"url": url, "descendants": true});
        assert_eq!(post_with(app, &all, &body).await.expect(200)["descendants"], true);
    });
}

#[test]
fn a_partner_has_a_limited_number_of_endpoints() {
    check(async |app| {
        let sink = Sink::start().await;
        let disabled = json!({"enabled": false});
        // The tenant has one.
        for _ in 1..100 {
            endpoint_with(app, &sink, disabled.clone()).await;
        }
        let answer = app.post(ENDPOINTS, &json!({"url": sink.url})).await;
        let errors = answer.expect(409);
        assert_eq!(errors["message"], "conflict");
        let message = errors["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("100 endpoints"), "{message}");
    });
}

#[test]
fn without_a_key_endpoints_are_neither_created_nor_rotated() {
    // An empty allow list, and no key.
    check_with(&[], async |app| {
        let (base, server) = app.instance_without_key().await;
        let send = |method: Method, path: &str, body: Value| {
            let request = app.request_to(method, &format!("{base}{path}"));
            Answer::to(request.bearer_auth(&app.token).json(&body))
        };
        let own = crate::support::endpoint_path(app.partner.endpoint_sid);
        let url = json!({"url": "https://example.com/"});
        for (path, body) in [
            (ENDPOINTS.to_owned(), url),
            (format!("{own}/rotate"), json!({})),
            (format!("{own}/test"), json!({})),
        ] {
            let errors = send(Method::POST, &path, body).await.expect(409);
            assert_eq!(errors["message"], "conflict");
            let message = errors["errors"][0]["message"].as_str().unwrap();
            assert!(message.contains("SHORTLINE_EVENTS_KEY"), "{path}: {message}");
        }
        send(Method::PATCH, &own, json!({"ordering": "none"})).await.expect(200);
        server.stop(false).await;
    });
}

#[test]
fn a_test_delivery_returns_its_outcome() {
    check(async |app| {
        let sink = Sink::start().await;
        let endpoint = endpoint_with(app, &sink, json!({"enabled": false})).await;
        let test = format!("{}/test", path_of(&endpoint));
        let outcome = app.post(&test, &json!({})).await.expect(200);
        assert_eq!((&outcome["status"], &outcome["error"]), (&json!(204), &json!(null)));
        let received = sink.wait_for(1).await;
        assert_eq!(received[0].name(), "endpoint.test");
        assert_eq!(received[0].body["data"]["endpoint_sid"], *sid_of(&endpoint));
        let long = "x".repeat(5_000);
        sink.respond(move |_| {
            Some(format!("HTTP/1.1 500 x\r\ncontent-length: 5000\r\n\r\n{long}"))
        });
        let outcome = app.post(&test, &json!({})).await.expect(200);
        assert_eq!(outcome["status"], 500);
        assert_eq!(outcome["response"].as_str().unwrap().len(), 1_024);
        let nowhere = json!({"url": "http://127.0.0.1:9/"});
        app.patch(&path_of(&endpoint), &nowhere).await.expect(200);
        let outcome = app.post(&test, &json!({})).await.expect(200);
        assert_eq!(outcome["status"], json!(null));
        assert!(outcome["error"].as_str().unwrap().contains("refused"), "{outcome}");
    });
}
