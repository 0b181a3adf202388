//! A walk over the OpenAPI document: authentication, scopes and tenancy hold for every operation.

use reqwest::Method;
use shortline::auth::Scope;

use super::document::{Document, Operation, Targets};
use crate::support::{Answer, check};

/// The paths of the operations that need no token.
const OPEN: [&str; 4] = ["/core/v2/oauth/token", "/healthz", "/openapi.json", "/readyz"];

#[test]
fn every_operation_is_401_without_a_token() {
    check(async |app| {
        let document = Document::fetch(app).await;
        for operation in document.operations() {
            if !operation.needs_token() {
                assert!(OPEN.contains(&operation.template), "{operation} needs no token");
                continue;
            }
            let answer = Answer::to(operation.request(app, &Targets::of(&app.partner))).await;
            answer.expect_error(401, "unauthorized");
            operation.expect_documented(&answer);
        }
    });
}

#[test]
fn every_operation_is_403_without_one_of_its_scopes() {
    check(async |app| {
        let document = Document::fetch(app).await;
        for operation in document.secured_operations() {
            let scopes = operation.scopes();
            // Any valid token is sufficient.
            if scopes.is_empty() {
                continue;
            }
            let others: Vec<_> =
                Scope::ALL.into_iter().filter(|scope| !scopes.contains(scope)).collect();
            let token = app.token(app.partner.sid, &others);
            let request = operation.request(app, &Targets::of(&app.partner)).bearer_auth(token);
            let answer = Answer::to(request).await;
            answer.expect_error(403, "forbidden");
            operation.expect_documented(&answer);
        }
    });
}

#[test]
fn every_operation_succeeds_with_any_one_of_its_scopes() {
    check(async |app| {
        let document = Document::fetch(app).await;
        for operation in document.secured_operations() {
            let mut sufficient = operation.sufficient_scopes();
            if sufficient.is_empty() {
                sufficient.push(vec![Scope::PhonenumberRead]);
            }
            for scopes in sufficient {
                let token = app.token(app.partner.sid, &scopes);
                let request = operation.request(app, &Targets::create(app).await);
                let answer = Answer::to(request.bearer_auth(token)).await;
                assert!([200, 204].contains(&answer.status), "{operation} {scopes:?}: {answer:?}");
                assert!(operation.documents(&answer.status.to_string()), "{operation}");
                assert_eq!(answer.header("cache-control"), Some(cache_control(&operation)));
            }
        }
    });
}

fn cache_control(operation: &Operation) -> &'static str {
    if operation.template.contains("/oauth/") { "no-store" } else { "private, no-cache" }
}

#[test]
fn every_operation_is_404_for_an_invisible_object() {
    check(async |app| {
        let document = Document::fetch(app).await;
        for operation in document.secured_operations() {
            if !operation.names_an_object() {
                continue;
            }
            let mut targets = vec![Targets::unknown(), Targets::of(&app.unrelated)];
            // The other operations apply to descendants without a descendant scope.
            if operation.scopes().iter().all(|scope| scope.as_str().starts_with("phonenumber.")) {
                targets.push(Targets::of(&app.child));
            }
            for targets in targets {
                let request = operation.request(app, &targets).bearer_auth(&app.token);
                let answer = Answer::to(request).await;
                answer.expect_error(404, "no item error");
                operation.expect_documented(&answer);
            }
        }
    });
}

#[test]
fn every_path_rejects_other_methods_and_supports_head() {
    check(async |app| {
        let document = Document::fetch(app).await;
        for operation in document.secured_operations() {
            let request = operation.request(app, &Targets::of(&app.partner)).build().unwrap();
            let path = request.url().path();
            let answer = Answer::to(app.anonymous(Method::TRACE, path)).await;
            let allow = answer.header("allow").unwrap().to_owned();
            assert!(allow.contains(operation.method.as_str()), "{allow}");
            answer.expect_error(405, "method not allowed");
            operation.expect_documented(&answer);
            let query = request.url().query().map(|query| format!("?{query}")).unwrap_or_default();
            let head = format!("{path}/{query}");
            let head = Answer::to(app.request(Method::HEAD, &head)).await;
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
        let token = app.token(app.partner.sid, &[Scope::PhonenumberManage]);
        let document = Document::fetch(app).await;
        let mut rejected = 0;
        for operation in document.secured_operations() {
            let scopes = operation.scopes();
            if scopes.is_empty() || scopes.contains(&Scope::PhonenumberManage) {
                continue;
            }
            let request = operation.request(app, &Targets::of(&app.child)).bearer_auth(&token);
            Answer::to(request).await.expect_error(403, "forbidden");
            rejected += 1;
        }
        assert!(rejected >= 10, "{rejected}");
    });
}
