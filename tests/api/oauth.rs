//! OAuth: every grant, what narrows a token, what ends it, and what is kept of it.

use std::time::{Duration, Instant};

use actix_web::rt::time::sleep;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{EncodingKey, Header, encode};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use shortline::auth::{Actor, Scope};
use shortline::input::FromMember;
use shortline::input::types::Name;
use shortline::oauth::{OauthClient, OauthToken, PartnerLogin, Password};
use shortline::partners::{Partner, Status};
use shortline::store;
use sqlx::AssertSqlSafe;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::helpers::{Answer, App, SECRET, Tenant, check, check_with};

const TOKEN: &str = "/core/v2/oauth/token";
const REVOKE: &str = "/core/v2/oauth/revoke";
const PASSWORD: &str = "correct horse & battery=staple";

/// A client of the tenant: its id and secret.
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

/// A token request of that client.
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

fn secret(token: &Value) -> &str {
    token["access_token"].as_str().unwrap()
}

/// The name in RFC 6749 of an error, with its status and field.
#[track_caller]
fn refused(answer: Answer) -> (u16, String, Value) {
    let status = answer.status;
    let body = answer.expect(status);
    assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
    let message = if status == 401 { "bad credentials" } else { "bad request" };
    assert_eq!(body["message"], message, "{body}");
    (status, body["error"].as_str().unwrap().to_owned(), body["errors"][0]["field"].clone())
}

fn refusal(status: u16, error: &str, field: &str) -> (u16, String, Value) {
    let field = if field.is_empty() { Value::Null } else { json!(field) };
    (status, error.to_owned(), field)
}

async fn whoami(app: &App, token: &str) -> Answer {
    Answer::to(app.anonymous(Method::GET, "/core/v2/oauth/whoami").bearer_auth(token)).await
}

/// Waits until the token has ended: 5 seconds at most.
async fn ends(app: &App, token: &str) {
    let started = Instant::now();
    while whoami(app, token).await.status != 401 {
        assert!(started.elapsed() < Duration::from_secs(5), "not ended within 5 seconds");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn set(app: &App, sid: Uuid, change: impl FnOnce(&mut Partner)) {
    let change = |partner: &mut Partner| {
        change(partner);
        Ok(())
    };
    store::update_within(&mut app.connection().await, &Actor::operator(), sid, change)
        .await
        .unwrap();
}

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
fn a_refresh_token_is_good_once_and_its_reuse_ends_the_family() {
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
            whoami(app, secret(token)).await.expect(200);
        }
        let stolen = refresh(app, &client, &first).await;
        assert_eq!(refused(stolen), refusal(400, "invalid_grant", "refresh_token"));
        for token in [&first, &second, &third] {
            ends(app, secret(token)).await;
        }
        let ended = refresh(app, &client, &third).await;
        assert_eq!(refused(ended), refusal(400, "invalid_grant", "refresh_token"));
        // Another login is another family.
        whoami(app, secret(&other)).await.expect(200);
        refresh(app, &client, &other).await.expect(200);
    });
}

#[test]
fn of_two_refreshes_at_once_at_most_one_succeeds() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let token = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let both = futures_util::future::join(
            refresh(app, &client, &token),
            refresh(app, &client, &token),
        );
        let (one, two) = both.await;
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 400]);
        let fresh = if one.status == 200 { one } else { two }.expect(200);
        ends(app, secret(&fresh)).await;
    });
}

#[test]
fn a_refresh_narrows_never_widens_and_is_bound_to_its_client() {
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
        // What is refused does not use the refresh token up.
        assert_eq!(
            refused(refresh(app, &other, &token).await),
            refusal(400, "invalid_grant", "refresh_token")
        );
        let more = asking(&token, "admin.manage").await;
        assert_eq!(refused(more), refusal(400, "invalid_scope", "scope"));
        let narrow = asking(&token, "phonenumber.read").await.expect(200);
        assert_eq!(narrow["scopes"], json!(["phonenumber.read"]));
        let wide = asking(&narrow, "phonenumber.manage").await;
        assert_eq!(refused(wide), refusal(400, "invalid_scope", "scope"));
        assert_eq!(
            refresh(app, &client, &narrow).await.expect(200)["scopes"],
            json!(["phonenumber.read"])
        );
        // An access token is no refresh token.
        let fields = [("grant_type", "refresh_token"), ("refresh_token", secret(&narrow))];
        let answer = grant(app, &client, &fields).await;
        assert_eq!(refused(answer), refusal(400, "invalid_grant", "refresh_token"));
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

#[test]
fn a_carrier_makes_tokens_for_its_sub_partners_alone() {
    check(async |app| {
        let make = async |token: &str, sid: Uuid, fields: &[(&str, &str)]| {
            let path = format!("{TOKEN}/{sid}");
            Answer::to(form(app.anonymous(Method::POST, &path).bearer_auth(token), fields)).await
        };
        let fields = [
            ("scope", "phonenumber.read"),
            ("name", "for the child"),
            ("access_token_expires_in", "60"),
        ];
        let token = make(&app.token, app.child.sid, &fields).await.expect(200);
        assert_eq!(
            (&token["partner_sid"], &token["name"]),
            (&json!(app.child.sid), &json!("for the child"))
        );
        assert_eq!(
            (&token["scopes"], &token["client_id"]),
            (&json!(["phonenumber.read"]), &Value::Null)
        );
        let me = whoami(app, secret(&token)).await.expect(200);
        assert_eq!(me["partner"]["partner_sid"], json!(app.child.sid));
        for sid in [app.partner.sid, app.stranger.sid, Uuid::new_v4()] {
            make(&app.token, sid, &fields).await.expect_error(404, "no item error");
        }
        let up = app.token(app.child.sid, &[Scope::OauthCreate]);
        make(&up, app.partner.sid, &[]).await.expect_error(404, "no item error");
        // Without any body at all; and no more than the caller holds.
        let small = app.token(app.partner.sid, &[Scope::OauthCreate, Scope::PhonenumberRead]);
        let path = format!("{TOKEN}/{}", app.child.sid);
        let token = app.anonymous(Method::POST, &path).bearer_auth(&small);
        let token = Answer::to(token).await.expect(200);
        assert_eq!(token["scopes"], json!(["oauth.create", "phonenumber.read"]));
        let more = make(&small, app.child.sid, &[("scope", "phonenumber.manage")]).await;
        assert_eq!(refused(more), refusal(400, "invalid_scope", "scope"));
        set(app, app.child.sid, |child| {
            child.available_scopes = [Scope::PhonenumberRead].into_iter().collect()
        })
        .await;
        let more = make(&small, app.child.sid, &[("scope", "oauth.create")]).await;
        assert_eq!(refused(more), refusal(400, "invalid_scope", "scope"));
    });
}

#[test]
fn what_else_is_sent_for_a_sub_partners_token_is_checked() {
    check(async |app| {
        let own = client(app, &app.partner, &Scope::ALL).await;
        let strangers = client(app, &app.stranger, &Scope::ALL).await;
        let path = format!("{TOKEN}/{}", app.child.sid);
        let make = async |fields: &[(&str, &str)]| {
            Answer::to(form(app.request(Method::POST, &path), fields)).await
        };
        let by = |client: &(String, String)| client.clone();
        let (id, secret) = by(&own);
        let token =
            make(&[CLIENT_CREDENTIALS, ("client_id", &id), ("client_secret", &secret)]).await;
        assert_eq!(token.expect(200)["client_id"], json!(id));
        let wrong = make(&[("client_id", &id), ("client_secret", "x")]).await;
        assert_eq!(refused(wrong), refusal(401, "invalid_client", ""));
        let lacking = make(&[("client_id", &id)]).await;
        assert_eq!(refused(lacking), refusal(401, "invalid_client", ""));
        let (id, secret) = by(&strangers);
        let foreign = make(&[("client_id", &id), ("client_secret", &secret)]).await;
        assert_eq!(refused(foreign), refusal(400, "unauthorized_client", "client_id"));
        let unknown = make(&[("grant_type", "x")]).await;
        assert_eq!(refused(unknown), refusal(400, "unsupported_grant_type", "grant_type"));
    });
}

#[test]
fn a_token_is_renamed_and_its_scopes_shrink() {
    check(async |app| {
        let client = client(app, &app.child, &Scope::DEFAULT).await;
        let token = grant(app, &client, &[CLIENT_CREDENTIALS]).await.expect(200);
        let path = format!("/core/v2/oauth/tokens/{}", token["token_sid"].as_str().unwrap());
        let mut shown = token.clone();
        shown["access_token"] = Value::Null;
        assert_eq!(app.get(&path).await.expect(200), shown);
        // What was read can be sent back.
        assert_eq!(app.patch(&path, &shown).await.expect(200), shown);
        let changes = json!({"name": "renamed", "scopes": ["phonenumber.manage"]});
        let changed = app.patch(&path, &changes).await.expect(200);
        assert_eq!((&changed["name"], &changed["scopes"]), (&changes["name"], &changes["scopes"]));
        for scopes in [json!(["phonenumber.manage", "oauth.manage"]), json!(["x"]), Value::Null] {
            let answer = app.patch(&path, &json!({"scopes": scopes})).await;
            assert_eq!(answer.expect_error(422, "object validation error"), ["scopes"]);
        }
        let cleared = app.patch(&path, &json!({"name": null, "scopes": []})).await.expect(200);
        assert_eq!((&cleared["name"], &cleared["scopes"]), (&Value::Null, &json!([])));
        let read = app.anonymous(Method::GET, &app.child.code_path()).bearer_auth(secret(&token));
        Answer::to(read).await.expect_error(403, "forbidden");
        let stranger = format!("/core/v2/oauth/tokens/{}", app.stranger.token_sid);
        app.patch(&stranger, &changes).await.expect_error(404, "no item error");
    });
}

async fn revoke(app: &App, bearer: &str, fields: &[(&str, &str)]) -> Answer {
    Answer::to(form(app.anonymous(Method::POST, REVOKE).bearer_auth(bearer), fields)).await
}

#[test]
fn a_token_is_revoked_by_whoever_reaches_it() {
    check(async |app| {
        let client = client(app, &app.child, &Scope::DEFAULT).await;
        let fresh = async || grant(app, &client, &[CLIENT_CREDENTIALS]).await.expect(200);
        let child = fresh().await;
        let hint = [("token", secret(&child)), ("token_type_hint", "access_token")];
        // A stranger learns nothing, and does nothing.
        let stranger = app.token(app.stranger.sid, &[Scope::OauthManage]);
        let answer = revoke(app, &stranger, &hint).await;
        assert_eq!((answer.status, &*answer.text), (204, ""));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        whoami(app, secret(&child)).await.expect(200);
        let answer = revoke(app, &app.token, &hint).await;
        assert_eq!((answer.status, &*answer.text), (204, ""));
        ends(app, secret(&child)).await;
        // The second time, and for what is unknown.
        for token in [secret(&child), "x", "a.b.c", &Uuid::new_v4().to_string()] {
            assert_eq!(revoke(app, &app.token, &[("token", token)]).await.status, 204);
        }
        // Itself, with no body and no content type.
        let own = fresh().await;
        let request = app.anonymous(Method::POST, REVOKE).bearer_auth(secret(&own));
        assert_eq!(Answer::to(request).await.status, 204);
        ends(app, secret(&own)).await;
        let poor = app.token(app.child.sid, &[Scope::OauthCreate]);
        revoke(app, &poor, &[]).await.expect_error(403, "forbidden");
    });
}

#[test]
fn revoking_a_refresh_token_ends_its_family() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let first = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let second = refresh(app, &client, &first).await.expect(200);
        let other = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let fields = [("token", second["refresh_token"].as_str().unwrap())];
        assert_eq!(revoke(app, &app.token, &fields).await.status, 204);
        ends(app, secret(&first)).await;
        ends(app, secret(&second)).await;
        whoami(app, secret(&other)).await.expect(200);
        let answer = refresh(app, &client, &second).await;
        assert_eq!(refused(answer), refusal(400, "invalid_grant", "refresh_token"));
    });
}

#[test]
fn a_client_revokes_its_own_tokens_whatever_its_scopes() {
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
        let fields = [("token", secret(&token))];
        assert_eq!(by(&other, &fields).await.status, 204);
        whoami(app, secret(&token)).await.expect(200);
        assert_eq!(by(&own, &fields).await.status, 204);
        ends(app, secret(&token)).await;
        let token = fresh().await;
        assert_eq!(by(&manager, &[("token", secret(&token))]).await.status, 204);
        ends(app, secret(&token)).await;
        let nobody = (own.0.clone(), "wrong".to_owned());
        assert_eq!(refused(by(&nobody, &fields).await), refusal(401, "invalid_client", ""));
        assert_eq!(refused(by(&own, &[]).await), refusal(400, "invalid_request", "token"));
        let empty = app.anonymous(Method::POST, REVOKE).header("authorization", "Basic Og==");
        Answer::to(empty).await.expect_error(401, "unauthorized");
    });
}

#[test]
fn a_token_of_another_system_is_remembered_as_revoked_until_it_ends() {
    check(async |app| {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let foreign = |sub: Uuid, jti: &str, exp: i64| {
            let claims = json!({"sub": sub, "scope": "phonenumber.read", "iat": now, "exp": exp, "jti": jti});
            encode(&Header::default(), &claims, &key).unwrap()
        };
        let (far, jti) = (9_000_000_000_000, Uuid::new_v4().to_string());
        let tokens = [
            foreign(app.child.sid, "any string", now + 600),
            foreign(app.child.sid, &jti, far),
            // A sid of a token of ours, of another partner.
            foreign(app.child.sid, &app.stranger.token_sid.to_string(), now + 600),
        ];
        let stranger = foreign(app.stranger.sid, "its", now + 600);
        for token in tokens.iter().chain([&stranger]) {
            let me = whoami(app, token).await.expect(200);
            assert_eq!(me["token"], Value::Null);
            assert_eq!(revoke(app, &app.token, &[("token", token)]).await.status, 204);
        }
        for token in &tokens {
            ends(app, token).await;
            assert_eq!(revoke(app, &app.token, &[("token", token)]).await.status, 204);
        }
        whoami(app, &stranger).await.expect(200);
        let (base, server) = app.second_instance().await;
        let request = reqwest::Client::new().get(format!("{base}/core/v2/oauth/whoami"));
        Answer::to(request.bearer_auth(&tokens[0])).await.expect_error(401, "unauthorized");
        server.stop(false).await;
        let kept: i64 = sqlx::query_scalar("select count(*) from revoked_tokens")
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
        assert_eq!(kept, 3);
        let its_own: OauthToken =
            store::get(&mut app.connection().await, &Actor::operator(), app.stranger.token_sid)
                .await
                .unwrap()
                .object;
        assert!(its_own.date_expiration_access_token > OffsetDateTime::now_utc());
    });
}

#[test]
fn the_last_access_is_written_behind_without_version_or_history() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let token = grant(app, &client, &[CLIENT_CREDENTIALS]).await.expect(200);
        let token_sid: Uuid = token["token_sid"].as_str().unwrap().parse().unwrap();
        let path = format!("/core/v2/oauth/tokens/{token_sid}");
        let (base, server) = app.second_instance().await;
        let request = reqwest::Client::new().get(format!("{base}/core/v2/oauth/whoami"));
        Answer::to(request.bearer_auth(secret(&token))).await.expect(200);
        assert_eq!(app.get(&path).await.expect(200)["date_last_accessed"], Value::Null);
        // An instance that stops writes down what it knows.
        server.stop(true).await;
        let started = Instant::now();
        let shown = loop {
            let shown = app.get(&path).await.expect(200);
            if shown["date_last_accessed"] != Value::Null {
                break shown;
            }
            assert!(started.elapsed() < Duration::from_secs(20));
            sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(shown["ip_last_accessed"], "127.0.0.1");
        assert!(shown["date_last_accessed"].as_str().unwrap().ends_with(":00.000Z"), "{shown}");
        assert_eq!(app.version(token_sid).await, 1);
    });
}

#[test]
fn no_secret_is_kept_or_shown_again() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let token = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let renewed = refresh(app, &client, &token).await.expect(200);
        let mut everything = String::new();
        for table in ["partners", "oauth_clients", "oauth_tokens", "partner_logins", "history"] {
            let rows = format!("select coalesce(string_agg(t::text, ' '), '') from {table} t");
            everything += &sqlx::query_scalar::<_, String>(AssertSqlSafe(rows))
                .fetch_one(&mut app.connection().await)
                .await
                .unwrap();
        }
        let secrets = [
            client.1.as_str(),
            PASSWORD,
            secret(&token),
            secret(&renewed),
            token["refresh_token"].as_str().unwrap(),
            renewed["refresh_token"].as_str().unwrap(),
        ];
        for secret in secrets {
            assert!(!everything.contains(secret), "{secret}");
        }
        let history = sqlx::query_scalar("select string_agg(entry, ' ') from history");
        let history: String = history.fetch_one(&mut app.connection().await).await.unwrap();
        for trace in ["argon2", "_hash"] {
            assert!(!history.contains(trace), "{trace}");
        }
        let hashes: Vec<String> = sqlx::query_scalar(
            "select secret_hash from oauth_clients union all select password_hash from partner_logins",
        )
        .fetch_all(&mut app.connection().await)
        .await
        .unwrap();
        assert_eq!(hashes.len(), 2);
        assert!(hashes.iter().all(|hash| hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")));
        let path = format!("/core/v2/oauth/tokens/{}", token["token_sid"].as_str().unwrap());
        let shown = app.get(&path).await.expect(200);
        assert_eq!((&shown["access_token"], &shown["refresh_token"]), (&Value::Null, &Value::Null));
        // Basic as text, in no log or table either.
        let basic = BASE64_STANDARD.encode(format!("{}:{}", client.0, client.1));
        assert!(!everything.contains(&basic));
    });
}
