//! Metrics in the Prometheus text format, served on a separate listener.
//!
//! The names follow OpenTelemetry's semantic conventions. A request adds one observation; gauges
//! are read at each scrape. The number of requests that wait for a connection is missing, because
//! sqlx's pool does not report it.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::header::ContentType;
use actix_web::http::{Method, StatusCode};
use actix_web::web::Data;
use actix_web::{App, HttpResponse, HttpServer, get};
use anyhow::Context;
use prometheus::{
    HistogramOpts, HistogramVec, IntGauge, IntGaugeVec, Opts, Registry, TEXT_FORMAT, TextEncoder,
};
use sqlx::PgPool;

use crate::shutdown::Shutdown;

/// The buckets of request durations in seconds: OpenTelemetry's, and smaller ones, because most
/// reads take less than its first, 5 ms.
const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0,
    2.5, 5.0, 7.5, 10.0,
];

/// The metrics since the start of the service.
pub struct Metrics {
    registry: Registry,
    requests: HistogramVec,
    active_requests: IntGauge,
    connections: IntGaugeVec,
    shutdown: Shutdown,
    db: PgPool,
}

impl Metrics {
    /// Creates and registers the metrics.
    ///
    /// # Errors
    /// If two metrics have the same name.
    pub fn new(db: PgPool, shutdown: Shutdown) -> prometheus::Result<Self> {
        let duration = HistogramOpts::new(
            "http_server_request_duration_seconds",
            "Time from the head of a request to the head of its response.",
        );
        let requests = HistogramVec::new(
            duration.buckets(SECONDS.to_vec()),
            &["http_request_method", "http_route", "http_response_status_code"],
        )?;
        let active_requests = IntGauge::new("http_server_active_requests", "Requests in flight.")?;
        let connections = IntGaugeVec::new(
            Opts::new(
                "db_client_connection_count",
                "Open connections of the pool. The connections of the batchers are not included.",
            ),
            &["state"],
        )?;
        let connections_max = IntGauge::new(
            "db_client_connection_max",
            "Maximum number of connections of the pool.",
        )?;
        connections_max.set(db.options().get_max_connections().into());
        let build = Opts::new("shortline_build_info", "Always 1. The label contains the version.");
        let build = IntGauge::with_opts(build.const_label("version", env!("CARGO_PKG_VERSION")))?;
        build.set(1);

        let registry = Registry::new();
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(active_requests.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(connections_max))?;
        registry.register(Box::new(build))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self { registry, requests, active_requests, connections, shutdown, db })
    }

    /// Records a completed request. `route` is the pattern of its path, or empty if none matches;
    /// never the path itself.
    pub fn observe(&self, method: &Method, route: &str, status: StatusCode, duration: Duration) {
        let labels = [method_label(method), route, status.as_str()];
        if let Ok(requests) = self.requests.get_metric_with_label_values(&labels) {
            requests.observe(duration.as_secs_f64());
        }
    }

    fn text(&self) -> prometheus::Result<String> {
        self.active_requests.set(self.shutdown.in_flight() as i64);
        let (open, idle) = (i64::from(self.db.size()), self.db.num_idle() as i64);
        // The two are not read at the same time, so the difference can be negative.
        for (state, count) in [("idle", idle), ("used", (open - idle).max(0))] {
            self.connections.with_label_values(&[state]).set(count);
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Returns the name of a standard method, or `_OTHER`: clients can send any number of other names.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::CONNECT => "CONNECT",
        Method::DELETE => "DELETE",
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}

/// Serves `/metrics` at `address`.
///
/// # Errors
/// If the address is in use.
pub fn serve(address: SocketAddr, metrics: Data<Metrics>) -> anyhow::Result<(Server, SocketAddr)> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {address} for metrics"))?;
    let address = listener.local_addr()?;
    let server = HttpServer::new(move || App::new().app_data(metrics.clone()).service(scrape));
    let server = server.workers(1).disable_signals().listen(listener)?.run();
    Ok((server, address))
}

#[get("/metrics")]
async fn scrape(metrics: Data<Metrics>) -> HttpResponse {
    match metrics.text() {
        Ok(text) => HttpResponse::Ok().content_type(TEXT_FORMAT).body(text),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot encode the metrics");
            HttpResponse::InternalServerError().content_type(ContentType::plaintext()).finish()
        }
    }
}
