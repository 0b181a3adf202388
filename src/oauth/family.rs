//! Families: the tokens that were refreshed from one another, and their revocation.

use sqlx::PgPool;
use uuid::Uuid;

use super::token::OauthToken;
use crate::auth::Actor;
use crate::error::ApiError;
use crate::input::date;
use crate::store;

/// Whether `partner_sid` is the other partner or an ancestor of it.
pub(super) async fn is_in_subtree(
    db: &PgPool,
    partner_sid: Uuid,
    other: Uuid,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select from partner_tree where ancestor_sid = $1 and descendant_sid = $2)",
    )
    .bind(partner_sid)
    .bind(other)
    .fetch_one(db)
    .await
}

/// Revokes every token of a family.
pub(super) async fn revoke_family(
    db: &PgPool,
    actor: &Actor,
    family_sid: Option<Uuid>,
) -> Result<(), ApiError> {
    let mut tx = db.begin().await?;
    // A token that is refreshed meanwhile is found by the next round.
    loop {
        let alive: Vec<Uuid> = sqlx::query_scalar(
            "select sid from oauth_tokens
             where family_sid = $1
               and (date_expiration_access_token > $2
                    or (date_expiration_refresh_token > $2 and not refresh_spent))
             order by ordinal",
        )
        .bind(family_sid)
        .bind(date::now())
        .fetch_all(&mut *tx)
        .await?;
        if alive.is_empty() {
            return Ok(tx.commit().await?);
        }
        for sid in alive {
            store::update_within(&mut tx, actor, sid, revoke).await?;
        }
    }
}

/// Ends a token and its refresh token.
pub(super) fn revoke(token: &mut OauthToken) -> Result<(), ApiError> {
    token.revoke();
    Ok(())
}
