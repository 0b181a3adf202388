//! Hostile and malformed bodies: a clear error, never a 500, never a partial write.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, App, GROUPS, JSON, check, send_raw};

async fn expect_unchanged(app: &App) {
    assert_eq!(app.version(app.partner.code_sid).await, 1);
    assert_eq!(app.version(app.partner.group_sid).await, 1);
}

#[test]
fn malformed_json_is_400_with_line_and_column() {
    check(async |app| {
        let (array, objects) = ("[".repeat(5_000), r#"{"a":"#.repeat(5_000));
        for body in [
            "",
            "null",
            "[]",
            "\"x\"",
            "{",
            "{\"name\":}",
            "{\"name\":\"a\"} x",
            "{'name':1}",
            "{\"name\":01}",
            "NaN",
            r#"{"name":"\ud800"}"#,
            "{\"name\":\"a\nb\"}",
            &array,
            &objects,
            r#"{"attributes":{"$serde_json::private::Number":"1e9"}}"#,
            r#"{"attributes":{"o":{"longer than the marker, so that it comes first":1,
                "$serde_json::private::RawValue":"junk"}}}"#,
        ] {
            let answer = app.patch_text(&app.partner.code_path(), body.to_owned(), &[JSON]).await;
            assert!(
                answer.text.contains("no JSON object could be decoded"),
                "{body:.20}: {}",
                answer.text
            );
            assert!(
                body.contains("private") || answer.text.contains("column"),
                "{body:.20}: {}",
                answer.text
            );
            assert_eq!(answer.expect_error(400, "bad request"), [""]);
        }
        let invalid_utf8 = app
            .patch_text(&app.partner.code_path(), b"{\"name\":\"\xff\"}".to_vec(), &[JSON])
            .await;
        invalid_utf8.expect_error(400, "bad request");
        expect_unchanged(app).await;
    });
}

#[test]
fn a_json_content_type_is_required() {
    check(async |app| {
        let path = app.partner.code_path();
        for content_type in
            ["", "text/plain", "application/x-www-form-urlencoded", "application/json-patch+json"]
        {
            let answer =
                app.patch_text(&path, r#"{"name":"x"}"#, &[("content-type", content_type)]).await;
            let accepted = answer.header("accept-patch").map(str::to_owned);
            assert_eq!(accepted.as_deref(), Some("application/json, application/merge-patch+json"));
            answer.expect_error(415, "unsupported media type");
        }
        expect_unchanged(app).await;
        for content_type in
            ["application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"]
        {
            app.patch_text(&path, r#"{"name":"x"}"#, &[("content-type", content_type)])
                .await
                .expect(200);
        }
        let put = app
            .request(Method::PUT, &path)
            .header("content-type", "application/merge-patch+json")
            .body("{}");
        Answer::to(put).await.expect_error(415, "unsupported media type");
        let get = app.request(Method::GET, &path).header("content-type", "application/json");
        Answer::to(get).await.expect(200);
    });
}

#[test]
fn a_body_with_a_content_coding_is_415() {
    check(async |app| {
        let (path, group) = (app.partner.code_path(), app.partner.group_path());
        let (code_revert, token) = (format!("{path}/revert"), "/core/v2/oauth/token".to_owned());
        let (revoke, groups) = ("/core/v2/oauth/revoke".to_owned(), GROUPS.to_owned());
        let form = "application/x-www-form-urlencoded";
        for coding in ["gzip", "br", "x-unknown", "identity, gzip", "gzip,identity", "é"] {
            for (method, path, content_type) in [
                (Method::PATCH, &path, JSON.1),
                (Method::PATCH, &path, "application/merge-patch+json"),
                (Method::PUT, &group, JSON.1),
                (Method::POST, &groups, JSON.1),
                (Method::POST, &code_revert, JSON.1),
                (Method::POST, &token, form),
                (Method::POST, &revoke, form),
            ] {
                let request = app.request(method, path).header("content-type", content_type);
                let request = request.header("content-encoding", coding.as_bytes()).body("{}");
                let answer = Answer::to(request).await;
                assert_eq!(answer.header("accept-encoding"), Some("identity"), "{path} {coding}");
                let body = answer.expect(415);
                assert_eq!(body["message"], "unsupported media type");
                assert_eq!(body["errors"][0]["field"], "Content-Encoding");
            }
        }
        // The scope and the headers are checked first, the size afterwards.
        let large = app.request(Method::PATCH, &path).header("content-encoding", "gzip");
        let large = large.header("content-type", JSON.1).body("x".repeat(300 * 1024));
        Answer::to(large).await.expect(415);
        let delete = app.request(Method::DELETE, &app.partner.group_path());
        Answer::to(delete.header("content-encoding", "gzip").body("x")).await.expect(415);
        expect_unchanged(app).await;
        for coding in ["identity", "Identity", "", "identity, ,identity"] {
            let headers = [JSON, ("content-encoding", coding)];
            app.patch_text(&path, r#"{"name":"x"}"#, &headers).await.expect(200);
        }
        let read = app.request(Method::GET, &path).header("content-encoding", "gzip");
        Answer::to(read).await.expect(200);
    });
}

#[test]
fn a_body_above_256_kib_is_413() {
    check(async |app| {
        let name = "x".repeat(300 * 1024);
        let answer = app.patch(&app.partner.code_path(), &json!({"name": name})).await;
        answer.expect_error(413, "payload too large");
        // A body without a length is counted while it arrives.
        let pieces = (0..300).map(|_| Ok::<_, std::io::Error>("x".repeat(1024)));
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        let answer = app.patch_text(&app.partner.code_path(), body, &[JSON]).await;
        answer.expect_error(413, "payload too large");
        let answer =
            app.patch(&app.partner.code_path(), &json!({"name": "x".repeat(250 * 1024)})).await;
        assert_eq!(answer.expect_error(422, "object validation error"), ["name"]);
        expect_unchanged(app).await;
    });
}

#[test]
fn nul_characters_are_rejected_everywhere() {
    check(async |app| {
        for (body, field) in [
            (r#"{"name":"a\u0000b"}"#, "name"),
            (r#"{"string_key_1":"\u0000"}"#, "string_key_1"),
            (r#"{"callback_url":"http://a/\u0000"}"#, "callback_url"),
            (r#"{"attributes":{"a\u0000":1}}"#, "attributes"),
            (r#"{"attributes":{"a":[{"b":"\u0000"}]}}"#, "attributes"),
            (r#"{"state":"\u0000"}"#, "state"),
            (r#"{"other":"\u0000"}"#, "other"),
        ] {
            let lenient = [JSON, ("prefer", "handling=lenient")];
            let answer = app.patch_text(&app.partner.code_path(), body, &lenient).await;
            assert_eq!(answer.expect_error(422, "object validation error"), [field], "{body}");
        }
        expect_unchanged(app).await;
        // An escaped backslash followed by "u0000" is not U+0000.
        let body = r#"{"string_key_1":"\\u0000"}"#;
        let answer = app.patch_text(&app.partner.code_path(), body, &[JSON]).await.expect(200);
        assert_eq!(answer["string_key_1"], "\\u0000");
    });
}

#[test]
fn all_invalid_members_are_reported_at_once() {
    check(async |app| {
        let body = json!({
            "attributes": 1, "callback_url": "ftp://x",
            "did_group_sid": app.unrelated.sid.simple().to_string(),
            "name": "a\u{7}", "string_key_1": "x".repeat(256), "string_key_2": 5
        });
        let rejected = app.patch(&app.partner.code_path(), &body).await;
        assert_eq!(
            rejected.expect_error(422, "object validation error"),
            ["attributes", "callback_url", "did_group_sid", "name", "string_key_1", "string_key_2"]
        );
        expect_unchanged(app).await;
    });
}

#[test]
fn attributes_are_limited_in_size_depth_and_numbers() {
    check(async |app| {
        let path = app.partner.code_path();
        let nested = |levels: usize| {
            format!(r#"{{"attributes":{}1{}}}"#, r#"{"a":"#.repeat(levels), "}".repeat(levels))
        };
        let replace = format!("{path}?nested_objects=replace");
        app.patch_text(&replace, nested(32), &[JSON]).await.expect(200);
        let rejected = app.patch_text(&replace, nested(33), &[JSON]).await;
        assert_eq!(rejected.expect_error(422, "object validation error"), ["attributes"]);

        let text = |length: usize| json!({"attributes": {"t": "x".repeat(length)}});
        app.patch(&replace, &text(64 * 1024 - 8)).await.expect(200);
        let rejected = app.patch(&replace, &text(64 * 1024 - 7)).await;
        assert_eq!(rejected.expect_error(422, "object validation error"), ["attributes"]);
        // The limit applies to the size after the merge.
        let rejected = app.patch(&path, &json!({"attributes": {"one": "more"}})).await;
        assert_eq!(rejected.expect_error(422, "object validation error"), ["attributes"]);
        app.patch(&path, &json!({"attributes": {"t": null, "one": "more"}})).await.expect(200);

        for number in ["1e131071", "1e-131071", "1e40", &"9".repeat(41), "1e99999999999999999999"] {
            let body = format!(r#"{{"attributes":{{"a":{{"n":[0,{number}]}}}}}}"#);
            let rejected = app.patch_text(&path, body, &[JSON]).await;
            assert_eq!(rejected.expect_error(422, "object validation error"), ["attributes.a.n.1"]);
        }
        let stored = app.get(&path).await.expect(200);
        assert_eq!(stored["attributes"], json!({"one": "more"}));
    });
}

#[test]
fn the_last_value_of_a_repeated_member_wins() {
    check(async |app| {
        let body = r#"{"name":7,"name":"last","attributes":{"a":1,"a":{"z":1}}}"#;
        let answer = app.patch_text(&app.partner.code_path(), body, &[JSON]).await.expect(200);
        assert_eq!((&answer["name"], &answer["attributes"]["a"]["z"]), (&json!("last"), &json!(1)));
    });
}

#[test]
fn reports_of_unknown_members_are_truncated() {
    check(async |app| {
        let long = json!({"n".repeat(200_000): 1});
        let answer = app.patch(&app.partner.code_path(), &long).await;
        assert!(answer.text.len() < 1_000, "{} bytes", answer.text.len());
        answer.expect_error(422, "object validation error");
        let many: serde_json::Map<_, _> =
            (0..20_000).map(|number| (format!("n{number}"), json!(1))).collect();
        let answer = app.patch(&app.partner.code_path(), &many.into()).await;
        assert_eq!(answer.expect_error(422, "object validation error").len(), 101);
    });
}

#[test]
fn a_body_of_exactly_256_kib_is_accepted_and_a_byte_more_is_not() {
    check(async |app| {
        let path = app.partner.code_path();
        let body = |bytes: usize| format!("{}{{}}", " ".repeat(bytes - 2));
        app.patch_text(&path, body(256 * 1024), &[JSON]).await.expect(200);
        let answer = app.patch_text(&path, body(256 * 1024 + 1), &[JSON]).await;
        answer.expect_error(413, "payload too large");
        // An excessive Content-Length is rejected before the body arrives.
        let head = format!(
            "PATCH {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n",
            app.token
        );
        let started = Instant::now();
        assert!(send_raw(app, head.as_bytes()).await.starts_with("HTTP/1.1 413 "));
        assert!(started.elapsed() < Duration::from_secs(10));
    });
}

#[test]
fn deeply_nested_json_is_rejected_quickly() {
    check(async |app| {
        let levels = 100_000;
        for body in [
            "[".repeat(levels),
            "{\"a\":".repeat(levels / 2),
            format!("{{\"attributes\":{}{}}}", "[".repeat(levels), "]".repeat(levels)),
        ] {
            let started = Instant::now();
            let answer = app.patch_text(&app.partner.code_path(), body, &[JSON]).await;
            answer.expect_error(400, "bad request");
            assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        }
    });
}
