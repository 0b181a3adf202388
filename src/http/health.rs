//! The probes of balancers and orchestrators.

use actix_web::{HttpResponse, get, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::Unavailable;
use crate::error::ApiError;
use crate::shutdown::Shutdown;
use crate::store::Database;

/// The response to a probe.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `alive` or `ready`.
    status: &'static str,
}

/// Returns 200 while the process is alive. Does not access the database.
#[utoipa::path(tag = "Service", responses((status = OK, description = "Alive", body = Health)))]
#[get("/healthz")]
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "alive" })
}

/// Returns 200 if the instance can serve requests: the database is writable, its schema is up to
/// date, and the service does not drain.
#[utoipa::path(
    tag = "Service",
    responses((status = OK, description = "Ready", body = Health), Unavailable),
)]
#[get("/readyz")]
pub async fn readyz(
    database: web::Data<Database>,
    shutdown: web::Data<Shutdown>,
) -> Result<HttpResponse, ApiError> {
    if shutdown.has_begun() {
        return Err(ApiError::Unavailable(None));
    }
    if !database.is_ready().await? {
        return Err(ApiError::Unavailable(None));
    }
    Ok(HttpResponse::Ok().json(Health { status: "ready" }))
}
