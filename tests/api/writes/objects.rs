//! Creating and deleting objects.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use sqlx::types::Json;
use uuid::Uuid;

use crate::support::{Answer, App, CODES, GROUPS, check, code_path, group_path, snapshot};

#[test]
fn a_group_is_created_with_defaults_or_given_members() {
    check(async |app| {
        let group = app.post(GROUPS, &json!({})).await.expect(200);
        insta::assert_snapshot!(snapshot(app, &group), @r#"
        {
          "callback_url": null,
          "did_group_sid": "[sid]",
          "name": "N/A",
          "partner_sid": "0000000a-0000-4000-8000-000000000001"
        }
        "#);
        assert_eq!(
            app.get(&group_path(group["did_group_sid"].as_str().unwrap())).await.expect(200),
            group
        );

        let body = json!({
            "name": "n", "callback_url": "http://a/", "partner_sid": app.unrelated.sid,
            "did_group_sid": null
        });
        let group = app.post(GROUPS, &body).await.expect(200);
        assert_eq!((&group["name"], &group["partner_sid"]), (&json!("n"), &json!(app.partner.sid)));

        let rejected =
            app.post(GROUPS, &json!({"name": null, "callback_url": "x", "nmae": 1})).await;
        assert_eq!(
            rejected.expect_error(422, "object validation error"),
            ["callback_url", "name", "nmae"]
        );
        let rejected = app.post(&format!("{GROUPS}?nested_objects=replace"), &json!({})).await;
        assert_eq!(rejected.expect_error(400, "bad request"), ["nested_objects"]);
    });
}

#[test]
fn deleting_a_group_in_use_is_409() {
    check(async |app| {
        let path = app.partner.group_path();
        let rejected = app.delete(&path).await;
        assert!(rejected.text.contains("1 short code still uses it"), "{}", rejected.text);
        let reference = json!(app.partner.code_sid);
        assert_eq!(rejected.expect(409)["errors"][0]["reference_sid"], reference);
        app.get(&path).await.expect(200);
        assert_eq!(app.version(app.partner.group_sid).await, 1);

        app.patch(&app.partner.code_path(), &json!({"did_group_sid": null})).await.expect(200);
        let deleted = app.delete(&path).await;
        assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
        for answer in
            [app.get(&path).await, app.delete(&path).await, app.patch(&path, &json!({})).await]
        {
            answer.expect_error(404, "no item error");
        }
        expect_deletion_on_record(app, app.partner.group_sid, 2).await;
    });
}

/// Checks that the history of the deleted object ends with its deletion.
async fn expect_deletion_on_record(app: &App, sid: Uuid, version: i64) {
    let Json(entry): Json<Value> =
        sqlx::query_scalar("select entry::json from history where sid = $1 and version = $2")
            .bind(sid)
            .bind(version)
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
    assert_eq!(
        (&entry["action"], &entry["changes"]["name"]["after"]),
        (&json!("delete"), &Value::Null)
    );
    assert_eq!(entry["object"]["partner_sid"], json!(app.partner.sid));
}

#[test]
fn short_codes_are_created_and_deleted() {
    check(async |app| {
        let body = json!({
            "partner_sid": app.child.sid, "short_code": "26399", "country_code": "CAN",
            "state": "ON", "attributes": {"a": null}, "did_group_sid": app.child.group_sid,
            "name": "new"
        });
        let code = app.post(CODES, &body).await.expect(200);
        for (member, value) in body.as_object().unwrap() {
            assert_eq!(&code[member], value, "{member}");
        }
        let minimal = json!({"partner_sid": app.partner.sid, "short_code": "26399"});
        let code = app.post(CODES, &minimal).await.expect(200);
        insta::assert_snapshot!(snapshot(app, &code), @r#"
        {
          "attributes": {},
          "callback_url": null,
          "country_code": "USA",
          "did_group_sid": null,
          "locality": null,
          "lrn_sid": null,
          "name": "N/A",
          "partner_sid": "0000000a-0000-4000-8000-000000000001",
          "short_code": "26399",
          "short_code_sid": "[sid]",
          "state": null,
          "string_key_1": null,
          "string_key_2": null
        }
        "#);

        let sid = code["short_code_sid"].as_str().unwrap();
        let deleted = app.delete(&code_path(sid)).await;
        assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
        app.get(&code_path(sid)).await.expect_error(404, "no item error");
        expect_deletion_on_record(app, sid.parse().unwrap(), 2).await;
        // The number is available again.
        app.post(CODES, &minimal).await.expect(200);
    });
}

#[test]
fn all_problems_of_a_new_short_code_are_reported_at_once() {
    check(async |app| {
        let rejected = app.post(CODES, &json!({})).await;
        assert_eq!(
            rejected.expect_error(422, "object validation error"),
            ["partner_sid", "short_code"]
        );
        let body = json!({
            "partner_sid": "x", "short_code": "12", "country_code": "us", "lrn_sid": 1, "state": ""
        });
        assert_eq!(
            app.post(CODES, &body).await.expect_error(422, "object validation error"),
            ["partner_sid", "short_code", "country_code", "lrn_sid", "state"]
        );
        for foreign in [app.unrelated.sid, Uuid::new_v4()] {
            let rejected =
                app.post(CODES, &json!({"partner_sid": foreign, "short_code": "555"})).await;
            assert_eq!(rejected.expect_error(422, "object validation error"), ["partner_sid"]);
        }
        let group = app.unrelated.group_sid;
        let body =
            json!({"partner_sid": app.partner.sid, "short_code": "555", "did_group_sid": group});
        let rejected = app.post(CODES, &body).await;
        assert_eq!(rejected.expect_error(422, "object validation error"), ["did_group_sid"]);
    });
}

#[test]
fn a_taken_number_is_409_and_names_only_a_visible_holder() {
    check(async |app| {
        let taken = async |number: &str| {
            app.post(CODES, &json!({"partner_sid": app.partner.sid, "short_code": number}))
                .await
                .expect(409)["errors"][0]["reference_sid"]
                .clone()
        };
        assert_eq!(taken("10001").await, json!(app.partner.code_sid));
        assert_eq!(taken("10002").await, json!(app.child.code_sid));
        assert_eq!(taken("10003").await, Value::Null);
    });
}

#[test]
fn deleting_a_descendants_group_needs_a_descendant_scope() {
    check(async |app| {
        let group = app.child.group_path();
        app.delete(&group).await.expect_error(404, "no item error");
        let scopes = [Scope::PhonenumberDelete, Scope::PhonenumberManageDescendant];
        let token = app.token(app.partner.sid, &scopes);
        let delete = app.anonymous(Method::DELETE, &group).bearer_auth(token);
        Answer::to(delete).await.expect_error(409, "conflict");
    });
}
