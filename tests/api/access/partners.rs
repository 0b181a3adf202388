//! Partners: visibility, creation and updates.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use shortline::partners::Status;
use uuid::Uuid;

use crate::support::{Answer, App, JSON, check, check_with, snapshot};

const INVALID: &str = "object validation error";

fn path(sid: impl std::fmt::Display) -> String {
    format!("/core/v2/partners/{sid}")
}

async fn create(app: &App, body: Value) -> Answer {
    Answer::to(app.request(Method::POST, "/core/v2/partners").json(&body)).await
}

/// Sends a PATCH of the child with a token of its own.
async fn patch_own(app: &App, body: Value) -> Answer {
    let token = app.token(app.child.sid, &[Scope::PartnersUpdate]);
    let request = app.anonymous(Method::PATCH, &path(app.child.sid)).bearer_auth(token);
    Answer::to(request.json(&body)).await
}

#[test]
fn a_partner_sees_only_itself_and_its_descendants() {
    check(async |app| {
        let own = app.get(&path(app.partner.sid)).await.expect(200);
        assert_eq!((&own["status"], &own["parent_sid"]), (&json!("active"), &Value::Null));
        let child = app.get(&path(app.child.sid)).await.expect(200);
        assert_eq!(child["parent_sid"], own["partner_sid"]);
        let random = app.get(&path(Uuid::new_v4())).await.text;
        assert_eq!(app.get(&path(app.unrelated.sid)).await.text, random);
        let token = app.token(app.child.sid, &[Scope::PartnersRead]);
        let up = app.anonymous(Method::GET, &path(app.partner.sid)).bearer_auth(token);
        assert_eq!(Answer::to(up).await.text, random);
        app.get(&path("x")).await.expect_error(404, "no item error");
    });
}

#[test]
fn a_sub_partner_is_created_from_an_empty_object() {
    check(async |app| {
        let made = create(app, json!({})).await.expect(200);
        insta::assert_snapshot!(snapshot(app, &made), @r#"
        {
          "attributes": {},
          "available_scopes": ["oauth.manage", "partners.manage", "phonenumber.manage"],
          "callbacks": {},
          "company_name": null,
          "country_code": null,
          "date_created": "[date]",
          "display_id": "CX00000004",
          "login": null,
          "name": "N/A",
          "parent_sid": "0000000a-0000-4000-8000-000000000001",
          "partner_sid": "[sid]",
          "status": "active"
        }
        "#);
        let sid = made["partner_sid"].as_str().unwrap();
        assert_eq!(app.get(&path(sid)).await.expect(200), made);
        assert_eq!(app.version(sid.parse().unwrap()).await, 1);
    });
}

#[test]
fn a_sub_partner_is_created_under_a_descendant_with_all_its_members() {
    check(async |app| {
        let body = json!({
            "attributes": {"a": {"b": null}},
            "available_scopes": ["phonenumber.read", "phonenumber.manage"],
            "callbacks": {"sms": "https://example.com/sms", "voice": null},
            "company_name": "Acme",
            "country_code": "CAN",
            "name": "Sub",
            "parent_sid": app.child.sid,
            "status": "suspended",
        });
        let made = create(app, body).await.expect(200);
        insta::assert_snapshot!(snapshot(app, &made), @r#"
        {
          "attributes": {"a": {"b": null}},
          "available_scopes": ["phonenumber.manage", "phonenumber.read"],
          "callbacks": {"sms": "https://example.com/sms"},
          "company_name": "Acme",
          "country_code": "CAN",
          "date_created": "[date]",
          "display_id": "CX00000004",
          "login": null,
          "name": "Sub",
          "parent_sid": "0000000a-0000-4000-8000-000000000002",
          "partner_sid": "[sid]",
          "status": "suspended"
        }
        "#);
    });
}

#[test]
fn the_parent_of_a_new_partner_must_be_visible_to_the_caller() {
    check(async |app| {
        for parent in [json!(app.unrelated.sid), json!(Uuid::new_v4()), json!("x")] {
            let answer = create(app, json!({"parent_sid": parent})).await;
            assert_eq!(answer.expect_error(422, INVALID), ["parent_sid"]);
        }
        let token = app.token(app.child.sid, &[Scope::PartnersCreate]);
        let up = app.anonymous(Method::POST, "/core/v2/partners").bearer_auth(token);
        let answer = Answer::to(up.json(&json!({"parent_sid": app.partner.sid}))).await;
        assert_eq!(answer.expect_error(422, INVALID), ["parent_sid"]);
    });
}

#[test]
fn a_new_partner_gets_no_scope_that_its_parent_lacks() {
    check(async |app| {
        let small = json!({"available_scopes": ["phonenumber.manage"]});
        let parent = create(app, small).await.expect(200)["partner_sid"].clone();
        let made = create(app, json!({"parent_sid": parent})).await.expect(200);
        assert_eq!(made["available_scopes"], json!(["phonenumber.manage"]));
        let requested = json!(["admin.manage", "phonenumber.manage", "partners.read"]);
        let answer =
            create(app, json!({"parent_sid": parent, "available_scopes": requested})).await;
        assert!(answer.text.contains("lacks admin.manage, partners.read"), "{}", answer.text);
        assert_eq!(answer.expect_error(422, INVALID), ["available_scopes"]);
        for bad in [json!("phonenumber.manage"), json!([1]), json!(["phonenumber.mange"])] {
            let answer = create(app, json!({"available_scopes": bad})).await;
            assert_eq!(answer.expect_error(422, INVALID), ["available_scopes"]);
        }
    });
}

#[test]
fn a_tree_has_at_most_16_levels() {
    check(async |app| {
        let mut parent = json!(app.child.sid);
        for _ in 3..=16 {
            parent =
                create(app, json!({"parent_sid": parent})).await.expect(200)["partner_sid"].take();
        }
        let rejected = create(app, json!({"parent_sid": parent})).await;
        assert!(rejected.text.contains("at most 16 levels"), "{}", rejected.text);
        assert_eq!(rejected.expect_error(409, "conflict"), ["parent_sid"]);
    });
}

#[test]
fn concurrent_requests_do_not_exceed_the_limit_of_descendants() {
    check_with(&["--max-descendants", "5"], async |app| {
        // The child counts. The root and the child create at the same time, on two instances.
        let (other, server) = app.second_instance_with(&["--max-descendants", "5"]).await;
        let child = app.token(app.child.sid, &[Scope::PartnersManage]);
        let created = (0..24).map(|number| {
            let (base, token) = match number % 4 {
                0 => (&app.base, &app.token),
                1 => (&app.base, &child),
                2 => (&other, &app.token),
                _ => (&other, &child),
            };
            let request = app.request_to(Method::POST, &format!("{base}/core/v2/partners"));
            Answer::to(request.bearer_auth(token).json(&json!({})))
        });
        let answers = futures_util::future::join_all(created).await;
        // A request may also be rejected because it waited too long for the others.
        let created = answers.iter().filter(|answer| answer.status == 200).count();
        assert!(created <= 4, "{created}");
        while create(app, json!({})).await.status == 200 {}
        let rejected = create(app, json!({})).await;
        assert!(rejected.text.contains("already has 5 descendants"), "{}", rejected.text);
        assert_eq!(rejected.expect_error(409, "conflict"), ["parent_sid"]);
        let list = app.get("/core/v2/partners").await.expect(200);
        assert_eq!(list["total"], 6);
        // Another tree has its own limit.
        let token = app.token(app.unrelated.sid, &[Scope::PartnersManage]);
        let request = app.anonymous(Method::POST, "/core/v2/partners").bearer_auth(token);
        Answer::to(request.json(&json!({}))).await.expect(200);
        server.stop(false).await;
    });
}

#[test]
fn a_partner_updates_its_own_members() {
    check(async |app| {
        let changes = json!({
            "attributes": {"a": 1},
            "callbacks": {"sms": "https://example.com/1", "call": "http://b"},
            "company_name": "Acme", "country_code": "USA", "name": "after",
        });
        let changed = patch_own(app, changes.clone()).await.expect(200);
        for (member, value) in changes.as_object().unwrap() {
            assert_eq!(&changed[member], value, "{member}");
        }
        let merged = json!({"callbacks": {"sms": null, "voice": "https://c", "call": ""}});
        let merged = patch_own(app, merged).await.expect(200);
        assert_eq!(merged["callbacks"], json!({"voice": "https://c"}));
        let cleared = json!({
            "attributes": null, "callbacks": null, "company_name": null, "country_code": null
        });
        let cleared = patch_own(app, cleared).await.expect(200);
        assert_eq!((&cleared["attributes"], &cleared["callbacks"]), (&json!({}), &json!({})));
        assert_eq!(
            (&cleared["company_name"], &cleared["country_code"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(app.version(app.child.sid).await, 4);
    });
}

#[test]
fn all_invalid_members_of_a_partner_are_reported_at_once() {
    check(async |app| {
        let wrong = json!({
            "attributes": 1, "callbacks": {"sms": "ftp://x", "call": 7}, "company_name": "",
            "country_code": "usa", "name": null, "nmae": "x", "status": "asleep",
        });
        let fields = patch_own(app, wrong).await.expect_error(422, INVALID);
        let expected = ["attributes", "callbacks.call", "company_name", "country_code", "name"];
        assert_eq!(fields, [&expected[..], &["status", "nmae"]].concat());
        for (name, wrong) in [("callbacks", json!({"x": [1]})), ("callbacks", json!([]))] {
            let fields = patch_own(app, json!({name: wrong})).await.expect_error(422, INVALID);
            assert!(fields[0].starts_with(name), "{fields:?}");
        }
    });
}

#[test]
fn only_an_ancestor_changes_status_and_scopes() {
    check(async |app| {
        let own = json!({"status": "suspended", "available_scopes": ["phonenumber.read"]});
        let rejected = patch_own(app, own.clone()).await;
        assert!(rejected.text.contains("only an ancestor"), "{}", rejected.text);
        assert_eq!(rejected.expect_error(422, INVALID), ["available_scopes", "status"]);
        assert_eq!(app.version(app.child.sid).await, 1);
        let changed = app.patch(&path(app.child.sid), &own).await.expect(200);
        assert_eq!(
            (&changed["status"], &changed["available_scopes"]),
            (&own["status"], &own["available_scopes"])
        );
        let rejected = app.patch(&path(app.partner.sid), &own).await;
        assert_eq!(rejected.expect_error(422, INVALID), ["available_scopes", "status"]);
    });
}

#[test]
fn an_ancestor_cannot_grant_a_scope_that_its_token_lacks() {
    check(async |app| {
        let small = json!({"available_scopes": ["partners.manage", "phonenumber.read"]});
        app.patch(&path(app.child.sid), &small).await.expect(200);
        let narrow = app.token(app.child.sid, &[Scope::PartnersManage]);
        let wide = app.token(app.child.sid, &[Scope::PartnersManage, Scope::PhonenumberRead]);
        let call = async |token: &str, method: Method, path: &str, body: Value| {
            Answer::to(app.anonymous(method, path).bearer_auth(token).json(&body)).await
        };
        let made = call(&narrow, Method::POST, "/core/v2/partners", json!({})).await.expect(200);
        assert_eq!(made["available_scopes"], json!(["partners.manage"]));
        let grandchild = path(made["partner_sid"].as_str().unwrap());
        let scopes = |names: Value| json!({"available_scopes": names});
        // Neither the child's tokens nor this token of it carry the scope.
        for (token, name) in [(&wide, "phonenumber.manage"), (&narrow, "phonenumber.read")] {
            let rejected = call(token, Method::PATCH, &grandchild, scopes(json!([name]))).await;
            assert_eq!(rejected.expect_error(422, INVALID), ["available_scopes"], "{name}");
        }
        let granted = scopes(json!(["phonenumber.read"]));
        call(&wide, Method::PATCH, &grandchild, granted).await.expect(200);
    });
}

#[test]
fn a_suspension_is_lifted_only_by_the_same_or_a_higher_level() {
    check(async |app| {
        let grandchild = create(app, json!({"parent_sid": app.child.sid})).await.expect(200);
        let sid = grandchild["partner_sid"].as_str().unwrap();
        let status = |status: &str| json!({"status": status});
        let by_child = async |status: Value| {
            let token = app.token(app.child.sid, &[Scope::PartnersUpdate]);
            let request = app.anonymous(Method::PATCH, &path(sid)).bearer_auth(token);
            Answer::to(request.json(&status)).await
        };
        let rejected = |answer: Answer, by: &str| {
            assert!(answer.text.contains(by), "{}", answer.text);
            assert_eq!(answer.expect_error(422, INVALID), ["status"]);
        };
        // The same level and a higher level lift it.
        by_child(status("suspended")).await.expect(200);
        by_child(status("active")).await.expect(200);
        by_child(status("suspended")).await.expect(200);
        app.patch(&path(sid), &status("active")).await.expect(200);
        // A lower level does not, also if it has suspended the partner before or after.
        by_child(status("suspended")).await.expect(200);
        app.patch(&path(sid), &status("suspended")).await.expect(200);
        by_child(status("suspended")).await.expect(200);
        rejected(by_child(status("active")).await, "an ancestor above your partner");
        app.patch(&path(sid), &status("active")).await.expect(200);
        // What an ancestor sends back leaves the suspension to the one that made it.
        by_child(status("suspended")).await.expect(200);
        let object = app.get(&path(sid)).await.expect(200);
        app.put(&path(sid), &object).await.expect(200);
        by_child(status("active")).await.expect(200);
        // No ancestor lifts a suspension of the operator, also if it is suspended again.
        let by_operator = async |to: Status| {
            let sid = sid.parse().unwrap();
            app.update_partner(sid, |partner| partner.set_status_as_operator(to)).await;
        };
        by_operator(Status::Suspended).await;
        app.patch(&path(sid), &status("suspended")).await.expect(200);
        rejected(app.patch(&path(sid), &status("active")).await, "the operator has suspended");
        rejected(by_child(status("active")).await, "the operator has suspended");
        by_operator(Status::Active).await;
        assert_eq!(app.get(&path(sid)).await.expect(200)["status"], "active");
    });
}

#[test]
fn putting_back_what_was_read_changes_nothing() {
    check(async |app| {
        for sid in [app.partner.sid, app.child.sid] {
            let object = app.get(&path(sid)).await.expect(200);
            assert_eq!(app.put(&path(sid), &object).await.expect(200), object);
            assert_eq!(app.version(sid).await, 1);
        }
        let missing = app.put(&path(app.child.sid), &json!({})).await;
        assert_eq!(
            missing.expect_error(422, INVALID),
            ["attributes", "callbacks", "company_name", "country_code", "name"]
        );
    });
}

#[test]
fn read_only_members_are_ignored_unless_handling_is_strict() {
    check(async |app| {
        let echo = json!({"login": "x", "display_id": "CX1", "parent_sid": app.unrelated.sid});
        app.patch(&path(app.child.sid), &echo).await.expect(200);
        assert_eq!(app.version(app.child.sid).await, 1);
        let headers = [JSON, ("prefer", "handling=strict")];
        let answer = app.patch_text(&path(app.child.sid), echo.to_string(), &headers).await;
        assert_eq!(answer.expect_error(422, INVALID), ["display_id", "login", "parent_sid"]);
    });
}

#[test]
fn an_invisible_partner_cannot_be_changed() {
    check(async |app| {
        let random = app.patch(&path(Uuid::new_v4()), &json!({"name": "mine"})).await.text;
        let unrelated = app.patch(&path(app.unrelated.sid), &json!({"name": "mine"})).await;
        assert_eq!(unrelated.text, random);
        assert_eq!(app.version(app.unrelated.sid).await, 1);
    });
}
