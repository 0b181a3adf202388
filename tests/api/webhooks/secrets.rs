//! Secrets: shown once, stored encrypted, rotated; and the signatures that they make.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{endpoint, endpoint_with, path_of, sid_of};
use crate::operations::commands::shortline;
use crate::support::{Answer, ENDPOINTS, Received, SECRET, Sink, check};

/// HMAC-SHA256 after RFC 2104, apart from the library of the service.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64);
    let pad = |byte: u8| -> Vec<u8> {
        (0..64).map(|at| key.get(at).copied().unwrap_or_default() ^ byte).collect()
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

/// Whether one of the signatures of the delivery is that of the secret.
pub fn is_signed_by(received: &Received, secret: &Value) -> bool {
    let key = STANDARD.decode(secret.as_str().unwrap().strip_prefix("whsec_").unwrap()).unwrap();
    let (id, timestamp) = (received.header("webhook-id"), received.header("webhook-timestamp"));
    let text = format!("{id}.{timestamp}.{}", received.text);
    let expected = format!("v1,{}", STANDARD.encode(hmac(&key, text.as_bytes())));
    received.header("webhook-signature").split(' ').any(|signature| signature == expected)
}

#[test]
fn a_secret_is_in_the_response_and_nowhere_else() {
    check(async |app| {
        let key = ("idempotency-key", "once");
        let create = || {
            let request = app.request(Method::POST, ENDPOINTS).header(key.0, key.1);
            Answer::to(request.json(&json!({"url": "https://example.com/", "ed25519": true})))
        };
        let (one, other) = (create().await.expect(200), create().await.expect(200));
        assert_ne!(one["endpoint_sid"], other["endpoint_sid"], "the response was stored");
        let path = path_of(&one);
        let rotated = app.request(Method::POST, &format!("{path}/rotate")).header(key.0, "rotate");
        let rotated = Answer::to(rotated.json(&json!({}))).await.expect(200);
        let secrets = [&one["secret"], &other["secret"], &rotated["secret"]];
        let mut seen = vec![
            app.get(&path).await.text,
            app.get(ENDPOINTS).await.text,
            app.get(&format!("{path}/history")).await.text,
            app.patch(&path, &json!({"ordering": "none"})).await.text,
        ];
        for table in ["event_endpoints", "history", "idempotency_keys"] {
            let rows = format!("select coalesce(string_agg(t::text, ' '), '') from {table} as t");
            let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(rows));
            let rows: String = rows.fetch_one(&mut app.connection().await).await.unwrap();
            seen.push(rows);
        }
        for secret in secrets {
            let secret = secret.as_str().unwrap().strip_prefix("whsec_").unwrap();
            let bytes = STANDARD.decode(secret).unwrap();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            for text in &seen {
                assert!(!text.contains(secret) && !text.contains(&hex), "{text}");
            }
        }
        assert!(one["public_key"].as_str().unwrap().starts_with("whpk_"));
        assert_ne!(one["public_key"], rotated["public_key"]);
    });
}

#[test]
fn deliveries_are_signed_by_both_secrets_during_the_grace_period() {
    check(async |app| {
        let (sink, endpoint) = endpoint(app).await;
        let test = format!("{}/test", path_of(&endpoint));
        let rotate = format!("{}/rotate", path_of(&endpoint));
        let delivered = async |count: usize| {
            app.post(&test, &json!({})).await.expect(200);
            sink.wait_for(count).await.pop().unwrap()
        };
        let first = &endpoint["secret"];
        assert!(is_signed_by(&delivered(1).await, first));

        let rotated = app.post(&rotate, &json!({})).await.expect(200);
        assert!(rotated["date_old_secret_expires"].is_string());
        let second = &rotated["secret"];
        let received = delivered(2).await;
        assert!(is_signed_by(&received, first) && is_signed_by(&received, second));

        let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let rotated = app.post(&rotate, &json!({"grace_hours": 0, "secret": own})).await;
        let rotated = rotated.expect(200);
        assert_eq!(
            (&rotated["secret"], &rotated["date_old_secret_expires"]),
            (&json!(own), &json!(null))
        );
        let received = delivered(3).await;
        assert!(is_signed_by(&received, &json!(own)));
        assert!(!is_signed_by(&received, second) && !is_signed_by(&received, first));

        app.post(&rotate, &json!({"grace_hours": 1})).await.expect(200);
        let expire = "update event_endpoints set date_old_secret_expires = now()
                      where date_old_secret_expires is not null";
        // The history does not contain it.
        let original = "update event_endpoints
                        set date_old_secret_expires = date_secret_changed + interval '1 hour'
                        where date_old_secret_expires is not null";
        let mut connection = app.connection().await;
        sqlx::query(expire).execute(&mut connection).await.unwrap();
        let received = delivered(4).await;
        assert!(!is_signed_by(&received, &json!(own)), "the old secret has expired");
        sqlx::query(original).execute(&mut connection).await.unwrap();
    });
}

#[test]
fn an_ed25519_key_is_added_and_removed_by_rotation() {
    check(async |app| {
        let sink = Sink::start().await;
        let endpoint = endpoint_with(app, &sink, json!({})).await;
        let rotate = format!("{}/rotate", path_of(&endpoint));
        let rotated = async |body: Value| app.post(&rotate, &body).await.expect(200);
        let added = rotated(json!({"ed25519": true})).await;
        assert!(added["public_key"].is_string());
        app.post(&format!("{}/test", path_of(&endpoint)), &json!({})).await.expect(200);
        let signatures = sink.wait_for(1).await[0].header("webhook-signature").to_owned();
        assert_eq!(signatures.matches("v1,").count(), 2);
        assert_eq!(signatures.matches("v1a,").count(), 1);
        assert!(rotated(json!({})).await["public_key"].is_string());
        assert_eq!(rotated(json!({"ed25519": false})).await["public_key"], json!(null));
    });
}

#[test]
fn the_key_of_secrets_is_changed_while_deliveries_go_on() {
    const NEW: &str = "another key of secrets, of 32 bytes at least";
    check(async |app| {
        let (sink, endpoint) = endpoint(app).await;
        let test = format!("{}/test", path_of(&endpoint));
        let rotating = ["--events-key-previous", NEW];
        let (during, server) = app.second_instance_with(&rotating).await;
        let send = async |base: &str| {
            let request = app.request_to(Method::POST, &format!("{base}{test}"));
            Answer::to(request.bearer_auth(&app.token).json(&json!({}))).await
        };
        let reencrypt = |keys: &[&str]| {
            let command = ["events", "reencrypt", "--json"];
            shortline(&app.database, &[&command[..], keys].concat())
        };
        send(&during).await.expect(200);
        // Without the key before, nothing is changed.
        let failed = reencrypt(&["--events-key", NEW]);
        let error = String::from_utf8(failed.stderr).unwrap();
        assert!(!failed.status.success() && error.contains(sid_of(&endpoint)), "{error}");
        send(&app.base).await.expect(200);
        let keys = ["--events-key", NEW, "--events-key-previous", SECRET];
        for _ in 0..2 {
            let done = reencrypt(&keys);
            let text = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
            assert!(done.status.success() && text.contains("\"endpoints\":"), "{text}");
        }
        let answer = send(&app.base).await.expect(409);
        assert!(answer.to_string().contains("another SHORTLINE_EVENTS_KEY"), "{answer}");
        send(&during).await.expect(200);
        // The secret is the same, and the history has one entry of the change.
        let received = sink.wait_for(3).await;
        assert!(received.iter().all(|received| is_signed_by(received, &endpoint["secret"])));
        let history = app.get(&format!("{}/history", path_of(&endpoint))).await.expect(200);
        assert_eq!(history["total"], 2);
        assert_eq!(history["items"][1]["changes"], json!({}));
        assert!(history["items"][1]["operator"].is_string());
        server.stop(false).await;
    });
}
