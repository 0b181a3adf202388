//! Bearer tokens: the kinds that are accepted and the kinds that are rejected.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Keys;
use uuid::Uuid;

use super::{claims, hs256, key_file, now, status};
use crate::support::{Answer, App, SECRET, check, check_with, settings};

/// Checks that each token is rejected as invalid; each has a description for the message.
async fn expect_invalid(app: &App, tokens: impl IntoIterator<Item = (&str, String)>) {
    for (description, token) in tokens {
        let request = app.anonymous(Method::GET, &app.partner.code_path()).bearer_auth(&token);
        let answer = Answer::to(request).await;
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, Some(r#"Bearer error="invalid_token""#), "{description}");
        answer.expect_error(401, "unauthorized");
    }
}

#[test]
fn jwts_with_invalid_claims_are_rejected() {
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
        let tokens = [
            ("expired", with("exp", json!(now()))),
            ("expired long ago", with("exp", json!(1))),
            ("without exp", without("exp")),
            ("without iat", without("iat")),
            ("without sub", without("sub")),
            ("exp is text", with("exp", json!("tomorrow"))),
            ("iat is text", with("iat", json!("yesterday"))),
            ("not yet valid", with("nbf", json!(now() + 30))),
            ("sub is not a sid", with("sub", json!("me"))),
            ("unknown partner", with("sub", json!(Uuid::new_v4()))),
        ];
        expect_invalid(app, tokens).await;
    });
}

#[test]
fn forged_and_malformed_tokens_are_rejected() {
    check(async |app| {
        let secret = EncodingKey::from_secret(SECRET.as_bytes());
        let other_secret = EncodingKey::from_secret(b"another secret, also of 32 bytes or more");
        let public_as_secret = EncodingKey::from_secret(include_bytes!("../keys/rsa.pub.pem"));
        let rsa = EncodingKey::from_rsa_pem(include_bytes!("../keys/rsa.pem")).unwrap();
        let critical = Header { crit: Some(vec!["x".to_owned()]), ..Header::default() };
        let sign = |header: &Header, key| encode(header, &claims(app), key).unwrap();
        let valid = hs256(&claims(app));
        let (head, tail) = valid.split_once('.').unwrap();
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
        let tokens = [
            ("another key", sign(&Header::default(), &other_secret)),
            ("another algorithm with the same key", sign(&Header::new(Algorithm::HS512), &secret)),
            ("a public key as the secret", sign(&Header::default(), &public_as_secret)),
            ("an unconfigured algorithm", sign(&Header::new(Algorithm::RS256), &rsa)),
            ("an unknown critical extension", sign(&critical, &secret)),
            ("no signature", format!("{none}.{}.", tail.split('.').next().unwrap())),
            ("a changed header", format!("{none}.{tail}")),
            ("a changed signature", format!("{valid}x")),
            ("two parts", head.to_owned() + ".x"),
            ("four parts", format!("{valid}.x")),
            ("an unknown opaque token", Uuid::new_v4().to_string()),
            ("neither a JWT nor a UUID", "secret".to_owned()),
            ("a blank", "a b".to_owned()),
        ];
        expect_invalid(app, tokens).await;
    });
}

#[test]
fn an_authorization_header_without_a_bearer_token_is_rejected() {
    check(async |app| {
        let path = app.partner.code_path();
        for header in ["", "Bearer", "Basic Og==", "Basic", "Token x", "bearer"] {
            let request = app.anonymous(Method::GET, &path).header("authorization", header);
            let answer = Answer::to(request).await;
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{header}");
            answer.expect_error(401, "unauthorized");
        }
        let valid = hs256(&claims(app));
        let in_query = app.anonymous(Method::GET, &format!("{path}?access_token={valid}"));
        Answer::to(in_query).await.expect_error(401, "unauthorized");
        // The scheme is compared without case.
        let scheme = app.anonymous(Method::GET, &path);
        let scheme = scheme.header("authorization", format!("bEARER {valid}"));
        Answer::to(scheme).await.expect(200);
    });
}

#[test]
fn a_jwt_signed_by_another_system_is_accepted() {
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

#[test]
fn public_keys_verify_jwts_signed_with_their_private_keys() {
    let signers = [
        (
            "ed",
            Algorithm::EdDSA,
            "ed25519",
            EncodingKey::from_ed_pem(include_bytes!("../keys/ed25519.pem")),
        ),
        (
            "ec",
            Algorithm::ES256,
            "p256",
            EncodingKey::from_ec_pem(include_bytes!("../keys/p256.pem")),
        ),
        (
            "rsa",
            Algorithm::RS256,
            "rsa",
            EncodingKey::from_rsa_pem(include_bytes!("../keys/rsa.pem")),
        ),
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
        // The key determines the algorithm: the kid of an RSA key does not enable HMAC.
        let header = Header { kid: Some("rsa".to_owned()), ..Header::default() };
        let secret = EncodingKey::from_secret(include_bytes!("../keys/rsa.pub.pem"));
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
fn keys_for_other_uses_verify_no_tokens() {
    let mut set: Value = serde_json::from_str(include_str!("../keys/jwks.json")).unwrap();
    set["keys"][1]["use"] = json!("enc");
    set["keys"][2]["alg"] = json!("RSA-OAEP");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set.to_string()).unwrap();
    check_with(&["--jwt-keys", file.path().to_str().unwrap()], async |app| {
        let keys = [
            (
                Algorithm::EdDSA,
                EncodingKey::from_ed_pem(include_bytes!("../keys/ed25519.pem")),
                200,
            ),
            (Algorithm::ES256, EncodingKey::from_ec_pem(include_bytes!("../keys/p256.pem")), 401),
            (Algorithm::RS256, EncodingKey::from_rsa_pem(include_bytes!("../keys/rsa.pem")), 401),
        ];
        for (algorithm, key, expected) in keys {
            let token = encode(&Header::new(algorithm), &claims(app), &key.unwrap()).unwrap();
            assert_eq!(status(app, &token).await, expected, "{algorithm:?}");
        }
    });
}

#[test]
fn unusable_keys_prevent_startup() {
    let junk = key_file("ed25519.pem");
    for (flags, expected) in [
        (
            vec![
                "--jwt-keys",
                &*key_file("rsa.pub.pem"),
                "--jwt-signing-key",
                &key_file("ed25519.pem"),
            ],
            "no public key for",
        ),
        (
            vec!["--jwt-keys", &junk],
            "SHORTLINE_JWT_KEYS: expected PEM blocks with the label `PUBLIC KEY`, found `PRIVATE KEY`",
        ),
        (vec!["--jwt-keys", "/nonexistent"], "cannot read /nonexistent"),
        (vec!["--jwt-secret-file", &junk], "SHORTLINE_JWT_SECRET_FILE` are both set; unset one"),
    ] {
        let rejected = Keys::from_settings(&settings(&flags));
        let message = format!("{:#}", rejected.err().unwrap());
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_key_file_with_another_block_prevents_startup() {
    const MISSPELT: &str = "line is missing or misspelt";
    let public = include_str!("../keys/ed25519.pub.pem");
    let private = include_str!("../keys/ed25519.pem");
    let certificate = public.replace("PUBLIC KEY", "CERTIFICATE");
    let (cut, _) = public.split_at(public.len() - 10);
    for (flag, text, expected) in [
        ("--jwt-keys", format!("{certificate}{public}"), "found `CERTIFICATE`"),
        ("--jwt-keys", format!("{public}{certificate}"), "found `CERTIFICATE`"),
        ("--jwt-keys", format!("{public}{cut}"), MISSPELT),
        ("--jwt-keys", format!("{public}{}", public.replace("-----B", "----B")), MISSPELT),
        ("--jwt-keys", format!("{public}{}", public.to_lowercase()), MISSPELT),
        ("--jwt-keys", "no block".to_owned(), "found none"),
        ("--jwt-signing-key", format!("{private}{public}"), "found [PRIVATE KEY, PUBLIC KEY]"),
        ("--jwt-signing-key", public.to_owned(), "found [PUBLIC KEY]"),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let settings = crate::support::settings(&[flag, file.path().to_str().unwrap()]);
        let message =
            format!("{:#}", shortline::auth::Keys::from_settings(&settings).err().unwrap());
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn several_public_keys_in_one_pem_file_verify_tokens() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let keys = concat!(
        "Text between the blocks is allowed.\n",
        include_str!("../keys/rsa.pub.pem"),
        include_str!("../keys/ed25519.pub.pem"),
    );
    std::fs::write(file.path(), keys).unwrap();
    check_with(&["--jwt-keys", file.path().to_str().unwrap()], async |app| {
        for (algorithm, key) in [
            (Algorithm::RS256, EncodingKey::from_rsa_pem(include_bytes!("../keys/rsa.pem"))),
            (Algorithm::EdDSA, EncodingKey::from_ed_pem(include_bytes!("../keys/ed25519.pem"))),
        ] {
            let token = encode(&Header::new(algorithm), &claims(app), &key.unwrap()).unwrap();
            assert_eq!(status(app, &token).await, 200, "{algorithm:?}");
        }
    });
}

#[test]
fn two_authorization_headers_are_rejected() {
    check(async |app| {
        let request = app.anonymous(Method::GET, &app.partner.code_path()).bearer_auth(&app.token);
        Answer::to(request.bearer_auth(&app.token)).await.expect_error(401, "unauthorized");
    });
}

#[test]
fn issuer_and_audience_must_match_when_configured() {
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
        // Our own tokens have both.
        assert_eq!(status(app, &app.token).await, 200);
    });
}

#[test]
fn the_jwt_header_cannot_choose_a_key_or_an_algorithm() {
    check_with(&["--jwt-keys", &key_file("rsa.pub.pem")], async |app| {
        let claims = claims(app);
        let whoami = async |token: &str| {
            let request = app.anonymous(Method::GET, "/core/v2/oauth/whoami").bearer_auth(token);
            Answer::to(request).await.status
        };
        let private = EncodingKey::from_rsa_pem(include_bytes!("../keys/rsa.pem")).unwrap();
        let good = encode(&Header::new(Algorithm::RS256), &claims, &private).unwrap();
        assert_eq!(whoami(&good).await, 200);

        // HS256 with the public key as the secret.
        for public in [
            &include_bytes!("../keys/rsa.pub.pem")[..],
            include_str!("../keys/rsa.pub.pem").trim_end().as_bytes(),
        ] {
            let forged =
                encode(&Header::default(), &claims, &EncodingKey::from_secret(public)).unwrap();
            assert_eq!(whoami(&forged).await, 401);
        }
        // Headers that select another algorithm or a key of the attacker.
        let own = EncodingKey::from_secret(b"a key of the attacker's own, 32 bytes or more");
        let (_, signed) = good.split_once('.').unwrap();
        for head in [
            json!({"alg": "none"}),
            json!({"alg": "None"}),
            json!({"alg": "nOnE", "typ": "JWT"}),
            json!({"alg": ""}),
            json!({"alg": null}),
            json!({"alg": ["RS256"]}),
            json!({"typ": "JWT"}),
            json!({"alg": "HS256"}),
            json!({"alg": "PS256"}),
            json!({"alg": "RS512"}),
        ] {
            let head = BASE64_URL_SAFE_NO_PAD.encode(head.to_string());
            for token in [
                format!("{head}.{signed}"),
                format!("{head}.{}.", signed.split('.').next().unwrap()),
            ] {
                assert_eq!(whoami(&token).await, 401, "{token}");
            }
        }
        let by_kid = |kid: &str| Header { kid: Some(kid.to_owned()), ..Header::default() };
        let kids =
            ["../../../../dev/null", "' or '1'='1", "x\0", "http://127.0.0.1/key", ""].map(by_kid);
        let elsewhere = [
            Header { jku: Some("http://127.0.0.1:1/jwks".to_owned()), ..Header::default() },
            Header { x5u: Some("http://127.0.0.1:1/cert".to_owned()), ..Header::default() },
        ];
        for head in kids.into_iter().chain(elsewhere) {
            for key in [&own, &EncodingKey::from_secret(b"")] {
                assert_eq!(whoami(&encode(&head, &claims, key).unwrap()).await, 401, "{head:?}");
            }
        }
    });
}

#[test]
fn a_token_outside_the_authorization_header_is_ignored() {
    check(async |app| {
        let path = app.partner.code_path();
        let token = &app.token;
        let basic = BASE64_STANDARD.encode(format!("{token}:"));
        let elsewhere = [
            app.anonymous(
                Method::GET,
                &format!("{path}?access_token={token}&token={token}&authorization=Bearer+{token}"),
            ),
            app.anonymous(Method::GET, &path)
                .header("cookie", format!("access_token={token}; token={token}")),
            app.anonymous(Method::GET, &path).header("x-access-token", token),
            app.anonymous(Method::GET, &path).header("x-api-key", token),
            app.anonymous(Method::GET, &path)
                .header("proxy-authorization", format!("Bearer {token}")),
            app.anonymous(Method::GET, &path).header("authorization", format!("Basic {basic}")),
            app.anonymous(Method::GET, &path).header("authorization", token),
            app.anonymous(Method::PATCH, &path).json(&json!({"access_token": token})),
        ];
        for request in elsewhere {
            Answer::to(request).await.expect_error(401, "unauthorized");
        }
    });
}
