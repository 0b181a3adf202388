//! Secrets: neither the database nor the log nor a later answer has them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use shortline::auth::{Actor, Scope};
use shortline::fields::Name;
use shortline::input::FromMember;
use shortline::oauth::{OauthClient, PartnerLogin, Password};
use shortline::store;
use sqlx::AssertSqlSafe;

use super::{BY_PASSWORD, PASSWORD, client, grant, login, refresh, secret};
use crate::operations::log::log_of;
use crate::support::{Answer, SECRET, check};

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

#[test]
fn after_a_session_neither_the_database_nor_the_log_holds_a_secret() {
    const PASSWORD: &str = "a password of the session & nobody else's";
    check(async |app| {
        let scopes = Scope::DEFAULT.into_iter().collect();
        let (client, client_secret) = OauthClient::new(app.partner.sid, scopes).unwrap();
        let name = Name::from_member("ann".into()).unwrap();
        let login =
            PartnerLogin::new(app.partner.sid, name, &Password::new(PASSWORD).unwrap()).unwrap();
        let mut connection = app.connection().await;
        let client = store::create_one(&mut connection, &Actor::operator(), client)
            .await
            .unwrap()
            .object
            .client_id
            .to_string();
        store::create_one(&mut connection, &Actor::operator(), login).await.unwrap();

        let mut secrets = vec![
            SECRET.to_owned(),
            PASSWORD.to_owned(),
            url::form_urlencoded::byte_serialize(PASSWORD.as_bytes()).collect(),
            client_secret.clone(),
            BASE64_STANDARD.encode(format!("{client}:{client_secret}")),
            app.token.clone(),
        ];
        let log = log_of(app, "debug", async |base| {
            let http = reqwest::Client::new();
            let form = async |path: &str, bearer: Option<&str>, fields: &[(&str, &str)]| {
                let body = url::form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(fields)
                    .finish();
                let request = http.post(format!("{base}/core/v2/oauth/{path}"));
                let request =
                    request.header("content-type", "application/x-www-form-urlencoded").body(body);
                let request = match bearer {
                    Some(token) => request.bearer_auth(token),
                    None => request.basic_auth(&client, Some(&client_secret)),
                };
                Answer::to(request).await
            };
            let login = ("username", "ann");
            for fields in [
                vec![("grant_type", "client_credentials")],
                vec![("grant_type", "password"), login, ("password", PASSWORD)],
                vec![("grant_type", "password"), login, ("password", PASSWORD)],
            ] {
                let token = form("token", None, &fields).await.expect(200);
                let text = |member: &str| token[member].as_str().map(str::to_owned);
                let access = text("access_token").unwrap();
                let get = http.get(format!("{base}/core/v2/oauth/whoami")).bearer_auth(&access);
                Answer::to(get).await.expect(200);
                if let Some(refresh) = text("refresh_token") {
                    let fields = [("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
                    let renewed = form("token", None, &fields).await.expect(200);
                    secrets.extend(
                        ["access_token", "refresh_token"]
                            .map(|member| renewed[member].as_str().unwrap().to_owned()),
                    );
                    // Used again, which ends the family.
                    assert_eq!(form("token", None, &fields).await.status, 400);
                    secrets.push(refresh);
                }
                assert_eq!(form("revoke", None, &[("token", &access)]).await.status, 204);
                secrets.push(access);
            }
            // A token of another system, remembered as revoked.
            assert_eq!(
                form("revoke", Some(&app.token), &[("token", &app.token)]).await.status,
                204
            );
            let wrong =
                [("grant_type", "password"), login, ("password", "a wrong guess, secret too")];
            assert_ne!(form("token", None, &wrong).await.status, 200);
        })
        .await;
        secrets.push("a wrong guess, secret too".to_owned());

        let tables: Vec<String> =
            sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        assert!(tables.len() >= 9, "{tables:?}");
        let mut kept: String = log.iter().map(|line| format!("{line}\n")).collect();
        assert!(log.len() > 10, "{kept}");
        for table in tables {
            let rows = format!("select coalesce(string_agg(t::text, ' '), '') from {table} t");
            kept += &sqlx::query_scalar::<_, String>(AssertSqlSafe(rows))
                .fetch_one(&mut connection)
                .await
                .unwrap();
        }
        for secret in secrets {
            // Bytes are dumped in hexadecimal.
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            assert!(!kept.contains(&secret) && !kept.contains(&hex), "{secret}");
            // Neither a JWT's signature alone, which would complete what claims anybody can rebuild.
            if let Some((_, signature)) = secret.rsplit_once('.') {
                assert!(!kept.contains(signature), "{signature}");
            }
        }
    });
}
