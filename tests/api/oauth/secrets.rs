//! Secrets: absent from the database, from the log and from later responses.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use shortline::auth::Scope;
use sqlx::AssertSqlSafe;

use super::{
    BY_PASSWORD, CLIENT_CREDENTIALS, PASSWORD, REVOKE, TOKEN, access_token, client, form, grant,
    login, refresh,
};
use crate::operations::log::log_of;
use crate::support::{Answer, App, SECRET, check, plain_client};

/// The rows of all tables as text.
async fn all_rows(app: &App) -> String {
    let mut connection = app.connection().await;
    let tables = "select tablename::text from pg_tables where schemaname = 'public'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
    assert!(tables.len() >= 9, "{tables:?}");
    let mut text = String::new();
    for table in tables {
        let rows = format!("select coalesce(string_agg(t::text, ' '), '') from {table} t");
        text += &sqlx::query_scalar::<_, String>(AssertSqlSafe(rows))
            .fetch_one(&mut connection)
            .await
            .unwrap();
    }
    text
}

#[test]
fn secrets_are_neither_stored_nor_returned_again() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let token = grant(app, &client, &BY_PASSWORD).await.expect(200);
        let renewed = refresh(app, &client, &token).await.expect(200);
        let everything = all_rows(app).await;
        let secrets = [
            client.1.as_str(),
            PASSWORD,
            access_token(&token),
            access_token(&renewed),
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
            "select secret_hash from oauth_clients
             union all select password_hash from partner_logins",
        )
        .fetch_all(&mut app.connection().await)
        .await
        .unwrap();
        assert_eq!(hashes.len(), 2);
        assert!(hashes.iter().all(|hash| hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")));
        let path = format!("/core/v2/oauth/tokens/{}", token["token_sid"].as_str().unwrap());
        let shown = app.get(&path).await.expect(200);
        assert_eq!((&shown["access_token"], &shown["refresh_token"]), (&Value::Null, &Value::Null));
        // The encoded form of the Basic credentials is absent as well.
        let basic = BASE64_STANDARD.encode(format!("{}:{}", client.0, client.1));
        assert!(!everything.contains(&basic));
    });
}

/// A session of a client on another instance, and the secrets that it sends and receives.
struct Session<'a> {
    base: &'a str,
    client: &'a (String, String),
    secrets: Vec<String>,
}

impl Session<'_> {
    async fn post(&self, path: &str, bearer: Option<&str>, fields: &[(&str, &str)]) -> Answer {
        let request = plain_client().post(format!("{}{path}", self.base));
        let (id, secret) = self.client;
        let request = match bearer {
            Some(token) => request.bearer_auth(token),
            None => request.basic_auth(id, Some(secret)),
        };
        Answer::to(form(request, fields)).await
    }

    /// Gets a token, uses it, refreshes it twice with one refresh token and revokes it.
    async fn use_grant(&mut self, fields: &[(&str, &str)]) {
        let token = self.post(TOKEN, None, fields).await.expect(200);
        let text = |member: &str| token[member].as_str().map(str::to_owned);
        let access = text("access_token").unwrap();
        let get = plain_client().get(format!("{}/core/v2/oauth/whoami", self.base));
        Answer::to(get.bearer_auth(&access)).await.expect(200);
        if let Some(refresh) = text("refresh_token") {
            let mut newest = refresh.clone();
            for _ in 0..2 {
                let fields = [("grant_type", "refresh_token"), ("refresh_token", &*newest)];
                let renewed = self.post(TOKEN, None, &fields).await.expect(200);
                let secret = |member: &str| renewed[member].as_str().unwrap().to_owned();
                self.secrets.extend([secret("access_token"), secret("refresh_token")]);
                newest = secret("refresh_token");
            }
            // Using the first one again revokes the family.
            let fields = [("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
            assert_eq!(self.post(TOKEN, None, &fields).await.status, 400);
            self.secrets.push(refresh);
        }
        assert_eq!(self.post(REVOKE, None, &[("token", &access)]).await.status, 204);
        self.secrets.push(access);
    }
}

#[test]
fn neither_database_nor_log_contains_a_secret_after_a_session() {
    const WRONG_PASSWORD: &str = "a wrong guess, secret too";
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        login(app, &app.partner, "ann").await;
        let mut secrets = vec![
            SECRET.to_owned(),
            PASSWORD.to_owned(),
            url::form_urlencoded::byte_serialize(PASSWORD.as_bytes()).collect(),
            client.1.clone(),
            BASE64_STANDARD.encode(format!("{}:{}", client.0, client.1)),
            app.token.clone(),
            WRONG_PASSWORD.to_owned(),
        ];
        let log = log_of(app, "debug", async |base| {
            let mut session = Session { base, client: &client, secrets: Vec::new() };
            session.use_grant(&[CLIENT_CREDENTIALS]).await;
            session.use_grant(&BY_PASSWORD).await;
            session.use_grant(&BY_PASSWORD).await;
            // A JWT of another system, stored as revoked.
            let revoked = session.post(REVOKE, Some(&app.token), &[("token", &app.token)]).await;
            assert_eq!(revoked.status, 204);
            let [grant, username, _] = BY_PASSWORD;
            let wrong = [grant, username, ("password", WRONG_PASSWORD)];
            assert_ne!(session.post(TOKEN, None, &wrong).await.status, 200);
            secrets.extend(session.secrets);
        })
        .await;
        assert!(log.len() > 10, "{log:?}");
        let lines = log.iter().map(|line| format!("{line}\n"));
        let stored: String = lines.chain([all_rows(app).await]).collect();
        for secret in secrets {
            // bytea columns are printed in hexadecimal.
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            assert!(!stored.contains(&secret) && !stored.contains(&hex), "{secret}");
            // The signature alone is a secret too: the rest of a JWT can be rebuilt.
            if let Some((_, signature)) = secret.rsplit_once('.') {
                assert!(!stored.contains(signature), "{signature}");
            }
        }
    });
}
