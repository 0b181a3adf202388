//! OAuth: grants, refresh tokens, revocation and the storage of secrets.

mod console;
mod coverage;
mod ended;
mod grants;
mod guessing;
mod limits;
mod refresh_tokens;
mod revocation;
mod rotation;
mod secrets;
mod tokens;

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use shortline::auth::{Actor, Scope};
use shortline::input::FromMember;
use shortline::input::types::Name;
use shortline::oauth::{OauthClient, PartnerLogin, Password};
use shortline::store;

use crate::support::{Answer, App, Tenant, plain_client, wait_at_most};

const TOKEN: &str = "/core/v2/oauth/token";

const REVOKE: &str = "/core/v2/oauth/revoke";

const PASSWORD: &str = "correct horse & battery=staple";

/// Creates an OAuth client of the tenant and returns its id and secret.
async fn client(app: &App, tenant: &Tenant, scopes: &[Scope]) -> (String, String) {
    let scopes = scopes.iter().copied().collect();
    let (client, secret) = OauthClient::new(tenant.sid, scopes).unwrap();
    let client =
        store::create_one(&mut app.connection().await, &Actor::operator(), client).await.unwrap();
    (client.object.client_id.to_string(), secret)
}

async fn login(app: &App, tenant: &Tenant, name: &str) {
    let name = Name::from_member(name.into()).unwrap();
    let login = PartnerLogin::new(tenant.sid, name, &Password::new(PASSWORD).unwrap()).unwrap();
    store::create_one(&mut app.connection().await, &Actor::operator(), login).await.unwrap();
}

fn form(request: RequestBuilder, fields: &[(&str, &str)]) -> RequestBuilder {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    request.header("content-type", "application/x-www-form-urlencoded").body(body)
}

/// A token request without a header, answered with `no-store`.
async fn ask(app: &App, fields: &[(&str, &str)]) -> Answer {
    let answer = Answer::to(form(app.anonymous(Method::POST, TOKEN), fields)).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    answer
}

/// Sends a token request with the client's credentials; no response may be cached.
async fn grant(app: &App, (id, secret): &(String, String), fields: &[(&str, &str)]) -> Answer {
    let own = [("client_id", id.as_str()), ("client_secret", secret)];
    ask(app, &[&own[..], fields].concat()).await
}

const CLIENT_CREDENTIALS: (&str, &str) = ("grant_type", "client_credentials");

const BY_PASSWORD: [(&str, &str); 3] =
    [("grant_type", "password"), ("username", "ann"), ("password", PASSWORD)];

async fn refresh(app: &App, client: &(String, String), token: &Value) -> Answer {
    let secret = token["refresh_token"].as_str().unwrap();
    grant(app, client, &[("grant_type", "refresh_token"), ("refresh_token", secret)]).await
}

fn access_token(token: &Value) -> &str {
    token["access_token"].as_str().unwrap()
}

/// The status of an error, its code from RFC 6749 and the field it names.
#[track_caller]
fn oauth_error(answer: Answer) -> (u16, String, Value) {
    let status = answer.status;
    let body = answer.expect(status);
    assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
    let message = if status == 401 { "bad credentials" } else { "bad request" };
    assert_eq!(body["message"], message, "{body}");
    (status, body["error"].as_str().unwrap().to_owned(), body["errors"][0]["field"].clone())
}

fn error(status: u16, error: &str, field: &str) -> (u16, String, Value) {
    let field = if field.is_empty() { Value::Null } else { json!(field) };
    (status, error.to_owned(), field)
}

async fn whoami(app: &App, token: &str) -> Answer {
    Answer::to(app.anonymous(Method::GET, "/core/v2/oauth/whoami").bearer_auth(token)).await
}

/// Waits until the token is rejected, at most 5 seconds.
async fn wait_until_rejected(app: &App, token: &str) {
    let is_rejected = async || whoami(app, token).await.status == 401;
    wait_at_most(Duration::from_secs(5), "the token is rejected", is_rejected).await;
}

/// Checks that the tokens are revoked: a new instance, which has none of them in its cache, rejects
/// them at once.
async fn expect_revoked(app: &App, tokens: &[&Value]) {
    let (base, server) = app.second_instance().await;
    for token in tokens {
        let request = plain_client().get(format!("{base}/core/v2/oauth/whoami"));
        let answer = Answer::to(request.bearer_auth(access_token(token))).await;
        answer.expect_error(401, "unauthorized");
    }
    server.stop(false).await;
}

async fn revoke(app: &App, bearer: &str, fields: &[(&str, &str)]) -> Answer {
    Answer::to(form(app.anonymous(Method::POST, REVOKE).bearer_auth(bearer), fields)).await
}
