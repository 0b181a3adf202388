//! Tenancy of phone numbers: stocks, rentals, and a number that changes hands.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use uuid::Uuid;

use crate::support::{AVAILABLE, Answer, App, DIDS, check, check_with, did_path};

async fn request_as(
    app: &App,
    partner_sid: Uuid,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Answer {
    let token = app.token(partner_sid, &[Scope::PhonenumberManage]);
    let request = app.anonymous(method, path).bearer_auth(token);
    // Only rentals: the same key with another request is an error.
    let request =
        if path == DIDS { request.header("idempotency-key", "the-same-key") } else { request };
    Answer::to(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

fn numbers(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["phonenumber"].as_str().unwrap()).collect()
}

#[test]
fn a_partner_rents_from_its_own_stock_and_from_those_of_its_ancestors() {
    check(async |app| {
        let visible = async |partner| {
            let page = request_as(app, partner, Method::GET, AVAILABLE, None).await.expect(200);
            numbers(&page).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(visible(app.partner.sid).await, [app.partner.available]);
        assert_eq!(visible(app.child.sid).await, [app.partner.available, app.child.available]);
        assert_eq!(visible(app.unrelated.sid).await, [app.unrelated.available]);
        // A token that sees the objects of descendants does not rent from their stocks.
        let wide = [Scope::PhonenumberManage, Scope::PhonenumberManageDescendant];
        let token = app.token(app.partner.sid, &wide);
        let page = Answer::to(app.anonymous(Method::GET, AVAILABLE).bearer_auth(&token)).await;
        assert_eq!(numbers(&page.expect(200)), [app.partner.available]);
        let rented = app.anonymous(Method::POST, DIDS).bearer_auth(&token);
        let rented = rented.json(&json!({"phonenumber": app.child.available}));
        Answer::to(rented).await.expect_error(422, "object validation error");
        for (partner, sid, status) in [
            (app.partner.sid, app.partner.stock_sid, 200),
            (app.child.sid, app.partner.stock_sid, 200),
            (app.partner.sid, app.child.stock_sid, 404),
            (app.unrelated.sid, app.partner.stock_sid, 404),
        ] {
            for folder in [AVAILABLE.to_owned(), format!("{DIDS}/inventory")] {
                let path = format!("{folder}/{sid}");
                request_as(app, partner, Method::GET, &path, None).await.expect(status);
            }
        }
    });
}

#[test]
fn the_owner_of_a_stock_is_not_shown_to_those_who_rent_from_it() {
    check(async |app| {
        for query in ["", "?with_related=true", "?exclude_fields=name"] {
            let path = format!("{AVAILABLE}{query}");
            let page = request_as(app, app.child.sid, Method::GET, &path, None).await;
            assert!(!page.text.contains(&app.partner.sid.to_string()), "{query}: {}", page.text);
        }
        let fields = format!("{AVAILABLE}?include_fields=phonenumber,stock_partner_sid");
        let page = request_as(app, app.partner.sid, Method::GET, &fields, None).await.expect(200);
        let item =
            json!({"phonenumber": app.partner.available, "stock_partner_sid": app.partner.sid});
        assert_eq!(page["items"], json!([item]));
        let filter = format!("{AVAILABLE}?filter=partner_sid eq {}", app.partner.sid);
        let rejected = request_as(app, app.child.sid, Method::GET, &filter, None).await;
        assert_eq!(rejected.expect_error(400, "bad request"), ["filter"]);
    });
}

#[test]
fn the_next_renter_of_a_number_learns_nothing_of_the_last_one() {
    check_with(&["--did-aging-days", "0"], async |app| {
        // The partner and its child both can rent the number.
        let (first, second, number) = (app.child.sid, app.partner.sid, app.partner.available);
        let rent = json!({"phonenumber": number});
        let old = request_as(app, first, Method::POST, DIDS, Some(rent.clone())).await.expect(200);
        let path = did_path(old["did_sid"].as_str().unwrap());
        let secret = json!({
            "attributes": {"secret": "old"}, "callback_url": "https://old.example/",
            "did_group_sid": app.child.group_sid, "name": "old", "string_key_1": "old",
            "transformations": ["old"], "trunk_group_sid": Uuid::new_v4()
        });
        let token = app.token(first, &[Scope::PhonenumberManage]);
        let patched = app.anonymous(Method::PATCH, &path).bearer_auth(&token).json(&secret);
        let patched = Answer::to(patched).await;
        assert_eq!(patched.header("etag"), Some("\"2\""));
        let before = time::OffsetDateTime::now_utc();
        let released = app.anonymous(Method::DELETE, &path).bearer_auth(&token);
        assert_eq!(Answer::to(released).await.status, 204);

        // The same idempotency key of another partner is another key.
        let new = request_as(app, second, Method::POST, DIDS, Some(rent)).await;
        assert_eq!(new.header("idempotency-replayed"), None);
        assert_eq!(new.header("etag"), Some("\"1\""));
        let new = new.expect(200);
        assert_ne!(new["did_sid"], old["did_sid"]);
        assert!(!new.to_string().contains("old"), "{new}");
        let new_path = did_path(new["did_sid"].as_str().unwrap());
        let new_history = format!("{new_path}/history");
        let history = request_as(app, second, Method::GET, &new_history, None).await.expect(200);
        assert_eq!((&history["total"], history.to_string().contains("old")), (&json!(1), false));
        let date = before.format(&time::format_description::well_known::Rfc3339).unwrap();
        let at = format!("{new_path}?at={}", date.replace('+', "%2B"));
        request_as(app, second, Method::GET, &at, None).await.expect(404);
        let revert = format!("{new_path}/revert");
        for version in [2, 3] {
            let body = Some(json!({"version": version}));
            let rejected = request_as(app, second, Method::POST, &revert, body).await;
            assert_eq!(rejected.status, 422, "{}", rejected.text);
        }
        for (method, path) in [
            (Method::GET, path.clone()),
            (Method::GET, format!("{path}/history")),
            (Method::GET, format!("{path}?at={}", date.replace('+', "%2B"))),
            (Method::DELETE, path.clone()),
        ] {
            let answer = Answer::to(app.request(method, &path)).await;
            answer.expect_error(404, "no item error");
        }
        let body = json!({"version": 1});
        app.post(&format!("{path}/revert"), &body).await.expect_error(404, "no item error");

        // The former renter still reads the history of its own rental, and nothing of the new one.
        let history = request_as(app, first, Method::GET, &format!("{path}/history"), None).await;
        assert_eq!(history.expect(200)["total"], 3);
        request_as(app, first, Method::GET, &new_path, None).await.expect(404);
        let revert = app.anonymous(Method::POST, &format!("{path}/revert")).bearer_auth(token);
        Answer::to(revert.json(&body)).await.expect_error(409, "conflict");
    });
}
