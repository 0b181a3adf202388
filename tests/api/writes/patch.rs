//! PATCH: members that are absent, null or set, and the merge of attributes.

use serde_json::{Value, json};

use crate::support::{App, JSON, check};

/// A member, a valid value, a value of the wrong type, and whether it is nullable.
type Row = (&'static str, Value, Value, bool);

async fn check_states(app: &App, path: &str, rows: &[Row]) {
    for (member, value, wrong, nullable) in rows {
        for was_set in [true, false] {
            let before = if was_set || !nullable { value.clone() } else { Value::Null };
            app.patch(path, &json!({*member: before})).await.expect(200);
            let object = app.get(path).await.expect(200);
            let with = |changed: Value| {
                let mut expected = object.clone();
                expected[*member] = changed;
                expected
            };

            assert_eq!(app.patch(path, &json!({})).await.expect(200), object, "{member} absent");

            let rejected = app.patch(path, &json!({*member: wrong})).await;
            assert_eq!(rejected.expect_error(422, "object validation error"), [*member]);
            assert_eq!(app.get(path).await.expect(200), object, "{member} of the wrong type");

            let null = app.patch(path, &json!({*member: null})).await;
            if *nullable {
                let cleared = if *member == "attributes" { json!({}) } else { Value::Null };
                assert_eq!(null.expect(200), with(cleared), "{member} null");
            } else {
                assert_eq!(null.expect_error(422, "object validation error"), [*member]);
            }

            let answer = app.patch(path, &json!({*member: value})).await.expect(200);
            assert_eq!(answer, with(value.clone()), "{member} set");
            assert_eq!(app.get(path).await.expect(200), answer, "the answer is the committed row");
        }
    }
}

#[test]
fn short_code_members_can_be_absent_null_or_set() {
    check(async |app| {
        let group = json!(app.partner.group_sid);
        let rows = [
            ("attributes", json!({"k": {"l": [1, null]}}), json!([]), true),
            ("callback_url", json!("http://example.com/sms"), json!(7), true),
            ("did_group_sid", group, json!("no sid"), true),
            ("name", json!("näme"), json!(7), false),
            ("string_key_1", json!("one"), json!({}), true),
            ("string_key_2", json!(""), json!(false), true),
        ];
        // Attributes merge: only from empty ones does setting them return the value that was sent.
        app.patch(&app.partner.code_path(), &json!({"attributes": null})).await.expect(200);
        check_states(app, &app.partner.code_path(), &rows).await;
    });
}

#[test]
fn did_group_members_can_be_absent_null_or_set() {
    check(async |app| {
        let rows = [
            ("callback_url", json!("http://example.com/sms"), json!("example.com"), true),
            ("name", json!("näme"), json!(""), false),
        ];
        check_states(app, &app.partner.group_path(), &rows).await;
    });
}

#[test]
fn attributes_merge_key_by_key_and_null_deletes() {
    check(async |app| {
        let path = app.partner.code_path();
        let patch =
            json!({"attributes": {"a": {"b": null, "d": {"e": true}}, "list": [{"x": null}]}});
        let answer = app.patch(&path, &patch).await.expect(200);
        let merged = json!({"a": {"c": [1, 2], "d": {"e": true}}, "list": [{"x": null}], "n": 5});
        assert_eq!(answer["attributes"], merged);
        assert_eq!(app.get(&path).await.expect(200)["attributes"], merged);
    });
}

#[test]
fn nested_objects_replace_stores_attributes_as_sent() {
    check(async |app| {
        let path = app.partner.code_path();
        let patch = json!({"attributes": {"only": null}});
        let answer = app.patch(&format!("{path}?nested_objects=replace"), &patch).await.expect(200);
        assert_eq!(answer["attributes"], json!({"only": null}));
        assert_eq!(app.get(&path).await.expect(200)["attributes"], json!({"only": null}));
        // A merge does not remove the stored null.
        let answer = app.patch(&path, &json!({"attributes": {"more": 1}})).await.expect(200);
        assert_eq!(answer["attributes"], json!({"more": 1, "only": null}));
    });
}

#[test]
fn an_unknown_query_argument_is_rejected() {
    check(async |app| {
        for path in [app.partner.code_path(), app.partner.group_path()] {
            for (query, field) in [
                ("nested_objects=merge", "nested_objects"),
                ("nested_objects=", "nested_objects"),
                ("nested_object=replace", "nested_object"),
                ("validate_onli=true", "validate_onli"),
            ] {
                let answer = app.patch(&format!("{path}?{query}"), &json!({"name": "other"})).await;
                assert_eq!(answer.expect_error(400, "bad request"), [field]);
            }
            app.patch(&format!("{path}?nested_objects=replace"), &json!({})).await.expect(200);
            assert_ne!(app.get(&path).await.expect(200)["name"], "other");
        }
    });
}

#[test]
fn an_empty_callback_url_is_stored_as_null() {
    check(async |app| {
        let answer =
            app.patch(&app.partner.code_path(), &json!({"callback_url": ""})).await.expect(200);
        assert_eq!(answer["callback_url"], Value::Null);
    });
}

#[test]
fn numbers_in_attributes_keep_value_and_digits() {
    check(async |app| {
        let path = app.partner.code_path();
        let body = r#"{"attributes":{"big":9007199254740993,"digits":1.10,"e":1e3,"zero":-0,
                       "deep":[{"x":-1.50E-2}]}}"#;
        let stored = concat!(
            r#""big":9007199254740993,"deep":[{"x":-0.0150}],"digits":1.10,"#,
            r#""e":1000,"n":5,"zero":0}"#
        );
        let patched = app.patch_text(&path, body, &[JSON]).await;
        assert_eq!(patched.status, 200);
        assert!(patched.text.contains(stored), "{}", patched.text);
        assert_eq!(app.get(&path).await.text, patched.text);
        // Sending the same body again changes nothing.
        let version = app.version(app.partner.code_sid).await;
        assert_eq!(app.patch_text(&path, body, &[JSON]).await.text, patched.text);
        assert_eq!(app.version(app.partner.code_sid).await, version);
    });
}

#[test]
fn an_update_without_changes_creates_no_version() {
    check(async |app| {
        let sid = app.partner.code_sid;
        let version = app.version(sid).await;
        let object = app.get(&app.partner.code_path()).await.expect(200);
        app.patch(&app.partner.code_path(), &object).await.expect(200);
        app.patch(&app.partner.code_path(), &json!({"attributes": {"absent": null}}))
            .await
            .expect(200);
        assert_eq!(app.version(sid).await, version);
        app.patch(&app.partner.code_path(), &json!({"name": "after"})).await.expect(200);
        assert_eq!(app.version(sid).await, version + 1);
    });
}

#[test]
fn an_update_stores_the_caller_the_changes_and_the_object() {
    check(async |app| {
        let sid = app.partner.code_sid;
        let headers = [JSON, ("x-request-id", "call-7")];
        app.patch_text(
            &app.partner.code_path(),
            r#"{"name":"after","string_key_1":"before"}"#,
            &headers,
        )
        .await
        .expect(200);
        let entry: Value = sqlx::query_scalar::<_, sqlx::types::Json<Value>>(
            "select entry::json from history where sid = $1 and version = 2",
        )
        .bind(sid)
        .fetch_one(&mut app.connection().await)
        .await
        .unwrap()
        .0;
        assert_eq!(entry["action"], "update");
        assert_eq!(entry["changes"], json!({"name": {"after": "after", "before": "before"}}));
        assert_eq!(entry["ip"], "127.0.0.1");
        assert_eq!(entry["partner_sid"], json!(app.partner.sid));
        assert_eq!(entry["request_id"], "call-7");
        assert_eq!(entry["object"], app.get(&app.partner.code_path()).await.expect(200));
    });
}

#[test]
fn read_only_members_are_ignored_unless_handling_is_strict() {
    check(async |app| {
        let path = app.partner.code_path();
        let object = app.get(&path).await.expect(200);
        let echo = json!({
            "country_code": "CAN", "locality": 5, "lrn_sid": "x", "name": "after",
            "partner_sid": app.unrelated.sid, "short_code": "999", "short_code_sid": null,
            "state": {}
        })
        .to_string();
        let mut expected = object.clone();
        expected["name"] = json!("after");
        assert_eq!(app.patch_text(&path, echo.clone(), &[JSON]).await.expect(200), expected);

        let strict =
            [JSON, ("prefer", "respond-async, handling=\"strict\"; x=1, handling=lenient")];
        let rejected =
            app.patch_text(&path, echo, &strict).await.expect_error(422, "object validation error");
        let read_only = [
            "country_code",
            "locality",
            "lrn_sid",
            "partner_sid",
            "short_code",
            "short_code_sid",
            "state",
        ];
        assert_eq!(rejected, read_only);

        // Sids are compared without case, other text with case.
        let rejected = app.patch_text(&path, r#"{"state": "il"}"#, &strict).await;
        assert_eq!(rejected.expect_error(422, "object validation error"), ["state"]);
        // The first of several `handling` preferences counts, even an unknown one.
        let other = [JSON, ("prefer", "handling=other, handling=strict")];
        app.patch_text(&path, r#"{"state": "il"}"#, &other).await.expect(200);

        let mut same = expected.clone();
        same["partner_sid"] = json!(app.partner.sid.to_string().to_uppercase());
        let answer = app.patch_text(&path, same.to_string(), &strict).await;
        assert_eq!(answer.header("preference-applied"), Some("handling=strict"));
        assert_eq!(answer.expect(200), expected);
    });
}

#[test]
fn unknown_members_are_rejected_with_a_hint_unless_handling_is_lenient() {
    check(async |app| {
        let path = app.partner.code_path();
        let body = r#"{"nmae": 1, "string_key_3": null, "name": "after"}"#;
        let rejected = app.patch_text(&path, body, &[JSON]).await;
        assert!(rejected.text.contains("did you mean `name`?"), "{}", rejected.text);
        assert_eq!(rejected.expect_error(422, "object validation error"), ["nmae", "string_key_3"]);
        assert_eq!(app.get(&path).await.expect(200)["name"], "before");

        let lenient = app.patch_text(&path, body, &[JSON, ("prefer", "handling=lenient")]).await;
        assert_eq!(lenient.header("preference-applied"), Some("handling=lenient"));
        assert_eq!(lenient.expect(200)["name"], "after");
    });
}
