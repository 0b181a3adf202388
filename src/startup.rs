//! From settings to a service that runs and stops.

use std::net::{SocketAddr, TcpListener};
use std::str::FromStr;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::web::{Data, PayloadConfig};
use actix_web::{App, HttpServer, web};
use anyhow::{Context, ensure};
use secrecy::ExposeSecret;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::signal::unix::{Signal, SignalKind, signal};
use utoipa_actix_web::AppExt;

use crate::auth::{Authenticator, Keys, RateLimit};
use crate::cutoff::Cutoff;
use crate::database::{ACQUIRE_TIMEOUT, Database};
use crate::did_groups::DidGroup;
use crate::housekeeping::Housekeeping;
use crate::http::{BODY_LIMIT, Draining, PublicUrl, TrustedProxies, cors, edge, unmatched};
use crate::metrics::{self, Metrics};
use crate::oauth::{Grants, TokenFormat};
use crate::settings::Settings;
use crate::short_codes::ShortCode;
use crate::store::Lanes;
use crate::{docs, migrations, routes};

/// Longer than any balancer keeps an idle connection: it never sends a request into a socket that we are closing.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long the head of a request may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the service goes on after SIGTERM, where nobody says.
const DRAIN: Duration = Duration::from_secs(10);
/// How long the connections that have begun may take to be accepted before the listener closes.
#[cfg(target_os = "linux")]
const ACCEPT_TIME: Duration = Duration::from_millis(200);
/// How long requests in flight may take once the listener is closed, in seconds.
const FLIGHT_SECONDS: u64 = 10;

/// How to reach the configured database.
///
/// # Errors
/// Where no URL is set, or it makes no sense.
pub fn database(settings: &Settings) -> anyhow::Result<PgConnectOptions> {
    let url = settings.database_url()?;
    let options =
        PgConnectOptions::from_str(url.expose_secret()).context("DATABASE_URL makes no sense")?;
    Ok(options.application_name("shortline"))
}

/// A connection for a command.
///
/// # Errors
/// Where the database is away.
pub async fn connect(options: &PgConnectOptions) -> anyhow::Result<PgConnection> {
    let connecting = PgConnection::connect_with(options);
    let connected = tokio::time::timeout(ACQUIRE_TIMEOUT, connecting)
        .await
        .map_err(|_| sqlx::Error::PoolTimedOut);
    connected.flatten().with_context(|| {
        let (host, port) = (options.get_host(), options.get_port());
        format!("cannot connect to PostgreSQL at {host}:{port}")
    })
}

/// The service, bound to its address.
pub struct Application {
    server: Server,
    listener: TcpListener,
    address: SocketAddr,
    metrics_server: Option<(Server, SocketAddr)>,
    housekeeping: Housekeeping,
    draining: Draining,
    drain: Duration,
}

impl Application {
    /// Migrates the database and binds the address.
    ///
    /// # Errors
    /// Where a setting makes no sense, the database is away or the address is taken.
    pub async fn build(settings: &Settings, database: PgConnectOptions) -> anyhow::Result<Self> {
        let keys = Keys::from_settings(settings)?;
        ensure!(
            settings.token_format == TokenFormat::Opaque || !keys.is_empty(),
            "neither SHORTLINE_JWT_SECRET is set, at least 32 bytes that sign and verify tokens (try `openssl rand -hex 32`), nor SHORTLINE_JWT_KEYS"
        );
        let rate_limit = Data::new(RateLimit::from_settings(settings)?);
        let listener = TcpListener::bind(settings.listen)
            .with_context(|| format!("cannot listen on {}", settings.listen))?;
        let address = listener.local_addr()?;
        migrations::run(connect(&database).await?).await?;
        let cutoff = Cutoff::default();
        let sessions = Database::new(database.clone(), cutoff.clone());
        let pool = sessions.pool(settings.database_connections);
        let draining = Draining::default();
        let authenticator = Data::new(Authenticator::new(pool.clone(), keys));
        let metrics = Data::new(Metrics::new(pool.clone(), draining.clone())?);
        let metrics_server = settings
            .metrics_listen
            .map(|address| metrics::serve(address, metrics.clone()))
            .transpose()?;
        let grants = Grants::new(pool.clone(), authenticator.clone(), settings.token_format)?;
        let state = State {
            authenticator: authenticator.clone(),
            cutoff: Data::new(cutoff),
            db: Data::new(pool),
            draining: Data::new(draining.clone()),
            public_url: Data::new(PublicUrl(settings.public_url.clone())),
            grants: Data::new(grants),
            metrics,
            rate_limit: rate_limit.clone(),
            trusted_proxies: Data::new(TrustedProxies::new(settings.trusted_proxies.clone())),
        };
        let server = serve(listener.try_clone()?, state, sessions)?;
        let history_months = settings.history_months;
        let housekeeping = Housekeeping { authenticator, rate_limit, history_months, database };
        Ok(Self {
            server,
            listener,
            address,
            metrics_server,
            housekeeping,
            draining,
            drain: settings.drain_seconds.map_or(DRAIN, Duration::from_secs),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it serves `/metrics`; nowhere where that is not set.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_server.as_ref().map(|(_, address)| *address)
    }

    /// Stops the service from elsewhere, requests in flight first.
    pub fn handle(&self) -> ServerHandle {
        self.server.handle()
    }

    /// Serves until the process is told to stop (SIGTERM, SIGINT), then drains: `/readyz` says no and every answer closes its
    /// connection, until the balancer has turned away. A second signal ends the drain.
    ///
    /// # Errors
    /// Where the server breaks.
    pub async fn run_until_stopped(self) -> anyhow::Result<()> {
        let Self { server, listener, housekeeping, .. } = self;
        let Self { metrics_server, draining, drain, .. } = self;
        let handle = server.handle();
        let mut stop = Stop::new()?;
        tokio::spawn(async move {
            stop.told().await;
            tracing::info!("stopping: draining for {drain:?}");
            draining.begin();
            if tokio::time::timeout(drain, stop.told()).await.is_err() && !drain.is_zero() {
                turn_away(&listener).await;
            }
            // A worker that stops takes its connections to the database with it, which the others may be using.
            let _ =
                tokio::time::timeout(Duration::from_secs(FLIGHT_SECONDS), draining.landed()).await;
            handle.stop(true).await;
        });
        let measuring = metrics_server.map(|(server, _)| {
            let handle = server.handle();
            tokio::spawn(server);
            handle
        });
        tokio::select! {
            stopped = server => stopped?,
            () = housekeeping.go_on() => {}
        }
        housekeeping.once().await;
        // To the very end, so that the drain can be watched.
        if let Some(measuring) = measuring {
            measuring.stop(false).await;
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Lets no further connection begin, and gives those that have time to be accepted.
///
/// Closing a listener resets the connections that the kernel has made and nobody has accepted yet: a balancer that has already
/// sent a PATCH there cannot know whether it was done. So the listener is first bound to a network device that does not exist:
/// from then on the kernel refuses new connections, and the balancer goes to another instance, while those made are accepted.
async fn turn_away(listener: &TcpListener) {
    #[cfg(target_os = "linux")]
    {
        use std::num::NonZeroU32;
        const NO_DEVICE: Option<NonZeroU32> = NonZeroU32::new(i32::MAX as u32);
        if let Err(error) = SockRef::from(listener).bind_device_by_index_v4(NO_DEVICE) {
            tracing::warn!("a connection that begins right now may be reset: {error}");
        }
        tokio::time::sleep(ACCEPT_TIME).await;
    }
}

/// The signals that stop the process.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What handlers and extractors are given.
#[derive(Clone)]
struct State {
    authenticator: Data<Authenticator>,
    cutoff: Data<Cutoff>,
    db: Data<PgPool>,
    draining: Data<Draining>,
    public_url: Data<PublicUrl>,
    grants: Data<Grants>,
    metrics: Data<Metrics>,
    rate_limit: Data<RateLimit>,
    trusted_proxies: Data<TrustedProxies>,
}

fn serve(listener: TcpListener, state: State, sessions: Database) -> anyhow::Result<Server> {
    // Made before the first request asks for it.
    routes::openapi();
    let server = HttpServer::new(move || {
        let state = state.clone();
        App::new()
            .into_utoipa_app()
            .app_data(Data::new(Lanes::<DidGroup>::start(&sessions, state.db.get_ref().clone())))
            .app_data(Data::new(Lanes::<ShortCode>::start(&sessions, state.db.get_ref().clone())))
            .app_data(state.authenticator)
            .app_data(state.cutoff)
            .app_data(state.db)
            .app_data(state.draining)
            .app_data(state.public_url)
            .app_data(state.grants)
            .app_data(state.metrics)
            .app_data(state.rate_limit)
            .app_data(state.trusted_proxies)
            .app_data(PayloadConfig::new(BODY_LIMIT))
            .configure(routes::configure)
            .into_app()
            .configure(docs::configure)
            .default_service(web::to(unmatched))
            .wrap(cors())
            .wrap(from_fn(edge))
    });
    Ok(server
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_TIMEOUT)
        .shutdown_timeout(FLIGHT_SECONDS)
        .disable_signals()
        .listen(listener)?
        .run())
}
