//! A walk over the OpenAPI document: no operation escapes the rules of authentication, scopes and tenancy.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use shortline::store::Resource;

use crate::helpers::{Answer, App, Tenant, check};

/// An operation of the document that needs a token.
struct Operation {
    method: Method,
    template: String,
    scopes: Vec<Scope>,
}

/// The operations that are open to everybody, by their paths.
const OPEN: [&str; 3] = ["/healthz", "/openapi.json", "/readyz"];

async fn operations(app: &App) -> Vec<Operation> {
    let document = Answer::to(app.anonymous(Method::GET, "/openapi.json")).await.expect(200);
    let mut operations = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(security) = operation["security"].as_array() else {
                assert!(
                    OPEN.contains(&template.as_str()),
                    "{method} {template} is open to everybody"
                );
                continue;
            };
            let named = |security: &Value| {
                let scopes = security["bearer"].as_array().unwrap();
                assert_eq!(scopes.len(), 1, "any one of the scopes is enough");
                Scope::named(scopes[0].as_str().unwrap()).unwrap()
            };
            let method = method.to_uppercase().parse().unwrap();
            let scopes = security.iter().map(named).collect();
            operations.push(Operation { method, template: template.clone(), scopes });
        }
    }
    assert!(operations.len() >= 12);
    operations
}

impl Operation {
    /// The name of the sid in the path, where it speaks of one object.
    fn parameter(&self) -> Option<&str> {
        let (_, rest) = self.template.split_once('{')?;
        rest.split_once('}').map(|(name, _)| name)
    }

    /// A request for the tenant's row, with a body that would be good.
    fn request(&self, app: &App, tenant: &Tenant) -> reqwest::RequestBuilder {
        let (sid, body) = match (self.parameter(), self.template.as_str()) {
            (Some("did_group_sid"), _) => {
                (tenant.group.did_group_sid, tenant.group.members().unwrap().into())
            }
            (Some("short_code_sid"), _) => {
                (tenant.code.short_code_sid, tenant.code.members().unwrap().into())
            }
            (None, "/core/v2/phonenumber/did_groups") => (tenant.sid, json!({})),
            (None, "/core/v2/phonenumber/short_codes") => {
                (tenant.sid, json!({"partner_sid": tenant.sid, "short_code": "777"}))
            }
            _ => panic!("nobody says how to call {} {}", self.method, self.template),
        };
        let parameter = format!("{{{}}}", self.parameter().unwrap_or_default());
        let request = app
            .anonymous(self.method.clone(), &self.template.replace(&parameter, &sid.to_string()));
        if [Method::GET, Method::DELETE].contains(&self.method) {
            request
        } else {
            request.json(&body)
        }
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
fn every_operation_is_403_with_every_scope_but_the_named_ones() {
    check(async |app| {
        for operation in operations(app).await {
            let others: Vec<_> =
                Scope::ALL.into_iter().filter(|scope| !operation.scopes.contains(scope)).collect();
            let token = app.token(app.partner.sid, &others);
            let request = operation.request(app, &app.partner).bearer_auth(token);
            Answer::to(request).await.expect_error(403, "forbidden");
        }
    });
}

#[test]
fn every_operation_works_with_any_one_of_its_scopes() {
    check(async |app| {
        for operation in operations(app).await {
            for scope in &operation.scopes {
                let token = app.token(app.partner.sid, &[*scope]);
                let answer =
                    Answer::to(operation.request(app, &app.partner).bearer_auth(token)).await;
                assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
                // A group in use, and what the scope before has created or deleted, stands in the way of nothing else.
                assert!(
                    [200, 204, 404, 409].contains(&answer.status),
                    "{} {answer:?}",
                    operation.template
                );
            }
        }
    });
}

#[test]
fn every_operation_is_404_for_a_strangers_row() {
    check(async |app| {
        for operation in
            operations(app).await.into_iter().filter(|operation| operation.parameter().is_some())
        {
            // Operators, and partners managing their own, always reach descendants.
            let near =
                operation.scopes.iter().all(|scope| scope.as_str().starts_with("phonenumber."));
            for tenant in [Some(&app.stranger), near.then_some(&app.child)].into_iter().flatten() {
                let request = operation.request(app, tenant).bearer_auth(&app.token);
                Answer::to(request).await.expect_error(404, "no item error");
            }
        }
    });
}

#[test]
fn every_path_refuses_other_methods_and_answers_head_as_get() {
    check(async |app| {
        for operation in operations(app).await {
            let path =
                operation.request(app, &app.partner).build().unwrap().url().path().to_owned();
            let answer = Answer::to(app.anonymous(Method::TRACE, &path)).await;
            let allow = answer.header("allow").unwrap().to_owned();
            assert!(allow.contains(operation.method.as_str()), "{allow}");
            answer.expect_error(405, "method not allowed");
            let head = Answer::to(app.request(Method::HEAD, &format!("{path}/"))).await;
            assert_eq!((head.status, head.text.as_str()), (200, ""));
        }
        let unknown = Answer::to(app.anonymous(Method::GET, "/core/v2/nothing")).await;
        assert!(unknown.header("x-request-id").is_some());
        unknown.expect_error(404, "not found");
    });
}
