//! The middleware around the whole application: request id, client address, method and path,
//! error format and the headers of every response.

use std::time::Instant;

use actix_cors::Cors;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::uri::PathAndQuery;
use actix_web::http::{ConnectionType, Method, Uri};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, web};
use uuid::Uuid;

use super::access_log;
use super::allowed_sites::AllowedSites;
use super::connection::REQUEST_ID;
use super::prefer::Handling;
use super::target::{Target, TrustedProxies};
use crate::auth::{ClientIp, RequestId};
use crate::error::ApiError;
use crate::shutdown::Shutdown;

/// Wraps the whole application: every request and every response passes here.
pub async fn request_middleware<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let started = Instant::now();
    let method = request.method().clone();
    let id = request_id(&request);
    request.extensions_mut().insert(RequestId(id.clone()));
    let target = find_target(&request);
    normalize(&mut request);

    let shutdown = request.app_data::<web::Data<Shutdown>>().cloned();
    let in_flight = shutdown.as_ref().map(|shutdown| shutdown.track());
    let mut response = match target {
        Ok(()) => as_problem(next.call(request).await?),
        Err(error) => as_problem(request.error_response(error)),
    };
    drop(in_flight);

    let head = response.response_mut().head_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        head.headers_mut().insert(REQUEST_ID, id);
    }
    // Text that a client sent must never be rendered as a page.
    let nosniff = HeaderValue::from_static("nosniff");
    head.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    if shutdown.is_some_and(|shutdown| shutdown.has_begun()) {
        head.set_connection_type(ConnectionType::Close);
    }
    access_log::record(&response, &method, &id, started.elapsed());
    Ok(response)
}

/// Wraps the endpoints that require a token: their responses are private to the caller.
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

/// The caller's `X-Request-Id` if it has 1 to 128 visible ASCII characters, otherwise a new id.
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

/// Finds the client and the target of the request, and checks that the service is meant for the
/// host and the origin.
fn find_target(request: &ServiceRequest) -> Result<(), ApiError> {
    let own = Target::of(request.request())?;
    if let Some(sites) = request.app_data::<web::Data<AllowedSites>>() {
        sites.check(request, own.host())?;
    }
    if let Some(proxies) = request.app_data::<web::Data<TrustedProxies>>() {
        let (client, target) = proxies.resolve(request.request(), own)?;
        let mut extensions = request.extensions_mut();
        extensions.insert(target);
        if let Some(client) = client {
            extensions.insert(ClientIp(client));
        }
    }
    Ok(())
}

/// Routes `HEAD` as `GET` (actix drops the body), and removes one trailing slash.
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

/// Allows browsers of any origin: access requires a token, which no browser adds by itself.
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
            "Last-Event-ID",
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

/// Turns an error into a problem document (RFC 9457) if the caller's `Accept` names that format.
fn as_problem<B: MessageBody + 'static>(response: ServiceResponse<B>) -> ServiceResponse<BoxBody> {
    let wanted = accepts(response.request().headers(), PROBLEM_JSON);
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

/// Whether `Accept` names a media type (RFC 9110, section 12.5.1). A range such as `*/*` names
/// none.
pub fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let accept = headers.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    accept.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media_type));
        let excluded = |weight: &str| weight.trim_end_matches(['0', '.']) == "q=";
        named && !parts.any(excluded)
    })
}
