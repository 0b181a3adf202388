//! A partner to create, and the limit of its tree.

use sqlx::PgConnection;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AllOfBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::partner::{Partner, PartnerChanges, Party};
use crate::auth::{Actor, PartnerAncestry, Scope};
use crate::error::{ApiError, FieldError};
use crate::http::Caller;
use crate::input::patch::Patch;
use crate::input::types::{Name, Nested};
use crate::input::{Input, Members};
use crate::store;

/// A sub-partner to create.
#[derive(Debug, Default)]
pub struct NewPartner {
    /// The partner above the new one: by default the caller's partner, otherwise one of its
    /// descendants.
    pub parent_sid: Patch<Uuid>,
    /// The other members.
    pub writable: PartnerChanges,
}

impl ToSchema for NewPartner {}

impl PartialSchema for NewPartner {
    fn schema() -> RefOr<Schema> {
        let description = "The partner above the new one, by default the caller's partner";
        let sid = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
            .description(Some(description));
        let parent = ObjectBuilder::new().property("parent_sid", sid);
        Schema::AllOf(AllOfBuilder::new().item(PartnerChanges::schema()).item(parent).build())
            .into()
    }
}

impl Input for NewPartner {
    const READ_ONLY: &'static [&'static str] =
        &["date_created", "display_id", "login", "partner_sid"];

    fn take(members: &mut Members) -> Option<Self> {
        let parent_sid = members.nullable("parent_sid");
        Some(Self { parent_sid, writable: PartnerChanges::take(members)? })
    }
}

impl NewPartner {
    /// Returns the new partner. By default, it has the default scopes that the caller's token
    /// carries and that its parent has.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if the parent is not visible to the caller, [`ApiError::Conflict`] if
    /// the tree has too many levels or descendants; the errors of [`Partner::change`].
    pub async fn build<P>(
        self,
        connection: &mut PgConnection,
        caller: &Caller<P>,
        limit: DescendantLimit,
    ) -> Result<Partner, ApiError> {
        let Self { parent_sid, writable } = self;
        let parent_sid = parent_sid.value().or(caller.partner_sid());
        let parent = parent(connection, caller, parent_sid).await?;
        limit.check(connection, parent.partner_sid).await?;
        let ancestry = PartnerAncestry::of(&mut *connection, parent.partner_sid).await?;
        let held = ancestry.map(|ancestry| ancestry.scopes).unwrap_or_default();
        let scopes = Scope::common(caller.scopes(), &held);
        let default =
            Scope::DEFAULT.into_iter().filter(|scope| scope.is_covered(&scopes)).collect();
        let (sid, name) = (Uuid::now_v7(), Name::default());
        let mut new = Partner::new(connection, sid, parent_sid, name, default).await?;
        new.subtree_sid = parent.subtree_sid;
        new.change(writable, Nested::Replace, &Party::Ancestor { scopes, depth: caller.depth() })?;
        Ok(new)
    }
}

/// Returns the parent, which must be visible to the actor.
async fn parent(
    connection: &mut PgConnection,
    actor: &Actor,
    parent_sid: Option<Uuid>,
) -> Result<Partner, ApiError> {
    let not_visible =
        || ApiError::invalid("parent_sid", "must be your partner or a descendant of it");
    let parent_sid = parent_sid.ok_or_else(not_visible)?;
    match store::get::<Partner>(connection, actor, parent_sid).await {
        Err(ApiError::NoItem) => Err(not_visible()),
        parent => Ok(parent?.object),
    }
}

/// The most descendants of a partner without a parent, as far as they are created through the API.
#[derive(Clone, Copy, Debug)]
pub struct DescendantLimit(pub u32);

impl DescendantLimit {
    /// Checks whether the tree of that partner can get another descendant. Other transactions that
    /// check the same tree wait until this one has ended, so that together they cannot exceed the
    /// limit.
    async fn check(self, connection: &mut PgConnection, sid: Uuid) -> Result<(), ApiError> {
        /// The key of these locks: "tree" in ASCII. The second key is the hash of the root.
        const LOCKS: i32 = 0x7472_6565;
        let Self(limit) = self;
        let root_sid: Uuid = sqlx::query_scalar(
            "select sid from partner_tree join partners on sid = ancestor_sid
             where descendant_sid = $1 and parent_sid is null",
        )
        .bind(sid)
        .fetch_one(&mut *connection)
        .await?;
        sqlx::query("select pg_advisory_xact_lock($1, hashtext($2::text))")
            .bind(LOCKS)
            .bind(root_sid)
            .execute(&mut *connection)
            .await?;
        // A statement of its own, which sees what was committed before the lock was free.
        let descendants: i64 = sqlx::query_scalar(
            "select count(*) from (
                 select from partner_tree where ancestor_sid = $1 and descendant_sid <> $1 limit $2
             ) as descendants",
        )
        .bind(root_sid)
        .bind(i64::from(limit))
        .fetch_one(connection)
        .await?;
        if descendants < i64::from(limit) {
            return Ok(());
        }
        let message =
            format!("its tree already has {limit} descendants, which is the most allowed");
        Err(ApiError::Conflict(FieldError::new("parent_sid", message)))
    }
}
