//! Bytes that are not UTF-8 in a path, a query string or a form.

use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, App, CODES, GROUPS, check};

/// The status of a request and the field of its error.
async fn error(app: &App, method: Method, path: &str) -> (u16, serde_json::Value) {
    let answer = Answer::to(app.request(method, path).json(&json!({}))).await;
    let status = answer.status;
    (status, answer.expect(status)["errors"][0]["field"].clone())
}

#[test]
fn arguments_that_are_not_utf_8_are_rejected() {
    check(async |app| {
        let code = app.partner.code_path();
        let (history, revert) = (format!("{code}/history"), format!("{code}/revert"));
        for (path, field) in [
            (format!("{CODES}?filter=name%20eq%20%22M%FCller%22"), "filter"),
            (format!("{CODES}?limit=1&filter=name+eq+%22%e2%82%22"), "filter"),
            (format!("{CODES}?order=%FF"), "order"),
            // Reads ignore arguments that they do not know, but not their bytes.
            (format!("{CODES}?colour=%C0%AF"), "colour"),
            (format!("{GROUPS}?%FFx=1"), "\u{fffd}x"),
            (format!("{code}?at=%ED%A0%80"), "at"),
            (format!("{history}?include_fields=%F5"), "include_fields"),
            ("/core/v2/partners?after=%80".to_owned(), "after"),
            ("/core/v2/oauth/tokens?limit=%A0".to_owned(), "limit"),
            ("/core/v2/oauth/whoami?x=%FC".to_owned(), "x"),
        ] {
            assert_eq!(error(app, Method::GET, &path).await, (400, json!(field)), "{path}");
        }
        for (method, path) in [
            (Method::PATCH, &code),
            (Method::PUT, &code),
            (Method::DELETE, &code),
            (Method::POST, &revert),
            (Method::POST, &GROUPS.to_owned()),
        ] {
            let path = format!("{path}?validate_only=%FE");
            let expected = (400, json!("validate_only"));
            assert_eq!(error(app, method, &path).await, expected, "{path}");
        }
        // The replacement character itself is UTF-8, and so is what is not percent-encoded.
        for filter in ["%EF%BF%BD", "M%C3%BCller", "100%", "%zz", "+"] {
            app.get(&format!("{CODES}?filter=name+eq+%22{filter}%22")).await.expect(200);
        }
    });
}

#[test]
fn forms_that_are_not_utf_8_are_rejected() {
    check(async |app| {
        let child = format!("/core/v2/oauth/token/{}", app.child.sid);
        for path in ["/core/v2/oauth/token", "/core/v2/oauth/revoke", &child] {
            for body in [&b"grant_type=password&name=M%FCller"[..], b"name=M\xfcller"] {
                let form = app.request(Method::POST, path).body(body);
                let form = form.header("content-type", "application/x-www-form-urlencoded");
                let body = Answer::to(form).await.expect(400);
                assert_eq!(body["error"], "invalid_request");
                assert_eq!(body["errors"][0]["field"], "name", "{path}");
            }
        }
    });
}

#[test]
fn a_path_that_is_not_utf_8_is_rejected_after_the_token() {
    check(async |app| {
        for path in ["%FF", "%E2%82/history", "x%80y/revert"] {
            let method = if path.ends_with("revert") { Method::POST } else { Method::GET };
            let path = format!("{CODES}/{path}");
            let anonymous = app.anonymous(method.clone(), &path);
            Answer::to(anonymous).await.expect_error(401, "unauthorized");
            assert_eq!(error(app, method, &path).await, (400, json!(null)), "{path}");
        }
        // A path without a route is a 404, and so is text that is no sid.
        assert_eq!(error(app, Method::GET, "/core/v2/%FF").await.0, 404);
        assert_eq!(error(app, Method::GET, &format!("{CODES}/%C3%BC")).await.0, 404);
    });
}
