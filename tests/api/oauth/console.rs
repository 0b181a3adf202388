//! The client `console`, which has no secret.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use shortline::oauth::{Password, set_password};
use uuid::Uuid;

use super::{
    BY_PASSWORD, CLIENT_CREDENTIALS, PASSWORD, REVOKE, TOKEN, access_token, ask, client, error,
    expect_revoked, form, grant, login, oauth_error, whoami,
};
use crate::support::{Answer, App, check, check_with};

const CONSOLE: (&str, &str) = ("client_id", "console");

/// The sign-in of the console.
async fn sign_in(app: &App, more: &[(&str, &str)]) -> Answer {
    ask(app, &[&[CONSOLE], &BY_PASSWORD[..], more].concat()).await
}

/// The fields of a refresh by the console.
fn renewal(token: &Value) -> [(&str, &str); 3] {
    let secret = token["refresh_token"].as_str().unwrap();
    [CONSOLE, ("grant_type", "refresh_token"), ("refresh_token", secret)]
}

/// A token request to another instance.
async fn ask_at(app: &App, base: &str, fields: &[(&str, &str)]) -> Answer {
    Answer::to(form(app.request_to(Method::POST, &format!("{base}{TOKEN}")), fields)).await
}

#[test]
fn the_console_gets_tokens_for_a_login_without_a_secret() {
    check(async |app| {
        login(app, &app.child, "ann").await;
        let token = sign_in(app, &[("name", "console of ann")]).await.expect(200);
        assert_eq!(token["client_id"], json!("console"));
        assert_eq!(token["partner_sid"], json!(app.child.sid));
        assert_eq!(token["expires_in"], json!(3_600));
        let all: Vec<_> = Scope::ALL.iter().map(Scope::as_str).collect();
        assert_eq!(token["scopes"].as_array().unwrap().len(), all.len(), "{token}");
        let me = whoami(app, access_token(&token)).await.expect(200);
        assert_eq!(me["partner"]["partner_sid"], json!(app.child.sid));
        let renewed = ask(app, &renewal(&token)).await.expect(200);
        assert_eq!(renewed["client_id"], json!("console"));
        assert_eq!(renewed["scopes"], token["scopes"]);
        whoami(app, access_token(&renewed)).await.expect(200);
        let narrow = sign_in(app, &[("scope", "phonenumber.read")]).await.expect(200);
        assert_eq!(narrow["scopes"], json!(["phonenumber.read"]));
        // It is no object of a partner.
        let clients = "select count(*) from oauth_clients";
        let clients: i64 =
            sqlx::query_scalar(clients).fetch_one(&mut app.connection().await).await.unwrap();
        assert_eq!(clients, 0);
    });
}

#[test]
fn other_requests_of_the_console_client_are_rejected() {
    check(async |app| {
        login(app, &app.partner, "ann").await;
        for (sent, code, field) in [
            (("client_secret", PASSWORD), "invalid_request", "client_secret"),
            (("access_token_expires_in", "3601"), "invalid_request", "access_token_expires_in"),
            (("scope", "phonenumber.mange"), "invalid_scope", "scope"),
        ] {
            assert_eq!(oauth_error(sign_in(app, &[sent]).await), error(400, code, field));
        }
        let answer = ask(app, &[CONSOLE, CLIENT_CREDENTIALS]).await;
        assert_eq!(oauth_error(answer), error(400, "unauthorized_client", "grant_type"));
        // An empty field counts as absent.
        sign_in(app, &[("client_secret", "")]).await.expect(200);
        for name in ["Console", "console ", ""] {
            let fields = [&[("client_id", name)], &BY_PASSWORD[..]].concat();
            assert_eq!(oauth_error(ask(app, &fields).await), error(401, "invalid_client", ""));
        }
        for (name, password) in [("ann", "wrong"), ("bob", PASSWORD)] {
            let fields = [("grant_type", "password"), ("username", name), ("password", password)];
            let answer = ask(app, &[&[CONSOLE], &fields[..]].concat()).await;
            assert_eq!(oauth_error(answer), error(401, "invalid_grant", ""), "{name}");
        }
        // HTTP Basic, and other endpoints, are for clients with a secret.
        let basic = app.anonymous(Method::POST, TOKEN).basic_auth("console", Some(""));
        let answer = Answer::to(form(basic, &BY_PASSWORD)).await;
        assert_eq!(oauth_error(answer), error(401, "invalid_client", ""));
        let basic = app.anonymous(Method::POST, REVOKE).basic_auth("console", Some(""));
        let answer = Answer::to(form(basic, &[("token", "x")])).await;
        assert_eq!(oauth_error(answer), error(401, "invalid_client", ""));
        let child = format!("{TOKEN}/{}", app.child.sid);
        let request = form(app.request(Method::POST, &child), &[CONSOLE]);
        assert_eq!(oauth_error(Answer::to(request).await), error(401, "invalid_client", ""));
    });
}

#[test]
fn refresh_tokens_of_the_console_belong_to_it() {
    check(async |app| {
        login(app, &app.partner, "ann").await;
        let other = client(app, &app.partner, &Scope::DEFAULT).await;
        let of_other = grant(app, &other, &BY_PASSWORD).await.expect(200);
        let answer = ask(app, &renewal(&of_other)).await;
        assert_eq!(oauth_error(answer), error(400, "invalid_grant", "refresh_token"));
        let own = sign_in(app, &[]).await.expect(200);
        let answer = super::refresh(app, &other, &own).await;
        assert_eq!(oauth_error(answer), error(400, "invalid_grant", "refresh_token"));
        ask(app, &renewal(&own)).await.expect(200);
    });
}

#[test]
fn a_new_password_ends_the_tokens_of_the_console() {
    check(async |app| {
        login(app, &app.partner, "ann").await;
        let token = sign_in(app, &[]).await.expect(200);
        let mut connection = app.connection().await;
        let sid: Uuid = sqlx::query_scalar("select sid from partner_logins")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let password = Password::new("another good password").unwrap();
        set_password(&mut connection, sid, &password).await.unwrap();
        expect_revoked(app, &[&token]).await;
        let answer = ask(app, &renewal(&token)).await;
        assert_eq!(oauth_error(answer), error(400, "invalid_grant", "refresh_token"));
    });
}

#[test]
fn tokens_of_a_read_only_console_can_only_read() {
    check_with(&["--console", "read-only"], async |app| {
        login(app, &app.partner, "ann").await;
        let read = json!([
            "events.read",
            "oauth.read",
            "partners.read",
            "phonenumber.read",
            "phonenumber.read_descendant"
        ]);
        let token = sign_in(app, &[]).await.expect(200);
        assert_eq!(token["scopes"], read);
        let code = app.anonymous(Method::PATCH, &app.partner.code_path());
        let code = code.bearer_auth(access_token(&token)).json(&json!({"name": "x"}));
        Answer::to(code).await.expect_error(403, "forbidden");
        let child = app.anonymous(Method::GET, &app.child.code_path());
        Answer::to(child.bearer_auth(access_token(&token))).await.expect(200);
        let answer = sign_in(app, &[("scope", "phonenumber.update")]).await;
        assert_eq!(oauth_error(answer), error(400, "invalid_scope", "scope"));
        // A token that another instance has issued for writing is narrowed when it is refreshed.
        let (base, server) = app.second_instance_with(&["--console", "on"]).await;
        let writer = ask_at(app, &base, &[&[CONSOLE], &BY_PASSWORD[..]].concat()).await;
        let renewed = ask(app, &renewal(&writer.expect(200))).await.expect(200);
        assert_eq!(renewed["scopes"], read);
        server.stop(false).await;
    });
}

#[test]
fn a_console_that_is_off_has_no_client() {
    check(async |app| {
        login(app, &app.partner, "ann").await;
        let token = sign_in(app, &[]).await.expect(200);
        let (base, server) = app.second_instance_with(&["--console", "off"]).await;
        let by_password = [&[CONSOLE], &BY_PASSWORD[..]].concat();
        let with_secret = [&by_password[..], &[("client_secret", "x")]].concat();
        for fields in [&by_password[..], &with_secret, &renewal(&token)] {
            let answer = ask_at(app, &base, fields).await;
            assert_eq!(oauth_error(answer), error(401, "invalid_client", ""), "{fields:?}");
        }
        // The attempt has not spent the refresh token.
        ask(app, &renewal(&token)).await.expect(200);
        server.stop(false).await;
    });
}

#[test]
fn guesses_of_passwords_through_the_console_are_delayed() {
    check(async |app| {
        login(app, &app.partner, "ann").await;
        let fields = [CONSOLE, ("grant_type", "password"), ("username", "ann"), ("password", "x")];
        let mut times = Vec::new();
        for _ in 0..7 {
            let started = Instant::now();
            assert_eq!(oauth_error(ask(app, &fields).await), error(401, "invalid_grant", ""));
            times.push(started.elapsed());
        }
        assert!(times[5] >= Duration::from_millis(250), "{times:?}");
        assert!(times[6] >= Duration::from_millis(500), "{times:?}");
        sign_in(app, &[]).await.expect(200);
    });
}
