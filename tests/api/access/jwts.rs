//! JWTs: when they become valid, and the names of algorithms.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE;
use clap::Parser;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use shortline::auth::Keys;
use shortline::settings::Settings;

use super::{claims, hs256, key_file, now, status};
use crate::support::{SECRET, check, check_with, wait_until};

#[test]
fn a_token_is_accepted_from_its_nbf_on_although_it_was_sent_before() {
    check(async |app| {
        let mut claims = claims(app);
        let begin = now() + 2;
        claims["nbf"] = json!(begin);
        let token = hs256(&claims);
        assert_eq!(status(app, &token).await, 401);
        wait_until("the token is valid", async || now() >= begin).await;
        assert_eq!(status(app, &token).await, 200);
    });
}

#[test]
fn a_date_that_no_clock_reaches_is_never_reached() {
    check(async |app| {
        let with = |member: &str, number: &str| {
            let mut claims = claims(app);
            claims[member] = serde_json::from_str(number).unwrap();
            hs256(&claims)
        };
        for number in ["1e400", "1e300", "99999999999999999999"] {
            assert_eq!(status(app, &with("nbf", number)).await, 401, "{number}");
        }
        for number in ["-1e400", "-1e300", "0", "-0.5"] {
            assert_eq!(status(app, &with("nbf", number)).await, 200, "{number}");
            assert_eq!(status(app, &with("exp", number)).await, 401, "{number}");
        }
        assert_eq!(status(app, &with("exp", "1e400")).await, 401);
        // A second that has begun is not over.
        let next = format!("{}.25", now() + 1);
        assert_eq!(status(app, &with("nbf", &next)).await, 401);
    });
}

/// A token that is signed with Ed25519, with that algorithm in its header.
fn ed25519(claims: &Value, algorithm: &str) -> String {
    let part = |part: Value| URL_SAFE.encode(part.to_string());
    let signed = format!("{}.{}", part(json!({"alg": algorithm})), part(claims.clone()));
    let key = EncodingKey::from_ed_pem(include_bytes!("../keys/ed25519.pem")).unwrap();
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::EdDSA).unwrap();
    format!("{signed}.{signature}")
}

#[test]
fn ed25519_is_a_name_of_eddsa() {
    check_with(&["--jwt-keys", &key_file("ed25519.pub.pem")], async |app| {
        for (name, expected) in
            [("Ed25519", 200), ("EdDSA", 200), ("Ed448", 401), ("ed25519", 401), ("HS256", 401)]
        {
            assert_eq!(status(app, &ed25519(&claims(app), name)).await, expected, "{name}");
        }
    });
    // A set can contain keys of types and for uses that Shortline does not know.
    let mut set: Value = serde_json::from_str(include_str!("../keys/jwks.json")).unwrap();
    let keys = set["keys"].as_array_mut().unwrap();
    for key in &mut *keys {
        if key["crv"] == "Ed25519" {
            key["alg"] = json!("Ed25519");
        }
    }
    keys.push(json!({"kty": "OKP", "crv": "X25519", "x": "AA", "use": "enc"}));
    keys.push(json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set.to_string()).unwrap();
    check_with(&["--jwt-keys", file.path().to_str().unwrap()], async |app| {
        for name in ["Ed25519", "EdDSA"] {
            assert_eq!(status(app, &ed25519(&claims(app), name)).await, 200, "{name}");
        }
    });
}

#[test]
fn a_newline_behind_a_secret_is_no_part_of_it() {
    check(async |app| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let secret = format!("{SECRET}\r\n");
        std::fs::write(file.path(), &secret).unwrap();
        for (flag, value) in [
            ("--jwt-secret", &*secret),
            ("--jwt-secret", SECRET),
            ("--jwt-secret-file", file.path().to_str().unwrap()),
        ] {
            let keys = Keys::from_settings(&Settings::parse_from(["shortline", flag, value]));
            assert!(keys.unwrap().verify(&hs256(&claims(app))).is_some(), "{flag} {value:?}");
        }
    });
}
