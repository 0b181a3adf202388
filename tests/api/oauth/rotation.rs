//! New secrets and passwords, and the end of what was issued for the old ones.

use std::time::Duration;

use futures_util::future::{join, join_all};
use reqwest::Method;
use serde_json::Value;
use shortline::auth::{Actor, Scope};
use shortline::oauth::{
    OauthToken, Password, disable_login, revoke_client, rotate_client, set_password,
};
use shortline::store;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    BY_PASSWORD, CLIENT_CREDENTIALS, access_token, client, error, expect_revoked, grant, login,
    oauth_error, refresh, whoami,
};
use crate::support::{Answer, App, check};

type Client = (String, String);

async fn rotate(app: &App, client: &Client, keep_old: u64) -> Client {
    let (sid, keep_old) = (client.0.parse().unwrap(), Duration::from_secs(keep_old));
    let rotated = rotate_client(&mut app.connection().await, sid, keep_old).await.unwrap();
    (client.0.clone(), rotated.client_secret.unwrap())
}

async fn login_sid(app: &App) -> Uuid {
    let sid = sqlx::query_scalar("select sid from partner_logins");
    sid.fetch_one(&mut app.connection().await).await.unwrap()
}

/// Changes a token as the operator, with a history entry.
async fn update_token(app: &App, token: &Value, change: impl FnOnce(&mut OauthToken)) {
    let change = |token: &mut OauthToken| {
        change(token);
        Ok(())
    };
    let sid = token["token_sid"].as_str().unwrap().parse().unwrap();
    let (mut connection, operator) = (app.connection().await, Actor::operator());
    store::update_within(&mut connection, &operator, sid, change).await.unwrap();
}

#[test]
fn a_new_password_ends_the_tokens_that_were_issued_with_the_old_one() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let first = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let refreshed = refresh(app, &client, &first).await.expect(200);
        let other = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let of_client = grant(app, &client, &[CLIENT_CREDENTIALS]).await.expect(200);
        let password = Password::new("another password").unwrap();
        let sid = login_sid(app).await;
        set_password(&mut app.connection().await, sid, &password).await.unwrap();

        expect_revoked(app, &[&first, &refreshed, &other]).await;
        for token in [&refreshed, &other] {
            let answer = refresh(app, &client, token).await;
            assert_eq!(oauth_error(answer), error(400, "invalid_grant", "refresh_token"));
        }
        let old = grant(app, &client, &BY_PASSWORD).await;
        assert_eq!(oauth_error(old), error(401, "invalid_grant", ""));
        let by_new = [BY_PASSWORD[0], BY_PASSWORD[1], ("password", "another password")];
        let new = grant(app, &client, &by_new).await.expect(200);
        // The tokens of the client itself are unaffected.
        whoami(app, access_token(&of_client)).await.expect(200);

        disable_login(&mut app.connection().await, sid).await.unwrap();
        expect_revoked(app, &[&new]).await;
        assert_eq!(
            oauth_error(grant(app, &client, &by_new).await),
            error(401, "invalid_grant", "")
        );
        set_password(&mut app.connection().await, sid, &password).await.unwrap();
        grant(app, &client, &by_new).await.expect(200);
        assert_eq!(app.version(sid).await, 4);
    });
}

#[test]
fn a_rotation_ends_the_tokens_that_were_issued_through_the_old_secret() {
    check(async |app| {
        let old = client(app, &app.partner, &Scope::DEFAULT).await;
        let other = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.child, "ann").await;
        let own = grant(app, &old, &[CLIENT_CREDENTIALS]).await.expect(200);
        let of_login = grant(app, &old, &BY_PASSWORD).await.expect(200);
        let of_other = grant(app, &other, &[CLIENT_CREDENTIALS]).await.expect(200);
        let new = rotate(app, &old, 0).await;

        expect_revoked(app, &[&own, &of_login]).await;
        whoami(app, access_token(&of_other)).await.expect(200);
        let rejected = grant(app, &old, &[CLIENT_CREDENTIALS]).await;
        assert_eq!(oauth_error(rejected), error(401, "invalid_client", ""));
        let rejected = refresh(app, &new, &of_login).await;
        assert_eq!(oauth_error(rejected), error(400, "invalid_grant", "refresh_token"));
        let token = grant(app, &new, &[CLIENT_CREDENTIALS]).await.expect(200);

        let sid = new.0.parse().unwrap();
        revoke_client(&mut app.connection().await, sid).await.unwrap();
        expect_revoked(app, &[&token]).await;
        for client in [&old, &new] {
            let rejected = grant(app, client, &[CLIENT_CREDENTIALS]).await;
            assert_eq!(oauth_error(rejected), error(401, "invalid_client", ""));
        }
        let again = rotate_client(&mut app.connection().await, sid, Duration::ZERO).await;
        assert!(again.is_err());
        assert_eq!(app.version(sid).await, 3);
    });
}

#[test]
fn an_old_secret_that_is_kept_ends_with_its_tokens() {
    check(async |app| {
        let old = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let before = grant(app, &old, &[CLIENT_CREDENTIALS]).await.expect(200);
        let moved = grant(app, &old, &BY_PASSWORD).await.expect(200);
        let new = rotate(app, &old, 4).await;
        let end = OffsetDateTime::now_utc() + Duration::from_secs(4);

        whoami(app, access_token(&before)).await.expect(200);
        let after = grant(app, &old, &[CLIENT_CREDENTIALS]).await.expect(200);
        assert!(after["expires_in"].as_i64().is_none_or(|seconds| seconds <= 4), "{after}");
        // A token that is refreshed with the new secret outlives the old one.
        let moved = refresh(app, &new, &moved).await.expect(200);
        let by_new = grant(app, &new, &[CLIENT_CREDENTIALS]).await.expect(200);
        // The time that the old secret is kept must pass.
        tokio::time::sleep((end - OffsetDateTime::now_utc()).try_into().unwrap_or_default()).await;
        expect_revoked(app, &[&before, &after]).await;
        let rejected = grant(app, &old, &[CLIENT_CREDENTIALS]).await;
        assert_eq!(oauth_error(rejected), error(401, "invalid_client", ""));
        for token in [&moved, &by_new] {
            whoami(app, access_token(token)).await.expect(200);
        }
        refresh(app, &new, &moved).await.expect(200);
    });
}

#[test]
fn no_token_of_an_old_secret_outlives_a_rotation_at_the_same_time() {
    check(async |app| {
        let old = client(app, &app.partner, &Scope::DEFAULT).await;
        // The secret is verified once, so that the others are fast.
        grant(app, &old, &[CLIENT_CREDENTIALS]).await.expect(200);
        let requests = join_all((0..20).map(|_| grant(app, &old, &[CLIENT_CREDENTIALS])));
        let (answers, _) = join(requests, rotate(app, &old, 0)).await;
        assert!(answers.iter().all(|answer| [200, 401, 429, 503].contains(&answer.status)));
        let alive = "select count(*) from oauth_tokens
                     where client_id = $1 and date_expiration_access_token > date_created";
        let alive: i64 = sqlx::query_scalar(alive)
            .bind(&old.0)
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
        assert_eq!(alive, 0);
    });
}

#[test]
fn a_family_of_an_instance_whose_clock_is_ahead_is_revoked_at_once() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let first = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let second = refresh(app, &client, &first).await.expect(200);
        let third = refresh(app, &client, &second).await.expect(200);
        update_token(app, &third, |token| token.date_created += Duration::from_secs(600)).await;
        let reused = tokio::time::timeout(Duration::from_secs(2), refresh(app, &client, &first));
        let reused = reused.await.expect("the revocation takes too long");
        assert_eq!(oauth_error(reused), error(400, "invalid_grant", "refresh_token"));
        // Although their new expiry, the date of issue, is in the future.
        expect_revoked(app, &[&first, &second, &third]).await;
        assert_eq!(refresh(app, &client, &third).await.status, 400);
    });
}

#[test]
fn an_expired_refresh_token_is_rejected_and_revokes_nothing() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let first = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let second = refresh(app, &client, &first).await.expect(200);
        let past = OffsetDateTime::now_utc() - Duration::from_secs(1);
        let past = past.replace_nanosecond(0).unwrap();
        update_token(app, &second, |token| {
            token.date_created -= Duration::from_secs(60);
            token.date_expiration_refresh_token = Some(past);
        })
        .await;
        for _ in 0..2 {
            let expired = refresh(app, &client, &second).await;
            assert_eq!(oauth_error(expired), error(400, "invalid_grant", "refresh_token"));
        }
        for token in [&first, &second] {
            whoami(app, access_token(token)).await.expect(200);
        }
    });
}

#[test]
fn a_token_has_no_entity_tag() {
    check(async |app| {
        let path = format!("/core/v2/oauth/tokens/{}", app.partner.token_sid);
        let request = app.request(Method::GET, &path).header("if-none-match", "*, \"1\"");
        // `*` must stand alone.
        Answer::to(request).await.expect(400);
        for tag in ["*", "\"1\""] {
            let request = app.request(Method::GET, &path).header("if-none-match", tag);
            let answer = Answer::to(request).await;
            assert_eq!(answer.header("etag"), None);
            answer.expect(200);
        }
        let changed = app.patch(&path, &serde_json::json!({"name": "phone"})).await;
        assert_eq!(changed.header("etag"), None);
        changed.expect(200);
    });
}
