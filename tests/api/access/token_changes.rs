//! How soon a change to a token or to its partner takes effect.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use shortline::auth::{Actor, Scope};
use shortline::oauth::{OauthToken, TokenFormat};
use shortline::partners::{Partner, Status};
use shortline::store;
use uuid::Uuid;

use super::{claims, hs256, now, status};
use crate::support::{Answer, App, check};

/// A token of ours with a row, opaque or not.
async fn issue(app: &App, format: TokenFormat) -> (Uuid, String) {
    let settings = crate::support::settings(&[]);
    let keys = shortline::auth::Keys::from_settings(&settings).unwrap();
    let scopes = [Scope::PhonenumberManage].into_iter().collect();
    let (token, secret) =
        OauthToken::issue(&keys, format, app.partner.sid, scopes, Duration::from_secs(60)).unwrap();
    let token =
        store::create_one(&mut app.connection().await, &Actor::operator(), token).await.unwrap();
    (token.object.token_sid, secret)
}

/// Waits until the token's status has become the one expected: 5 seconds at most.
async fn becomes(app: &App, token: &str, expected: u16) {
    let started = Instant::now();
    while status(app, token).await != expected {
        assert!(started.elapsed() < Duration::from_secs(5), "not {expected} within 5 seconds");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn set_status(app: &App, sid: Uuid, status: Status) {
    let set = |partner: &mut Partner| {
        partner.status = status;
        Ok(())
    };
    store::change(&mut app.connection().await, &Actor::operator(), sid, set).await.unwrap();
}

#[test]
fn revocation_holds_within_5_seconds() {
    check(async |app| {
        for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
            let (token_sid, secret) = issue(app, format).await;
            assert_eq!(status(app, &secret).await, 200, "{format:?}");
            let revoke = |token: &mut OauthToken| {
                token.revoke();
                Ok(())
            };
            store::change(&mut app.connection().await, &Actor::operator(), token_sid, revoke)
                .await
                .unwrap();
            becomes(app, &secret, 401).await;
        }
    });
}

#[test]
fn suspension_and_activation_hold_within_5_seconds_down_the_tree() {
    check(async |app| {
        let child = app.token(app.child.sid, &[Scope::PhonenumberManage]);
        assert_eq!((status(app, &app.token).await, status(app, &child).await), (200, 404));
        set_status(app, app.partner.sid, Status::Suspended).await;
        becomes(app, &app.token, 401).await;
        becomes(app, &child, 401).await;
        set_status(app, app.partner.sid, Status::Active).await;
        becomes(app, &app.token, 200).await;
        becomes(app, &child, 404).await;
    });
}

#[test]
fn a_token_has_no_scope_that_its_partner_or_an_ancestor_lacks() {
    check(async |app| {
        let narrow = |partner: &mut Partner| {
            partner.available_scopes = [Scope::PhonenumberRead].into_iter().collect();
            Ok(())
        };
        store::change(&mut app.connection().await, &Actor::operator(), app.partner.sid, narrow)
            .await
            .unwrap();
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
            let challenge = r#"Bearer error="insufficient_scope", scope="phonenumber.manage phonenumber.update""#;
            assert_eq!(answer.header("www-authenticate"), Some(challenge));
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
fn a_narrowed_jwt_loses_the_scope() {
    check(async |app| {
        let (token_sid, secret) = issue(app, TokenFormat::Jwt).await;
        assert_eq!(status(app, &secret).await, 200);
        let narrow = |token: &mut OauthToken| {
            token.scopes = Default::default();
            Ok(())
        };
        store::change(&mut app.connection().await, &Actor::operator(), token_sid, narrow)
            .await
            .unwrap();
        becomes(app, &secret, 403).await;
    });
}

#[test]
fn secrets_are_kept_only_as_hashes() {
    check(async |app| {
        for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
            let (token_sid, secret) = issue(app, format).await;
            let kept: String = sqlx::query_scalar(
                "select (select row_to_json(t)::text from oauth_tokens t where sid = $1) || string_agg(entry, '')
                 from history where sid = $1",
            )
            .bind(token_sid)
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
            assert!(!kept.contains(&secret), "{kept}");
        }
    });
}

#[test]
fn a_token_ends_in_its_last_second_even_where_it_is_remembered() {
    check(async |app| {
        let mut claims = claims(app);
        claims["exp"] = json!(now() + 2);
        let token = hs256(&claims);
        assert_eq!(status(app, &token).await, 200);
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        assert_eq!(status(app, &token).await, 401);
    });
}
