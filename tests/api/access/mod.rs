//! Access: bearer tokens, scopes, tenancy, partners, the rate limit.

mod dids;
mod jwts;
mod members;
mod partners;
mod rate_limit;
mod tenancy;
mod token_changes;
mod tokens;

use jsonwebtoken::{EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::support::{Answer, App, SECRET};

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

fn claims(app: &App) -> Value {
    json!({"sub": app.partner.sid, "scope": "phonenumber.manage", "iat": now(), "exp": now() + 60})
}

fn hs256(claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

async fn status(app: &App, token: &str) -> u16 {
    let request = app.anonymous(Method::GET, &app.partner.code_path()).bearer_auth(token);
    Answer::to(request).await.status
}

fn key_file(name: &str) -> String {
    format!("{}/tests/api/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}
