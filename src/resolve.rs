//! `GET /phonenumber/resolve`: the URL to which the traffic of a number goes. It is the request
//! that a switch sends for every message, so concurrent ones share a statement.

use std::fmt::Write;

use actix_web::{HttpResponse, get, web};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, FromRow};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::auth::PhonenumberRead;
use crate::error::ApiError;
use crate::http::{Caller, KnownTags, Query, member};
use crate::input::phone_number::PhoneNumber;
use crate::input::types::{Attributes, CallbackUrl, CountryCode};
use crate::store::{Lookup, Lookups, asked, visible_to_asker};

/// The number in question.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ResolveArguments {
    /// A phone number with its country code; or a short code, if it has 3 to 8 digits or
    /// `country_code` is sent.
    #[param(example = "15162065574")]
    number: String,
    /// The country of the short code (ISO 3166-1 alpha-3), by default `USA`.
    #[serde(default, deserialize_with = "member")]
    #[param(value_type = Option<String>, pattern = "^[A-Z]{3}$")]
    country_code: Option<CountryCode>,
}

impl ResolveArguments {
    /// Returns the key of the number: with a plus sign for a phone number, with its country for a
    /// short code.
    fn key(self) -> Result<String, ApiError> {
        let Self { number, country_code } = self;
        let is_digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let is_short = is_digits && (3..=8).contains(&number.len());
        if is_short {
            let country = String::from(country_code.unwrap_or_default());
            return Ok(format!("{country}{number}"));
        }
        if country_code.is_some() {
            return Err(ApiError::bad_argument("number", "must be a short code of 3 to 8 digits"));
        }
        match PhoneNumber::parse(&number) {
            Some(number) => Ok(format!("+{}", number.as_str())),
            None => Err(ApiError::bad_argument("number", PhoneNumber::EXPECTED)),
        }
    }
}

/// A number with everything that decides where its traffic goes.
#[derive(Clone, FromRow)]
pub struct Route {
    source: Source,
    sid: Uuid,
    version: i64,
    attributes: Attributes,
    callback_url: Option<CallbackUrl>,
    did_group_sid: Option<Uuid>,
    group_version: Option<i64>,
    group_callback_url: Option<CallbackUrl>,
    partner_sid: Uuid,
    partner_version: i64,
    partner_callback_url: Option<CallbackUrl>,
    /// Whether the partner or an ancestor is suspended.
    is_suspended: bool,
}

impl Lookup for Route {
    type Key = String;
    type Row = Self;

    fn statement() -> String {
        let (asked, visible) = (asked("text"), visible_to_asker("number.partner_sid"));
        format!(
            "select index, number.*,
                 did_groups.version as group_version,
                 did_groups.callback_url as group_callback_url,
                 partners.version as partner_version,
                 partners.callbacks ->> 'sms' as partner_callback_url,
                 exists (
                     select from partner_tree join partners as above on above.sid = ancestor_sid
                     where descendant_sid = number.partner_sid and above.status <> 'active'
                 ) as is_suspended
             from {asked}
             cross join lateral (
                 select 'did' as source, sid, version, partner_sid, attributes, callback_url,
                     did_group_sid
                 from dids where e164 = asked_key
                 union all
                 select 'short_code', sid, version, partner_sid, attributes, callback_url,
                     did_group_sid
                 from short_codes where country_code || short_code = asked_key
             ) as number
             join partners on partners.sid = number.partner_sid
             left join did_groups on did_groups.partner_sid = number.partner_sid
                 and did_groups.sid = number.did_group_sid
             where {visible}"
        )
    }

    fn bind_keys(arguments: &mut PgArguments, keys: Vec<String>) -> Result<(), BoxDynError> {
        arguments.add(keys)
    }
}

/// Where a URL comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(rename_all = "snake_case", type_name = "text")]
pub enum Source {
    /// The phone number.
    Did,
    /// The short code.
    ShortCode,
    /// The DID group of the number.
    DidGroup,
    /// The callback `sms` of the partner.
    Partner,
    /// None of them has a URL.
    None,
    /// The partner or an ancestor is suspended.
    Suspended,
}

/// Where the traffic of a number goes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Resolution {
    /// The attributes of the number.
    attributes: Attributes,
    /// The URL to which events of the number are sent.
    #[schema(required)]
    callback_url: Option<CallbackUrl>,
    /// The DID group of the number.
    #[schema(required)]
    did_group_sid: Option<Uuid>,
    /// The partner that rents the phone number or owns the short code.
    partner_sid: Uuid,
    /// The sid of the phone number or short code.
    sid: Uuid,
    /// Where the URL comes from.
    source: Source,
}

impl Route {
    /// Returns the entity tag: it covers the version of everything that was read.
    fn entity_tag(&self) -> String {
        let Self { sid, version, did_group_sid, group_version, .. } = self;
        let Self { partner_sid, partner_version, is_suspended, .. } = self;
        let group = (did_group_sid, group_version);
        let read =
            format!("{sid} {version} {group:?} {partner_sid} {partner_version} {is_suspended}");
        Sha256::digest(read).iter().take(16).fold(String::new(), |mut tag, byte| {
            let _ = write!(tag, "{byte:02x}");
            tag
        })
    }

    /// Returns the first URL of the number, its group and its partner.
    fn resolve(self) -> Resolution {
        let (callback_url, source) = if self.is_suspended {
            (None, Source::Suspended)
        } else {
            let urls = [
                (self.callback_url, self.source),
                (self.group_callback_url, Source::DidGroup),
                (self.partner_callback_url, Source::Partner),
            ];
            let first = urls.into_iter().find(|(url, _)| url.is_some());
            first.unwrap_or((None, Source::None))
        };
        Resolution {
            attributes: self.attributes,
            callback_url,
            did_group_sid: self.did_group_sid,
            partner_sid: self.partner_sid,
            sid: self.sid,
            source,
        }
    }
}

/// Returns where the traffic of a phone number or short code goes: the first URL of the number, its
/// DID group and its partner.
#[utoipa::path(
    tag = "DIDs",
    params(ResolveArguments),
    security(("bearer" = ["phonenumber.manage"]), ("bearer" = ["phonenumber.read"])),
    responses(
        (status = OK, body = Resolution),
        (status = NOT_MODIFIED, description = "The client has this version."),
    ),
)]
#[get("/phonenumber/resolve")]
pub async fn get_resolution(
    caller: Caller<PhonenumberRead>,
    Query(arguments): Query<ResolveArguments>,
    known: KnownTags,
    routes: web::Data<Lookups<Route>>,
) -> Result<HttpResponse, ApiError> {
    let route = routes.get(&caller, arguments.key()?).await?;
    Ok(known.respond(&route.entity_tag(), || route.resolve()))
}
