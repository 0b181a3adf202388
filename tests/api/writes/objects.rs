//! The objects' life: they are created and deleted.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use sqlx::types::Json;
use uuid::Uuid;

use crate::support::{Answer, App, check, code_path, group_path};

const GROUPS: &str = "/core/v2/phonenumber/did_groups";
const CODES: &str = "/core/v2/phonenumber/short_codes";

#[test]
fn a_group_is_created_from_nothing_or_from_its_members() {
    check(async |app| {
        let group = app.post(GROUPS, &json!({})).await.expect(200);
        assert_eq!((&group["name"], &group["callback_url"]), (&json!("N/A"), &Value::Null));
        assert_eq!(group["partner_sid"], json!(app.partner.sid));
        assert_eq!(
            app.get(&group_path(group["did_group_sid"].as_str().unwrap())).await.expect(200),
            group
        );

        let body = json!({"name": "n", "callback_url": "http://a/", "partner_sid": app.stranger.sid, "did_group_sid": null});
        let group = app.post(GROUPS, &body).await.expect(200);
        assert_eq!((&group["name"], &group["partner_sid"]), (&json!("n"), &json!(app.partner.sid)));

        let refused =
            app.post(GROUPS, &json!({"name": null, "callback_url": "x", "nmae": 1})).await;
        assert_eq!(
            refused.expect_error(422, "object validation error"),
            ["callback_url", "name", "nmae"]
        );
        let refused = app.post(&format!("{GROUPS}?nested_objects=replace"), &json!({})).await;
        assert_eq!(refused.expect_error(400, "bad request"), ["nested_objects"]);
    });
}

#[test]
fn a_group_in_use_is_409_and_nothing_changes() {
    check(async |app| {
        let path = app.partner.group_path();
        let refused = app.delete(&path).await;
        assert!(refused.text.contains("short codes that still refer to it: 1"), "{}", refused.text);
        let reference = json!(app.partner.code.short_code_sid);
        assert_eq!(refused.expect(409)["errors"][0]["reference_sid"], reference);
        app.get(&path).await.expect(200);
        assert_eq!(app.version(app.partner.group.did_group_sid).await, 1);

        app.patch(&app.partner.code_path(), &json!({"did_group_sid": null})).await.expect(200);
        let deleted = app.delete(&path).await;
        assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
        for answer in
            [app.get(&path).await, app.delete(&path).await, app.patch(&path, &json!({})).await]
        {
            answer.expect_error(404, "no item error");
        }
        expect_deletion_on_record(app, app.partner.group.did_group_sid, 2).await;
    });
}

/// The history outlives the object.
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
fn the_operator_creates_and_deletes_short_codes() {
    check(async |app| {
        let body = json!({
            "partner_sid": app.child.sid, "short_code": "26399", "country_code": "CAN", "state": "ON",
            "attributes": {"a": null}, "did_group_sid": app.child.group.did_group_sid, "name": "new"
        });
        let code = app.post(CODES, &body).await.expect(200);
        for (member, value) in body.as_object().unwrap() {
            assert_eq!(&code[member], value, "{member}");
        }
        let minimal = json!({"partner_sid": app.partner.sid, "short_code": "26399"});
        let code = app.post(CODES, &minimal).await.expect(200);
        assert_eq!((&code["country_code"], &code["name"]), (&json!("USA"), &json!("N/A")));

        let sid = code["short_code_sid"].as_str().unwrap();
        let deleted = app.delete(&code_path(sid)).await;
        assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
        app.get(&code_path(sid)).await.expect_error(404, "no item error");
        expect_deletion_on_record(app, sid.parse().unwrap(), 2).await;
        // The number is free again.
        app.post(CODES, &minimal).await.expect(200);
    });
}

#[test]
fn what_a_new_short_code_lacks_is_told_all_at_once() {
    check(async |app| {
        let refused = app.post(CODES, &json!({})).await;
        assert_eq!(
            refused.expect_error(422, "object validation error"),
            ["partner_sid", "short_code"]
        );
        let body = json!({"partner_sid": "x", "short_code": "12", "country_code": "us", "lrn_sid": 1, "state": ""});
        assert_eq!(
            app.post(CODES, &body).await.expect_error(422, "object validation error"),
            ["partner_sid", "short_code", "country_code", "lrn_sid", "state"]
        );
        for foreign in [app.stranger.sid, Uuid::new_v4()] {
            let refused =
                app.post(CODES, &json!({"partner_sid": foreign, "short_code": "555"})).await;
            assert_eq!(refused.expect_error(422, "object validation error"), ["partner_sid"]);
        }
        let group = app.stranger.group.did_group_sid;
        let body =
            json!({"partner_sid": app.partner.sid, "short_code": "555", "did_group_sid": group});
        let refused = app.post(CODES, &body).await;
        assert_eq!(refused.expect_error(422, "object validation error"), ["did_group_sid"]);
    });
}

#[test]
fn a_taken_number_is_409_with_the_other_ones_sid_only_where_it_is_reached() {
    check(async |app| {
        let taken = async |number: &str| {
            app.post(CODES, &json!({"partner_sid": app.partner.sid, "short_code": number}))
                .await
                .expect(409)["errors"][0]["reference_sid"]
                .clone()
        };
        assert_eq!(taken("10001").await, json!(app.partner.code.short_code_sid));
        assert_eq!(taken("10002").await, json!(app.child.code.short_code_sid));
        assert_eq!(taken("10003").await, Value::Null);
    });
}

#[test]
fn a_group_of_a_descendant_is_deleted_with_the_scope_for_it() {
    check(async |app| {
        let group = app.child.group_path();
        app.delete(&group).await.expect_error(404, "no item error");
        let scopes = [Scope::PhonenumberDelete, Scope::PhonenumberManageDescendant];
        let token = app.token(app.partner.sid, &scopes);
        let delete = app.anonymous(Method::DELETE, &group).bearer_auth(token);
        Answer::to(delete).await.expect_error(409, "conflict");
    });
}
