//! The probes of balancers and orchestrators.

use std::time::Duration;

use actix_web::{HttpResponse, get, web};
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use crate::cutoff::Cutoff;
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

/// How long the database may take to say how it is: longer than it takes to be told that no connection is free.
const PATIENCE: Duration = Duration::from_secs(4);

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
    cutoff: web::Data<Cutoff>,
    draining: web::Data<Draining>,
) -> Result<HttpResponse, ApiError> {
    if draining.has_begun() {
        return Err(ApiError::Unavailable(None));
    }
    let state = sqlx::query_as(
        "select current_setting('transaction_read_only') = 'off', (select max(version) from refinery_schema_history)",
    )
    .fetch_one(&**db);
    let Ok(state) = tokio::time::timeout(PATIENCE, state).await else {
        cutoff.set();
        return Err(ApiError::Unavailable(None));
    };
    let (writable, schema): (bool, Option<i32>) =
        state.map_err(|error| ApiError::Unavailable(Some(error)))?;
    if !writable {
        cutoff.set();
    }
    if writable && schema >= Some(migrations::newest()) {
        Ok(HttpResponse::Ok().json(Health { status: "ready" }))
    } else {
        Err(ApiError::Unavailable(None))
    }
}
