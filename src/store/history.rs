//! The history of every object: who changed what, chained by hashes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Resource, Stored};
use crate::auth::Actor;
use crate::date;
use crate::error::ApiError;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It was created.
    Create,
    /// It was changed.
    Update,
    /// It was deleted; its entry keeps it as it was.
    Delete,
}

/// A member before and after.
#[derive(Serialize)]
struct Change<'a> {
    after: &'a Value,
    before: &'a Value,
}

/// What the text of an entry says.
#[derive(Serialize)]
struct Text<'a> {
    action: Action,
    changes: BTreeMap<&'a str, Change<'a>>,
    #[serde(with = "date")]
    date: OffsetDateTime,
    ip: Option<IpAddr>,
    /// The object as it became, or last was.
    object: &'a Map<String, Value>,
    /// The partner of the token that made the change.
    partner_sid: Option<Uuid>,
    request_id: Option<&'a str>,
    sid: Uuid,
    token_sid: Option<Uuid>,
    version: i64,
}

impl<R: Resource> Stored<R> {
    /// The text of the entry for a change from members `old` to members `new`, which are those of the row as it is now.
    /// The row's head, until now that of the entry before, becomes the hash of the new one.
    pub(super) fn record(
        &mut self,
        actor: &Actor,
        action: Action,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
    ) -> Result<String, ApiError> {
        let text = Text {
            action,
            changes: changes(old, new),
            date: self.changed_at,
            ip: actor.ip(),
            object: if action == Action::Delete { old } else { new },
            partner_sid: actor.partner_sid(),
            request_id: actor.request_id(),
            sid: self.object.sid(),
            token_sid: actor.token_sid(),
            version: self.version,
        };
        let text =
            serde_json::to_string(&text).map_err(|error| ApiError::Internal(error.into()))?;
        self.head = Sha256::new().chain_update(&self.head).chain_update(&text).finalize().to_vec();
        Ok(text)
    }
}

/// The members that differ. An object that does not exist has none.
fn changes<'a>(
    old: &'a Map<String, Value>,
    new: &'a Map<String, Value>,
) -> BTreeMap<&'a str, Change<'a>> {
    let value = |members: &'a Map<String, Value>, name| members.get(name).unwrap_or(&Value::Null);
    old.keys()
        .chain(new.keys())
        .map(|name| (name.as_str(), Change { after: value(new, name), before: value(old, name) }))
        .filter(|(_, Change { after, before })| after != before)
        .collect()
}
