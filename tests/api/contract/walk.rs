//! A walk over the OpenAPI document: authentication, scopes and tenancy hold for every operation.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use uuid::Uuid;

use crate::support::{Answer, App, Tenant, check};

/// An operation that needs a token.
struct Operation {
    method: Method,
    template: String,
    scopes: Vec<Scope>,
}

/// The paths of the operations that need no token.
const OPEN: [&str; 4] = ["/core/v2/oauth/token", "/healthz", "/openapi.json", "/readyz"];

async fn operations(app: &App) -> Vec<Operation> {
    let document = Answer::to(app.anonymous(Method::GET, "/openapi.json")).await.expect(200);
    let mut operations = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let security = operation["security"].as_array().map_or(&[][..], Vec::as_slice);
            if !security.iter().any(|security| security.get("bearer").is_some()) {
                assert!(
                    OPEN.contains(&template.as_str()),
                    "{method} {template} is open to everybody"
                );
                continue;
            }
            let named = |scopes: &Value| {
                let scopes = scopes.as_array().unwrap();
                assert!(scopes.len() < 2, "any one of the scopes is enough");
                Some(Scope::named(scopes.first()?.as_str().unwrap()).unwrap())
            };
            let method = method.to_uppercase().parse().unwrap();
            let bearer = security.iter().filter_map(|security| security.get("bearer"));
            let scopes = bearer.filter_map(named).collect();
            operations.push(Operation { method, template: template.clone(), scopes });
        }
    }
    assert!(operations.len() >= 12);
    // Deletions come last, since the other operations need their objects.
    operations.sort_by_key(|operation| operation.method == Method::DELETE);
    operations
}

/// A valid body.
enum Body {
    Json(Value),
    Form(&'static str),
}

impl Operation {
    /// A request for an object of the tenant with a valid body.
    fn request(&self, app: &App, tenant: &Tenant) -> reqwest::RequestBuilder {
        let (sid, body) = self.target(app, tenant);
        let path = match self.template.split_once('{') {
            Some((folder, rest)) => format!("{folder}{sid}{}", rest.split_once('}').unwrap().1),
            None => self.template.clone(),
        };
        let request = app.anonymous(self.method.clone(), &path);
        match body {
            _ if [Method::GET, Method::DELETE].contains(&self.method) => request,
            Body::Json(body) => request.json(&body),
            Body::Form(body) => {
                request.header("content-type", "application/x-www-form-urlencoded").body(body)
            }
        }
    }

    fn target(&self, app: &App, tenant: &Tenant) -> (Uuid, Body) {
        match self.template.strip_prefix("/core/v2").unwrap() {
            "/phonenumber/did_groups/{did_group_sid}" => {
                (tenant.group_sid, Body::Json(json!({"callback_url": null, "name": "after"})))
            }
            "/phonenumber/short_codes/{short_code_sid}" => {
                let whole = json!({
                    "attributes": {}, "callback_url": null, "did_group_sid": tenant.group_sid,
                    "name": "after", "string_key_1": null, "string_key_2": null
                });
                (tenant.code_sid, Body::Json(whole))
            }
            "/phonenumber/did_groups/{did_group_sid}/history" => (tenant.group_sid, Body::Form("")),
            "/phonenumber/did_groups/{did_group_sid}/revert" => {
                (tenant.group_sid, Body::Json(json!({"version": 1})))
            }
            "/phonenumber/short_codes/{short_code_sid}/history" => {
                (tenant.code_sid, Body::Form(""))
            }
            "/phonenumber/short_codes/{short_code_sid}/revert" => {
                (tenant.code_sid, Body::Json(json!({"version": 1})))
            }
            "/phonenumber/did_groups" => (Uuid::nil(), Body::Json(json!({}))),
            "/phonenumber/short_codes" => {
                let code = json!({"partner_sid": tenant.sid, "short_code": "777"});
                (Uuid::nil(), Body::Json(code))
            }
            "/partners" => (Uuid::nil(), Body::Json(json!({}))),
            "/partners/{partner_sid}" => {
                let whole = json!({
                    "attributes": {}, "callbacks": {}, "company_name": null, "country_code": null,
                    "name": "after"
                });
                (tenant.sid, Body::Json(whole))
            }
            "/oauth/token/{partner_sid}" => {
                // Tokens are issued for descendants only.
                let own = tenant.sid == app.partner.sid;
                (if own { app.child.sid } else { tenant.sid }, Body::Form(""))
            }
            "/oauth/tokens/{token_sid}" => (tenant.token_sid, Body::Json(json!({}))),
            "/oauth/revoke" => {
                (Uuid::nil(), Body::Form("token=5ebc03d6-8b2b-44ad-bf65-72d4f1491dda"))
            }
            "/oauth/tokens" | "/oauth/whoami" => (Uuid::nil(), Body::Form("")),
            template => panic!("no request is known for {} {template}", self.method),
        }
    }

    /// True if the operation applies to descendants without a descendant scope.
    fn always_reaches_descendants(&self) -> bool {
        !self.scopes.iter().any(|scope| scope.as_str().starts_with("phonenumber."))
    }

    /// The `Cache-Control` of its responses.
    fn cache_control(&self) -> &'static str {
        if self.template.contains("/oauth/") { "no-store" } else { "private, no-cache" }
    }
}

#[test]
fn every_operation_is_401_without_a_token() {
    check(async |app| {
        for operation in operations(app).await {
            Answer::to(operation.request(app, &app.partner))
                .await
                .expect_error(401, "unauthorized");
        }
    });
}

#[test]
fn every_operation_is_403_without_one_of_its_scopes() {
    check(async |app| {
        for operation in operations(app).await {
            // Any valid token is sufficient.
            if operation.scopes.is_empty() {
                continue;
            }
            let others: Vec<_> =
                Scope::ALL.into_iter().filter(|scope| !operation.scopes.contains(scope)).collect();
            let token = app.token(app.partner.sid, &others);
            let request = operation.request(app, &app.partner).bearer_auth(token);
            Answer::to(request).await.expect_error(403, "forbidden");
        }
    });
}

#[test]
fn every_operation_succeeds_with_any_one_of_its_scopes() {
    check(async |app| {
        for operation in operations(app).await {
            let any = [Scope::PhonenumberRead];
            let scopes = if operation.scopes.is_empty() { &any[..] } else { &operation.scopes };
            for scope in scopes {
                let token = app.token(app.partner.sid, &[*scope]);
                let request = operation.request(app, &app.partner).bearer_auth(token);
                let answer = Answer::to(request).await;
                assert_eq!(answer.header("cache-control"), Some(operation.cache_control()));
                // A group in use, and what the scope before has created or deleted, stands in the way of nothing else.
                let answered = [200, 204, 404, 409].contains(&answer.status);
                assert!(answered, "{} {answer:?}", operation.template);
            }
        }
    });
}

#[test]
fn every_operation_is_404_for_an_invisible_object() {
    check(async |app| {
        let of_a_row = |operation: &Operation| operation.template.contains('{');
        for operation in operations(app).await.into_iter().filter(of_a_row) {
            let all = [&app.unrelated, &app.child];
            for tenant in if operation.always_reaches_descendants() { &all[..1] } else { &all } {
                let request = operation.request(app, tenant).bearer_auth(&app.token);
                Answer::to(request).await.expect_error(404, "no item error");
            }
        }
    });
}

#[test]
fn every_path_rejects_other_methods_and_supports_head() {
    check(async |app| {
        for operation in operations(app).await {
            let path =
                operation.request(app, &app.partner).build().unwrap().url().path().to_owned();
            let answer = Answer::to(app.anonymous(Method::TRACE, &path)).await;
            let allow = answer.header("allow").unwrap().to_owned();
            assert!(allow.contains(operation.method.as_str()), "{allow}");
            answer.expect_error(405, "method not allowed");
            let head = Answer::to(app.request(Method::HEAD, &format!("{path}/"))).await;
            let expected = if allow.contains("GET") { 200 } else { 405 };
            assert_eq!((head.status, head.text.as_str()), (expected, ""));
        }
        let unknown = Answer::to(app.anonymous(Method::GET, "/core/v2/nothing")).await;
        assert!(unknown.header("x-request-id").is_some());
        unknown.expect_error(404, "not found");
    });
}

#[test]
fn the_phonenumber_scope_opens_no_other_operations() {
    check(async |app| {
        let plain = app.token(app.partner.sid, &[Scope::PhonenumberManage]);
        let document = Answer::to(app.anonymous(Method::GET, "/openapi.json")).await.expect(200);
        let mut rejected = 0;
        for (template, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let scopes = operation["security"].to_string();
                let needs_more =
                    scopes.contains("bearer") && !scopes.contains("phonenumber.manage\"");
                if !needs_more || template.ends_with("/whoami") {
                    continue;
                }
                let path = match template.split_once('{') {
                    Some((folder, _)) => format!("{folder}{}", app.child.sid),
                    None => template.clone(),
                };
                let method = method.to_uppercase().parse().unwrap();
                let request = app.anonymous(method, &path).bearer_auth(&plain).json(&json!({}));
                Answer::to(request).await.expect_error(403, "forbidden");
                rejected += 1;
            }
        }
        assert!(rejected >= 10, "{rejected}");
    });
}
