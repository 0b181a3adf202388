//! Bearer tokens: every kind that is good, every kind that is not, and how soon a change holds.

use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::{Actor, Scope};
use shortline::oauth::OauthToken;
use shortline::partners::{Partner, Status};
use shortline::settings::TokenFormat;
use shortline::store;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::helpers::{Answer, App, SECRET, check, check_with};

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

#[test]
fn without_a_good_token_it_is_401() {
    check(async |app| {
        let with = |member: &str, value: Value| {
            let mut claims = claims(app);
            claims[member] = value;
            hs256(&claims)
        };
        let without = |member: &str| {
            let mut claims = claims(app);
            claims.as_object_mut().unwrap().remove(member);
            hs256(&claims)
        };
        assert_eq!(status(app, &hs256(&claims(app))).await, 200);
        let good = hs256(&claims(app));
        let (head, tail) = good.split_once('.').unwrap();
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
        let other_key = EncodingKey::from_secret(b"another secret, also of 32 bytes or more");
        let public_as_secret = EncodingKey::from_secret(include_bytes!("keys/rsa.pub.pem"));
        let rsa = EncodingKey::from_rsa_pem(include_bytes!("keys/rsa.pem")).unwrap();
        let bad = [
            ("expired", with("exp", json!(now()))),
            ("expired long ago", with("exp", json!(1))),
            ("without exp", without("exp")),
            ("without iat", without("iat")),
            ("without sub", without("sub")),
            ("exp is text", with("exp", json!("tomorrow"))),
            ("iat is text", with("iat", json!("yesterday"))),
            ("not yet", with("nbf", json!(now() + 30))),
            ("sub is no sid", with("sub", json!("me"))),
            ("unknown partner", with("sub", json!(Uuid::new_v4()))),
            ("another key", encode(&Header::default(), &claims(app), &other_key).unwrap()),
            ("another algorithm of the same secret", {
                let key = EncodingKey::from_secret(SECRET.as_bytes());
                encode(&Header::new(Algorithm::HS512), &claims(app), &key).unwrap()
            }),
            (
                "a public key as the secret",
                encode(&Header::default(), &claims(app), &public_as_secret).unwrap(),
            ),
            (
                "an unconfigured algorithm",
                encode(&Header::new(Algorithm::RS256), &claims(app), &rsa).unwrap(),
            ),
            ("an extension that must be understood", {
                let header = Header { crit: Some(vec!["x".to_owned()]), ..Header::default() };
                encode(&header, &claims(app), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
            }),
            ("no signature", format!("{none}.{}.", tail.split('.').next().unwrap())),
            ("a changed head", format!("{none}.{tail}")),
            ("a changed signature", format!("{good}x")),
            ("two parts", head.to_owned() + ".x"),
            ("four parts", format!("{good}.x")),
            ("an unknown opaque token", Uuid::new_v4().to_string()),
            ("no kind of token", "secret".to_owned()),
            ("a blank", "a b".to_owned()),
        ];
        for (what, token) in bad {
            let answer = Answer::to(
                app.anonymous(Method::GET, &app.partner.code_path()).bearer_auth(&token),
            )
            .await;
            assert_eq!(
                answer.header("www-authenticate"),
                Some(r#"Bearer error="invalid_token""#),
                "{what}"
            );
            answer.expect_error(401, "unauthorized");
        }
        for header in ["", "Bearer", "Basic Og==", "Basic", "Token x", "bearer"] {
            let request = app
                .anonymous(Method::GET, &app.partner.code_path())
                .header("authorization", header);
            let answer = Answer::to(request).await;
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{header}");
            answer.expect_error(401, "unauthorized");
        }
        let in_query = format!("{}?access_token={good}", app.partner.code_path());
        Answer::to(app.anonymous(Method::GET, &in_query)).await.expect_error(401, "unauthorized");
        let scheme = app
            .anonymous(Method::GET, &app.partner.code_path())
            .header("authorization", format!("bEARER {good}"));
        Answer::to(scheme).await.expect(200);
    });
}

#[test]
fn a_jwt_of_another_system_is_as_good_as_ours() {
    check(async |app| {
        for extra in [
            json!({"jti": "any string"}),
            json!({"jti": Uuid::new_v4()}),
            json!({"aud": ["x"], "iss": "y"}),
        ] {
            let mut claims = claims(app);
            claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            assert_eq!(status(app, &hs256(&claims)).await, 200, "{claims}");
        }
        let mut claims = claims(app);
        claims["iat"] = json!(now() as f64 - 0.5);
        claims["nbf"] = json!(now() as f64 - 0.5);
        claims["exp"] = json!(now() as f64 + 60.5);
        claims["scope"] = json!("made.up phonenumber.read");
        assert_eq!(status(app, &hs256(&claims)).await, 200, "{claims}");
    });
}

fn key_file(name: &str) -> String {
    format!("{}/tests/api/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn public_keys_verify_what_their_private_keys_signed() {
    let signers = [
        (
            "ed",
            Algorithm::EdDSA,
            "ed25519",
            EncodingKey::from_ed_pem(include_bytes!("keys/ed25519.pem")),
        ),
        ("ec", Algorithm::ES256, "p256", EncodingKey::from_ec_pem(include_bytes!("keys/p256.pem"))),
        ("rsa", Algorithm::RS256, "rsa", EncodingKey::from_rsa_pem(include_bytes!("keys/rsa.pem"))),
    ];
    let signers = signers.map(|(kid, algorithm, file, key)| (kid, algorithm, file, key.unwrap()));
    check_with(&["--jwt-keys", &key_file("jwks.json")], async |app| {
        for (kid, algorithm, _, key) in &signers {
            for (sent, expected) in [(Some(*kid), 200), (None, 200), (Some("other"), 401)] {
                let header = Header { kid: sent.map(str::to_owned), ..Header::new(*algorithm) };
                let token = encode(&header, &claims(app), key).unwrap();
                assert_eq!(status(app, &token).await, expected, "{kid} as {sent:?}");
            }
        }
        // The algorithm belongs to the key: RSA's kid does not let a shared secret in.
        let header = Header { kid: Some("rsa".to_owned()), ..Header::default() };
        let secret = EncodingKey::from_secret(include_bytes!("keys/rsa.pub.pem"));
        assert_eq!(status(app, &encode(&header, &claims(app), &secret).unwrap()).await, 401);
    });
    for (_, algorithm, file, key) in &signers {
        check_with(&["--jwt-keys", &key_file(&format!("{file}.pub.pem"))], async |app| {
            let token = encode(&Header::new(*algorithm), &claims(app), key).unwrap();
            assert_eq!(status(app, &token).await, 200, "{algorithm:?}");
        });
    }
}

#[test]
fn a_key_for_something_else_verifies_nothing() {
    let mut set: Value = serde_json::from_str(include_str!("keys/jwks.json")).unwrap();
    set["keys"][1]["use"] = json!("enc");
    set["keys"][2]["alg"] = json!("RSA-OAEP");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set.to_string()).unwrap();
    check_with(&["--jwt-keys", file.path().to_str().unwrap()], async |app| {
        let keys = [
            (Algorithm::EdDSA, EncodingKey::from_ed_pem(include_bytes!("keys/ed25519.pem")), 200),
            (Algorithm::ES256, EncodingKey::from_ec_pem(include_bytes!("keys/p256.pem")), 401),
            (Algorithm::RS256, EncodingKey::from_rsa_pem(include_bytes!("keys/rsa.pem")), 401),
        ];
        for (algorithm, key, expected) in keys {
            let token = encode(&Header::new(algorithm), &claims(app), &key.unwrap()).unwrap();
            assert_eq!(status(app, &token).await, expected, "{algorithm:?}");
        }
    });
}

#[test]
fn keys_that_cannot_work_stop_the_start() {
    let junk = key_file("ed25519.pem");
    for (flags, said) in [
        (
            vec![
                "--jwt-keys",
                &*key_file("rsa.pub.pem"),
                "--jwt-signing-key",
                &key_file("ed25519.pem"),
            ],
            "no public key for",
        ),
        (vec!["--jwt-keys", &junk], "no public key of RSA, P-256 or Ed25519"),
        (vec!["--jwt-keys", "/nonexistent"], "cannot read /nonexistent"),
        (
            vec!["--jwt-secret-file", &junk],
            "both SHORTLINE_JWT_SECRET and SHORTLINE_JWT_SECRET_FILE",
        ),
    ] {
        let refused = shortline::auth::Keys::from_settings(&crate::helpers::settings(&flags));
        let complaint = format!("{:#}", refused.err().unwrap());
        assert!(complaint.contains(said), "{complaint}");
    }
}

#[test]
fn of_two_authorization_headers_none_counts() {
    check(async |app| {
        let request = app.anonymous(Method::GET, &app.partner.code_path()).bearer_auth(&app.token);
        Answer::to(request.bearer_auth(&app.token)).await.expect_error(401, "unauthorized");
    });
}

#[test]
fn a_configured_issuer_and_audience_must_be_named() {
    check_with(&["--jwt-issuer", "us", "--jwt-audience", "api"], async |app| {
        for (extra, expected) in [
            (json!({"iss": "us", "aud": "api"}), 200),
            (json!({"iss": "us", "aud": ["x", "api"]}), 200),
            (json!({"iss": "us"}), 401),
            (json!({"aud": "api"}), 401),
            (json!({"iss": "them", "aud": "api"}), 401),
            (json!({"iss": "us", "aud": "x"}), 401),
        ] {
            let mut claims = claims(app);
            claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            assert_eq!(status(app, &hs256(&claims)).await, expected, "{claims}");
        }
        // Our own tokens name both.
        assert_eq!(status(app, &app.token).await, 200);
    });
}

/// A token of ours with a row, opaque or not.
async fn issue(app: &App, format: TokenFormat) -> (Uuid, String) {
    let settings = crate::helpers::settings(&[]);
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
    store::update_within(&mut app.connection().await, &Actor::operator(), sid, set).await.unwrap();
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
            store::update_within(
                &mut app.connection().await,
                &Actor::operator(),
                token_sid,
                revoke,
            )
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
        store::update_within(
            &mut app.connection().await,
            &Actor::operator(),
            app.partner.sid,
            narrow,
        )
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
        store::update_within(&mut app.connection().await, &Actor::operator(), token_sid, narrow)
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
