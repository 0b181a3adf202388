//! An endpoint: a URL to which events are delivered, its members and what a request can change.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use sqlx::{FromRow, PgConnection};
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;
use uuid::Uuid;

use super::address::AddressRules;
use super::input::{EventEndpointChanges, NewEventEndpoint, RotationRequest};
use super::keys::{Secret, Seed, SigningKeys};
use super::members::{EventTypes, Ordering, reads_descendants};
use super::secrets::{SecretBox, Secrets};
use super::signature::{Signer, public_key};
use crate::auth::{Actor, Scope};
use crate::error::{ApiError, FieldError};
use crate::input::date;
use crate::input::types::CallbackUrl;
use crate::partners::Partner;
use crate::store::{Column, Resource, bind};

/// The most endpoints of a partner.
pub const MAX_ENDPOINTS: i64 = 100;

/// A URL to which the events of a partner's objects are delivered.
#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
pub struct EventEndpoint {
    /// The date of creation.
    #[serde(with = "date")]
    pub date_created: OffsetDateTime,
    /// The date until which the keys before the last rotation sign too.
    #[serde(with = "date::option")]
    #[schema(required)]
    pub date_old_secret_expires: Option<OffsetDateTime>,
    /// The date of the last rotation.
    #[serde(with = "date::option")]
    #[schema(required)]
    pub date_secret_changed: Option<OffsetDateTime>,
    /// Whether events of descendants' objects are delivered too.
    pub descendants: bool,
    /// Why the service has disabled the endpoint.
    #[schema(required)]
    pub disabled_reason: Option<String>,
    /// Whether events are delivered. They are not lost meanwhile.
    pub enabled: bool,
    /// The sid of the endpoint.
    #[sqlx(rename = "sid")]
    pub endpoint_sid: Uuid,
    /// What waits behind an event that could not be delivered.
    pub ordering: Ordering,
    /// The partner that owns the endpoint.
    pub partner_sid: Uuid,
    /// The public key (Ed25519) that verifies `v1a` signatures, if the endpoint has one.
    #[schema(required)]
    pub public_key: Option<String>,
    /// The secret that verifies `v1` signatures, in the response that creates it; otherwise `null`.
    #[sqlx(skip)]
    #[schema(required)]
    pub secret: Option<String>,
    /// The types of events that are delivered.
    pub types: EventTypes,
    /// The URL.
    pub url: CallbackUrl,
    /// The encrypted keys.
    #[serde(skip)]
    secrets: Vec<u8>,
    /// Since when no delivery has succeeded. `None` if the last one has.
    #[serde(skip)]
    failing_since: Option<OffsetDateTime>,
}

/// What a write of an endpoint is checked against.
#[derive(Clone, Debug)]
pub struct EndpointRules {
    /// The scopes of the caller.
    pub scopes: Vec<Scope>,
    /// The addresses to which deliveries may connect.
    pub addresses: AddressRules,
}

impl EventEndpoint {
    /// Applies the changes.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if the caller may not read what the endpoint would receive, or the URL
    /// leads to an address that is not permitted.
    pub fn change(
        &mut self,
        changes: EventEndpointChanges,
        rules: &EndpointRules,
    ) -> Result<(), ApiError> {
        let before = self.clone();
        let EventEndpointChanges { descendants, enabled, ordering, types, url } = changes;
        self.descendants = descendants.unwrap_or(self.descendants);
        self.ordering = ordering.unwrap_or(self.ordering);
        self.types = types.unwrap_or_else(|| self.types.clone());
        self.url = url.unwrap_or_else(|| self.url.clone());
        if let Some(enabled) = enabled {
            self.set_enabled(enabled, None);
        }
        let differs = (before.descendants, before.types, before.url)
            != (self.descendants, self.types.clone(), self.url.clone());
        if differs { self.check(rules) } else { Ok(()) }
    }

    /// Whether the last deliveries have failed.
    pub fn is_failing(&self) -> bool {
        self.failing_since.is_some()
    }

    /// Enables or disables the endpoint. A service that disables it has a reason.
    pub fn set_enabled(&mut self, enabled: bool, reason: Option<String>) {
        if enabled != self.enabled {
            self.failing_since = None;
            self.disabled_reason = reason;
        }
        self.enabled = enabled;
    }

    /// Checks that the caller may read what is delivered, and the address in the URL.
    fn check(&self, rules: &EndpointRules) -> Result<(), ApiError> {
        let EndpointRules { scopes, addresses } = rules;
        let lacks = |what: &str, any_of: [Scope; 2]| {
            let [one, other] = any_of.map(|scope| scope.as_str());
            format!("{what} requires one of the scopes {one} and {other}, which your token lacks")
        };
        let any_of = [Scope::PhonenumberManageDescendant, Scope::PhonenumberReadDescendant];
        let descendants = (self.descendants && !reads_descendants(scopes))
            .then(|| FieldError::new("descendants", lacks("`true`", any_of)));
        let types = self
            .types
            .unreadable(scopes)
            .map(|(name, any_of)| FieldError::new("types", lacks(&format!("`{name}`"), any_of)));
        let url = addresses.check_url(self.url.as_str()).err();
        let url = url.map(|message| FieldError::new("url", message));
        let errors: Vec<_> = [descendants, types, url].into_iter().flatten().collect();
        if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
    }

    /// Replaces the keys. The old ones sign too during the grace period.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if the settings have no key.
    pub fn rotate(
        &mut self,
        request: &RotationRequest,
        secrets: &SecretBox,
    ) -> Result<(), ApiError> {
        let old = secrets.open(self.endpoint_sid, &self.secrets)?.current;
        let has_seed = request.ed25519.unwrap_or(old.seed.is_some());
        let current = new_keys(request.secret.clone(), has_seed)?;
        let (now, grace) = (date::now(), Duration::hours(request.grace_hours().into()));
        let old = (!grace.is_zero()).then_some(old);
        self.date_old_secret_expires = old.as_ref().map(|_| now + grace);
        // Never the date before, so that each rotation is a new version.
        let next = self.date_secret_changed.map(|date| date + Duration::MILLISECOND);
        self.date_secret_changed = Some(next.map_or(now, |next| next.max(now)));
        self.set_keys(Secrets { current, old }, secrets)
    }

    fn set_keys(&mut self, keys: Secrets, secrets: &SecretBox) -> Result<(), ApiError> {
        self.public_key = keys.current.seed.as_ref().map(public_key).transpose()?;
        self.secret = Some(keys.current.secret.as_str().to_owned());
        self.secrets = secrets.seal(self.endpoint_sid, &keys)?;
        Ok(())
    }

    /// Encrypts the secrets under the newest key, if another one has encrypted them.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if the settings do not have that one.
    pub fn reencrypt(&mut self, secrets: &SecretBox) -> Result<(), ApiError> {
        if !secrets.is_current(self.endpoint_sid, &self.secrets) {
            let keys = secrets.open(self.endpoint_sid, &self.secrets)?;
            self.secrets = secrets.seal(self.endpoint_sid, &keys)?;
        }
        Ok(())
    }

    /// Returns the signer of a delivery at that time.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if the settings have no key, or another one.
    pub fn signer(&self, secrets: &SecretBox, now: OffsetDateTime) -> Result<Signer, ApiError> {
        let with_old = self.date_old_secret_expires.is_some_and(|expiry| now < expiry);
        secrets.open(self.endpoint_sid, &self.secrets)?.signer(with_old)
    }
}

fn new_keys(secret: Option<Secret>, has_seed: bool) -> Result<SigningKeys, ApiError> {
    let secret = secret.map_or_else(Secret::random, Ok)?;
    let seed = has_seed.then(Seed::random).transpose()?;
    Ok(SigningKeys { secret, seed })
}

impl NewEventEndpoint {
    /// Returns the new endpoint of the actor's partner.
    ///
    /// # Errors
    /// As [`EventEndpoint::change`], and [`ApiError::Conflict`] if the partner has too many
    /// endpoints or the settings have no key.
    pub async fn build(
        self,
        connection: &mut PgConnection,
        actor: &Actor,
        rules: &EndpointRules,
        secrets: &SecretBox,
    ) -> Result<EventEndpoint, ApiError> {
        let partner_sid = actor.own_partner_sid()?;
        self.build_for(connection, partner_sid, Uuid::now_v7(), rules, secrets).await
    }

    /// Returns the new endpoint of that partner, with that sid.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub async fn build_for(
        self,
        connection: &mut PgConnection,
        partner_sid: Uuid,
        endpoint_sid: Uuid,
        rules: &EndpointRules,
        secrets: &SecretBox,
    ) -> Result<EventEndpoint, ApiError> {
        let Self { ed25519, secret, url, writable } = self;
        let types = writable.types.clone();
        let mut new = EventEndpoint {
            date_created: date::now(),
            date_old_secret_expires: None,
            date_secret_changed: None,
            descendants: false,
            disabled_reason: None,
            enabled: true,
            endpoint_sid,
            ordering: Ordering::default(),
            partner_sid,
            public_key: None,
            secret: None,
            types: types.unwrap_or_else(|| EventTypes::readable(&rules.scopes)),
            url,
            secrets: Vec::new(),
            failing_since: None,
        };
        new.change(writable, rules)?;
        new.check(rules)?;
        let keys = Secrets { current: new_keys(secret, ed25519)?, old: None };
        new.set_keys(keys, secrets)?;
        check_limit(connection, new.partner_sid).await?;
        Ok(new)
    }
}

/// Rejects the creation of an endpoint beyond the limit of its partner.
async fn check_limit(connection: &mut PgConnection, partner_sid: Uuid) -> Result<(), ApiError> {
    /// The key of these locks: "hook" in ASCII. The second key is the hash of the partner.
    const LOCKS: i32 = 0x686f_6f6b;
    sqlx::query("select pg_advisory_xact_lock($1, hashtext($2::text))")
        .bind(LOCKS)
        .bind(partner_sid)
        .execute(&mut *connection)
        .await?;
    // A statement of its own, which sees what was committed before the lock was free.
    let count = sqlx::query_scalar("select count(*) from event_endpoints where partner_sid = $1");
    let count: i64 = count.bind(partner_sid).fetch_one(connection).await?;
    if count < MAX_ENDPOINTS {
        return Ok(());
    }
    let message = format!("your partner already has {MAX_ENDPOINTS} endpoints, which is the limit");
    Err(ApiError::Conflict(FieldError::general(message)))
}

impl Resource for EventEndpoint {
    type Owner = Partner;

    const KIND: &'static str = "event_endpoint";
    const TABLE: &'static str = "event_endpoints";
    const SID: &'static str = "endpoint_sid";
    const UNSTORED: &'static [&'static str] = &["secret"];
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("date_created", "timestamptz", |to, rows| {
            bind(to, rows, |endpoint| endpoint.date_created)
        }),
        Column::new("date_old_secret_expires", "timestamptz", |to, rows| {
            bind(to, rows, |endpoint| endpoint.date_old_secret_expires)
        }),
        Column::new("date_secret_changed", "timestamptz", |to, rows| {
            bind(to, rows, |endpoint| endpoint.date_secret_changed)
        }),
        Column::new("descendants", "boolean", |to, rows| {
            bind(to, rows, |endpoint| endpoint.descendants)
        }),
        Column::new("disabled_reason", "text", |to, rows| {
            bind(to, rows, |endpoint| endpoint.disabled_reason.as_deref())
        }),
        Column::new("enabled", "boolean", |to, rows| bind(to, rows, |endpoint| endpoint.enabled)),
        Column::hidden("failing_since", "timestamptz", |to, rows| {
            bind(to, rows, |endpoint| endpoint.failing_since)
        }),
        Column::new("ordering", "text", |to, rows| bind(to, rows, |endpoint| endpoint.ordering)),
        Column::new("public_key", "text", |to, rows| {
            bind(to, rows, |endpoint| endpoint.public_key.as_deref())
        }),
        Column::hidden("secrets", "bytea", |to, rows| {
            bind(to, rows, |endpoint| &*endpoint.secrets)
        }),
        Column::new("types", "text", |to, rows| bind(to, rows, |endpoint| endpoint.types.as_str())),
        Column::new("url", "text", |to, rows| bind(to, rows, |endpoint| &endpoint.url)),
    ];

    fn sid(&self) -> Uuid {
        self.endpoint_sid
    }

    fn partner_sid(&self) -> Uuid {
        self.partner_sid
    }

    /// Leaves out the secret, which is shown once and stored nowhere.
    fn snapshot(&self) -> Result<Box<RawValue>, ApiError> {
        let without_secret = Self { secret: None, ..self.clone() };
        to_raw_value(&without_secret).map_err(|error| ApiError::Internal(error.into()))
    }

    /// The encrypted keys. The date since which the endpoint fails changes without a version.
    fn hidden(&self) -> Option<Value> {
        Some(Value::from(self.secrets.clone()))
    }
}
