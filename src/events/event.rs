//! Events as a response contains them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::kind::{EventType, ObjectKind, shown};
use crate::error::ApiError;
use crate::store::{Action, FeedEntry, SnapshotObject};

/// A change of an object.
#[derive(Debug, Serialize, ToSchema)]
pub struct Event {
    /// The place of the event: `after` it come the events that follow.
    pub cursor: String,
    /// The object.
    pub data: EventData,
    /// Identifies the change: the same in every response.
    #[schema(example = "msg_0d0eb2ee-2160-4dc3-b5b6-8a2f6ec1ad5c_3")]
    pub id: String,
    /// When the change was made.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// The kind of the object and what happened to it: `created`, `updated`, `reverted` (also
    /// restored), `deleted`, or `snapshot` for an object as it is.
    #[serde(rename = "type")]
    #[schema(example = "short_code.updated")]
    pub event_type: String,
    /// The trace of the request that made the change. A delivery has it as a header.
    #[serde(skip)]
    pub traceparent: Option<String>,
}

/// The object of an event.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventData {
    /// The changed members, each with its value `before` and `after`.
    #[schema(value_type = BTreeMap<String, Value>)]
    pub changes: Box<RawValue>,
    /// The object after the change, or before its deletion.
    #[schema(value_type = BTreeMap<String, Value>)]
    pub object: Box<RawValue>,
    /// The owner of the object.
    pub partner_sid: Uuid,
    /// The object.
    pub sid: Uuid,
    /// The version of the object.
    pub version: i64,
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventPage {
    /// The place behind the page, for `after` in the next request.
    pub cursor: String,
    /// Whether events follow.
    pub has_more: bool,
    /// The events.
    pub items: Vec<Event>,
}

/// The members of an entry that an event shows.
#[derive(Deserialize)]
struct Entry<'a> {
    action: Action,
    #[serde(borrow)]
    changes: &'a RawValue,
    date: String,
    #[serde(borrow)]
    object: &'a RawValue,
    traceparent: Option<String>,
}

impl Event {
    /// Returns the event of an entry, and what happened.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if the entry cannot be read.
    pub fn of(entry: &FeedEntry, cursor: String) -> Result<(EventType, Self), ApiError> {
        let FeedEntry { position, partner_sid, kind, text } = entry;
        let kind = ObjectKind::named(kind)
            .ok_or_else(|| ApiError::Internal(anyhow::anyhow!("{kind} has no events")))?;
        let entry: Entry<'_> =
            serde_json::from_str(text).map_err(|error| ApiError::Internal(error.into()))?;
        let event_type = EventType { kind, action: entry.action };
        let event = Self {
            cursor,
            data: EventData {
                changes: shown(kind, entry.changes)?,
                object: shown(kind, entry.object)?,
                partner_sid: *partner_sid,
                sid: position.sid,
                version: position.version,
            },
            id: id(position.sid, position.version),
            timestamp: entry.date,
            event_type: event_type.name(),
            traceparent: entry.traceparent,
        };
        Ok((event_type, event))
    }

    /// Returns the event of an object as it is.
    pub fn snapshot(kind: ObjectKind, snapshot: SnapshotObject, cursor: String) -> Self {
        let SnapshotObject { object, version, changed_at, .. } = snapshot;
        Self {
            cursor,
            data: EventData {
                changes: RawValue::from_string("{}".to_owned()).unwrap_or_default(),
                object: object.text,
                partner_sid: object.partner_sid,
                sid: object.sid,
                version,
            },
            id: id(object.sid, version),
            timestamp: changed_at,
            event_type: format!("{}.snapshot", kind.as_str()),
            traceparent: None,
        }
    }
}

fn id(sid: Uuid, version: i64) -> String {
    format!("msg_{sid}_{version}")
}
