//! A client modelled on CarrierX's public Python library, which has one class for lists and one for
//! items and depends on paths, statuses and `errors`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, check};

/// The exceptions of the library, one for each status.
#[derive(Debug, PartialEq)]
enum Failure {
    BadRequest(String),
    Forbidden(String),
    NotFound(String),
    Other(u16),
}

/// Sends a request as the library does: always with a JSON content type. The message of a failure
/// is that of the first entry in `errors`.
async fn call(
    app: &App,
    method: Method,
    path: &str,
    query: &[(&str, &str)],
    body: Option<Value>,
) -> Result<Value, Failure> {
    let url = format!("/core/v2/{path}");
    let mut request =
        app.request(method, &url).query(query).header("content-type", "application/json");
    if let Some(body) = body {
        request = request.body(body.to_string());
    }
    let answer = Answer::to(request).await;
    let body: Value = serde_json::from_str(&answer.text).unwrap_or(Value::Null);
    let message = || body["errors"][0]["message"].as_str().unwrap().to_owned();
    match answer.status {
        200 | 204 => Ok(body),
        400 => Err(Failure::BadRequest(message())),
        403 => Err(Failure::Forbidden(message())),
        404 => Err(Failure::NotFound(message())),
        status => Err(Failure::Other(status)),
    }
}

#[test]
fn items_are_created_patched_and_deleted() {
    check(async |app| {
        let groups = "phonenumber/did_groups";
        let created =
            call(app, Method::POST, groups, &[], Some(json!({"name": "first"}))).await.unwrap();
        let item = format!("{groups}/{}", created["did_group_sid"].as_str().unwrap());
        assert_eq!(call(app, Method::GET, &item, &[], None).await.unwrap(), created);
        let patched =
            call(app, Method::PATCH, &item, &[], Some(json!({"name": "second"}))).await.unwrap();
        assert_eq!(patched["name"], "second");
        // The library saves an item by sending all its members.
        assert_eq!(
            call(app, Method::PATCH, &item, &[], Some(patched.clone())).await.unwrap(),
            patched
        );
        assert_eq!(call(app, Method::DELETE, &item, &[], None).await, Ok(Value::Null));
        let gone = call(app, Method::GET, &item, &[], None).await;
        assert_eq!(gone, Err(Failure::NotFound("cannot find item by sid".to_owned())));
    });
}

#[test]
fn lists_are_paged_by_offset() {
    check(async |app| {
        let codes: Vec<_> =
            (0..23).map(|number| json!({"short_code": format!("{}", 20_000 + number)})).collect();
        app.partner.add_codes(app, &codes).await;
        let mut numbers = Vec::new();
        for offset in (0..).step_by(10) {
            let query = [
                ("offset", &*offset.to_string()),
                ("limit", "10"),
                ("filter", "short_code ne \"0\""),
                ("order", "short_code desc"),
                ("includeFields", "short_code"),
            ];
            let page =
                call(app, Method::GET, "phonenumber/short_codes", &query, None).await.unwrap();
            let items = page["items"].as_array().unwrap();
            numbers
                .extend(items.iter().map(|item| item["short_code"].as_str().unwrap().to_owned()));
            if items.len() < 10 {
                break;
            }
        }
        assert_eq!(numbers.len(), 24);
        assert!(numbers.is_sorted_by(|one, next| one > next), "{numbers:?}");
        // The library sends unset arguments empty.
        let unset =
            [("offset", ""), ("limit", "0"), ("filter", ""), ("order", ""), ("includeFields", "")];
        let page = call(app, Method::GET, "phonenumber/short_codes", &unset, None).await.unwrap();
        assert_eq!(page["count"], 10);
    });
}

#[test]
fn errors_are_distinguished_by_status_and_explained_in_errors() {
    check(async |app| {
        let codes = "phonenumber/short_codes";
        let bad = call(app, Method::GET, codes, &[("filter", "colour eq red")], None).await;
        assert!(matches!(bad, Err(Failure::BadRequest(message)) if message.contains("colour")));
        let narrow = app.token(app.partner.sid, &[]);
        let request =
            app.anonymous(Method::GET, "/core/v2/phonenumber/short_codes").bearer_auth(narrow);
        let forbidden = Answer::to(request).await.expect(403);
        assert!(forbidden["errors"][0]["message"].as_str().unwrap().contains("phonenumber.read"));
        let foreign = format!("{codes}/{}", app.unrelated.code_sid);
        assert!(matches!(
            call(app, Method::GET, &foreign, &[], None).await,
            Err(Failure::NotFound(_))
        ));
    });
}
