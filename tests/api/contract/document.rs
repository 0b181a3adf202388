//! The OpenAPI document, its operations and a valid request for each.

use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use shortline::auth::Scope;
use uuid::Uuid;

use crate::support::{AVAILABLE, Answer, App, CHILD, CODES, DIDS, GROUPS, PARTNER, Tenant};

/// The document that the service serves.
pub struct Document(pub Value);

impl Document {
    pub async fn fetch(app: &App) -> Self {
        Self(Answer::to(app.anonymous(Method::GET, "/openapi.json")).await.expect(200))
    }

    pub fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        let operations = paths.flat_map(|(template, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, described)| Operation {
                document: self,
                method: method.to_uppercase().parse().unwrap(),
                template,
                described,
            })
        });
        operations.collect()
    }

    /// The operations that need a token.
    pub fn secured_operations(&self) -> Vec<Operation<'_>> {
        let mut operations = self.operations();
        operations.retain(Operation::needs_token);
        assert!(operations.len() >= 12);
        operations
    }

    /// The target of a reference; any other value itself.
    pub fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.0.pointer(reference.trim_start_matches('#')).unwrap(),
            None => value,
        }
    }
}

/// An operation of the document.
pub struct Operation<'a> {
    document: &'a Document,
    pub method: Method,
    pub template: &'a str,
    pub described: &'a Value,
}

impl std::fmt::Display for Operation<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.method, self.template)
    }
}

impl Operation<'_> {
    /// The alternatives of the bearer scheme: the scopes of each.
    fn alternatives(&self) -> impl Iterator<Item = &Value> {
        let security = self.described["security"].as_array().into_iter().flatten();
        security.filter_map(|scheme| scheme.get("bearer"))
    }

    pub fn needs_token(&self) -> bool {
        self.alternatives().next().is_some()
    }

    /// The sets of scopes any one of which is sufficient; none if any valid token is. The first
    /// scope of a set is that of the operation, further ones those of the objects that it returns.
    pub fn sufficient_scopes(&self) -> Vec<Vec<Scope>> {
        let named = |scope: &Value| Scope::named(scope.as_str().unwrap()).unwrap();
        let sets = self.alternatives().map(|scopes| scopes.as_array().unwrap());
        sets.filter(|set| !set.is_empty()).map(|set| set.iter().map(named).collect()).collect()
    }

    /// The scopes of the operation itself, one of which is necessary; none if any valid token is
    /// sufficient.
    pub fn scopes(&self) -> Vec<Scope> {
        self.sufficient_scopes().into_iter().map(|set| set[0]).collect()
    }

    /// True if the path contains a sid.
    pub fn names_an_object(&self) -> bool {
        self.template.contains('{')
    }

    pub fn documents(&self, status: &str) -> bool {
        self.described["responses"].get(status).is_some()
    }

    pub fn has_body(&self, content_type: &str) -> bool {
        self.described["requestBody"]["content"].get(content_type).is_some()
    }

    pub fn takes(&self, argument: &str) -> bool {
        let parameters = self.described["parameters"].as_array().into_iter().flatten();
        parameters.into_iter().any(|parameter| parameter["name"] == argument)
    }

    /// Checks that an error is documented, with the message, shape and headers of the example.
    #[track_caller]
    pub fn expect_documented(&self, answer: &Answer) {
        let status = answer.status.to_string();
        assert!(self.documents(&status), "{self} does not document {status}: {}", answer.text);
        let response = self.document.resolved(&self.described["responses"][&status]);
        let example = &response["content"]["application/json"]["example"];
        let body: Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!(body["message"], example["message"], "{self}");
        // Only some errors of the token endpoints have a code of RFC 6749.
        let members = |body: &Value| {
            let mut body = body.as_object().unwrap().clone();
            body.remove("error");
            body.keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(members(&body), members(example), "{self}");
        for error in body["errors"].as_array().unwrap() {
            assert_eq!(members(error), members(&example["errors"][0]), "{self}");
        }
        for header in response["headers"].as_object().unwrap().keys() {
            // Their descriptions say when an error has them.
            let has_coding = body["errors"][0]["field"] == "Content-Encoding";
            let is_sent = match header.as_str() {
                "Accept-Encoding" => has_coding,
                "Accept-Patch" => self.method == Method::PATCH && !has_coding,
                _ => true,
            };
            assert_eq!(answer.header(header).is_some(), is_sent, "{self} {status}: {header}");
        }
    }

    /// A valid request without a token.
    pub fn request(&self, app: &App, targets: &Targets) -> RequestBuilder {
        let (sid, body) = self.arguments(targets);
        let path = match self.template.split_once('{') {
            Some((folder, rest)) => format!("{folder}{sid}{}", rest.split_once('}').unwrap().1),
            None => self.template.to_owned(),
        };
        let query = match self.template {
            "/core/v2/phonenumber/coverage" => "?group_by=state",
            "/core/v2/phonenumber/resolve" => "?number=10001",
            _ => "",
        };
        let request = app.anonymous(self.method.clone(), &format!("{path}{query}"));
        match body {
            _ if [Method::GET, Method::DELETE].contains(&self.method) => request,
            Body::Json(body) => request.json(&body),
            Body::Form(body) => {
                request.header("content-type", "application/x-www-form-urlencoded").body(body)
            }
        }
    }

    /// The sid in the path and a valid body.
    fn arguments(&self, targets: &Targets) -> (Uuid, Body) {
        let owner = targets.partner;
        let path = self.template.strip_prefix("/core/v2").unwrap_or(self.template);
        match path {
            "/phonenumber/did_groups/{did_group_sid}" => {
                (targets.group, Body::Json(json!({"callback_url": null, "name": "after"})))
            }
            "/phonenumber/short_codes/{short_code_sid}" => {
                let whole = json!({
                    "attributes": {}, "callback_url": null, "did_group_sid": null, "name": "after",
                    "string_key_1": null, "string_key_2": null
                });
                (targets.code, Body::Json(whole))
            }
            "/phonenumber/dids/{did_sid}" => {
                let whole = json!({
                    "attributes": {}, "callback_url": null, "did_group_sid": null, "name": "after",
                    "string_key_1": null, "string_key_2": null, "transformations": [],
                    "trunk_group_sid": null
                });
                (targets.did, Body::Json(whole))
            }
            "/phonenumber/dids/{did_sid}/history" => (targets.did, Body::Form("")),
            "/phonenumber/dids/{did_sid}/revert" => {
                (targets.did, Body::Json(json!({"version": 1})))
            }
            "/phonenumber/dids" => {
                (Uuid::nil(), Body::Json(json!({"phonenumber": targets.available})))
            }
            "/phonenumber/available_dids" => {
                (Uuid::nil(), Body::Json(json!({"phonenumber": free_phone_number()})))
            }
            "/phonenumber/available_dids/{did_sid}" | "/phonenumber/dids/inventory/{did_sid}" => {
                (targets.stock, Body::Form(""))
            }
            "/phonenumber/coverage" | "/phonenumber/dids/inventory" | "/phonenumber/resolve" => {
                (Uuid::nil(), Body::Form(""))
            }
            "/phonenumber/did_groups/{did_group_sid}/history" => (targets.group, Body::Form("")),
            "/phonenumber/did_groups/{did_group_sid}/revert" => {
                (targets.group, Body::Json(json!({"version": 1})))
            }
            "/phonenumber/short_codes/{short_code_sid}/history" => (targets.code, Body::Form("")),
            "/phonenumber/short_codes/{short_code_sid}/revert" => {
                (targets.code, Body::Json(json!({"version": 1})))
            }
            "/phonenumber/did_groups" | "/partners" => (Uuid::nil(), Body::Json(json!({}))),
            "/phonenumber/short_codes" => {
                let code = json!({"partner_sid": owner, "short_code": targets.free_number});
                (Uuid::nil(), Body::Json(code))
            }
            "/partners/{partner_sid}" => {
                let whole = json!({
                    "attributes": {}, "callbacks": {}, "company_name": null, "country_code": null,
                    "name": "after"
                });
                (targets.partner, Body::Json(whole))
            }
            "/oauth/token/{partner_sid}" => (targets.descendant, Body::Form("")),
            "/oauth/tokens/{token_sid}" => (targets.token, Body::Json(json!({}))),
            "/oauth/revoke" => {
                (Uuid::nil(), Body::Form("token=5ebc03d6-8b2b-44ad-bf65-72d4f1491dda"))
            }
            "/oauth/tokens" | "/oauth/whoami" | "/events" => (Uuid::nil(), Body::Form("")),
            _ => panic!("no request is known for {self}"),
        }
    }
}

/// A valid body.
enum Body {
    Json(Value),
    Form(&'static str),
}

/// The objects that requests name.
pub struct Targets {
    pub partner: Uuid,
    /// A partner that a token can be issued for.
    pub descendant: Uuid,
    pub token: Uuid,
    pub group: Uuid,
    pub code: Uuid,
    pub did: Uuid,
    /// A number in a stock, and the same to rent.
    pub stock: Uuid,
    pub available: String,
    /// The number of a short code to create.
    pub free_number: String,
}

impl Targets {
    /// The objects of a tenant.
    pub fn of(tenant: &Tenant) -> Self {
        Self {
            partner: tenant.sid,
            descendant: if tenant.sid == PARTNER.sid { CHILD.sid } else { tenant.sid },
            token: tenant.token_sid,
            group: tenant.group_sid,
            code: tenant.code_sid,
            did: tenant.did_sid,
            stock: tenant.stock_sid,
            available: tenant.available.to_owned(),
            free_number: free_number(),
        }
    }

    /// Sids of no object.
    pub fn unknown() -> Self {
        let [descendant, token, group, code, did, stock] = [(); 6].map(|()| Uuid::now_v7());
        let (partner, available, free_number) = (descendant, free_phone_number(), free_number());
        Self { partner, descendant, token, group, code, did, stock, available, free_number }
    }

    /// New objects that no other object refers to.
    pub async fn create(app: &App) -> Self {
        let sid = |created: Value, member: &str| created[member].as_str().unwrap().parse().unwrap();
        let group = app.post(GROUPS, &json!({})).await.expect(200);
        let code = json!({"partner_sid": app.partner.sid, "short_code": free_number()});
        let code = app.post(CODES, &code).await.expect(200);
        let number = || json!({"phonenumber": free_phone_number()});
        let rented = app.post(AVAILABLE, &number()).await.expect(200);
        let rented = json!({"phonenumber": rented["phonenumber"]});
        let rented = app.post(DIDS, &rented).await.expect(200);
        let stock = app.post(AVAILABLE, &number()).await.expect(200);
        let child = sid(app.post("/core/v2/partners", &json!({})).await.expect(200), "partner_sid");
        let token = app.request(Method::POST, &format!("/core/v2/oauth/token/{child}"));
        let token = Answer::to(token).await.expect(200);
        Self {
            partner: child,
            descendant: child,
            token: sid(token, "token_sid"),
            group: sid(group, "did_group_sid"),
            code: sid(code, "short_code_sid"),
            did: sid(rented, "did_sid"),
            available: stock["phonenumber"].as_str().unwrap().to_owned(),
            stock: sid(stock, "did_sid"),
            free_number: free_number(),
        }
    }
}

fn free_phone_number() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(5_550_000);
    format!("1914{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn free_number() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(30_000);
    NUMBER.fetch_add(1, Ordering::Relaxed).to_string()
}
