//! One log line and one observation of the metrics for each request.

use std::error::Error;
use std::time::Duration;

use actix_web::dev::ServiceResponse;
use actix_web::http::Method;
use actix_web::{HttpMessage, HttpRequest, web};

use super::auth::Authentication;
use super::object::IDEMPOTENCY_REPLAYED;
use crate::error::{ApiError, is_lock_timeout};
use crate::store::Staleness;
use crate::telemetry;
use crate::telemetry::metrics::Metrics;

/// Records a request that has been answered.
///
/// The line of an internal error or of an unavailable database has the level of an error and
/// contains the cause. An error of the database marks connections as stale.
pub(super) fn record<B>(
    response: &ServiceResponse<B>,
    method: &Method,
    request_id: &str,
    duration: Duration,
) {
    let request = response.request();
    let (route, status) = (request.match_pattern(), response.status());
    if let Some(metrics) = request.app_data::<web::Data<Metrics>>() {
        metrics.observe(method, route.as_deref().unwrap_or_default(), status, duration);
        if response.headers().contains_key(IDEMPOTENCY_REPLAYED) {
            metrics.observe_replay();
        }
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
    let cause = match authentication {
        Some(Authentication::Unknown(error)) => Some(&**error as &dyn Error),
        _ => response
            .response()
            .error()
            .and_then(|error| error.as_error::<ApiError>())
            .and_then(ApiError::internal_cause),
    };
    if let Some(cause) = cause {
        observe_cause(request, cause);
    }
    let error = cause.map(telemetry::chain);
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
        // Probes arrive every few seconds and carry no information.
        "/healthz" | "/readyz" => line!(debug),
        _ => line!(info),
    }
}

/// Counts a wait for a lock, and marks connections as stale.
fn observe_cause(request: &HttpRequest, cause: &(dyn Error + 'static)) {
    if cause.downcast_ref().is_some_and(is_lock_timeout)
        && let Some(metrics) = request.app_data::<web::Data<Metrics>>()
    {
        metrics.observe_lock_timeout();
    }
    if let Some(staleness) = request.app_data::<web::Data<Staleness>>() {
        staleness.observe(cause);
    }
}
