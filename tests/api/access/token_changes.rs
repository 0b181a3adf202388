//! Changes to a token or to its partner take effect within seconds.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use shortline::auth::{Actor, Keys, Scope};
use shortline::oauth::OauthToken;
use shortline::partners::Status;
use shortline::settings::TokenFormat;
use shortline::store;
use uuid::Uuid;

use super::{claims, hs256, now, status};
use crate::support::{Answer, App, check, settings, wait_at_most, wait_until};

/// Issues a token with a row and returns its sid and secret.
async fn issue(app: &App, format: TokenFormat) -> (Uuid, String) {
    let settings = settings(&[]);
    let keys = Keys::from_settings(&settings).unwrap();
    let scopes = [Scope::PhonenumberManage].into_iter().collect();
    let (token, secret) =
        OauthToken::issue(&keys, format, app.partner.sid, scopes, Duration::from_secs(60)).unwrap();
    let token =
        store::create_one(&mut app.connection().await, &Actor::operator(), token).await.unwrap();
    (token.object.token_sid, secret)
}

/// Waits until a request with the token has the expected status, at most 5 seconds.
async fn wait_for_status(app: &App, token: &str, expected: u16) {
    let condition = format!("the status is {expected}");
    let holds = async || status(app, token).await == expected;
    wait_at_most(Duration::from_secs(5), &condition, holds).await;
}

async fn set_status(app: &App, sid: Uuid, status: Status) {
    app.update_partner(sid, |partner| partner.status = status).await;
}

#[test]
fn revocation_takes_effect_within_5_seconds() {
    check(async |app| {
        let formats = [TokenFormat::Jwt, TokenFormat::Opaque];
        join_all(formats.map(async |format| {
            let (token_sid, secret) = issue(app, format).await;
            assert_eq!(status(app, &secret).await, 200, "{format:?}");
            let revoke = |token: &mut OauthToken| {
                token.revoke();
                Ok(())
            };
            store::update_within(
                &mut app.connection().await,
                &Actor::operator(),
                token_sid,
                revoke,
            )
            .await
            .unwrap();
            wait_for_status(app, &secret, 401).await;
        }))
        .await;
    });
}

#[test]
fn suspension_and_activation_reach_descendants_within_5_seconds() {
    check(async |app| {
        let child = app.token(app.child.sid, &[Scope::PhonenumberManage]);
        assert_eq!((status(app, &app.token).await, status(app, &child).await), (200, 404));
        set_status(app, app.partner.sid, Status::Suspended).await;
        wait_for_status(app, &app.token, 401).await;
        wait_for_status(app, &child, 401).await;
        set_status(app, app.partner.sid, Status::Active).await;
        wait_for_status(app, &app.token, 200).await;
        wait_for_status(app, &child, 404).await;
    });
}

#[test]
fn a_token_loses_scopes_that_its_partner_or_an_ancestor_lacks() {
    check(async |app| {
        let read_only = [Scope::PhonenumberRead].into_iter().collect();
        app.update_partner(app.partner.sid, |partner| partner.available_scopes = read_only).await;
        let scopes = [Scope::PhonenumberManage, Scope::PhonenumberRead];
        for tenant in [&app.partner, &app.child] {
            let token = app.token(tenant.sid, &scopes);
            let read = app.anonymous(Method::GET, &tenant.code_path()).bearer_auth(&token);
            Answer::to(read).await.expect(200);
            let write = app
                .anonymous(Method::PATCH, &tenant.code_path())
                .bearer_auth(&token)
                .json(&json!({}));
            let answer = Answer::to(write).await;
            let scopes = "phonenumber.manage phonenumber.update";
            let challenge = format!(r#"Bearer error="insufficient_scope", scope="{scopes}""#);
            assert_eq!(answer.header("www-authenticate"), Some(&*challenge));
            assert!(
                answer.text.contains("phonenumber.manage, phonenumber.update"),
                "{}",
                answer.text
            );
            answer.expect_error(403, "forbidden");
        }
    });
}

#[test]
fn a_jwt_loses_scopes_that_are_removed_from_its_row() {
    check(async |app| {
        let (token_sid, secret) = issue(app, TokenFormat::Jwt).await;
        assert_eq!(status(app, &secret).await, 200);
        let narrow = |token: &mut OauthToken| {
            token.scopes = Default::default();
            Ok(())
        };
        store::update_within(&mut app.connection().await, &Actor::operator(), token_sid, narrow)
            .await
            .unwrap();
        wait_for_status(app, &secret, 403).await;
    });
}

#[test]
fn tokens_are_stored_only_as_hashes() {
    check(async |app| {
        for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
            let (token_sid, secret) = issue(app, format).await;
            let stored: String = sqlx::query_scalar(
                "select (select row_to_json(t)::text from oauth_tokens t where sid = $1)
                     || string_agg(entry, '')
                 from history where sid = $1",
            )
            .bind(token_sid)
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
            assert!(!stored.contains(&secret), "{stored}");
        }
    });
}

#[test]
fn a_cached_token_expires_on_time() {
    check(async |app| {
        let mut claims = claims(app);
        let expires = now() + 2;
        claims["exp"] = json!(expires);
        let token = hs256(&claims);
        assert_eq!(status(app, &token).await, 200);
        // The clock must reach `exp`, before the 3 seconds of the cache are over.
        wait_until("the token has expired", async || now() >= expires).await;
        assert_eq!(status(app, &token).await, 401);
    });
}
