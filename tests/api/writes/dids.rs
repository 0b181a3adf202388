//! Renting, changing and releasing phone numbers.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use uuid::Uuid;

use crate::support::{AVAILABLE, Answer, App, DIDS, check, check_with, did_path, snapshot};

const DAY_0: [&str; 2] = ["--did-aging-days", "0"];

fn path_of(did: &Value) -> String {
    did_path(did["did_sid"].as_str().unwrap())
}

/// The status of a number in the stock.
async fn status(app: &App, number: &str) -> String {
    sqlx::query_scalar("select status from did_stock where phonenumber = $1")
        .bind(number)
        .fetch_one(&mut app.connection().await)
        .await
        .unwrap()
}

/// Ends the aging of a number, as time does.
async fn end_aging(app: &App, number: &str) {
    let past = "update did_stock set aging_until = now() - interval '1 s' where phonenumber = $1";
    sqlx::query(past).bind(number).execute(&mut app.connection().await).await.unwrap();
}

#[test]
fn a_number_is_rented_with_defaults_or_given_members() {
    check(async |app| {
        let did = app.post(DIDS, &json!({"phonenumber": "+1 (312) 555-0201"})).await.expect(200);
        insta::assert_snapshot!(snapshot(app, &did), @r#"
        {
          "active_capabilities": 7,
          "attributes": {},
          "callback_url": null,
          "campaign_sid": null,
          "capabilities": 7,
          "classification_sid": null,
          "country_code": "USA",
          "did_group_sid": null,
          "did_sid": "[sid]",
          "in_country_format": "(312) 555-0201",
          "international_format": "+1 312-555-0201",
          "lata": null,
          "locality": null,
          "lrn_sid": null,
          "name": "N/A",
          "ocn": null,
          "partner_sid": "0000000a-0000-4000-8000-000000000001",
          "phonenumber": "13125550201",
          "porting_pin": null,
          "price": null,
          "state": "NY",
          "status": "assigned",
          "string_key_1": null,
          "string_key_2": null,
          "transformations": [],
          "trunk_group_sid": null
        }
        "#);
        assert_eq!(app.get(&path_of(&did)).await.expect(200), did);
        assert_ne!(did["did_sid"], json!(app.partner.stock_sid));
        assert_eq!(status(app, app.partner.available).await, "assigned");

        app.partner.add_numbers(app, &[json!({"phonenumber": "13125550211"})]).await;
        let body = json!({
            "attributes": {"a": 1}, "callback_url": "https://example.com/",
            "did_group_sid": app.partner.group_sid, "name": "n", "string_key_1": "k",
            "trunk_group_sid": app.child.sid, "partner_sid": app.child.sid
        });
        let did = app.post(DIDS, &body).await.expect(200);
        assert_eq!(did["phonenumber"], "13125550211");
        assert_eq!(did["partner_sid"], json!(app.partner.sid));
        for member in ["attributes", "callback_url", "did_group_sid", "name", "trunk_group_sid"] {
            assert_eq!(did[member], body[member], "{member}");
        }
    });
}

#[test]
fn rejected_rentals_name_every_member_and_write_nothing() {
    check(async |app| {
        let rejected = app
            .post(
                DIDS,
                &json!({"phonenumber": "1516206557", "name": "", "nmae": 1, "transformations": {}}),
            )
            .await;
        let fields = rejected.expect_error(422, "object validation error");
        assert_eq!(fields, ["phonenumber", "name", "transformations", "nmae"]);
        // A number in no stock, or in one that the partner cannot see, and another one's group.
        for number in
            ["15162065574", app.child.available, app.unrelated.available, app.child.rented]
        {
            let body = json!({"phonenumber": number, "did_group_sid": app.unrelated.group_sid});
            let rejected = app.post(DIDS, &body).await;
            let fields = rejected.expect_error(422, "object validation error");
            assert_eq!(fields, ["phonenumber", "did_group_sid"], "{number}");
        }
        let body =
            json!({"phonenumber": app.partner.available, "did_group_sid": app.child.group_sid});
        let rejected = app.post(DIDS, &body).await;
        assert_eq!(rejected.expect_error(422, "object validation error"), ["did_group_sid"]);
        // A visible number that is rented.
        let rejected = app.post(DIDS, &json!({"phonenumber": app.partner.rented})).await;
        assert_eq!(rejected.expect_error(409, "conflict"), ["phonenumber"]);
        assert_eq!(app.get(DIDS).await.expect(200)["total"], 1);
        assert_eq!(status(app, app.partner.available).await, "available");

        let dry = app.post(&format!("{DIDS}?validate_only=true"), &json!({})).await.expect(200);
        assert_eq!(dry["phonenumber"], app.partner.available);
        assert_eq!(status(app, app.partner.available).await, "available");
        app.post(DIDS, &json!({})).await.expect(200);
        let rejected = app.post(DIDS, &json!({})).await;
        assert!(rejected.text.contains("no number is available"), "{}", rejected.text);
        assert_eq!(rejected.expect_error(422, "object validation error"), ["phonenumber"]);
    });
}

#[test]
fn the_nearest_stock_is_first_and_a_locked_number_is_skipped() {
    check(async |app| {
        app.child.add_numbers(app, &[json!({"phonenumber": "13125550222"})]).await;
        let token = app.token(app.child.sid, &[Scope::PhonenumberManage]);
        let rent = async || {
            let request = app.anonymous(Method::POST, DIDS).bearer_auth(&token).json(&json!({}));
            Answer::to(request).await
        };
        let mut connection = app.connection().await;
        let lock = async |number: &str, connection: &mut sqlx::PgConnection| {
            let lock = "select from did_stock where phonenumber = $1 for update";
            sqlx::query("begin").execute(&mut *connection).await.unwrap();
            sqlx::query(lock).bind(number).execute(&mut *connection).await.unwrap();
        };
        lock(app.child.available, &mut connection).await;
        // The first number of the child's own stock is locked: the second one, then the parent's.
        assert_eq!(rent().await.expect(200)["phonenumber"], "13125550222");
        assert_eq!(rent().await.expect(200)["phonenumber"], app.partner.available);
        // The only number that is left may become available again.
        let busy = rent().await;
        assert_eq!((busy.status, busy.header("retry-after")), (503, Some("1")));
        sqlx::query("rollback").execute(&mut connection).await.unwrap();
        assert_eq!(rent().await.expect(200)["phonenumber"], app.child.available);
        assert_eq!(rent().await.status, 422);
    });
}

#[test]
fn put_and_patch_change_the_writable_members() {
    check(async |app| {
        let path = app.partner.did_path();
        let body = json!({
            "attributes": {"a": {"b": 1}}, "transformations": [{"x": 1.1}, 2],
            "trunk_group_sid": app.child.sid, "phonenumber": "1"
        });
        let patched = app.patch(&path, &body).await;
        assert_eq!(patched.header("etag"), Some("\"2\""));
        let did = patched.expect(200);
        assert_eq!(did["phonenumber"], app.partner.rented);
        assert_eq!(did["transformations"].to_string(), r#"[{"x":1.1},2]"#);
        let did = app.patch(&path, &json!({"attributes": {"a": {"c": 2}}})).await.expect(200);
        assert_eq!(did["attributes"], json!({"a": {"b": 1, "c": 2}}));
        let replaced = format!("{path}?nested_objects=replace");
        let did = app.patch(&replaced, &json!({"attributes": {"d": null}})).await.expect(200);
        assert_eq!(did["attributes"], json!({"d": null}));
        let did = app.patch(&path, &json!({"transformations": null})).await.expect(200);
        assert_eq!(did["transformations"], json!([]));

        let missing = app.put(&path, &json!({"name": "x"})).await;
        assert_eq!(
            missing.expect_error(422, "object validation error"),
            [
                "attributes",
                "callback_url",
                "did_group_sid",
                "string_key_1",
                "string_key_2",
                "transformations",
                "trunk_group_sid"
            ]
        );
        let mut whole = did.clone();
        whole["name"] = json!("whole");
        assert_eq!(app.put(&path, &whole).await.expect(200)["name"], "whole");
        for foreign in [app.unrelated.group_sid, app.child.group_sid, Uuid::new_v4()] {
            let rejected = app.patch(&path, &json!({"did_group_sid": foreign})).await;
            assert_eq!(rejected.expect_error(422, "object validation error"), ["did_group_sid"]);
        }
        let deep = (0..32).fold(json!([]), |inner, _| json!([inner]));
        let rejected = app.patch(&path, &json!({"transformations": deep})).await;
        assert_eq!(rejected.expect_error(422, "object validation error"), ["transformations"]);
    });
}

#[test]
fn a_released_number_is_aging_and_its_last_renter_can_revert_the_release() {
    check(async |app| {
        let (path, number) = (app.partner.did_path(), app.partner.rented);
        let kept = app.patch(&path, &json!({"name": "kept"})).await.expect(200);
        assert_eq!(app.delete(&path).await.status, 204);
        assert_eq!(app.get(&path).await.status, 404);
        assert_eq!(status(app, number).await, "aging");
        let rejected = app.post(DIDS, &json!({"phonenumber": number})).await;
        assert_eq!(rejected.expect_error(409, "conflict"), ["phonenumber"]);

        let revert = format!("{path}/revert");
        let update_only = app.token(app.partner.sid, &[Scope::PhonenumberUpdate]);
        let forbidden = app.anonymous(Method::POST, &revert).bearer_auth(update_only);
        Answer::to(forbidden.json(&json!({"version": 2}))).await.expect(403);
        assert_eq!(app.post(&revert, &json!({"version": 2})).await.expect(200), kept);
        assert_eq!(status(app, number).await, "assigned");
        assert_eq!(app.get(&path).await.header("etag"), Some("\"4\""));

        // Once the aging is over, the next renter gets the number.
        assert_eq!(app.delete(&path).await.status, 204);
        end_aging(app, number).await;
        let rejected = app.post(&revert, &json!({"version": 2})).await;
        assert_eq!(rejected.expect_error(409, "conflict"), ["phonenumber"]);
        app.post(DIDS, &json!({"phonenumber": number})).await.expect(200);
        let rejected = app.post(&revert, &json!({"version": 2})).await;
        assert_eq!(rejected.expect_error(409, "conflict"), ["phonenumber"]);
        assert_eq!(app.get(&format!("{path}/history")).await.expect(200)["total"], 5);
    });
}

#[test]
fn without_aging_a_released_number_is_available_at_once() {
    check_with(&DAY_0, async |app| {
        let (path, number) = (app.partner.did_path(), app.partner.rented);
        assert_eq!(app.delete(&path).await.status, 204);
        let rejected = app.post(&format!("{path}/revert"), &json!({"version": 1})).await;
        assert_eq!(rejected.expect_error(409, "conflict"), ["phonenumber"]);
        let again = app.post(DIDS, &json!({"phonenumber": number})).await.expect(200);
        assert_eq!((&again["name"], &again["phonenumber"]), (&json!("N/A"), &json!(number)));
        assert_ne!(again["did_sid"], json!(app.partner.did_sid));
    });
}

#[test]
fn maintenance_makes_numbers_available_whose_aging_is_over() {
    check(async |app| {
        for tenant in [&app.partner, &app.child] {
            let token = app.token(tenant.sid, &[Scope::PhonenumberManage]);
            let request = app.anonymous(Method::DELETE, &tenant.did_path()).bearer_auth(token);
            assert_eq!(Answer::to(request).await.status, 204);
        }
        end_aging(app, app.partner.rented).await;
        shortline::dids::end_aging(&mut app.connection().await).await.unwrap();
        assert_eq!(status(app, app.partner.rented).await, "available");
        assert_eq!(status(app, app.child.rented).await, "aging");
    });
}

#[test]
fn rentals_of_a_partner_are_limited() {
    check_with(&["--did-rentals", "2"], async |app| {
        let numbers =
            [json!({"phonenumber": "13125550231"}), json!({"phonenumber": "13125550232"})];
        app.partner.add_numbers(app, &numbers).await;
        let first = app.post(DIDS, &json!({})).await.expect(200);
        let rejected = app.post(DIDS, &json!({})).await;
        assert!(rejected.text.contains("already rents 2 numbers"), "{}", rejected.text);
        assert_eq!(rejected.expect_error(409, "conflict"), [""]);
        assert_eq!(app.delete(&path_of(&first)).await.status, 204);
        app.post(DIDS, &json!({})).await.expect(200);
        let revert = format!("{}/revert", path_of(&first));
        let rejected = app.post(&revert, &json!({"version": 1})).await;
        assert_eq!(rejected.expect_error(409, "conflict"), [""]);
    });
}

#[test]
fn an_operator_ends_the_rental_of_a_descendant() {
    check(async |app| {
        let release = async |scope| {
            let token = app.token(app.partner.sid, &[scope]);
            let request = app.anonymous(Method::DELETE, &app.child.did_path()).bearer_auth(token);
            Answer::to(request).await.status
        };
        assert_eq!(release(Scope::PhonenumberManage).await, 404);
        assert_eq!(release(Scope::AdminCreate).await, 403);
        assert_eq!(release(Scope::AdminDelete).await, 204);
        assert_eq!(status(app, app.child.rented).await, "aging");
    });
}

#[test]
fn a_number_is_put_into_a_stock_and_taken_out() {
    check(async |app| {
        let body = json!({
            "phonenumber": "+44 20 7183 8750", "stock_partner_sid": app.child.sid,
            "capabilities": 31, "active_capabilities": 3, "country_code": "GBR", "lata": "1",
            "locality": "London", "lrn_sid": app.child.sid, "campaign_sid": app.child.sid,
            "classification_sid": app.child.sid, "ocn": "251F", "porting_pin": "1234",
            "price": "0.6", "state": "LND", "name": "ignored", "status": "assigned"
        });
        let created = app.post(AVAILABLE, &body).await;
        assert_eq!(created.header("etag"), None);
        let created = created.expect(200);
        for (member, value) in [
            ("phonenumber", "442071838750"),
            ("in_country_format", "020 7183 8750"),
            ("international_format", "+44 20 7183 8750"),
            ("status", "available"),
            ("name", "N/A"),
            ("price", "0.6"),
            ("ocn", "251F"),
            ("state", "LND"),
        ] {
            assert_eq!(created[member], value, "{member}");
        }
        assert_eq!(created["partner_sid"], Value::Null);
        assert!(created.get("stock_partner_sid").is_none());
        assert_eq!(created.as_object().unwrap().len(), 26);

        // Again in this stock, in another one, and by a partner that does not see the first.
        let taken = app.post(AVAILABLE, &json!({"phonenumber": "442071838750"})).await;
        assert_eq!(taken.expect(409)["errors"][0]["reference_sid"], created["did_sid"]);
        let token = app.token(app.unrelated.sid, &[Scope::AdminManage]);
        let taken = app.anonymous(Method::POST, AVAILABLE).bearer_auth(token);
        let taken = Answer::to(taken.json(&json!({"phonenumber": "442071838750"}))).await;
        assert_eq!(taken.expect(409)["errors"][0]["reference_sid"], Value::Null);

        let invalid = json!({
            "capabilities": -1, "price": "1,5", "stock_partner_sid": "x", "country_code": "us"
        });
        let rejected = app.post(AVAILABLE, &invalid).await;
        let mut fields = rejected.expect_error(422, "object validation error");
        fields.sort();
        assert_eq!(
            fields,
            ["capabilities", "country_code", "phonenumber", "price", "stock_partner_sid"]
        );
        for invisible in [app.unrelated.sid, Uuid::new_v4()] {
            let body = json!({"phonenumber": "442071838751", "stock_partner_sid": invisible});
            let rejected = app.post(AVAILABLE, &body).await;
            let fields = rejected.expect_error(422, "object validation error");
            assert_eq!(fields, ["stock_partner_sid"]);
        }

        let path = format!("{AVAILABLE}/{}", created["did_sid"].as_str().unwrap());
        assert_eq!(app.delete(&path).await.status, 204);
        assert_eq!(app.delete(&path).await.status, 404);
        let rented = "select sid from did_stock where phonenumber = $1";
        let rented: Uuid = sqlx::query_scalar(rented)
            .bind(app.partner.rented)
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
        let path = format!("{AVAILABLE}/{rented}");
        assert_eq!(app.delete(&path).await.expect_error(409, "conflict"), ["phonenumber"]);
        // While it is aging, it can be taken out; then the rental cannot be restored.
        assert_eq!(app.delete(&app.partner.did_path()).await.status, 204);
        assert_eq!(app.delete(&path).await.status, 204);
        let revert = format!("{}/revert", app.partner.did_path());
        app.post(&revert, &json!({"version": 1})).await.expect_error(409, "conflict");
    });
}

#[test]
fn a_group_of_numbers_and_short_codes_cannot_be_deleted() {
    check(async |app| {
        let group = json!({"did_group_sid": app.partner.group_sid});
        app.patch(&app.partner.did_path(), &group).await.expect(200);
        let rejected = app.delete(&app.partner.group_path()).await;
        let text = "1 DID and 1 short code still use it";
        assert!(rejected.text.contains(text), "{}", rejected.text);
        let reference = json!(app.partner.did_sid);
        assert_eq!(rejected.expect(409)["errors"][0]["reference_sid"], reference);
        app.post(DIDS, &group).await.expect(200);
        app.patch(&app.partner.code_path(), &json!({"did_group_sid": null})).await.expect(200);
        let rejected = app.delete(&app.partner.group_path()).await;
        assert!(rejected.text.contains("2 DIDs still use it"), "{}", rejected.text);
    });
}

#[test]
fn a_rental_with_an_idempotency_key_happens_once() {
    check(async |app| {
        let numbers = [json!({"phonenumber": "13125550241"})];
        app.partner.add_numbers(app, &numbers).await;
        let rent = async || {
            let request = app.request(Method::POST, DIDS).header("idempotency-key", "k");
            Answer::to(request.json(&json!({}))).await
        };
        let first = rent().await;
        let second = rent().await;
        assert_eq!(
            (first.text, second.header("idempotency-replayed")),
            (second.text.clone(), Some("true"))
        );
        assert_eq!(app.get(DIDS).await.expect(200)["total"], 2);
    });
}
