//! The options of a write, and its response.

use sha2::{Digest, Sha256};

use super::resource::Resource;
use crate::auth::{Actor, Visibility};
use crate::error::{ApiError, Precondition};

/// The options of a write. By default it has no precondition and no idempotency key, and is no dry
/// run.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// The versions that it can change.
    pub preconditions: Preconditions,
    /// The key under which a successful response is stored.
    pub key: Option<IdempotencyKey>,
    /// Whether every check runs and nothing is stored: a dry run.
    pub validate_only: bool,
}

/// The conditions under which a write happens (RFC 9110, section 13.1).
#[derive(Clone, Debug, Default)]
pub struct Preconditions {
    /// The versions that it can change.
    pub if_match: EntityTags,
    /// The versions that it must not change.
    pub if_none_match: EntityTags,
}

impl Preconditions {
    /// Checks an object of that version. If `is_required`, there must be an `If-Match`.
    ///
    /// # Errors
    /// [`ApiError::PreconditionFailed`] or [`ApiError::PreconditionRequired`].
    pub(super) fn check(&self, version: i64, is_required: bool) -> Result<(), ApiError> {
        let Self { if_match, if_none_match } = self;
        let tag = version.to_string();
        match if_match {
            EntityTags::None if is_required => return Err(ApiError::PreconditionRequired),
            EntityTags::None => {}
            tags if tags.names(&tag) => {}
            _ => return Err(ApiError::PreconditionFailed(Precondition::IfMatch)),
        }
        if if_none_match.names(&tag) {
            return Err(ApiError::PreconditionFailed(Precondition::IfNoneMatch));
        }
        Ok(())
    }

    /// Checks an object that does not exist. `If-None-Match` then holds.
    pub(super) fn check_absent(&self) -> Result<(), ApiError> {
        if self.if_match == EntityTags::None {
            Ok(())
        } else {
            Err(ApiError::PreconditionFailed(Precondition::IfMatch))
        }
    }
}

/// The versions that an `If-Match` or `If-None-Match` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EntityTags {
    /// The header is absent.
    #[default]
    None,
    /// `*`: every version that exists.
    Exists,
    /// The versions of these entity tags.
    OneOf(Vec<String>),
}

impl EntityTags {
    /// Whether the header names that entity tag.
    pub fn names(&self, tag: &str) -> bool {
        match self {
            Self::None => false,
            Self::Exists => true,
            Self::OneOf(tags) => tags.iter().any(|sent| sent == tag),
        }
    }
}

/// The key of a request, and the hash of what makes another request the same.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    key: String,
    request: Sha256,
}

impl IdempotencyKey {
    /// The key of a request whose parts are then [added](Self::add).
    pub fn new(key: String) -> Self {
        Self { key, request: Sha256::new() }
    }

    /// Adds a part of the request: its method, path, query or body.
    pub fn add(&mut self, part: &[u8]) {
        // The length separates the parts.
        self.request.update(part.len().to_le_bytes());
        self.request.update(part);
    }

    /// The value of the header.
    pub(super) fn text(&self) -> &str {
        &self.key
    }

    /// The hash of the request.
    ///
    /// It includes whether descendants are visible to the caller: a token to which they are
    /// not visible must not get the response to another token of the same partner.
    pub(super) fn fingerprint(&self, actor: &Actor) -> [u8; 32] {
        let subtree = matches!(actor.visibility(), Visibility::Subtree(_));
        self.request.clone().chain_update([u8::from(subtree)]).finalize().into()
    }
}

/// The response to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteResponse {
    /// The object after the write as JSON; for a dry run, as it would be. `None` after a deletion.
    pub body: Option<String>,
    /// The committed version. `None` after a deletion or a dry run, and if the object has no entity
    /// tag.
    pub version: Option<i64>,
    /// Whether the response was stored by an earlier request with the same key.
    pub is_replayed: bool,
}

impl WriteResponse {
    /// The response that shows `object` at that version.
    pub(super) fn of<R: Resource>(object: &R, version: i64) -> Result<Self, ApiError> {
        let body =
            serde_json::to_string(object).map_err(|error| ApiError::Internal(error.into()))?;
        let version = R::has_entity_tag().then_some(version);
        Ok(Self { body: Some(body), version, is_replayed: false })
    }

    /// The response to a deletion.
    pub(super) fn deleted() -> Self {
        Self { body: None, version: None, is_replayed: false }
    }
}
