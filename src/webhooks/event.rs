//! Events: the JSON text that is delivered for an entry of the history.

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::client::Message;
use super::endpoint::EventEndpoint;
use super::source::Entry;
use crate::error::ApiError;
use crate::events::{Event, EventData};
use crate::input::date;
use crate::store::{FeedEntry, Resource};

/// The type of a test.
const TEST: &str = "endpoint.test";
/// The type of the event that an endpoint was disabled.
pub const DISABLED: &str = "endpoint.disabled";

/// The body of a delivery: an event of the feed without its place, which depends on the reader.
#[derive(Serialize, ToSchema)]
pub struct WebhookEvent {
    /// The object and its change.
    data: EventData,
    /// Identifies the change, as `webhook-id`.
    id: String,
    /// When the change was made.
    #[schema(format = DateTime)]
    timestamp: String,
    /// The kind of the object and what happened to it.
    #[schema(example = "short_code.updated")]
    #[serde(rename = "type")]
    name: String,
}

/// A message of an entry, with the type of its event.
pub struct Typed {
    /// The type.
    pub name: String,
    /// The message.
    pub message: Message,
}

/// Returns the event of an entry.
///
/// # Errors
/// [`ApiError::Internal`] if the text is no entry.
pub fn of(entry: &Entry, text: &str) -> Result<Typed, ApiError> {
    let Entry { position, kind, partner_sid, .. } = entry;
    let event = if kind == EventEndpoint::KIND {
        disabled(entry, text)?
    } else {
        let (kind, text) = (kind.clone(), text.to_owned());
        let entry = FeedEntry { position: *position, partner_sid: *partner_sid, kind, text };
        Event::of(&entry, String::new())?.1
    };
    message(event)
}

/// Returns the message of an event.
///
/// # Errors
/// [`ApiError::Internal`] if the event cannot be written as JSON.
pub fn message(event: Event) -> Result<Typed, ApiError> {
    let Event { data, id, timestamp, event_type: name, traceparent, .. } = event;
    let event = WebhookEvent { data, id, timestamp, name };
    let body = serde_json::to_vec(&event).map_err(|error| ApiError::Internal(error.into()))?;
    let WebhookEvent { id, name, .. } = event;
    Ok(Typed { name, message: Message { id, body, traceparent } })
}

/// The event that an endpoint was disabled, whose entries are not in the feed.
fn disabled(entry: &Entry, text: &str) -> Result<Event, ApiError> {
    #[derive(Deserialize)]
    struct Parts<'a> {
        #[serde(borrow)]
        changes: &'a RawValue,
        date: String,
        #[serde(borrow)]
        object: &'a RawValue,
    }
    let Parts { changes, date, object } =
        serde_json::from_str(text).map_err(|error| ApiError::Internal(error.into()))?;
    let (sid, version) = (entry.position.sid, entry.position.version);
    Ok(Event {
        cursor: String::new(),
        data: EventData {
            changes: changes.to_owned(),
            object: object.to_owned(),
            partner_sid: entry.partner_sid,
            sid,
            version,
        },
        id: format!("msg_{sid}_{version}"),
        timestamp: date,
        event_type: DISABLED.to_owned(),
        traceparent: None,
    })
}

/// Returns a message that tests the endpoint of that sid.
pub fn test(endpoint_sid: Uuid) -> Message {
    let id = format!("msg_{}", Uuid::now_v7());
    let now = date::text(date::now());
    let body =
        json!({"data": {"endpoint_sid": endpoint_sid}, "id": id, "timestamp": now, "type": TEST});
    Message { id, body: body.to_string().into_bytes(), traceparent: None }
}
