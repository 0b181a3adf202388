//! Errors: each one that an operation can provoke has the message, the shape and the headers of its
//! documented example.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions};

use super::document::{Document, Operation, Targets};
use crate::support::{Answer, App, CODES, JSON, check, check_with, code_path, indented};

const FORM: &str = "application/x-www-form-urlencoded";

/// Sends an invalid request to every operation that documents the status and checks the error. The
/// closure returns `None` for an operation that needs another kind of request for it; `at_least` is
/// the number of the others.
async fn provoke(
    app: &App,
    status: u16,
    at_least: usize,
    request: impl Fn(&Operation, RequestBuilder) -> Option<RequestBuilder>,
) {
    let document = Document::fetch(app).await;
    let mut provoked = 0;
    for operation in document.operations() {
        if !operation.needs_token() || !operation.documents(&status.to_string()) {
            continue;
        }
        let valid = operation.request(app, &Targets::of(&app.partner)).bearer_auth(&app.token);
        if let Some(request) = request(&operation, valid) {
            let answer = Answer::to(request).await;
            assert_eq!(answer.status, status, "{operation}: {}", answer.text);
            operation.expect_documented(&answer);
            provoked += 1;
        }
    }
    assert!(provoked >= at_least, "{provoked} operations");
}

#[test]
fn an_invalid_query_argument_is_400_as_documented() {
    check(async |app| {
        provoke(app, 400, 24, |operation, request| {
            let arguments = [("validate_only", "maybe"), ("limit", "x"), ("at", "yesterday")];
            let argument = arguments.into_iter().find(|(name, _)| operation.takes(name))?;
            Some(request.query(&[argument]))
        })
        .await;
    });
}

#[test]
fn a_conflict_is_409_as_documented() {
    check(async |app| {
        provoke(app, 409, 2, |operation, request| {
            let taken = json!({"partner_sid": app.partner.sid, "short_code": "10001"});
            match (operation.method.as_str(), operation.template) {
                ("POST", CODES) => Some(request.body(taken.to_string())),
                // A short code refers to it.
                ("DELETE", "/core/v2/phonenumber/did_groups/{did_group_sid}") => Some(request),
                _ => None,
            }
        })
        .await;
    });
}

#[test]
fn a_stale_if_match_is_412_as_documented() {
    check(async |app| {
        provoke(app, 412, 11, |_, request| Some(request.header("If-Match", "\"9\""))).await;
    });
}

#[test]
fn a_large_body_is_413_as_documented() {
    check(async |app| {
        provoke(app, 413, 14, |_, request| Some(request.body("x".repeat(300_000)))).await;
    });
}

#[test]
fn another_content_type_is_415_as_documented() {
    check(async |app| {
        provoke(app, 415, 14, |operation, request| {
            let request = request.build().unwrap();
            let request = app.anonymous(operation.method.clone(), request.url().path());
            Some(request.bearer_auth(&app.token).header("content-type", "text/plain").body("x"))
        })
        .await;
    });
}

#[test]
fn a_content_coding_is_415_as_documented() {
    check(async |app| {
        provoke(app, 415, 14, |_, request| Some(request.header("content-encoding", "gzip"))).await;
    });
}

#[test]
fn an_invalid_body_is_422_as_documented() {
    check(async |app| {
        provoke(app, 422, 12, |operation, request| {
            let body = json!({"unknown": 1});
            operation.has_body("application/json").then(|| request.body(body.to_string()))
        })
        .await;
    });
}

#[test]
fn a_write_without_if_match_is_428_as_documented_where_it_is_mandatory() {
    check(async |app| {
        app.require_if_match(&[app.partner.sid, app.child.sid, app.unrelated.sid]).await;
        provoke(app, 428, 11, |_, request| Some(request)).await;
    });
}

#[test]
fn a_request_beyond_the_rate_is_429_as_documented() {
    check_with(&["--rate", "0.001"], async |app| {
        app.get("/core/v2/oauth/whoami").await.expect(200);
        provoke(app, 429, 26, |_, request| Some(request)).await;
    });
}

#[test]
fn a_request_without_the_database_is_503_as_documented() {
    check(async |app| {
        let name = app.database.get_database().unwrap();
        let mut maintenance = app.database.clone().database("postgres").connect().await.unwrap();
        let mut allow_connections = async |allowed: bool| {
            let allow = format!("alter database {name} allow_connections {allowed}");
            sqlx::raw_sql(AssertSqlSafe(allow)).execute(&mut maintenance).await.unwrap();
            let end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1";
            sqlx::query(end).bind(name).execute(&mut maintenance).await.unwrap();
        };
        allow_connections(false).await;
        provoke(app, 503, 26, |_, request| Some(request)).await;
        allow_connections(true).await;
    });
}

#[test]
fn a_token_request_fails_as_documented() {
    check(async |app| {
        let document = Document::fetch(app).await;
        let operations = document.operations();
        let is_token = |operation: &&Operation| operation.template == "/core/v2/oauth/token";
        let operation = operations.iter().find(is_token).unwrap();
        let form = |body: &str| {
            let request = app.anonymous(Method::POST, operation.template);
            request.header("content-type", FORM).body(body.to_owned())
        };
        let large = "x".repeat(300_000);
        for (request, status) in [
            (form("grant_type=implicit"), 400),
            (form("grant_type=client_credentials&client_id=x&client_secret=x"), 401),
            (form("grant_type=implicit&grant_type=implicit"), 400),
            (form(&large), 413),
            (app.anonymous(Method::POST, operation.template).json(&json!({})), 415),
            (app.anonymous(Method::TRACE, operation.template), 405),
        ] {
            let answer = Answer::to(request).await;
            assert_eq!(answer.status, status, "{}", answer.text);
            operation.expect_documented(&answer);
        }
    });
}

/// A request and its response as text: status, the headers that belong to an error, and body.
async fn rendered(request: RequestBuilder) -> String {
    let sent = request.try_clone().unwrap().build().unwrap();
    let answer = Answer::to(request).await;
    let mut text = format!("{} {}", sent.method(), sent.url().path());
    if let Some(query) = sent.url().query() {
        text += &format!("?{query}");
    }
    text += &format!("\n{}\n", answer.status);
    for header in ["accept-patch", "allow", "content-type", "retry-after", "www-authenticate"] {
        if let Some(value) = answer.header(header) {
            text += &format!("{header}: {value}\n");
        }
    }
    let body: Value = serde_json::from_str(&answer.text).unwrap();
    text + &indented(&body, 0) + "\n\n"
}

#[test]
fn each_kind_of_error_is_complete() {
    check(async |app| {
        let (code, group) = (app.partner.code_path(), app.partner.group_path());
        let get = |path: &str| app.request(Method::GET, path);
        let patch = |body: &'static str| {
            app.request(Method::PATCH, &code).header(JSON.0, JSON.1).body(body)
        };
        let scopeless = app.token(app.partner.sid, &[]);
        let taken = json!({"partner_sid": app.partner.sid, "short_code": "10001"});
        let token = app.anonymous(Method::POST, "/core/v2/oauth/token");
        let token = token.header("content-type", FORM);
        let requests = [
            get(&format!("{CODES}?limit=x")),
            get(&format!("{CODES}?filter=name+is+x")),
            patch("{\"name\":}"),
            app.anonymous(Method::GET, &code),
            app.anonymous(Method::GET, &code).bearer_auth("x"),
            app.anonymous(Method::GET, &code).bearer_auth(scopeless),
            get(&code_path("x")),
            get("/core/v2/nothing"),
            app.request(Method::TRACE, &code),
            app.request(Method::DELETE, &group),
            app.request(Method::POST, CODES).json(&taken),
            patch("{}").header("If-Match", "\"9\""),
            patch("{}").body("x".repeat(300_000)),
            app.request(Method::PATCH, &code).header("content-type", "text/plain").body("x"),
            patch(r#"{"name": "", "nmae": 1, "did_group_sid": "x"}"#),
            patch(r#"{"name": ""}"#).header("accept", "application/problem+json"),
            token.try_clone().unwrap().body("grant_type=client_credentials&client_id=x"),
            token.body("grant_type=implicit"),
        ];
        let mut table = String::new();
        for request in requests {
            table += &rendered(request).await;
        }
        insta::assert_snapshot!(table);
    });
}
