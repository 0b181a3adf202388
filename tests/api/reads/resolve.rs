//! Where the traffic of a number goes.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use shortline::partners::Status;

use crate::support::{Answer, App, check, wait_until};

async fn resolve(app: &App, query: &[(&str, &str)], known: &str) -> Answer {
    let request = app.request(Method::GET, "/core/v2/phonenumber/resolve").query(query);
    Answer::to(request.header("if-none-match", known)).await
}

#[test]
fn the_first_url_of_number_group_and_partner_wins() {
    check(async |app| {
        let (did, code) = (app.partner.did_path(), app.partner.code_path());
        let (group, partner) =
            (app.partner.group_path(), format!("/core/v2/partners/{}", app.partner.sid));
        let grouped = json!({
            "callback_url": "https://number.example/", "did_group_sid": app.partner.group_sid,
            "attributes": {"a": 1}
        });
        for path in [&did, &code] {
            app.patch(&format!("{path}?nested_objects=replace"), &grouped).await.expect(200);
        }
        app.patch(&group, &json!({"callback_url": "https://group.example/"})).await.expect(200);
        let callbacks = json!({"callbacks": {"sms": "https://partner.example/"}});
        app.patch(&partner, &callbacks).await.expect(200);
        let short = [("number", "10001"), ("country_code", "USA")];
        let long = [("number", app.partner.rented)];
        for (query, path, sid, source) in [
            (&short[..], &code, app.partner.code_sid, "short_code"),
            (&long[..], &did, app.partner.did_sid, "did"),
        ] {
            let expect = async |url: Value, source: &str| {
                let answer = resolve(app, query, "\"x\"").await;
                let tag = answer.header("etag").unwrap().to_owned();
                assert_eq!(
                    answer.expect(200),
                    json!({
                        "attributes": {"a": 1}, "callback_url": url,
                        "did_group_sid": app.partner.group_sid, "partner_sid": app.partner.sid,
                        "sid": sid, "source": source
                    })
                );
                let unchanged = resolve(app, query, &tag).await;
                assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some(&*tag)));
                tag
            };
            let mut tags = vec![expect(json!("https://number.example/"), source).await];
            app.patch(path, &json!({"callback_url": null})).await.expect(200);
            tags.push(expect(json!("https://group.example/"), "did_group").await);
            app.patch(&group, &json!({"callback_url": null})).await.expect(200);
            tags.push(expect(json!("https://partner.example/"), "partner").await);
            app.patch(&partner, &json!({"callbacks": {"sms": null}})).await.expect(200);
            tags.push(expect(Value::Null, "none").await);
            tags.dedup();
            assert_eq!(tags.len(), 4);
            app.patch(&group, &json!({"callback_url": "https://group.example/"})).await.expect(200);
            app.patch(&partner, &callbacks).await.expect(200);
        }
    });
}

#[test]
fn numbers_are_written_in_several_ways() {
    check(async |app| {
        for (query, sid) in [
            (&[("number", "10001")][..], app.partner.code_sid),
            (&[("number", "12125550101")], app.partner.did_sid),
            (&[("number", "+1 (212) 555-0101")], app.partner.did_sid),
        ] {
            assert_eq!(
                resolve(app, query, "\"\"").await.expect(200)["sid"],
                json!(sid),
                "{query:?}"
            );
        }
        for (query, field) in [
            (&[("number", "12")][..], "number"),
            (&[("number", "x")], "number"),
            (&[("number", "")], "number"),
            (&[("country_code", "USA")], "number"),
            (&[("number", "12125550101"), ("country_code", "USA")], "number"),
            (&[("number", "10001"), ("country_code", "us")], "country_code"),
        ] {
            let rejected = resolve(app, query, "\"\"").await;
            assert_eq!(rejected.expect_error(400, "bad request"), [field], "{query:?}");
        }
        for query in [
            &[("number", "10001"), ("country_code", "CAN")][..],
            &[("number", "99999")],
            &[("number", app.partner.available)],
            &[("number", app.child.rented)],
            &[("number", app.unrelated.rented)],
            &[("number", "10002")],
        ] {
            let answer = resolve(app, query, "*").await;
            answer.expect_error(404, "no item error");
        }
    });
}

#[test]
fn traffic_of_a_suspended_partner_goes_nowhere() {
    check(async |app| {
        let scopes = [Scope::PhonenumberRead, Scope::PhonenumberReadDescendant];
        let token = app.token(app.partner.sid, &scopes);
        let path = "/core/v2/phonenumber/resolve";
        let query = [("number", app.child.rented)];
        let resolve = async || {
            let request = app.anonymous(Method::GET, path).bearer_auth(&token).query(&query);
            Answer::to(request).await
        };
        let before = resolve().await;
        assert_eq!(before.expect(200)["source"], "none");
        let suspend = |partner: &mut shortline::partners::Partner| {
            partner.set_status_as_operator(Status::Suspended);
        };
        app.update_partner(app.child.sid, suspend).await;
        wait_until("the number is suspended", async || {
            let after = resolve().await;
            let body = after.expect(200);
            body["source"] == "suspended"
                && body["callback_url"].is_null()
                && after.header("etag") != before.header("etag")
        })
        .await;
    });
}
