//! The edge that every request and every answer passes: request id, client address, method and path, log and metrics, draining.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_cors::Cors;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::uri::{Authority, PathAndQuery};
use actix_web::http::{ConnectionType, Method, Uri};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use uuid::Uuid;

use super::TrustedProxies;
use super::preferences::Handling;
use crate::auth::Authentication;
use crate::cutoff::Cutoff;
use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::{routes, telemetry};

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct ClientIp(pub IpAddr);

/// The id of a request, the caller's own where it sent a sane one.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Whether we are about to stop, and how many requests are in flight.
#[derive(Clone, Debug, Default)]
pub struct Draining {
    begun: Arc<AtomicBool>,
    in_flight: Arc<AtomicUsize>,
}

impl Draining {
    /// From now on, every answer closes its connection and `/readyz` says no.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// Waits until no request is in flight.
    pub async fn landed(&self) {
        while self.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// How many requests are in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn take_off(&self) -> Flight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Flight(self.in_flight.clone())
    }
}

/// A request in flight, until it is dropped.
struct Flight(Arc<AtomicUsize>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a request may take at most: its body 30 s, its waits for the database less than the rest, where that says anything.
const LONGEST: Duration = Duration::from_secs(45);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps the whole application.
pub async fn edge<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let started = Instant::now();
    let method = request.method().clone();
    let id = request_id(&request);
    request.extensions_mut().insert(RequestId(id.clone()));
    if let Some(ip) = client_ip(&request) {
        request.extensions_mut().insert(ClientIp(ip));
    }
    normalize(&mut request);

    let flight = request.app_data::<web::Data<Draining>>().map(|draining| draining.take_off());
    let cutoff = request.app_data::<web::Data<Cutoff>>().cloned();
    let mut response = if names_a_host(&request) {
        let Ok(answered) = tokio::time::timeout(LONGEST, next.call(request)).await else {
            return Err(given_up(&method, &id, cutoff.as_ref()));
        };
        as_problem(answered?)
    } else {
        as_problem(request.error_response(ApiError::bad_argument("Host", "must be a host")))
    };
    drop(flight);

    let draining = response
        .request()
        .app_data::<web::Data<Draining>>()
        .is_some_and(|draining| draining.has_begun());
    let head = response.response_mut().head_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        head.headers_mut().insert(REQUEST_ID, id);
    }
    // What an answer says it is, it is: text of a client's never becomes a page.
    let nosniff = HeaderValue::from_static("nosniff");
    head.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    if draining {
        head.set_connection_type(ConnectionType::Close);
    }
    measure(&response, &method, &id, started.elapsed());
    Ok(response)
}

/// The answer to a request that has waited for the database all the time: every other wait ends by itself.
fn given_up(
    method: &Method,
    request_id: &str,
    cutoff: Option<&web::Data<Cutoff>>,
) -> actix_web::Error {
    if let Some(cutoff) = cutoff {
        cutoff.set();
    }
    tracing::error!(request_id, %method, "no answer in {LONGEST:?}: the database says nothing");
    let error = ApiError::Unavailable(None);
    let mut response = error.error_response();
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    InternalError::from_response(error, response).into()
}

/// Wraps what a token is needed for: answers are the caller's own.
pub async fn private<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let handling = Handling::preferred(request.headers())
        .filter(|_| [Method::PATCH, Method::PUT].contains(request.method()));
    let mut response = next.call(request).await?;
    let succeeded = response.status().is_success();
    let headers = response.headers_mut();
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    if let Some(handling) = handling
        && succeeded
    {
        headers.insert(
            HeaderName::from_static("preference-applied"),
            HeaderValue::from_static(handling.applied()),
        );
    }
    Ok(response)
}

/// Wraps what answers with secrets: nobody keeps them (RFC 6749, section 5.1, which asks for both headers).
pub async fn no_store<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let mut response = next.call(request).await?;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// The caller's `X-Request-Id` where it has 1 to 128 visible ASCII characters, else a new one.
fn request_id(request: &ServiceRequest) -> String {
    request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|value| {
            (1..=128).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic())
        })
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// Whether the `Host` header is one (RFC 9112, section 3.2): links are made from it, which must not lead to another path.
fn names_a_host(request: &ServiceRequest) -> bool {
    let sound = |host: &HeaderValue| {
        Authority::try_from(host.as_bytes()).is_ok_and(|authority| {
            // In front of the host there is no user, behind it a port at most.
            match authority.as_str().strip_prefix(authority.host()) {
                Some("") => true,
                Some(_) => authority.port_u16().is_some(),
                None => false,
            }
        })
    };
    request.headers().get_all(header::HOST).all(sound)
}

fn client_ip(request: &ServiceRequest) -> Option<IpAddr> {
    request.app_data::<web::Data<TrustedProxies>>()?.client(request.request())
}

/// `HEAD` is answered as `GET` (actix leaves the body out), and one trailing slash is forgiven.
fn normalize(request: &mut ServiceRequest) {
    if request.method() == Method::HEAD {
        request.head_mut().method = Method::GET;
    }
    let path = request.path();
    if path.len() > 1 && path.ends_with('/') {
        let path = &path[..path.len() - 1];
        let path_and_query = match request.uri().query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = PathAndQuery::try_from(path_and_query).ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            request.match_info_mut().get_mut().update(&uri);
            request.head_mut().uri = uri;
        }
    }
}

/// One observation and one line a request; of a failure of ours, the line says the cause, and the pool learns from it.
fn measure<B>(
    response: &ServiceResponse<B>,
    method: &Method,
    request_id: &str,
    duration: Duration,
) {
    let request = response.request();
    let (route, status) = (request.match_pattern(), response.status());
    if let Some(metrics) = request.app_data::<web::Data<Metrics>>() {
        metrics.observe(method, route.as_deref().unwrap_or_default(), status, duration);
    }
    let route = route.as_deref().unwrap_or("unmatched");
    let (method, status) = (method.as_str(), status.as_u16());
    let milliseconds = (duration.as_secs_f64() * 1e6).round() / 1e3;
    let extensions = request.extensions();
    let authentication = extensions.get::<Authentication>();
    let principal = match authentication {
        Some(Authentication::Valid(principal)) => Some(principal),
        _ => None,
    };
    let failure = match authentication {
        Some(Authentication::Unknown(error)) => Some(&**error as &dyn std::error::Error),
        _ => response
            .response()
            .error()
            .and_then(|error| error.as_error::<ApiError>())
            .and_then(ApiError::failure),
    };
    if let Some((failure, cutoff)) = failure.zip(request.app_data::<web::Data<Cutoff>>()) {
        cutoff.learn_from(failure);
    }
    let error = failure.map(telemetry::chain);
    let partner_sid = principal.map(|principal| principal.partner_sid);
    let token_sid = principal.and_then(|principal| principal.token_sid);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                request_id,
                method,
                route,
                partner_sid = partner_sid.map(tracing::field::display),
                token_sid = token_sid.map(tracing::field::display),
                status,
                milliseconds,
                error,
                "{method} {route} {status}"
            )
        };
    }
    match route {
        _ if error.is_some() => line!(error),
        // Probes come every few seconds, and say nothing new.
        "/healthz" | "/readyz" => line!(debug),
        _ => line!(info),
    }
}

/// Answers what no route took: an `OPTIONS` with the path's methods, 405 where the path is known for other methods, else 404.
pub async fn unmatched(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    // As the router reads it, percent-decoded.
    let allow = routes::methods_of(request.match_info().as_str());
    if allow.is_empty() {
        return Err(ApiError::NotFound);
    }
    if request.method() == Method::OPTIONS {
        return Ok(HttpResponse::NoContent()
            .insert_header((header::ALLOW, allow.join(", ")))
            .finish());
    }
    Err(ApiError::MethodNotAllowed { allow })
}

/// Browsers of any origin may call: what gives access is the token, which no browser adds by itself.
pub fn cors() -> Cors {
    Cors::default()
        .allow_any_origin()
        .send_wildcard()
        .allowed_methods(["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"])
        .allowed_headers([
            "Authorization",
            "Content-Type",
            "Accept",
            "If-Match",
            "If-None-Match",
            "Idempotency-Key",
            "Prefer",
            "X-Request-Id",
        ])
        .expose_headers([
            "ETag",
            "Retry-After",
            "RateLimit",
            "RateLimit-Policy",
            "X-Request-Id",
            "Idempotency-Replayed",
            "Preference-Applied",
        ])
        .max_age(3_600)
        .block_on_origin_mismatch(false)
}

/// Turns an error into RFC 9457's form, for a caller whose `Accept` names it.
fn as_problem<B: MessageBody + 'static>(response: ServiceResponse<B>) -> ServiceResponse<BoxBody> {
    let accept = response.request().headers().get_all(header::ACCEPT);
    let wanted = accept.filter_map(|value| value.to_str().ok()).any(names_problem);
    let problem =
        response.response().error().and_then(|error| error.as_error()).map(ApiError::problem);
    match problem {
        Some(problem) if wanted => {
            let body = serde_json::to_string(&problem).unwrap_or_default();
            let mut response = response.map_body(|_, _| BoxBody::new(body));
            let problem_json = HeaderValue::from_static(PROBLEM_JSON);
            response.headers_mut().insert(header::CONTENT_TYPE, problem_json);
            response
        }
        _ => response.map_into_boxed_body(),
    }
}

const PROBLEM_JSON: &str = "application/problem+json";

/// Whether an `Accept` header takes a problem document (RFC 9110, section 12.5.1).
fn names_problem(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(PROBLEM_JSON));
        let refused = |weight: &str| weight.trim_end_matches(['0', '.']) == "q=";
        named && !parts.any(refused)
    })
}
