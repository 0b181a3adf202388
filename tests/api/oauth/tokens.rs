//! Tokens as objects: issued for a sub-partner, renamed, narrowed, last accessed.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use uuid::Uuid;

use super::{
    CLIENT_CREDENTIALS, TOKEN, access_token, client, error, form, grant, oauth_error, whoami,
};
use crate::support::{Answer, check, plain_client, snapshot, wait_at_most};

#[test]
fn a_partner_issues_tokens_only_for_its_descendants() {
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
        insta::assert_snapshot!(snapshot(app, &token), @r#"
        {
          "access_token": "[jwt]",
          "client_id": null,
          "date_created": "[date]",
          "date_expiration_access_token": "[date]",
          "date_expiration_refresh_token": null,
          "date_last_accessed": null,
          "expires_in": 60,
          "ip_last_accessed": null,
          "name": "for the child",
          "partner_sid": "0000000a-0000-4000-8000-000000000002",
          "refresh_token": null,
          "scope": "phonenumber.read",
          "scopes": ["phonenumber.read"],
          "token_sid": "[sid]",
          "token_type": "bearer"
        }
        "#);
        let me = whoami(app, access_token(&token)).await.expect(200);
        assert_eq!(me["partner"]["partner_sid"], json!(app.child.sid));
        for sid in [app.partner.sid, app.unrelated.sid, Uuid::new_v4()] {
            make(&app.token, sid, &fields).await.expect_error(404, "no item error");
        }
        let up = app.token(app.child.sid, &[Scope::OauthCreate]);
        make(&up, app.partner.sid, &[]).await.expect_error(404, "no item error");
        // An empty request gets the scopes that the caller has, and no more.
        let small = app.token(app.partner.sid, &[Scope::OauthCreate, Scope::PhonenumberRead]);
        let path = format!("{TOKEN}/{}", app.child.sid);
        let token = app.anonymous(Method::POST, &path).bearer_auth(&small);
        let token = Answer::to(token).await.expect(200);
        assert_eq!(token["scopes"], json!(["oauth.create", "phonenumber.read"]));
        let more = make(&small, app.child.sid, &[("scope", "phonenumber.manage")]).await;
        assert_eq!(oauth_error(more), error(400, "invalid_scope", "scope"));
        app.update_partner(app.child.sid, |child| {
            child.available_scopes = [Scope::PhonenumberRead].into_iter().collect()
        })
        .await;
        let more = make(&small, app.child.sid, &[("scope", "oauth.create")]).await;
        assert_eq!(oauth_error(more), error(400, "invalid_scope", "scope"));
    });
}

#[test]
fn client_credentials_in_a_sub_partner_request_are_checked() {
    check(async |app| {
        let own = client(app, &app.partner, &Scope::ALL).await;
        let foreign = client(app, &app.unrelated, &Scope::ALL).await;
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
        assert_eq!(oauth_error(wrong), error(401, "invalid_client", ""));
        let lacking = make(&[("client_id", &id)]).await;
        assert_eq!(oauth_error(lacking), error(401, "invalid_client", ""));
        let (id, secret) = by(&foreign);
        let foreign = make(&[("client_id", &id), ("client_secret", &secret)]).await;
        assert_eq!(oauth_error(foreign), error(400, "unauthorized_client", "client_id"));
        let unknown = make(&[("grant_type", "x")]).await;
        assert_eq!(oauth_error(unknown), error(400, "unsupported_grant_type", "grant_type"));
    });
}

#[test]
fn a_token_that_was_just_issued_can_be_sent_back() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let mut issued = grant(app, &client, &[CLIENT_CREDENTIALS]).await.expect(200);
        issued["name"] = json!("sent back");
        let path = format!("/core/v2/oauth/tokens/{}", issued["token_sid"].as_str().unwrap());
        let token = app.patch(&path, &issued).await.expect(200);
        assert_eq!((&token["name"], &token["scopes"]), (&issued["name"], &issued["scopes"]));
    });
}

#[test]
fn a_token_can_be_renamed_and_narrowed() {
    check(async |app| {
        let client = client(app, &app.child, &Scope::DEFAULT).await;
        let token = grant(app, &client, &[CLIENT_CREDENTIALS]).await.expect(200);
        let path = format!("/core/v2/oauth/tokens/{}", token["token_sid"].as_str().unwrap());
        let mut shown = token.clone();
        shown["access_token"] = Value::Null;
        for member in ["expires_in", "scope"] {
            assert!(shown.as_object_mut().unwrap().remove(member).is_some());
        }
        assert_eq!(app.get(&path).await.expect(200), shown);
        // A response can be sent back as it is.
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
        let read =
            app.anonymous(Method::GET, &app.child.code_path()).bearer_auth(access_token(&token));
        Answer::to(read).await.expect_error(403, "forbidden");
        let unrelated = format!("/core/v2/oauth/tokens/{}", app.unrelated.token_sid);
        app.patch(&unrelated, &changes).await.expect_error(404, "no item error");
    });
}

#[test]
fn the_last_access_is_stored_later_without_a_new_version() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let token = grant(app, &client, &[CLIENT_CREDENTIALS]).await.expect(200);
        let token_sid: Uuid = token["token_sid"].as_str().unwrap().parse().unwrap();
        let path = format!("/core/v2/oauth/tokens/{token_sid}");
        let (base, server) = app.second_instance().await;
        let request = plain_client().get(format!("{base}/core/v2/oauth/whoami"));
        Answer::to(request.bearer_auth(access_token(&token))).await.expect(200);
        assert_eq!(app.get(&path).await.expect(200)["date_last_accessed"], Value::Null);
        // An instance stores pending access times when it stops.
        server.stop(true).await;
        let mut shown = Value::Null;
        wait_at_most(Duration::from_secs(20), "the access time is stored", async || {
            shown = app.get(&path).await.expect(200);
            shown["date_last_accessed"] != Value::Null
        })
        .await;
        assert_eq!(shown["ip_last_accessed"], "127.0.0.1");
        assert!(shown["date_last_accessed"].as_str().unwrap().ends_with(":00.000Z"), "{shown}");
        assert_eq!(app.version(token_sid).await, 1);
    });
}
