//! Tokens as objects: made for a sub-partner, renamed, narrowed, last used.

use std::time::{Duration, Instant};

use actix_web::rt::time::sleep;
use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use uuid::Uuid;

use super::{
    CLIENT_CREDENTIALS, TOKEN, client, form, grant, refusal, refused, secret, set, whoami,
};
use crate::support::{Answer, check};

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
