//! A running service and its tenants.

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use shortline::auth::{Actor, Claims, Keys, Scope};
use shortline::did_groups::DidGroup;
use shortline::fields::Name;
use shortline::input::{Completeness, FromMember, Members};
use shortline::oauth::{OauthToken, TokenFormat};
use shortline::partners::Partner;
use shortline::settings::Settings;
use shortline::short_codes::{NewShortCode, ShortCode};
use shortline::startup::Application;
use shortline::store::{self, Broken};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Answer, settings};

/// A tenant with one token, one DID group and one short code.
pub struct Tenant {
    pub sid: Uuid,
    pub token_sid: Uuid,
    pub group: DidGroup,
    pub code: ShortCode,
}

impl Tenant {
    async fn create(
        connection: &mut PgConnection,
        keys: &Keys,
        parent: Option<Uuid>,
        short_code: &str,
    ) -> Self {
        let (operator, sid) = (Actor::operator(), Uuid::now_v7());
        let name = Name::from_member("a tenant".into()).unwrap();
        let scopes = Scope::ALL.into_iter().collect();
        let partner = Partner::new(connection, sid, parent, name, scopes).await.unwrap();
        store::create_one(connection, &operator, partner).await.unwrap();
        let (scopes, hour) = (Scope::DEFAULT.into_iter().collect(), Duration::from_secs(3_600));
        let (token, _) = OauthToken::issue(keys, TokenFormat::Opaque, sid, scopes, hour).unwrap();
        let token_sid =
            store::create_one(connection, &operator, token).await.unwrap().object.token_sid;
        let group =
            store::create_one(connection, &operator, DidGroup::new(sid)).await.unwrap().object;
        let code = json!({
            "attributes": {"a": {"b": 1, "c": [1, 2]}, "n": 5},
            "callback_url": "https://example.com/before",
            "did_group_sid": group.did_group_sid,
            "name": "before",
            "partner_sid": sid,
            "short_code": short_code,
            "state": "IL",
            "string_key_1": "before",
        });
        let code = code.as_object().unwrap().clone();
        let code =
            Members::parse::<NewShortCode>(code, Completeness::Partial, false).unwrap().input;
        let code = store::create_one(connection, &operator, code.build(Uuid::now_v7()).unwrap())
            .await
            .unwrap();
        Self { sid, token_sid, group, code: code.object }
    }

    /// Creates short codes of the tenant, in the order given.
    pub async fn add_codes(&self, app: &App, codes: &[Value]) {
        let codes = codes.iter().map(|members| {
            let mut members = members.as_object().unwrap().clone();
            members.insert("partner_sid".to_owned(), json!(self.sid));
            let code = Members::parse::<NewShortCode>(members, Completeness::Partial, false)
                .unwrap()
                .input;
            code.build(Uuid::now_v7()).unwrap()
        });
        store::create_all(&mut app.connection().await, &Actor::operator(), codes.collect())
            .await
            .unwrap();
    }

    pub fn group_path(&self) -> String {
        group_path(self.group.did_group_sid)
    }

    pub fn code_path(&self) -> String {
        code_path(self.code.short_code_sid)
    }
}

pub fn group_path(sid: impl std::fmt::Display) -> String {
    format!("/core/v2/phonenumber/did_groups/{sid}")
}

pub fn code_path(sid: impl std::fmt::Display) -> String {
    format!("/core/v2/phonenumber/short_codes/{sid}")
}

/// A running service with three tenants: a partner, a child of it, and a stranger.
pub struct App {
    pub base: String,
    /// Where it serves `/metrics`, where it does.
    pub metrics: Option<SocketAddr>,
    pub database: PgConnectOptions,
    pub partner: Tenant,
    pub child: Tenant,
    pub stranger: Tenant,
    /// Carries every scope but those that reach descendants, for the partner.
    pub token: String,
    client: Client,
    keys: Keys,
    server: ServerHandle,
}

impl App {
    pub(super) async fn start(database: &PgConnectOptions, flags: &[&str]) -> Self {
        let settings = settings(flags);
        let Served { base, metrics, server } = serve(&settings, database).await;
        let keys = Keys::from_settings(&settings).unwrap();
        let mut connection = database.connect().await.unwrap();
        let partner = Tenant::create(&mut connection, &keys, None, "10001").await;
        let child = Tenant::create(&mut connection, &keys, Some(partner.sid), "10002").await;
        let stranger = Tenant::create(&mut connection, &keys, None, "10003").await;
        connection.close().await.unwrap();
        let near = Scope::ALL.into_iter().filter(|scope| !scope.as_str().ends_with("_descendant"));
        let token = sign(&keys, partner.sid, &near.collect::<Vec<_>>());
        let (database, client) = (database.clone(), Client::new());
        Self { base, metrics, database, partner, child, stranger, token, client, keys, server }
    }

    /// Another instance of the service on the same database.
    pub async fn second_instance(&self) -> (String, ServerHandle) {
        let Served { base, server, .. } = serve(&settings(&[]), &self.database).await;
        (base, server)
    }

    pub(super) async fn stop(self) {
        self.server.stop(false).await;
    }

    pub async fn connection(&self) -> PgConnection {
        self.database.connect().await.unwrap()
    }

    /// A token of that partner with these scopes.
    pub fn token(&self, partner_sid: Uuid, scopes: &[Scope]) -> String {
        sign(&self.keys, partner_sid, scopes)
    }

    /// A request of the partner.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.token)
    }

    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(Method::PATCH, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(Method::PUT, path).json(body)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(Method::POST, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::DELETE, path)).await
    }

    /// A PATCH with a body that is not made from JSON, and headers.
    pub async fn patch_text(
        &self,
        path: &str,
        body: impl Into<reqwest::Body>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self.request(Method::PATCH, path).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::to(request).await
    }

    /// How often the object was changed.
    pub async fn version(&self, sid: Uuid) -> i64 {
        let statement = "select max(version) from history where sid = $1";
        sqlx::query_scalar(statement)
            .bind(sid)
            .fetch_one(&mut self.connection().await)
            .await
            .unwrap()
    }

    /// What is wrong with the history.
    pub async fn broken(&self) -> Vec<Broken> {
        let mut connection = self.connection().await;
        let tables = shortline::commands::TABLES;
        store::verify(&mut connection, &tables, OffsetDateTime::now_utc()).await.unwrap().broken
    }

    /// Every object has an entry for each of its versions, chained by hashes that end at its head.
    pub(super) async fn expect_whole_history(&self) {
        assert_eq!(self.broken().await, []);
    }
}

/// A service that runs.
struct Served {
    base: String,
    metrics: Option<SocketAddr>,
    server: ServerHandle,
}

async fn serve(settings: &Settings, database: &PgConnectOptions) -> Served {
    let application = Application::build(settings, database.clone()).await.unwrap();
    let (base, server) = (format!("http://{}", application.address()), application.handle());
    let metrics = application.metrics_address();
    actix_web::rt::spawn(application.run_until_stopped());
    Served { base, metrics, server }
}

/// A JWT as another system with the same secret would make it.
fn sign(keys: &Keys, partner_sid: Uuid, scopes: &[Scope]) -> String {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let scopes = scopes.iter().copied().collect();
    let claims = Claims::new(partner_sid, &scopes, None, now, now + 600);
    keys.sign(claims).unwrap()
}
