//! PUT replaces the whole object.

use serde_json::{Value, json};

use crate::support::check;

#[test]
fn putting_back_what_was_read_changes_nothing() {
    check(async |app| {
        for (path, sid) in [
            (app.partner.code_path(), app.partner.code_sid),
            (app.partner.group_path(), app.partner.group_sid),
        ] {
            let object = app.get(&path).await.expect(200);
            assert_eq!(app.put(&path, &object).await.expect(200), object);
            assert_eq!(app.version(sid).await, 1);
        }
    });
}

#[test]
fn put_names_every_missing_member_and_writes_nothing() {
    check(async |app| {
        let path = app.partner.code_path();
        let missing = app.put(&path, &json!({"name": "after"})).await;
        assert_eq!(
            missing.expect_error(422, "object validation error"),
            ["attributes", "callback_url", "did_group_sid", "string_key_1", "string_key_2"]
        );
        assert_eq!(app.get(&path).await.expect(200)["name"], "before");
        let missing = app.put(&app.partner.group_path(), &json!({})).await;
        assert_eq!(missing.expect_error(422, "object validation error"), ["callback_url", "name"]);
    });
}

#[test]
fn put_replaces_attributes_and_stores_nulls() {
    check(async |app| {
        let path = app.partner.code_path();
        let whole = json!({
            "attributes": {"a": null}, "callback_url": null, "did_group_sid": null, "name": "after",
            "string_key_1": null, "string_key_2": "two"
        });
        let answer = app.put(&path, &whole).await.expect(200);
        for (member, value) in whole.as_object().unwrap() {
            assert_eq!(&answer[member], value, "{member}");
        }
        assert_eq!(app.get(&path).await.expect(200), answer);

        let mut cleared = whole;
        cleared["attributes"] = Value::Null;
        assert_eq!(app.put(&path, &cleared).await.expect(200)["attributes"], json!({}));
        cleared["name"] = Value::Null;
        assert_eq!(
            app.put(&path, &cleared).await.expect_error(422, "object validation error"),
            ["name"]
        );
    });
}
