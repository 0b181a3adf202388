//! Builds the service from its settings, runs it and stops it.

use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::available_parallelism;
use std::time::Duration;

use actix_http::{HttpService, Protocol};
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, map_config};
use actix_web::body::BoxBody;
use actix_web::dev::{
    AppConfig, Server, ServerHandle, ServiceRequest, ServiceResponse, fn_service,
};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::web::{Data, PayloadConfig};
use actix_web::{App, web};
use anyhow::{Context, ensure};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use socket2::{Domain, Socket, Type};
use sqlx::postgres::PgConnectOptions;
use tokio::time::{Instant, timeout_at};
use utoipa_actix_web::AppExt;

use crate::auth::{Authenticator, Keys, RateLimit};
use crate::did_groups::DidGroup;
use crate::did_stock::AvailableDid;
use crate::dids::{Did, RentalRules};
use crate::http::openapi::page;
use crate::http::{
    AllowedSites, BODY_LIMIT, Connection, Console, MemoryBudget, PublicUrl, TrustedProxies, cors,
    note_local_address, request_middleware,
};
use crate::maintenance::Maintenance;
use crate::oauth::{Grants, OauthToken};
use crate::partners::{DescendantLimit, Partner};
use crate::resolve::Route;
use crate::routes;
use crate::settings::{Settings, TokenFormat};
use crate::short_codes::ShortCode;
use crate::shutdown::Shutdown;
use crate::signals::Signals;
use crate::store::{self, Database, Feed, Lookups, Staleness, Store, migrations};
use crate::telemetry::metrics::{self, Metrics};
use crate::webhooks::{
    AddressRules, DeliveryClient, Dispatcher, EventEndpoint, SecretBox, Webhooks,
};

/// How long an idle connection of a client stays open: longer than balancers leave one open, so
/// that no request arrives at a socket that is being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// The longest time that the head of a request takes to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The default drain time.
const DRAIN: Duration = Duration::from_secs(10);
/// How long connections that were made before the listener closes have to be accepted.
#[cfg(target_os = "linux")]
const ACCEPT_TIME: Duration = Duration::from_millis(200);
/// The longest time that requests in flight have to end after the drain. Together with the drain
/// and the last write of maintenance it must be shorter than the time after which an orchestrator
/// kills the process: 25 s in the compose stack.
const IN_FLIGHT: Duration = Duration::from_secs(10);
/// How long a client may not read its response. The connections inherit it from the listener.
#[cfg(target_os = "linux")]
const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The number of workers of one thread that run batches.
const WORKERS: u32 = Store::<ShortCode>::WORKERS
    + Store::<DidGroup>::WORKERS
    + Store::<Did>::WORKERS
    + Lookups::<Route>::WORKERS;
/// The time between two looks at the files of keys. Together with the lifetime of a cached look-up,
/// a change takes effect within 5 s.
const KEY_INTERVAL: Duration = Duration::from_millis(1_500);
/// How many connections the kernel completes before they are accepted.
const BACKLOG: i32 = 1_024;

/// Reads the keys of JWTs, which the default format of tokens needs.
fn keys(settings: &Settings) -> anyhow::Result<Keys> {
    let keys = Keys::from_settings(settings)?;
    ensure!(
        settings.token_format == TokenFormat::Opaque || !keys.is_empty(),
        "neither SHORTLINE_JWT_SECRET nor SHORTLINE_JWT_KEYS is set; set SHORTLINE_JWT_SECRET to \
         at least 32 bytes (try `openssl rand -hex 32`)"
    );
    Ok(keys)
}

fn authenticator(database: &Database, keys: Keys) -> Authenticator {
    let staleness = database.staleness().clone();
    let on_loss = Box::new(move |error: &sqlx::Error| staleness.observe(error));
    Authenticator::new(database.authentication().clone(), on_loss, keys)
}

fn metrics_of(database: &Database, shutdown: &Shutdown) -> anyhow::Result<Metrics> {
    let (usage, activity) = (database.clone(), database.activity().clone());
    Ok(Metrics::new(Box::new(move || usage.usage()), activity, shutdown.clone())?)
}

/// Binds the address without listening, so that an address that is in use is reported early.
fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNREAD_TIMEOUT))?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The service, bound to its address.
pub struct Application {
    server: Server,
    listener: TcpListener,
    address: SocketAddr,
    metrics_server: Option<(Server, SocketAddr)>,
    maintenance: Maintenance,
    dispatcher: Dispatcher,
    database: Database,
    feed: Feed,
    shutdown: Shutdown,
    drain: Duration,
}

impl Application {
    /// Builds the service for all hosts and origins.
    ///
    /// # Errors
    /// As [`Self::build_for`].
    pub async fn build(settings: &Settings, options: PgConnectOptions) -> anyhow::Result<Self> {
        Self::build_for(settings, options, AllowedSites::Any, None).await
    }

    /// Binds the address, and migrates the database or checks its schema. The console offers the
    /// demo token.
    ///
    /// # Errors
    /// If a setting is invalid, the database is not available or the address is in use.
    pub async fn build_for(
        settings: &Settings,
        options: PgConnectOptions,
        allowed_sites: AllowedSites,
        demo_token: Option<&'static str>,
    ) -> anyhow::Result<Self> {
        let keys = keys(settings)?;
        let rate_limit = Data::new(RateLimit::from_settings(settings)?);
        let socket = bind(settings.listen)
            .with_context(|| format!("cannot listen on {}", settings.listen))?;
        store::check_sessions(&options).await?;
        migrations::prepare(store::connect(&options).await?, settings).await?;
        let threads = available_parallelism().map_or(1, usize::from);
        let workers = threads as u32 * WORKERS;
        let database = Database::new(options, settings.database_connections, workers)?;
        let shutdown = Shutdown::default();
        let authenticator = Data::new(authenticator(&database, keys));
        let metrics = Data::new(metrics_of(&database, &shutdown)?);
        let serve_metrics = |address| metrics::serve(address, metrics.clone());
        let metrics_server = settings.metrics_listen.map(serve_metrics).transpose()?;
        let feed = Feed::new(&database, settings.events_streams as usize);
        let (webhooks, dispatcher) = webhooks(settings, &database, &shutdown)?;
        let grants = Grants::from_settings(&database, authenticator.clone(), settings)?;
        let state = State {
            allowed_sites: Data::new(allowed_sites),
            authenticator: authenticator.clone(),
            console: Data::new(Console::new(settings.console, demo_token)),
            database: Data::new(database.clone()),
            descendant_limit: Data::new(DescendantLimit(settings.max_descendants)),
            feed: Data::new(feed.clone()),
            grants: Data::new(grants),
            memory_budget: Data::default(),
            metrics,
            public_url: Data::new(PublicUrl(settings.public_url.clone())),
            rate_limit: rate_limit.clone(),
            rental_rules: Data::new(RentalRules::from_settings(settings)),
            shutdown: Data::new(shutdown.clone()),
            staleness: Data::new(database.staleness().clone()),
            trusted_proxies: Data::new(TrustedProxies::new(settings.trusted_proxies.clone())),
            webhooks,
        };
        // Only now: a balancer must not send requests to an instance that waits for a migration.
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let server = serve(listener.try_clone()?, state, threads)?;
        let months = settings.history_months;
        let maintenance = Maintenance::new(&database, authenticator, rate_limit, months);
        Ok(Self {
            server,
            address: listener.local_addr()?,
            listener,
            database,
            feed,
            metrics_server,
            maintenance,
            dispatcher,
            shutdown,
            drain: settings.drain_seconds.map_or(DRAIN, Duration::from_secs),
        })
    }

    /// The address of the service.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of `/metrics`, if it is served.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_server.as_ref().map(|(_, address)| *address)
    }

    /// The authenticator, whose keys can be read again.
    pub fn authenticator(&self) -> Data<Authenticator> {
        self.maintenance.authenticator.clone()
    }

    /// A handle that stops the service, after the requests in flight.
    pub fn handle(&self) -> ServerHandle {
        self.server.handle()
    }

    /// Serves until SIGTERM or SIGINT, then drains: `/readyz` is 503 and every response closes its
    /// connection until the balancer sends no more requests. A second signal ends the drain.
    ///
    /// # Errors
    /// If the server fails.
    pub async fn run_until_stopped(self) -> anyhow::Result<()> {
        let Self { server, listener, maintenance, dispatcher, database, feed, .. } = self;
        let Self { metrics_server, shutdown, drain, .. } = self;
        let handle = server.handle();
        let mut signals = Signals::new()?;
        let stop = async move {
            signals.stop().await;
            tracing::info!("stopping: draining for {drain:?}");
            let deadline = Instant::now() + drain + IN_FLIGHT;
            shutdown.begin();
            if tokio::time::timeout(drain, signals.stop()).await.is_err() && !drain.is_zero() {
                refuse_connections(&listener).await;
            }
            // A worker that stops closes its database connections, which other workers may be
            // using.
            let is_idle = timeout_at(deadline, shutdown.wait_idle()).await.is_ok();
            if !is_idle {
                let requests = shutdown.in_flight();
                tracing::warn!("{requests} requests in flight did not end in time");
            }
            handle.stop(is_idle).await;
        };
        let metrics_handle = metrics_server.map(|(server, _)| {
            let handle = server.handle();
            tokio::spawn(server);
            handle
        });
        let stopping = tokio::spawn(stop);
        tokio::select! {
            stopped = server => stopped?,
            _ = stopping => {}
            () = maintenance.run() => {}
            () = dispatcher.run() => {}
            () = watch_keys(&maintenance.authenticator) => {}
            () = database.watch() => {}
            () = feed.watch(&maintenance.authenticator) => {}
        }
        maintenance.write_deferred().await;
        // Last, so that the drain can be observed.
        if let Some(handle) = metrics_handle {
            handle.stop(false).await;
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Builds what the handlers of webhooks share, and the dispatcher of this instance.
fn webhooks(
    settings: &Settings,
    database: &Database,
    shutdown: &Shutdown,
) -> anyhow::Result<(Data<Webhooks>, Dispatcher)> {
    let secrets = SecretBox::of(settings.webhooks.events_key()?.as_ref())?;
    let addresses = AddressRules::allowing(settings.webhooks.events_allow.clone());
    // A client of its own for each: connections belong to the thread that has opened them.
    let has_key = secrets.has_key();
    let client = || match has_key {
        true => DeliveryClient::new(addresses.clone())
            .context("webhooks need trusted certificates; install the package ca-certificates"),
        false => Ok(DeliveryClient::idle(addresses.clone())),
    };
    let webhooks = Webhooks::new(database, secrets, client()?);
    let dispatcher = webhooks.dispatcher(client()?, shutdown.clone());
    Ok((Data::new(webhooks), dispatcher))
}

/// Reads the keys of JWTs again when their files change, until it is dropped.
async fn watch_keys(authenticator: &Data<Authenticator>) {
    loop {
        tokio::time::sleep(KEY_INTERVAL).await;
        reload_keys(authenticator).await;
    }
}

/// Reads the keys of JWTs again if their files have changed, on a thread that may wait for a disk.
pub async fn reload_keys(authenticator: &Data<Authenticator>) {
    let authenticator = authenticator.clone();
    let reloaded = tokio::task::spawn_blocking(move || authenticator.reload_keys());
    if let Err(error) = reloaded.await {
        tracing::error!(error = &error as &dyn std::error::Error, "reading the keys failed");
    }
}

/// Refuses new connections, and gives those that the kernel has made the time to be accepted.
///
/// Closing a listener resets the connections that are not accepted yet: a balancer that has already
/// sent a PATCH on one cannot know whether it was done. The listener is therefore first bound to a
/// network device that does not exist. From then on the kernel refuses new connections, and the
/// balancer uses another instance, while established connections are still accepted.
async fn refuse_connections(listener: &TcpListener) {
    #[cfg(target_os = "linux")]
    {
        use std::num::NonZeroU32;
        const NO_DEVICE: Option<NonZeroU32> = NonZeroU32::new(i32::MAX as u32);
        if let Err(error) = SockRef::from(listener).bind_device_by_index_v4(NO_DEVICE) {
            tracing::warn!("a connection that begins now may be reset: {error}");
        }
        tokio::time::sleep(ACCEPT_TIME).await;
    }
}

/// What handlers and extractors share.
#[derive(Clone)]
struct State {
    allowed_sites: Data<AllowedSites>,
    authenticator: Data<Authenticator>,
    console: Data<Console>,
    database: Data<Database>,
    descendant_limit: Data<DescendantLimit>,
    feed: Data<Feed>,
    grants: Data<Grants>,
    memory_budget: Data<MemoryBudget>,
    metrics: Data<Metrics>,
    public_url: Data<PublicUrl>,
    rate_limit: Data<RateLimit>,
    rental_rules: Data<RentalRules>,
    shutdown: Data<Shutdown>,
    staleness: Data<Staleness>,
    trusted_proxies: Data<TrustedProxies>,
    webhooks: Data<Webhooks>,
}

/// Starts the server.
///
/// [`HttpServer`](actix_web::HttpServer) does the same for connections that are plain TCP streams;
/// here each is a [`Connection`].
fn serve(listener: TcpListener, state: State, threads: usize) -> anyhow::Result<Server> {
    let document = Data::new(routes::Document::of(&state.public_url)?);
    let builder = Server::build();
    let stopping = builder.graceful_shutdown_signal();
    let server = builder
        .workers(threads)
        .shutdown_timeout(IN_FLIGHT.as_secs())
        .disable_signals()
        .listen("shortline", listener, move || {
        let (metrics, stopping) = (state.metrics.clone(), stopping.clone());
        let app = application(state.clone(), document.clone()).into_factory();
        let app = app.map_err(|error| error.error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_TIMEOUT)
            .on_connect_ext(note_local_address)
            .finish(map_config(app, |()| AppConfig::default()));
        fn_service(move |stream: TcpStream| {
            let client = stream.peer_addr().ok();
            let connection = Connection::new(stream, metrics.clone());
            ready(Ok((connection, Protocol::Http1, client)))
        })
        .and_then(http)
    })?;
    Ok(server.run())
}

/// Builds the application of one thread.
fn application(
    state: State,
    document: Data<routes::Document>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    App::new()
        .into_utoipa_app()
        .app_data(Data::new(Store::<ShortCode>::batched(&state.database)))
        .app_data(Data::new(Store::<DidGroup>::batched(&state.database)))
        .app_data(Data::new(Store::<Did>::batched(&state.database)))
        .app_data(Data::new(Lookups::<Route>::new(&state.database)))
        .app_data(Data::new(Store::<AvailableDid>::new(&state.database)))
        .app_data(Data::new(Store::<Partner>::new(&state.database)))
        .app_data(Data::new(Store::<OauthToken>::new(&state.database)))
        .app_data(Data::new(Store::<EventEndpoint>::new(&state.database)))
        .app_data(state.allowed_sites)
        .app_data(state.authenticator)
        .app_data(state.console.clone())
        .app_data(state.database)
        .app_data(state.descendant_limit)
        .app_data(state.feed)
        .app_data(document)
        .app_data(state.grants)
        .app_data(state.memory_budget)
        .app_data(state.metrics)
        .app_data(state.public_url.clone())
        .app_data(state.rate_limit)
        .app_data(state.rental_rules)
        .app_data(state.shutdown)
        .app_data(state.staleness)
        .app_data(state.trusted_proxies)
        .app_data(state.webhooks)
        .app_data(PayloadConfig::new(BODY_LIMIT))
        .configure(routes::configure)
        .into_app()
        .configure(|config| page::configure(config, &state.public_url))
        .configure(|config| state.console.configure(config, &state.public_url))
        .default_service(web::to(routes::unmatched))
        .wrap(cors())
        .wrap(from_fn(request_middleware))
}
