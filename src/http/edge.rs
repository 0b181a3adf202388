//! The edge that every request and every answer passes: request id, client address, method and path, access log, draining.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, Uri, uri::PathAndQuery};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, web};
use uuid::Uuid;

use super::TrustedProxies;
use super::preferences::Handling;
use crate::auth::Authentication;
use crate::error::ApiError;
use crate::routes;

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct ClientIp(pub IpAddr);

/// The id of a request, the caller's own where it sent a sane one.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Whether we are about to stop.
#[derive(Clone, Debug, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// From now on, every answer closes its connection and `/readyz` says no.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps the whole application.
pub async fn edge<B: MessageBody>(
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

    let mut response = next.call(request).await?;

    let draining = response
        .request()
        .app_data::<web::Data<Draining>>()
        .is_some_and(|draining| draining.has_begun());
    let head = response.response_mut().head_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        head.headers_mut().insert(REQUEST_ID, id);
    }
    if draining {
        head.set_connection_type(ConnectionType::Close);
    }
    log(&response, &method, &id, started);
    Ok(response)
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

/// One line a request; a failure of ours with its cause.
fn log<B>(response: &ServiceResponse<B>, method: &Method, request_id: &str, started: Instant) {
    let request = response.request();
    let route = request.match_pattern();
    let route = route.as_deref().unwrap_or("unmatched");
    let extensions = request.extensions();
    let principal = match extensions.get::<Authentication>() {
        Some(Authentication::Valid(principal)) => Some(principal),
        _ => None,
    };
    let status = response.status().as_u16();
    let milliseconds = started.elapsed().as_secs_f64() * 1e3;
    if let Some(error) = response.response().error()
        && let Some(ApiError::Internal(_) | ApiError::Unavailable(Some(_))) = error.as_error()
    {
        let cause = error.as_error::<ApiError>().and_then(std::error::Error::source);
        tracing::error!(error = cause, "{method} {route} failed, request {request_id}");
    }
    tracing::info!(
        request_id,
        route,
        status,
        milliseconds,
        partner_sid = principal.map(|principal| tracing::field::display(principal.partner_sid)),
        token_sid =
            principal.and_then(|principal| principal.token_sid).map(tracing::field::display),
        "{method} {route} {status}"
    );
}

/// Answers what no route took: 405 where the path is known for other methods, else 404.
pub async fn unmatched(request: HttpRequest) -> Result<web::Bytes, ApiError> {
    let allow = routes::methods_of(request.path());
    Err(if allow.is_empty() { ApiError::NotFound } else { ApiError::MethodNotAllowed { allow } })
}
