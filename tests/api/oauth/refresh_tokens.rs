//! Refresh tokens: single use, bound to their client, never with more scopes.

use serde_json::{Value, json};
use shortline::auth::Scope;
use shortline::oauth::Password;

use super::{
    BY_PASSWORD, access_token, client, error, expect_revoked, grant, login, oauth_error, refresh,
    revoke, whoami,
};
use crate::support::{App, check, wait_until};

#[test]
fn reusing_a_refresh_token_revokes_its_family() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let first = [&BY_PASSWORD[..], &[("name", "phone")]].concat();
        let first = grant(app, &client, &first).await.expect(200);
        let other = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let second = refresh(app, &client, &first).await.expect(200);
        assert_ne!(second["token_sid"], first["token_sid"]);
        assert_eq!((&second["name"], &second["scopes"]), (&json!("phone"), &first["scopes"]));
        let third = refresh(app, &client, &second).await.expect(200);
        for token in [&first, &second, &third] {
            whoami(app, access_token(token)).await.expect(200);
        }
        let stolen = refresh(app, &client, &first).await;
        assert_eq!(oauth_error(stolen), error(400, "invalid_grant", "refresh_token"));
        expect_revoked(app, &[&first, &second, &third]).await;
        let ended = refresh(app, &client, &third).await;
        assert_eq!(oauth_error(ended), error(400, "invalid_grant", "refresh_token"));
        // Another login starts another family.
        whoami(app, access_token(&other)).await.expect(200);
        refresh(app, &client, &other).await.expect(200);
    });
}

/// Checks that a refresh token is rejected, and that these tokens of its family are revoked then.
async fn expect_reuse(app: &App, client: &(String, String), token: &Value, family: &[&Value]) {
    let reused = refresh(app, client, token).await;
    assert_eq!(oauth_error(reused), error(400, "invalid_grant", "refresh_token"));
    expect_revoked(app, family).await;
    for token in family {
        let ended = refresh(app, client, token).await;
        assert_eq!(oauth_error(ended), error(400, "invalid_grant", "refresh_token"));
    }
}

#[test]
fn two_tabs_that_refresh_at_once_both_continue() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let token = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let both =
            futures_util::join!(refresh(app, &client, &token), refresh(app, &client, &token));
        let (one, other) = (both.0.expect(200), both.1.expect(200));
        assert_ne!(one["token_sid"], other["token_sid"]);
        for token in [&one, &other] {
            whoami(app, access_token(token)).await.expect(200);
        }
        let next = refresh(app, &client, &one).await.expect(200);
        let next_of_other = refresh(app, &client, &other).await.expect(200);
        // A successor was refreshed, so the token is not used by a tab that waits for a response.
        expect_reuse(app, &client, &token, &[&one, &other, &next, &next_of_other]).await;
    });
}

#[test]
fn at_most_five_siblings_are_issued() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let token = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let uses = (0..12).map(|_| refresh(app, &client, &token));
        let answers = futures_util::future::join_all(uses).await;
        let granted = answers.iter().filter(|answer| answer.status == 200).count();
        assert!((1..=6).contains(&granted), "{granted}");

        let token = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let mut family = Vec::new();
        for _ in 0..6 {
            family.push(refresh(app, &client, &token).await.expect(200));
        }
        expect_reuse(app, &client, &token, &family.iter().collect::<Vec<_>>()).await;
    });
}

#[test]
fn a_refresh_token_that_is_reused_later_revokes_its_family() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let token = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let next = refresh(app, &client, &token).await.expect(200);
        let earlier = "update oauth_tokens
                       set date_refresh_spent = date_refresh_spent - interval '11 seconds'
                       where sid = $1::uuid";
        let connection = &mut app.connection().await;
        let earlier = sqlx::query(earlier).bind(token["token_sid"].as_str().unwrap());
        earlier.execute(connection).await.unwrap();
        expect_reuse(app, &client, &token, &[&next]).await;
    });
}

#[test]
fn a_used_refresh_token_of_another_client_revokes_its_family() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let other = self::client(app, &app.unrelated, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let token = grant(app, &client, &BY_PASSWORD).await.expect(200);
        // A token that was not used is not affected.
        let rejected = refresh(app, &other, &token).await;
        assert_eq!(oauth_error(rejected), error(400, "invalid_grant", "refresh_token"));
        let next = refresh(app, &client, &token).await.expect(200);
        expect_reuse(app, &other, &token, &[&next]).await;
    });
}

#[test]
fn what_ends_a_family_ends_the_second_use_of_its_refresh_tokens() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let short = [&BY_PASSWORD[..], &[("access_token_expires_in", "1")]].concat();
        let used = async || {
            let token = grant(app, &client, &short).await.expect(200);
            let next = refresh(app, &client, &token).await.expect(200);
            (token, next)
        };
        let ((by_password, _), (by_revocation, next)) = (used().await, used().await);
        let secret = next["refresh_token"].as_str().unwrap();
        assert_eq!(revoke(app, &app.token, &[("token", secret)]).await.status, 204);
        wait_until("the access tokens have expired", async || {
            whoami(app, access_token(&by_password)).await.status == 401
                && whoami(app, access_token(&by_revocation)).await.status == 401
        })
        .await;
        let statement = "select sid from partner_logins";
        let connection = &mut app.connection().await;
        let sid = sqlx::query_scalar(statement).fetch_one(&mut *connection).await.unwrap();
        let password = Password::new("another long password").unwrap();
        shortline::oauth::set_password(connection, sid, &password).await.unwrap();
        for token in [by_password, by_revocation] {
            let answer = refresh(app, &client, &token).await;
            assert_eq!(oauth_error(answer), error(400, "invalid_grant", "refresh_token"));
        }
    });
}

#[test]
fn a_refresh_is_bound_to_its_client_and_never_widens_scopes() {
    check(async |app| {
        use Scope::{PhonenumberManage, PhonenumberRead};
        let client = client(app, &app.partner, &[PhonenumberManage, PhonenumberRead]).await;
        let other = self::client(app, &app.partner, &[PhonenumberManage, PhonenumberRead]).await;
        login(app, &app.partner, "ann").await;
        let token = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let asking = async |token: &Value, scope: &str| {
            let fields = [
                ("grant_type", "refresh_token"),
                ("refresh_token", token["refresh_token"].as_str().unwrap()),
                ("scope", scope),
            ];
            grant(app, &client, &fields).await
        };
        // A rejected request does not consume the refresh token.
        assert_eq!(
            oauth_error(refresh(app, &other, &token).await),
            error(400, "invalid_grant", "refresh_token")
        );
        let more = asking(&token, "admin.manage").await;
        assert_eq!(oauth_error(more), error(400, "invalid_scope", "scope"));
        let narrow = asking(&token, "phonenumber.read").await.expect(200);
        assert_eq!(narrow["scopes"], json!(["phonenumber.read"]));
        let wide = asking(&narrow, "phonenumber.manage").await;
        assert_eq!(oauth_error(wide), error(400, "invalid_scope", "scope"));
        assert_eq!(
            refresh(app, &client, &narrow).await.expect(200)["scopes"],
            json!(["phonenumber.read"])
        );
        // An access token is not accepted as a refresh token.
        let fields = [("grant_type", "refresh_token"), ("refresh_token", access_token(&narrow))];
        let answer = grant(app, &client, &fields).await;
        assert_eq!(oauth_error(answer), error(400, "invalid_grant", "refresh_token"));
    });
}
