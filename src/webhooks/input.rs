//! The bodies of requests that create, change, rotate and replay.

use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::keys::Secret;
use super::members::{EventTypes, Ordering};
use crate::input::number::whole_number;
use crate::input::types::CallbackUrl;
use crate::input::{FromMember, Input, Members, ValidationError, date};

/// The changes of an endpoint.
#[derive(Clone, Debug, Default, ToSchema)]
pub struct EventEndpointChanges {
    /// Whether events of descendants' objects are delivered too. `true` requires the scope
    /// `phonenumber.read_descendant` or `phonenumber.manage_descendant`.
    #[schema(value_type = bool, required = false)]
    pub descendants: Option<bool>,
    /// Whether events are delivered. They are not lost meanwhile.
    #[schema(value_type = bool, required = false)]
    pub enabled: Option<bool>,
    /// What waits behind an event that could not be delivered: later events of the same object, all
    /// later events, or nothing.
    #[schema(value_type = Ordering, required = false)]
    pub ordering: Option<Ordering>,
    /// The types of events that are delivered: those whose objects the token can read. By default
    /// all of these.
    #[schema(value_type = EventTypes, required = false)]
    pub types: Option<EventTypes>,
    /// The URL. It must not lead to a private address.
    #[schema(value_type = CallbackUrl, required = false)]
    pub url: Option<CallbackUrl>,
}

impl Input for EventEndpointChanges {
    const READ_ONLY: &'static [&'static str] = &[
        "date_created",
        "date_old_secret_expires",
        "date_secret_changed",
        "disabled_reason",
        "endpoint_sid",
        "partner_sid",
        "public_key",
        "secret",
    ];

    fn take(members: &mut Members) -> Option<Self> {
        Some(Self {
            descendants: members.not_null("descendants"),
            enabled: members.not_null("enabled"),
            ordering: members.not_null("ordering"),
            types: members.not_null("types"),
            url: members.not_null("url"),
        })
    }
}

/// An endpoint to create.
#[derive(Debug, ToSchema)]
pub struct NewEventEndpoint {
    /// Whether the endpoint also gets an Ed25519 key, whose signatures are `v1a`.
    #[schema(value_type = bool, required = false, default = false)]
    pub(super) ed25519: bool,
    /// The secret: `whsec_` and the base64 of 24 to 64 bytes. By default a random one.
    #[schema(value_type = Option<String>)]
    pub(super) secret: Option<Secret>,
    /// The URL. It must not lead to a private address.
    pub(super) url: CallbackUrl,
    #[serde(flatten)]
    pub(super) writable: EventEndpointChanges,
}

impl Input for NewEventEndpoint {
    const READ_ONLY: &'static [&'static str] = &[
        "date_created",
        "date_old_secret_expires",
        "date_secret_changed",
        "disabled_reason",
        "endpoint_sid",
        "partner_sid",
        "public_key",
    ];

    fn take(members: &mut Members) -> Option<Self> {
        let (ed25519, secret) = (members.not_null("ed25519"), members.nullable("secret").value());
        let url = members.required("url");
        let writable = EventEndpointChanges {
            descendants: members.not_null("descendants"),
            enabled: members.not_null("enabled"),
            ordering: members.not_null("ordering"),
            types: members.not_null("types"),
            url: None,
        };
        Some(Self { ed25519: ed25519.unwrap_or(false), secret, url: url?, writable })
    }
}

/// The hours for which the old keys sign too, by default.
const DEFAULT_GRACE_HOURS: u16 = 24;

/// A request for new keys.
#[derive(Debug, ToSchema)]
pub struct RotationRequest {
    /// Whether the endpoint has an Ed25519 key from now on. By default as before.
    #[schema(value_type = bool, required = false)]
    pub(super) ed25519: Option<bool>,
    /// The hours for which the old keys sign too. 0 ends them at once.
    #[schema(value_type = u16, required = false, minimum = 0, maximum = 168, default = 24)]
    grace_hours: Option<GraceHours>,
    /// The new secret: `whsec_` and the base64 of 24 to 64 bytes. By default a random one.
    #[schema(value_type = Option<String>)]
    pub(super) secret: Option<Secret>,
}

impl RotationRequest {
    /// Returns the hours for which the old keys sign too.
    pub fn grace_hours(&self) -> u16 {
        self.grace_hours.as_ref().map_or(DEFAULT_GRACE_HOURS, |hours| hours.0)
    }
}

impl Input for RotationRequest {
    const READ_ONLY: &'static [&'static str] = &[];

    fn take(members: &mut Members) -> Option<Self> {
        Some(Self {
            ed25519: members.not_null("ed25519"),
            grace_hours: members.not_null("grace_hours"),
            secret: members.nullable("secret").value(),
        })
    }
}

/// A number of hours, at most a week.
#[derive(Debug)]
struct GraceHours(u16);

impl FromMember for GraceHours {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        let hours = whole_number(&value).and_then(|hours| u16::try_from(hours).ok());
        let hours = hours.filter(|hours| *hours <= 168);
        hours.map(Self).ok_or_else(|| "must be a whole number from 0 to 168".into())
    }
}

/// A request to deliver past events again.
#[derive(Debug, ToSchema)]
pub struct ReplayRequest {
    /// The date after which the events happened.
    #[schema(value_type = String, format = DateTime)]
    pub(super) after: Date,
    /// The date before which the events happened. By default now.
    #[schema(value_type = String, format = DateTime, required = false)]
    pub(super) before: Option<Date>,
    /// The types of the events. By default all types of the endpoint.
    #[schema(value_type = EventTypes, required = false)]
    pub(super) types: Option<EventTypes>,
}

impl Input for ReplayRequest {
    const READ_ONLY: &'static [&'static str] = &[];

    fn take(members: &mut Members) -> Option<Self> {
        let after = members.required("after");
        let (before, types) = (members.not_null("before"), members.not_null("types"));
        Some(Self { after: after?, before, types })
    }
}

/// A date with time and zone.
#[derive(Clone, Copy, Debug)]
pub struct Date(pub OffsetDateTime);

impl FromMember for Date {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        let text = value.as_str().ok_or("must be an ISO 8601 date with its time and zone")?;
        Ok(Self(date::parse(text)?))
    }
}

/// A request for a test delivery: no members.
#[derive(Debug, ToSchema)]
pub struct EndpointTestRequest {}

impl Input for EndpointTestRequest {
    const READ_ONLY: &'static [&'static str] = &[];

    fn take(_: &mut Members) -> Option<Self> {
        Some(Self {})
    }
}
