//! `validate_only=true`: every check runs and nothing is stored.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, CODES, GROUPS, check, code_path, group_path};

/// The rows of all tables, as text.
async fn stored(app: &App) -> Vec<String> {
    let tables =
        ["partners", "oauth_tokens", "did_groups", "short_codes", "history", "idempotency_keys"];
    let mut stored = Vec::new();
    for table in tables {
        let statement = sqlx::AssertSqlSafe(format!("select t::text from {table} as t order by 1"));
        let rows: Vec<String> =
            sqlx::query_scalar(statement).fetch_all(&mut app.connection().await).await.unwrap();
        stored.extend(rows);
    }
    stored
}

#[test]
fn dry_runs_return_the_result_and_store_nothing() {
    check(async |app| {
        let empty = app.post(GROUPS, &json!({})).await.expect(200);
        let empty = group_path(empty["did_group_sid"].as_str().unwrap());
        let (code, group) = (app.partner.code_path(), app.partner.group_path());
        let mut whole = app.get(&code).await.expect(200);
        whole["name"] = json!("would be");
        let before = stored(app).await;
        for (method, path, body, status) in [
            (Method::POST, GROUPS, json!({"name": "would be"}), 200),
            (
                Method::POST,
                CODES,
                json!({"partner_sid": app.partner.sid, "short_code": "777", "name": "would be"}),
                200,
            ),
            (Method::POST, "/core/v2/partners", json!({"name": "would be"}), 200),
            (Method::PATCH, &code, json!({"name": "would be", "attributes": {"a": null}}), 200),
            (Method::PUT, &code, whole, 200),
            (Method::PATCH, &group, json!({"name": "would be"}), 200),
            (Method::DELETE, &code, json!({}), 204),
            (Method::DELETE, &empty, json!({}), 204),
        ] {
            let path = format!("{path}?validate_only=true");
            let answer = Answer::to(app.request(method.clone(), &path).json(&body)).await;
            assert_eq!(answer.status, status, "{method} {path} {answer:?}");
            // The version does not exist, so there is no entity tag.
            assert_eq!(answer.header("etag"), None);
            if status == 200 {
                let shown: Value = serde_json::from_str(&answer.text).unwrap();
                assert_eq!(shown["name"], "would be");
                assert_eq!(shown["attributes"]["a"].is_null(), method != Method::PUT);
            }
        }
        assert_eq!(stored(app).await, before);
        let token = app.get("/core/v2/oauth/tokens").await.expect(200)["items"][0].clone();
        let path = format!(
            "/core/v2/oauth/tokens/{}?validate_only=true",
            token["token_sid"].as_str().unwrap()
        );
        assert_eq!(
            app.patch(&path, &json!({"name": "would be"})).await.expect(200)["name"],
            "would be"
        );
        app.patch(&code, &json!({"name": "is"})).await.expect(200);
        let reverted =
            app.post(&format!("{code}/revert?validate_only=true"), &json!({"version": 1})).await;
        assert_eq!(reverted.expect(200)["name"], "before");
        assert_eq!(app.get(&code).await.expect(200)["name"], "is");
    });
}

#[test]
fn dry_runs_reject_what_the_write_would_reject() {
    check(async |app| {
        let (code, group) = (app.partner.code_path(), app.partner.group_path());
        let dry = "validate_only=true";
        let taken = json!({"partner_sid": app.partner.sid, "short_code": "10001"});
        let foreign = json!({"did_group_sid": app.unrelated.group_sid});
        let before = stored(app).await;
        for (method, path, body, status) in [
            (Method::POST, CODES.to_owned(), taken, 409),
            (Method::PATCH, code.clone(), json!({"name": ""}), 422),
            (Method::PATCH, code.clone(), foreign, 422),
            (Method::PUT, code.clone(), json!({}), 422),
            (Method::PATCH, code_path(uuid::Uuid::now_v7()), json!({}), 404),
            (Method::DELETE, group, json!({}), 409),
            (Method::POST, format!("{code}/revert"), json!({"version": 9}), 422),
        ] {
            let request = app.request(method, &format!("{path}?{dry}")).json(&body);
            Answer::to(request).await.expect(status);
        }
        let stale =
            app.request(Method::PATCH, &format!("{code}?{dry}")).header("If-Match", "\"9\"");
        Answer::to(stale.json(&json!({}))).await.expect(412);
        assert_eq!(stored(app).await, before);
    });
}

#[test]
fn an_invalid_validate_only_argument_writes_nothing() {
    check(async |app| {
        let code = app.partner.code_path();
        let before = stored(app).await;
        for wrong in [
            "validate_only",
            "validate_only=",
            "validate_only=yes",
            "validate_only=TRUE",
            "validateonly=true",
            "validate_only=true&validate_only=false",
        ] {
            for (method, path) in [
                (Method::PATCH, code.clone()),
                (Method::DELETE, code.clone()),
                (Method::POST, GROUPS.to_owned()),
                (Method::POST, format!("{code}/revert")),
                (Method::POST, "/core/v2/partners".to_owned()),
            ] {
                let request = app.request(method, &format!("{path}?{wrong}"));
                Answer::to(request.json(&json!({"name": "x"}))).await.expect(400);
            }
            let form = app.request(Method::POST, &format!("/core/v2/oauth/revoke?{wrong}"));
            Answer::to(form).await.expect(400);
        }
        assert_eq!(stored(app).await, before);
        app.patch(&format!("{code}?validate_only=false"), &json!({"name": "x"})).await.expect(200);
        assert_eq!(app.get(&code).await.expect(200)["name"], "x");
    });
}
