//! The probes of balancers and orchestrators.

use actix_web::{HttpResponse, get, web};
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::http::Draining;
use crate::migrations;
use crate::openapi::Unavailable;

/// What a probe is told.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `alive` or `ready`.
    status: &'static str,
}

/// Whether the process is alive. Never asks the database.
#[utoipa::path(tag = "Service", responses((status = OK, description = "Alive", body = Health)))]
#[get("/healthz")]
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "alive" })
}

/// Whether requests should be sent here: the database takes writes, its schema is ours, and we are not about to stop.
#[utoipa::path(
    tag = "Service",
    responses((status = OK, description = "Ready", body = Health), Unavailable),
)]
#[get("/readyz")]
pub async fn readyz(
    db: web::Data<PgPool>,
    draining: web::Data<Draining>,
) -> Result<HttpResponse, ApiError> {
    if draining.has_begun() {
        return Err(ApiError::Unavailable(None));
    }
    let (writable, schema): (bool, Option<i32>) = sqlx::query_as(
        "select current_setting('transaction_read_only') = 'off', (select max(version) from refinery_schema_history)",
    )
    .fetch_one(&**db)
    .await
    .map_err(|error| ApiError::Unavailable(Some(error)))?;
    if writable && schema >= Some(migrations::newest()) {
        Ok(HttpResponse::Ok().json(Health { status: "ready" }))
    } else {
        Err(ApiError::Unavailable(None))
    }
}
