//! Families: the tokens that were refreshed from one another, and their revocation.

use sqlx::{Connection, PgConnection, PgExecutor};
use uuid::Uuid;

use super::issuance::{self, Grantor};
use super::token::OauthToken;
use crate::auth::Actor;
use crate::error::ApiError;

/// Whether `partner_sid` is the other partner or an ancestor of it.
pub(super) async fn is_in_subtree(
    db: impl PgExecutor<'_>,
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
///
/// # Errors
/// [`ApiError::NoItem`] if the family is not visible to the actor.
pub(super) async fn revoke_family(
    connection: &mut PgConnection,
    actor: &Actor,
    family_sid: Uuid,
) -> Result<(), ApiError> {
    let mut tx = connection.begin().await?;
    // A refresh of one of its tokens ends first, and the token that it has issued is revoked too.
    issuance::stop(&mut tx, Grantor::Family(family_sid)).await?;
    issuance::end_tokens(&mut tx, actor, Grantor::Family(family_sid), None).await?;
    Ok(tx.commit().await?)
}

/// Ends a token and its refresh token.
pub(super) fn revoke(token: &mut OauthToken) -> Result<(), ApiError> {
    token.revoke();
    Ok(())
}
