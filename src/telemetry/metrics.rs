//! Metrics in the Prometheus text format, served on a separate listener.
//!
//! The names follow OpenTelemetry's semantic conventions. A request adds one observation; gauges
//! are read at each scrape. [`Activity`] has the metrics of what happens between the requests and
//! the database.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::header::ContentType;
use actix_web::http::{Method, StatusCode};
use actix_web::web::Data;
use actix_web::{App, HttpResponse, HttpServer, get};
use anyhow::Context;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TEXT_FORMAT,
    TextEncoder,
};

use super::activity::Activity;
use crate::shutdown::Shutdown;

/// The buckets of request durations in seconds: OpenTelemetry's, and smaller ones, because most
/// reads take less than its first, 5 ms.
const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0,
    2.5, 5.0, 7.5, 10.0,
];

/// The state of one part of the connections to the database.
pub struct Usage {
    /// The name of the part.
    pub part: &'static str,
    /// The most connections.
    pub max: u32,
    /// The open connections that are not in use.
    pub idle: u32,
    /// The open connections.
    pub open: u32,
}

/// Returns the state of each part.
pub type UsageSource = Box<dyn Fn() -> Vec<Usage> + Send + Sync>;

/// The metrics since the start of the service.
pub struct Metrics {
    registry: Registry,
    requests: HistogramVec,
    rejected_heads: IntCounterVec,
    active_requests: IntGauge,
    connections: IntGaugeVec,
    dropped_lines: IntGauge,
    activity: Activity,
    shutdown: Shutdown,
    usage: UsageSource,
}

impl Metrics {
    /// Creates and registers the metrics.
    ///
    /// # Errors
    /// If two metrics have the same name.
    pub fn new(
        usage: UsageSource,
        activity: Activity,
        shutdown: Shutdown,
    ) -> prometheus::Result<Self> {
        let duration = HistogramOpts::new(
            "http_server_request_duration_seconds",
            "Time from the head of a request to the head of its response.",
        );
        let requests = HistogramVec::new(
            duration.buckets(SECONDS.to_vec()),
            &["http_request_method", "http_route", "http_response_status_code"],
        )?;
        let rejected_heads = rejected_heads()?;
        let active_requests = IntGauge::new("http_server_active_requests", "Requests in flight.")?;
        let connections = IntGaugeVec::new(
            Opts::new("db_client_connection_count", "Open connections to the database."),
            &["pool", "state"],
        )?;
        let connections_max = IntGaugeVec::new(
            Opts::new("db_client_connection_max", "The most connections that can be open."),
            &["pool"],
        )?;
        for part in usage() {
            connections_max.with_label_values(&[part.part]).set(part.max.into());
        }
        let dropped_lines = IntGauge::new(
            "shortline_log_lines_dropped",
            "Log lines that were dropped because standard error was not read.",
        )?;
        let build = Opts::new("shortline_build_info", "Always 1. The label contains the version.");
        let build = IntGauge::with_opts(build.const_label("version", env!("CARGO_PKG_VERSION")))?;
        build.set(1);

        let registry = Registry::new();
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(rejected_heads.clone()))?;
        registry.register(Box::new(active_requests.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(connections_max))?;
        registry.register(Box::new(dropped_lines.clone()))?;
        registry.register(Box::new(build))?;
        for collector in activity.collectors() {
            registry.register(collector)?;
        }
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            registry,
            requests,
            rejected_heads,
            active_requests,
            connections,
            dropped_lines,
            activity,
            shutdown,
            usage,
        })
    }

    /// Records a completed request. `route` is the pattern of its path, or empty if none matches;
    /// never the path itself.
    pub fn observe(&self, method: &Method, route: &str, status: StatusCode, duration: Duration) {
        let labels = [method_label(method), route, status.as_str()];
        if let Ok(requests) = self.requests.get_metric_with_label_values(&labels) {
            requests.observe(duration.as_secs_f64());
        }
    }

    /// Records a head that never became a request.
    pub fn observe_rejected_head(&self, status: StatusCode) {
        self.rejected_heads.with_label_values(&[status.as_str()]).inc();
    }

    /// Records a request that waited too long for a lock.
    pub fn observe_lock_timeout(&self) {
        self.activity.lock_timeouts.inc();
    }

    /// Records a response that was replayed.
    pub fn observe_replay(&self) {
        self.activity.replays.inc();
    }

    fn text(&self) -> prometheus::Result<String> {
        self.active_requests.set(self.shutdown.in_flight() as i64);
        for Usage { part, idle, open, .. } in (self.usage)() {
            for (state, count) in [("idle", idle), ("used", open - idle)] {
                self.connections.with_label_values(&[part, state]).set(count.into());
            }
        }
        self.dropped_lines.set(super::dropped_lines() as i64);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn rejected_heads() -> prometheus::Result<IntCounterVec> {
    let help = "Heads of requests that were malformed, too large or not received in time.";
    let opts = Opts::new("shortline_rejected_heads_total", help);
    IntCounterVec::new(opts, &["http_response_status_code"])
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
