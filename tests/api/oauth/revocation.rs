//! Revocation: who may revoke which token, and what it ends.

use jsonwebtoken::{EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::{Actor, Scope};
use shortline::oauth::OauthToken;
use shortline::store;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    BY_PASSWORD, CLIENT_CREDENTIALS, REVOKE, access_token, client, error, expect_revoked, form,
    grant, login, oauth_error, refresh, revoke, wait_until_rejected, whoami,
};
use crate::support::{Answer, SECRET, check, plain_client, wait_until};

#[test]
fn a_token_is_revoked_only_by_callers_that_can_see_it() {
    check(async |app| {
        let client = client(app, &app.child, &Scope::DEFAULT).await;
        let fresh = async || grant(app, &client, &[CLIENT_CREDENTIALS]).await.expect(200);
        let child = fresh().await;
        let hint = [("token", access_token(&child)), ("token_type_hint", "access_token")];
        // A request of an unrelated partner has no effect and discloses nothing.
        let unrelated = app.token(app.unrelated.sid, &[Scope::OauthManage]);
        let answer = revoke(app, &unrelated, &hint).await;
        assert_eq!((answer.status, &*answer.text), (204, ""));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        whoami(app, access_token(&child)).await.expect(200);
        let answer = revoke(app, &app.token, &hint).await;
        assert_eq!((answer.status, &*answer.text), (204, ""));
        expect_revoked(app, &[&child]).await;
        // Revoking a token twice or an unknown token succeeds.
        for token in [access_token(&child), "x", "a.b.c", &Uuid::new_v4().to_string()] {
            assert_eq!(revoke(app, &app.token, &[("token", token)]).await.status, 204);
        }
        // An empty request revokes the token that it carries.
        let own = fresh().await;
        let request = app.anonymous(Method::POST, REVOKE).bearer_auth(access_token(&own));
        assert_eq!(Answer::to(request).await.status, 204);
        expect_revoked(app, &[&own]).await;
        let poor = app.token(app.child.sid, &[Scope::OauthCreate]);
        revoke(app, &poor, &[]).await.expect_error(403, "forbidden");
    });
}

#[test]
fn revoking_a_refresh_token_revokes_its_family() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let first = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let second = refresh(app, &client, &first).await.expect(200);
        let other = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let fields = [("token", second["refresh_token"].as_str().unwrap())];
        assert_eq!(revoke(app, &app.token, &fields).await.status, 204);
        expect_revoked(app, &[&first, &second]).await;
        whoami(app, access_token(&other)).await.expect(200);
        let answer = refresh(app, &client, &second).await;
        assert_eq!(oauth_error(answer), error(400, "invalid_grant", "refresh_token"));
    });
}

#[test]
fn a_client_revokes_its_own_tokens_without_a_scope() {
    check(async |app| {
        let own = client(app, &app.partner, &[Scope::PhonenumberRead]).await;
        let other = client(app, &app.partner, &[Scope::PhonenumberRead]).await;
        let manager = client(app, &app.partner, &[Scope::OauthManage]).await;
        let fresh = async || grant(app, &own, &[CLIENT_CREDENTIALS]).await.expect(200);
        let by = async |(id, secret): &(String, String), fields: &[(&str, &str)]| {
            let request = app.anonymous(Method::POST, REVOKE).basic_auth(id, Some(secret));
            Answer::to(form(request, fields)).await
        };
        let token = fresh().await;
        let fields = [("token", access_token(&token))];
        assert_eq!(by(&other, &fields).await.status, 204);
        whoami(app, access_token(&token)).await.expect(200);
        assert_eq!(by(&own, &fields).await.status, 204);
        expect_revoked(app, &[&token]).await;
        let token = fresh().await;
        assert_eq!(by(&manager, &[("token", access_token(&token))]).await.status, 204);
        expect_revoked(app, &[&token]).await;
        let wrong = (own.0.clone(), "wrong".to_owned());
        assert_eq!(oauth_error(by(&wrong, &fields).await), error(401, "invalid_client", ""));
        assert_eq!(oauth_error(by(&own, &[]).await), error(400, "invalid_request", "token"));
        let empty = app.anonymous(Method::POST, REVOKE).header("authorization", "Basic Og==");
        Answer::to(empty).await.expect_error(401, "unauthorized");
    });
}

#[test]
fn a_jwt_of_another_system_stays_revoked_until_it_expires() {
    check(async |app| {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let foreign = |sub: Uuid, jti: &str, exp: i64| {
            let claims = json!({
                "sub": sub, "scope": "phonenumber.read", "iat": now, "exp": exp, "jti": jti
            });
            encode(&Header::default(), &claims, &key).unwrap()
        };
        let (far, jti) = (9_000_000_000_000, Uuid::new_v4().to_string());
        let tokens = [
            foreign(app.child.sid, "any string", now + 600),
            foreign(app.child.sid, &jti, far),
            // The sid of one of our tokens that belongs to another partner.
            foreign(app.child.sid, &app.unrelated.token_sid.to_string(), now + 600),
        ];
        let unrelated = foreign(app.unrelated.sid, "its", now + 600);
        for token in tokens.iter().chain([&unrelated]) {
            let me = whoami(app, token).await.expect(200);
            assert_eq!(me["token"], Value::Null);
            assert_eq!(revoke(app, &app.token, &[("token", token)]).await.status, 204);
        }
        for token in &tokens {
            wait_until_rejected(app, token).await;
            assert_eq!(revoke(app, &app.token, &[("token", token)]).await.status, 204);
        }
        whoami(app, &unrelated).await.expect(200);
        let (base, server) = app.second_instance().await;
        let request = plain_client().get(format!("{base}/core/v2/oauth/whoami"));
        Answer::to(request.bearer_auth(&tokens[0])).await.expect_error(401, "unauthorized");
        server.stop(false).await;
        let stored: i64 = sqlx::query_scalar("select count(*) from revoked_tokens")
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
        assert_eq!(stored, 3);
        // A token can be revoked before it becomes valid.
        let begin = now + 2;
        let claims = json!({
            "sub": app.child.sid, "scope": "", "iat": now, "exp": now + 600, "nbf": begin
        });
        let early = encode(&Header::default(), &claims, &key).unwrap();
        assert_eq!(revoke(app, &app.token, &[("token", &early)]).await.status, 204);
        let is_valid = async || OffsetDateTime::now_utc().unix_timestamp() > begin;
        wait_until("the token would be valid", is_valid).await;
        assert_eq!(whoami(app, &early).await.status, 401);
        let its_own: OauthToken =
            store::get(&mut app.connection().await, &Actor::operator(), app.unrelated.token_sid)
                .await
                .unwrap()
                .object;
        assert!(its_own.date_expiration_access_token > OffsetDateTime::now_utc());
    });
}
