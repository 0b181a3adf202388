//! Disables endpoints.

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::endpoint::EventEndpoint;
use super::{event, pending};
use crate::auth::Actor;
use crate::error::ApiError;
use crate::store;

/// Disables the endpoint, and informs the partner's other endpoints. Returns false if it was
/// already disabled.
///
/// # Errors
/// If the database is not available.
pub async fn disable(
    connection: &mut PgConnection,
    endpoint_sid: Uuid,
    partner_sid: Uuid,
    reason: &str,
) -> Result<bool, ApiError> {
    let mut tx = connection.begin().await?;
    let change = |endpoint: &mut EventEndpoint| {
        if !endpoint.enabled {
            return Err(ApiError::NoItem);
        }
        endpoint.set_enabled(false, Some(reason.to_owned()));
        Ok(())
    };
    let stored = store::update_within(&mut tx, &Actor::operator(), endpoint_sid, change).await;
    let stored = match stored {
        Err(ApiError::NoItem) => return Ok(false),
        stored => stored?,
    };
    // Retries become due when an instance takes over an endpoint that no other one has left.
    let leave = "update event_endpoints set dispatcher_sid = null where sid = $1";
    sqlx::query(leave).bind(endpoint_sid).execute(&mut *tx).await?;
    pending::announce(&mut tx, partner_sid, endpoint_sid, stored.version, event::DISABLED).await?;
    tx.commit().await?;
    Ok(true)
}
