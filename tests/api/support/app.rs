//! A running service and its tenants.

use std::net::SocketAddr;

use actix_web::dev::ServerHandle;
use clap::Parser;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use shortline::auth::{Actor, Claims, Keys, Scope};
use shortline::partners::Partner;
use shortline::settings::Settings;
use shortline::startup::Application;
use shortline::store::{self, Violation};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Answer, CHILD, PARTNER, SECRET, Tenant, UNRELATED, settings};

/// A running service with three tenants: a partner, its child, and an unrelated partner.
pub struct App {
    pub base: String,
    /// The address of `/metrics`, if enabled.
    pub metrics: Option<SocketAddr>,
    pub database: PgConnectOptions,
    pub partner: Tenant,
    pub child: Tenant,
    pub unrelated: Tenant,
    /// A token of the partner with every scope except the descendant scopes.
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
        let near = Scope::ALL.into_iter().filter(|scope| !scope.as_str().ends_with("_descendant"));
        let token = sign(&keys, PARTNER.sid, &near.collect::<Vec<_>>());
        Self {
            base,
            metrics,
            database: database.clone(),
            partner: PARTNER,
            child: CHILD,
            unrelated: UNRELATED,
            token,
            client: plain_client(),
            keys,
            server,
        }
    }

    /// Starts another instance of the service on the same database.
    pub async fn second_instance(&self) -> (String, ServerHandle) {
        self.second_instance_with(&[]).await
    }

    /// Starts another instance with additional flags on the same database.
    pub async fn second_instance_with(&self, flags: &[&str]) -> (String, ServerHandle) {
        let Served { base, server, .. } = serve(&settings(flags), &self.database).await;
        (base, server)
    }

    /// Starts another instance with these options of the database and these flags.
    pub async fn instance_with(
        &self,
        database: &PgConnectOptions,
        flags: &[&str],
    ) -> (String, ServerHandle) {
        let Served { base, server, .. } = serve(&settings(flags), database).await;
        (base, server)
    }

    /// Starts another instance with metrics, and returns the address of those.
    pub async fn instance_with_metrics(&self) -> (SocketAddr, ServerHandle) {
        let flags = ["--metrics-listen", "127.0.0.1:0"];
        let Served { metrics, server, .. } = serve(&settings(&flags), &self.database).await;
        (metrics.unwrap(), server)
    }

    /// Starts another instance, which has no key for the secrets of webhooks.
    pub async fn instance_without_key(&self) -> (String, ServerHandle) {
        let flags = ["shortline", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET];
        let settings = Settings::parse_from(flags);
        let Served { base, server, .. } = serve(&settings, &self.database).await;
        (base, server)
    }

    pub(super) async fn stop(self) {
        self.server.stop(false).await;
    }

    /// Makes `If-Match` mandatory for the objects of these partners, as the operator does.
    pub async fn require_if_match(&self, partner_sids: &[Uuid]) {
        for sid in partner_sids {
            self.update_partner(*sid, |partner| partner.requires_if_match = true).await;
        }
    }

    /// Changes a partner as the operator.
    pub async fn update_partner(&self, sid: Uuid, change: impl FnOnce(&mut Partner)) {
        let change = |partner: &mut Partner| {
            change(partner);
            Ok(())
        };
        let mut connection = self.connection().await;
        store::update_within(&mut connection, &Actor::operator(), sid, change).await.unwrap();
    }

    pub async fn connection(&self) -> PgConnection {
        self.database.connect().await.unwrap()
    }

    /// A JWT of the partner with these scopes.
    pub fn token(&self, partner_sid: Uuid, scopes: &[Scope]) -> String {
        sign(&self.keys, partner_sid, scopes)
    }

    /// A request with the partner's token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.token)
    }

    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_to(method, &format!("{}{path}", self.base))
    }

    /// A request without a token to any URL, such as one of another instance.
    pub fn request_to(&self, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url)
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

    /// Sends a PATCH with a raw body and headers.
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

    /// The newest version of the object.
    pub async fn version(&self, sid: Uuid) -> i64 {
        let statement = "select max(version) from history where sid = $1";
        sqlx::query_scalar(statement)
            .bind(sid)
            .fetch_one(&mut self.connection().await)
            .await
            .unwrap()
    }

    /// The violations that a check of the whole history finds.
    pub async fn violations(&self) -> Vec<Violation> {
        let mut connection = self.connection().await;
        let now = OffsetDateTime::now_utc();
        shortline::commands::verify_history(&mut connection, now).await.unwrap().violations
    }

    /// Checks that every object has an entry for each of its versions, in an unbroken hash chain.
    pub(super) async fn expect_intact_history(&self) {
        assert_eq!(self.violations().await, []);
    }
}

/// A client without TLS. Reading the trusted certificates takes a debug build 30 ms.
pub fn plain_client() -> Client {
    Client::builder().tls_certs_only([]).build().unwrap()
}

/// A running service.
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

/// Signs a JWT as another system with the same secret does.
fn sign(keys: &Keys, partner_sid: Uuid, scopes: &[Scope]) -> String {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let scopes = scopes.iter().copied().collect();
    let claims = Claims::new(partner_sid, &scopes, None, now, now + 600);
    keys.sign(claims).unwrap()
}
