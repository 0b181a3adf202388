//! The token endpoint: client credentials, passwords, scopes, lifetimes.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use shortline::partners::{Partner, Status};
use uuid::Uuid;

use super::{
    BY_PASSWORD, CLIENT_CREDENTIALS, PASSWORD, REVOKE, TOKEN, access_token, client, error,
    expect_revoked, form, grant, login, oauth_error, refresh, wait_until_rejected, whoami,
};
use crate::support::{Answer, check, check_with, snapshot};

#[test]
fn a_client_exchanges_its_secret_for_a_token() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let answer = grant(app, &client, &[CLIENT_CREDENTIALS, ("name", "nightly")]).await;
        let token = answer.expect(200);
        insta::assert_snapshot!(snapshot(app, &token), @r#"
        {
          "access_token": "[jwt]",
          "client_id": "[sid]",
          "date_created": "[date]",
          "date_expiration_access_token": "[date]",
          "date_expiration_refresh_token": null,
          "date_last_accessed": null,
          "expires_in": 3600,
          "ip_last_accessed": null,
          "name": "nightly",
          "partner_sid": "0000000a-0000-4000-8000-000000000001",
          "refresh_token": null,
          "scope": "oauth.manage partners.manage phonenumber.manage",
          "scopes": ["oauth.manage", "partners.manage", "phonenumber.manage"],
          "token_sid": "[sid]",
          "token_type": "bearer"
        }
        "#);
        assert_eq!(token["client_id"], json!(client.0));
        let me = whoami(app, access_token(&token)).await.expect(200);
        assert_eq!(me["partner"]["partner_sid"], json!(app.partner.sid));
        assert_eq!(me["scopes"], token["scopes"]);
        assert_eq!(me["token"]["token_sid"], token["token_sid"]);
        assert_eq!(me["token"]["access_token"], Value::Null);
        let read =
            app.anonymous(Method::GET, &app.partner.code_path()).bearer_auth(access_token(&token));
        Answer::to(read).await.expect(200);
    });
}

#[test]
fn clients_authenticate_in_the_header_or_in_the_form() {
    check(async |app| {
        let (id, secret) = client(app, &app.partner, &Scope::DEFAULT).await;
        let by_header = async |id: &str, secret: &str, fields: &[(&str, &str)]| {
            let request = app.anonymous(Method::POST, TOKEN).basic_auth(id, Some(secret));
            Answer::to(form(request, fields)).await
        };
        by_header(&id, &secret, &[CLIENT_CREDENTIALS]).await.expect(200);
        // Id and secret are each form-encoded (RFC 6749, section 2.3.1).
        let encoded = id.replace('-', "%2D");
        by_header(&encoded, &secret, &[CLIENT_CREDENTIALS, ("client_id", &id)]).await.expect(200);
        let both = [CLIENT_CREDENTIALS, ("client_id", &id), ("client_secret", &secret)];
        let answer = by_header(&id, &secret, &both).await;
        assert_eq!(oauth_error(answer), error(400, "invalid_request", "client_id"));
        let wrong = by_header(&id, "wrong", &[CLIENT_CREDENTIALS]).await;
        assert_eq!(wrong.header("www-authenticate"), Some(r#"Basic realm="shortline""#));
        assert_eq!(oauth_error(wrong), error(401, "invalid_client", ""));
        // Empty credentials in the header are ignored in favour of the form.
        let empty = app.anonymous(Method::POST, TOKEN).header("authorization", "Basic Og==");
        Answer::to(form(empty, &both)).await.expect(200);
        for sent in ["Basic Og==", "Basic", "Basic x", "Bearer x"] {
            let request = app.anonymous(Method::POST, TOKEN).header("authorization", sent);
            let answer = Answer::to(form(request, &[CLIENT_CREDENTIALS])).await;
            assert_eq!(oauth_error(answer), error(401, "invalid_client", ""), "{sent}");
        }
    });
}

#[test]
fn wrong_credentials_are_rejected() {
    check(async |app| {
        let good = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let with = |id: &str, secret: &str| (id.to_owned(), secret.to_owned());
        for bad in [
            with(&good.0, "wrong"),
            with(&good.0, ""),
            with(&Uuid::new_v4().to_string(), &good.1),
            with("x", &good.1),
            with("", ""),
        ] {
            let answer = grant(app, &bad, &[CLIENT_CREDENTIALS]).await;
            assert_eq!(oauth_error(answer), error(401, "invalid_client", ""), "{bad:?}");
        }
        for (name, password) in [("ann", "wrong"), ("bob", PASSWORD), ("Ann", PASSWORD)] {
            let fields = [("grant_type", "password"), ("username", name), ("password", password)];
            let answer = grant(app, &good, &fields).await;
            assert_eq!(oauth_error(answer), error(401, "invalid_grant", ""), "{name}");
        }
    });
}

/// The fields of a form.
type Fields<'a> = &'a [(&'a str, &'a str)];

#[test]
fn invalid_form_fields_are_named() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let long = "x".repeat(256);
        let cases: [(Fields, &str, &str); 14] = [
            (&[], "invalid_request", "grant_type"),
            (&[("grant_type", "")], "invalid_request", "grant_type"),
            (&[("grant_type", "implicit")], "unsupported_grant_type", "grant_type"),
            (&[CLIENT_CREDENTIALS, CLIENT_CREDENTIALS], "invalid_request", "grant_type"),
            (&[CLIENT_CREDENTIALS, ("scope", "phonenumber.mange")], "invalid_scope", "scope"),
            (
                &[CLIENT_CREDENTIALS, ("access_token_expires_in", "0")],
                "invalid_request",
                "access_token_expires_in",
            ),
            (
                &[CLIENT_CREDENTIALS, ("access_token_expires_in", "3153600001")],
                "invalid_request",
                "access_token_expires_in",
            ),
            (
                &[CLIENT_CREDENTIALS, ("access_token_expires_in", "1.5")],
                "invalid_request",
                "access_token_expires_in",
            ),
            (&[CLIENT_CREDENTIALS, ("name", &long)], "invalid_request", "name"),
            (&[CLIENT_CREDENTIALS, ("name", "a\0")], "invalid_request", "name"),
            (&[("grant_type", "password"), ("password", "x")], "invalid_request", "username"),
            (&[("grant_type", "password"), ("username", "ann")], "invalid_request", "password"),
            (&[("grant_type", "refresh_token")], "invalid_request", "refresh_token"),
            (
                &[("grant_type", "refresh_token"), ("refresh_token", "x")],
                "invalid_grant",
                "refresh_token",
            ),
        ];
        for (fields, code, field) in cases {
            let answer = grant(app, &client, fields).await;
            assert_eq!(oauth_error(answer), error(400, code, field), "{fields:?}");
        }
        let unknown = [CLIENT_CREDENTIALS, ("audience", "x"), ("scope", "")];
        grant(app, &client, &unknown).await.expect(200);
        let json = app.anonymous(Method::POST, TOKEN).json(&json!({}));
        let answer = Answer::to(json).await.expect(415);
        assert_eq!(
            (&answer["error"], &answer["message"]),
            (&json!("invalid_request"), &json!("unsupported media type"))
        );
        let large = form(app.anonymous(Method::POST, TOKEN), &[("name", &"x".repeat(300_000))]);
        Answer::to(large).await.expect_error(413, "payload too large");
    });
}

#[test]
fn a_requested_scope_narrows_the_token_or_is_rejected_when_missing() {
    check(async |app| {
        use Scope::{PartnersRead, PhonenumberManage, PhonenumberRead};
        let client =
            client(app, &app.partner, &[PhonenumberManage, PhonenumberRead, PartnersRead]).await;
        for text in [
            "phonenumber.read partners.read",
            "partners.read,phonenumber.read",
            " partners.read,  phonenumber.read",
        ] {
            let token =
                grant(app, &client, &[CLIENT_CREDENTIALS, ("scope", text)]).await.expect(200);
            assert_eq!(token["scopes"], json!(["partners.read", "phonenumber.read"]), "{text}");
        }
        // The client does not have the scope.
        let more = [CLIENT_CREDENTIALS, ("scope", "admin.manage phonenumber.read")];
        let answer = grant(app, &client, &more).await;
        assert!(answer.text.contains("admin.manage") && !answer.text.contains("phonenumber.read"));
        assert_eq!(oauth_error(answer), error(400, "invalid_scope", "scope"));
        // The partner or an ancestor does not have the scope.
        let child = self::client(app, &app.child, &[PhonenumberManage, PhonenumberRead]).await;
        let narrow = |partner: &mut Partner| {
            partner.available_scopes = [PhonenumberRead].into_iter().collect();
        };
        app.update_partner(app.partner.sid, narrow).await;
        for client in [&client, &child] {
            let requested = [CLIENT_CREDENTIALS, ("scope", "phonenumber.manage")];
            let answer = grant(app, client, &requested).await;
            assert_eq!(oauth_error(answer), error(400, "invalid_scope", "scope"));
            let all = grant(app, client, &[CLIENT_CREDENTIALS]).await.expect(200);
            assert_eq!(all["scopes"], json!(["phonenumber.read"]));
        }
    });
}

#[test]
fn a_token_lives_as_long_as_requested() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let short = grant(app, &client, &[CLIENT_CREDENTIALS, ("access_token_expires_in", "1")]);
        let short = short.await.expect(200);
        let century = [CLIENT_CREDENTIALS, ("access_token_expires_in", "3153600000")];
        let century = grant(app, &client, &century).await.expect(200);
        assert!(century["date_expiration_access_token"].as_str() > Some("2120"));
        assert_eq!(century["expires_in"], 3_153_600_000_i64);
        assert_eq!(
            (&short["expires_in"], &short["scope"]),
            (&json!(1), &json!("oauth.manage partners.manage phonenumber.manage"))
        );
        // Only the response that issues the token has these members.
        let me = whoami(app, access_token(&century)).await.expect(200);
        assert_eq!((me["token"].get("expires_in"), me["token"].get("scope")), (None, None));
        wait_until_rejected(app, access_token(&short)).await;
    });
}

#[test]
fn the_server_can_issue_opaque_tokens() {
    check_with(&["--token-format", "opaque"], async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let token = grant(app, &client, &[CLIENT_CREDENTIALS]).await.expect(200);
        access_token(&token).parse::<Uuid>().unwrap();
        whoami(app, &access_token(&token).to_uppercase()).await.expect(200);
        let revoke = form(app.request(Method::POST, REVOKE), &[("token", access_token(&token))]);
        assert_eq!(Answer::to(revoke).await.status, 204);
        expect_revoked(app, &[&token]).await;
    });
}

#[test]
fn a_login_needs_a_client_of_its_partner_or_an_ancestor() {
    check(async |app| {
        let own = client(app, &app.child, &Scope::DEFAULT).await;
        let ancestors = client(app, &app.partner, &[Scope::PhonenumberManage]).await;
        let foreign = client(app, &app.unrelated, &Scope::DEFAULT).await;
        login(app, &app.child, "ann").await;
        let token = grant(app, &own, &BY_PASSWORD).await.expect(200);
        assert_eq!(token["partner_sid"], json!(app.child.sid));
        token["refresh_token"].as_str().unwrap().parse::<Uuid>().unwrap();
        assert!(token["date_expiration_refresh_token"].is_string());
        let token = grant(app, &ancestors, &BY_PASSWORD).await.expect(200);
        assert_eq!(token["partner_sid"], json!(app.child.sid));
        assert_eq!(token["scopes"], json!(["phonenumber.manage"]));
        let answer = grant(app, &foreign, &BY_PASSWORD).await;
        assert_eq!(oauth_error(answer), error(401, "invalid_grant", ""));
        // A client of a descendant does not work for a login of its ancestor.
        login(app, &app.partner, "bob").await;
        let up = [("grant_type", "password"), ("username", "bob"), ("password", PASSWORD)];
        assert_eq!(oauth_error(grant(app, &own, &up).await), error(401, "invalid_grant", ""));
    });
}

#[test]
fn suspended_partners_and_their_descendants_get_no_tokens() {
    check(async |app| {
        let own = client(app, &app.child, &Scope::DEFAULT).await;
        login(app, &app.child, "ann").await;
        let token = grant(app, &own, &BY_PASSWORD).await.expect(200);
        for sid in [app.child.sid, app.partner.sid] {
            app.update_partner(sid, |partner| partner.status = Status::Suspended).await;
            let answer = grant(app, &own, &[CLIENT_CREDENTIALS]).await;
            assert_eq!(oauth_error(answer), error(401, "invalid_client", ""));
            let answer = grant(app, &own, &BY_PASSWORD).await;
            assert_eq!(oauth_error(answer), error(401, "invalid_grant", ""));
            let answer = refresh(app, &own, &token).await;
            assert_eq!(oauth_error(answer), error(400, "invalid_grant", "refresh_token"));
            app.update_partner(sid, |partner| partner.status = Status::Active).await;
        }
        refresh(app, &own, &token).await.expect(200);
        app.update_partner(app.child.sid, |partner| partner.status = Status::Suspended).await;
        let path = format!("{TOKEN}/{}", app.child.sid);
        let answer = Answer::to(app.request(Method::POST, &path)).await;
        assert_eq!(oauth_error(answer), error(400, "invalid_grant", "partner_sid"));
    });
}

#[test]
fn wrong_secrets_are_delayed_and_the_right_one_is_not() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let wrong = (client.0.clone(), "wrong".to_owned());
        let attempt = async |client: &(String, String), status: u16| {
            let started = Instant::now();
            grant(app, client, &[CLIENT_CREDENTIALS]).await.expect(status);
            started.elapsed()
        };
        let mut quick = Duration::ZERO;
        for _ in 0..5 {
            quick = quick.max(attempt(&wrong, 401).await);
        }
        assert!(attempt(&wrong, 401).await >= Duration::from_millis(250));
        assert!(attempt(&wrong, 401).await >= Duration::from_millis(500));
        assert!(attempt(&client, 200).await < Duration::from_millis(500).max(quick * 4));
        // A success resets the delay.
        assert!(attempt(&wrong, 401).await < Duration::from_millis(250).max(quick * 4));
    });
}
