//! The token endpoint: client credentials, passwords, scopes, lifetimes.

use std::time::{Duration, Instant};

use actix_web::rt::time::sleep;
use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use shortline::partners::{Partner, Status};
use uuid::Uuid;

use super::{
    BY_PASSWORD, CLIENT_CREDENTIALS, PASSWORD, REVOKE, TOKEN, client, ends, form, grant, login,
    refresh, refusal, refused, secret, set, whoami,
};
use crate::support::{Answer, check, check_with};

#[test]
fn a_client_gets_a_token_for_its_secret() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let answer = grant(app, &client, &[CLIENT_CREDENTIALS, ("name", "nightly")]).await;
        let token = answer.expect(200);
        let members: Vec<_> = token.as_object().unwrap().keys().collect();
        assert_eq!(
            members,
            [
                "access_token",
                "client_id",
                "date_created",
                "date_expiration_access_token",
                "date_expiration_refresh_token",
                "date_last_accessed",
                "ip_last_accessed",
                "name",
                "partner_sid",
                "refresh_token",
                "scopes",
                "token_sid",
                "token_type"
            ]
        );
        assert_eq!(secret(&token).split('.').count(), 3);
        assert_eq!((&token["client_id"], &token["name"]), (&json!(client.0), &json!("nightly")));
        assert_eq!(
            (&token["token_type"], &token["refresh_token"]),
            (&json!("bearer"), &Value::Null)
        );
        let scopes = json!(["oauth.manage", "partners.manage", "phonenumber.manage"]);
        assert_eq!(token["scopes"], scopes);
        let me = whoami(app, secret(&token)).await.expect(200);
        assert_eq!(
            (&me["partner"]["partner_sid"], &me["scopes"]),
            (&json!(app.partner.sid), &scopes)
        );
        assert_eq!(me["token"]["token_sid"], token["token_sid"]);
        assert_eq!(me["token"]["access_token"], Value::Null);
        let read = app.anonymous(Method::GET, &app.partner.code_path()).bearer_auth(secret(&token));
        Answer::to(read).await.expect(200);
    });
}

#[test]
fn a_client_proves_itself_in_the_header_or_in_the_form() {
    check(async |app| {
        let (id, secret) = client(app, &app.partner, &Scope::DEFAULT).await;
        let by_header = async |id: &str, secret: &str, fields: &[(&str, &str)]| {
            let request = app.anonymous(Method::POST, TOKEN).basic_auth(id, Some(secret));
            Answer::to(form(request, fields)).await
        };
        by_header(&id, &secret, &[CLIENT_CREDENTIALS]).await.expect(200);
        // Encoded as in a form, each half.
        let encoded = id.replace('-', "%2D");
        by_header(&encoded, &secret, &[CLIENT_CREDENTIALS, ("client_id", &id)]).await.expect(200);
        let both = [CLIENT_CREDENTIALS, ("client_id", &id), ("client_secret", &secret)];
        let answer = by_header(&id, &secret, &both).await;
        assert_eq!(refused(answer), refusal(400, "invalid_request", "client_id"));
        let wrong = by_header(&id, "wrong", &[CLIENT_CREDENTIALS]).await;
        assert_eq!(wrong.header("www-authenticate"), Some(r#"Basic realm="shortline""#));
        assert_eq!(refused(wrong), refusal(401, "invalid_client", ""));
        // An empty header says nothing, so the form counts.
        let empty = app.anonymous(Method::POST, TOKEN).header("authorization", "Basic Og==");
        Answer::to(form(empty, &both)).await.expect(200);
        for sent in ["Basic Og==", "Basic", "Basic x", "Bearer x"] {
            let request = app.anonymous(Method::POST, TOKEN).header("authorization", sent);
            let answer = Answer::to(form(request, &[CLIENT_CREDENTIALS])).await;
            assert_eq!(refused(answer), refusal(401, "invalid_client", ""), "{sent}");
        }
    });
}

#[test]
fn who_proves_nothing_gets_nothing() {
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
            assert_eq!(refused(answer), refusal(401, "invalid_client", ""), "{bad:?}");
        }
        for (name, password) in [("ann", "wrong"), ("bob", PASSWORD), ("Ann", PASSWORD)] {
            let fields = [("grant_type", "password"), ("username", name), ("password", password)];
            let answer = grant(app, &good, &fields).await;
            assert_eq!(refused(answer), refusal(401, "invalid_grant", ""), "{name}");
        }
    });
}

/// The fields of a form.
type Fields<'a> = &'a [(&'a str, &'a str)];

#[test]
fn what_a_form_says_wrongly_is_named() {
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
        for (fields, error, field) in cases {
            let answer = grant(app, &client, fields).await;
            assert_eq!(refused(answer), refusal(400, error, field), "{fields:?}");
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
fn a_scope_narrows_and_one_that_is_not_held_is_refused() {
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
        // The client lacks it.
        let more = [CLIENT_CREDENTIALS, ("scope", "admin.manage phonenumber.read")];
        let answer = grant(app, &client, &more).await;
        assert!(answer.text.contains("admin.manage") && !answer.text.contains("phonenumber.read"));
        assert_eq!(refused(answer), refusal(400, "invalid_scope", "scope"));
        // The partner lacks it, or an ancestor.
        let child = self::client(app, &app.child, &[PhonenumberManage, PhonenumberRead]).await;
        let narrow = |partner: &mut Partner| {
            partner.available_scopes = [PhonenumberRead].into_iter().collect();
        };
        set(app, app.partner.sid, narrow).await;
        for client in [&client, &child] {
            let asked = [CLIENT_CREDENTIALS, ("scope", "phonenumber.manage")];
            let answer = grant(app, client, &asked).await;
            assert_eq!(refused(answer), refusal(400, "invalid_scope", "scope"));
            let all = grant(app, client, &[CLIENT_CREDENTIALS]).await.expect(200);
            assert_eq!(all["scopes"], json!(["phonenumber.read"]));
        }
    });
}

#[test]
fn a_token_lives_as_long_as_it_is_asked_to() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let short = grant(app, &client, &[CLIENT_CREDENTIALS, ("access_token_expires_in", "1")]);
        let short = short.await.expect(200);
        let century = [CLIENT_CREDENTIALS, ("access_token_expires_in", "3153600000")];
        let century = grant(app, &client, &century).await.expect(200);
        assert!(century["date_expiration_access_token"].as_str() > Some("2120"));
        whoami(app, secret(&century)).await.expect(200);
        sleep(Duration::from_millis(1_100)).await;
        whoami(app, secret(&short)).await.expect_error(401, "unauthorized");
    });
}

#[test]
fn tokens_are_opaque_where_the_server_is_set_so() {
    check_with(&["--token-format", "opaque"], async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let token = grant(app, &client, &[CLIENT_CREDENTIALS]).await.expect(200);
        secret(&token).parse::<Uuid>().unwrap();
        whoami(app, &secret(&token).to_uppercase()).await.expect(200);
        let revoke = form(app.request(Method::POST, REVOKE), &[("token", secret(&token))]);
        assert_eq!(Answer::to(revoke).await.status, 204);
        ends(app, secret(&token)).await;
    });
}

#[test]
fn a_partner_logs_in_through_a_client_of_its_own_or_of_an_ancestor() {
    check(async |app| {
        let own = client(app, &app.child, &Scope::DEFAULT).await;
        let ancestors = client(app, &app.partner, &[Scope::PhonenumberManage]).await;
        let strangers = client(app, &app.stranger, &Scope::DEFAULT).await;
        login(app, &app.child, "ann").await;
        let token = grant(app, &own, &BY_PASSWORD).await.expect(200);
        assert_eq!(token["partner_sid"], json!(app.child.sid));
        token["refresh_token"].as_str().unwrap().parse::<Uuid>().unwrap();
        assert!(token["date_expiration_refresh_token"].is_string());
        let token = grant(app, &ancestors, &BY_PASSWORD).await.expect(200);
        assert_eq!(token["partner_sid"], json!(app.child.sid));
        assert_eq!(token["scopes"], json!(["phonenumber.manage"]));
        let answer = grant(app, &strangers, &BY_PASSWORD).await;
        assert_eq!(refused(answer), refusal(401, "invalid_grant", ""));
        // Nor does a descendant's client log its ancestor in.
        login(app, &app.partner, "bob").await;
        let up = [("grant_type", "password"), ("username", "bob"), ("password", PASSWORD)];
        assert_eq!(refused(grant(app, &own, &up).await), refusal(401, "invalid_grant", ""));
    });
}

#[test]
fn no_grant_works_for_a_suspended_partner_or_below_one() {
    check(async |app| {
        let own = client(app, &app.child, &Scope::DEFAULT).await;
        login(app, &app.child, "ann").await;
        let token = grant(app, &own, &BY_PASSWORD).await.expect(200);
        for sid in [app.child.sid, app.partner.sid] {
            set(app, sid, |partner| partner.status = Status::Suspended).await;
            let answer = grant(app, &own, &[CLIENT_CREDENTIALS]).await;
            assert_eq!(refused(answer), refusal(401, "invalid_client", ""));
            let answer = grant(app, &own, &BY_PASSWORD).await;
            assert_eq!(refused(answer), refusal(401, "invalid_grant", ""));
            let answer = refresh(app, &own, &token).await;
            assert_eq!(refused(answer), refusal(400, "invalid_grant", "refresh_token"));
            set(app, sid, |partner| partner.status = Status::Active).await;
        }
        refresh(app, &own, &token).await.expect(200);
        set(app, app.child.sid, |partner| partner.status = Status::Suspended).await;
        let path = format!("{TOKEN}/{}", app.child.sid);
        let answer = Answer::to(app.request(Method::POST, &path)).await;
        assert_eq!(refused(answer), refusal(400, "invalid_grant", "partner_sid"));
    });
}

#[test]
fn guessing_gets_slower_and_the_right_secret_does_not() {
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
        // It starts from nothing again.
        assert!(attempt(&wrong, 401).await < Duration::from_millis(250).max(quick * 4));
    });
}
