//! The limits of a caller, and what is used of them.

use actix_web::{HttpMessage, HttpRequest, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::{Allowance, AnyToken, Visibility};
use crate::dids::{Did, RentalRules};
use crate::error::ApiError;
use crate::http::Caller;
use crate::partners::{DescendantLimit, MAX_DEPTH, Partner};
use crate::store::Store;
use crate::webhooks::{EventEndpoint, MAX_ENDPOINTS};

/// The limits of the caller, and what is used of them.
#[derive(Serialize, ToSchema)]
pub struct Limits {
    /// The level of the partner in its tree. A partner without a parent has level 1.
    depth: Limit,
    /// The descendants of the partner. The limit holds for all descendants of the partner at the
    /// top of the tree, and only for those that are created through the API.
    descendants: Limit,
    /// The phone numbers that the partner rents. `null` if they are not limited.
    #[schema(required)]
    dids: Option<Limit>,
    /// The webhook endpoints of the partner.
    event_endpoints: Limit,
    /// The requests of the partner, on this instance. `null` if they are not limited.
    #[schema(required)]
    rate: Option<RateLimit>,
    /// The requests of the partner's subtree, on this instance. `null` if they are not limited.
    #[schema(required)]
    subtree_rate: Option<RateLimit>,
}

/// A limit, and what is used of it.
#[derive(Serialize, ToSchema)]
pub struct Limit {
    /// The most.
    #[schema(minimum = 0)]
    limit: u64,
    /// What is used.
    #[schema(minimum = 0)]
    used: u64,
}

/// The rate of requests.
#[derive(Serialize, ToSchema)]
pub struct RateLimit {
    /// The most requests at once, after a pause.
    #[schema(minimum = 0)]
    limit: u64,
    /// How many requests per second can be sent again.
    #[schema(minimum = 0)]
    per_second: f64,
    /// How many of `limit` are used, with this request.
    #[schema(minimum = 0)]
    used: u64,
}

/// The objects that have a limit.
#[derive(Clone, Copy)]
pub struct Stores<'a> {
    pub partners: &'a Store<Partner>,
    pub dids: &'a Store<Did>,
    pub endpoints: &'a Store<EventEndpoint>,
}

impl Limits {
    /// The limits of the caller of that request.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn of(
        caller: &Caller<AnyToken>,
        request: &HttpRequest,
        stores: Stores<'_>,
    ) -> Result<Self, ApiError> {
        let Stores { partners, dids, endpoints } = stores;
        let partner_sid = caller.partner_sid().ok_or(ApiError::NoItem)?;
        let seeing = |visibility| (**caller).clone().with_visibility(visibility);
        let own = seeing(Visibility::Own(partner_sid));
        let family = seeing(Visibility::Subtree(partner_sid));
        let descendants = partners.count(&family).await?.saturating_sub(1);
        let most = request.app_data::<web::Data<DescendantLimit>>().map_or(0, |limit| limit.0);
        let rules = request.app_data::<web::Data<RentalRules>>();
        let dids = match rules.and_then(|rules| rules.limit()) {
            Some(limit) => Some(Limit { limit: limit.into(), used: dids.count(&own).await? }),
            None => None,
        };
        let used = endpoints.count(&own).await?;
        let event_endpoints = Limit { limit: MAX_ENDPOINTS as u64, used };
        let left = request.extensions().get::<Allowance>().and_then(|allowance| allowance.left);
        let rate = |burst: u64, per_second, left: u64| RateLimit {
            limit: burst,
            per_second,
            used: burst.saturating_sub(left),
        };
        Ok(Self {
            depth: Limit { limit: MAX_DEPTH as u64, used: caller.depth() as u64 },
            descendants: Limit { limit: most.into(), used: descendants },
            dids,
            event_endpoints,
            rate: left
                .map(|left| rate(left.rates.burst.get().into(), left.rates.rate, left.of_partner)),
            subtree_rate: left.map(|left| {
                let burst = left.rates.subtree_burst as u64;
                rate(burst, left.rates.subtree_rate, left.of_subtree)
            }),
        })
    }
}
