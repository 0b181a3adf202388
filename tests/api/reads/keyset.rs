//! Pages that start at a row, also at a deleted one, and pages without a total.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;

use super::{numbers, numbers_of, rejected};
use crate::support::{Answer, App, CODES, GROUPS, check, code_path, group_path};

/// Adds three short codes of the partner, and returns the sids of all four in the order of
/// creation.
async fn four_codes(app: &App) -> Vec<String> {
    let codes = ["20001", "20002", "20003"].map(|number| json!({"short_code": number}));
    app.partner.add_codes(app, &codes).await;
    sids(&app.get(CODES).await.expect(200))
}

fn sids(page: &Value) -> Vec<String> {
    let sid = |item: &Value| item["short_code_sid"].as_str().unwrap().to_owned();
    page["items"].as_array().unwrap().iter().map(sid).collect()
}

async fn delete(app: &App, sid: &str) {
    assert_eq!(app.delete(&code_path(sid)).await.status, 204);
}

async fn restore(app: &App, sid: &str) {
    app.post(&format!("{}/revert", code_path(sid)), &json!({"version": 1})).await.expect(200);
}

async fn follow(app: &App, link: &Value) -> Value {
    let request = app.request_to(Method::GET, link.as_str().unwrap()).bearer_auth(&app.token);
    Answer::to(request).await.expect(200)
}

#[test]
fn a_page_starts_where_a_deleted_row_stood() {
    check(async |app| {
        let codes = four_codes(app).await;
        let page = app.get(&format!("{CODES}?limit=1&after={}", codes[0])).await.expect(200);
        let next = &page["pagination"]["next"];
        delete(app, &codes[1]).await;
        let page = follow(app, next).await;
        assert_eq!(numbers_of(&page), ["20002"]);
        assert_eq!((&page["has_more"], &page["total"]), (&json!(true), &json!(3)));
        let page = follow(app, &page["pagination"]["previous"]).await;
        assert_eq!(numbers_of(&page), ["10001"]);
        assert_eq!(numbers(app, &[("before", &codes[1])]).await, ["10001"]);
        // The row need not match the filter.
        let filter = ("filter", "short_code ge 20003");
        assert_eq!(numbers(app, &[("after", &codes[1]), filter]).await, ["20003"]);
        // A restored object keeps its place, also when it is deleted again.
        restore(app, &codes[1]).await;
        assert_eq!(sids(&app.get(CODES).await.expect(200)), codes);
        delete(app, &codes[1]).await;
        delete(app, &codes[2]).await;
        assert_eq!(numbers(app, &[("after", &codes[1])]).await, ["20003"]);
        assert_eq!(numbers(app, &[("before", &codes[2])]).await, ["10001"]);
        restore(app, &codes[2]).await;
        restore(app, &codes[1]).await;
        assert_eq!(sids(&app.get(CODES).await.expect(200)), codes);
        // New objects follow all others.
        let new = json!({"partner_sid": app.partner.sid, "short_code": "20004"});
        app.post(CODES, &new).await.expect(200);
        assert_eq!(numbers(app, &[("after", &codes[3])]).await, ["20004"]);

        let group = app.post(GROUPS, &json!({})).await.expect(200)["did_group_sid"].clone();
        let group = group.as_str().unwrap();
        assert_eq!(app.delete(&group_path(group)).await.status, 204);
        let page = app.get(&format!("{GROUPS}?before={group}")).await.expect(200);
        assert_eq!(page["items"][0]["did_group_sid"], json!(app.partner.group_sid));
    });
}

#[test]
fn a_deleted_row_that_was_not_visible_names_no_place() {
    check(async |app| {
        let codes = four_codes(app).await;
        let everything = app.token(app.unrelated.sid, &Scope::ALL);
        let request = app.anonymous(Method::DELETE, &app.unrelated.code_path());
        assert_eq!(Answer::to(request.bearer_auth(&everything)).await.status, 204);
        delete(app, &app.child.code_sid.to_string()).await;
        delete(app, &codes[1]).await;
        let (child, unrelated) =
            (app.child.code_sid.to_string(), app.unrelated.code_sid.to_string());
        for argument in ["after", "before"] {
            // The own token sees no descendants.
            for sid in [&child, &unrelated, &app.partner.group_sid.to_string()] {
                assert_eq!(rejected(app, &[(argument, sid)]).await.0, argument, "{sid}");
            }
        }
        let wide = app.token(app.partner.sid, &Scope::ALL);
        let page = |sid: &str| {
            let path = format!("{CODES}?after={sid}");
            Answer::to(app.anonymous(Method::GET, &path).bearer_auth(&wide))
        };
        assert_eq!(numbers_of(&page(&child).await.expect(200)), ["20002", "20003"]);
        page(&unrelated).await.expect(400);
        // As after the end of retention.
        sqlx::query("delete from history where sid = $1::uuid")
            .bind(&codes[1])
            .execute(&mut app.connection().await)
            .await
            .unwrap();
        assert_eq!(rejected(app, &[("after", &codes[1])]).await.0, "after");
    });
}

#[test]
fn a_list_without_total_counts_nothing() {
    check(async |app| {
        let codes = four_codes(app).await;
        let history = format!("{}/history", app.partner.code_path());
        for path in [CODES, &history, "/core/v2/partners", "/core/v2/oauth/tokens"] {
            let counted = app.get(&format!("{path}?total=true")).await.expect(200);
            assert_eq!(counted, app.get(path).await.expect(200));
            let mut uncounted = app.get(&format!("{path}?total=false")).await.expect(200);
            assert_eq!(uncounted["total"], Value::Null, "{path}");
            uncounted["total"] = counted["total"].clone();
            assert_eq!(uncounted, counted);
        }
        let page = app.get(&format!("{CODES}?limit=2&total=false")).await.expect(200);
        assert_eq!((&page["total"], &page["has_more"]), (&Value::Null, &json!(true)));
        let page = follow(app, &page["pagination"]["next"]).await;
        assert_eq!(numbers_of(&page), ["20002", "20003"]);
        assert_eq!((&page["total"], &page["has_more"]), (&Value::Null, &json!(false)));
        assert!(page["pagination"]["previous"].is_string());
        let query = [("after", &*codes[0]), ("limit", "1"), ("total", "false")];
        assert_eq!(numbers(app, &query).await, ["20001"]);
        for total in ["0", "False", "no"] {
            assert_eq!(rejected(app, &[("total", total)]).await.0, "total");
        }
    });
}
