//! Coverage: how many numbers are available, by state, place, area code or country.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::error::ApiError;
use crate::http::openapi::Viewed;
use crate::http::{ItemsRequest, Query};

/// The number of available numbers with one key.
#[derive(Debug, Serialize, ToSchema)]
pub struct CoverageItem {
    /// The number of available numbers.
    #[schema(minimum = 1)]
    pub count: i64,
    /// The value of what the numbers are grouped by. `null` for numbers that have none.
    #[schema(required)]
    pub key: Option<String>,
}

impl Viewed for CoverageItem {}

/// What numbers are grouped by.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// The state.
    State,
    /// The city or place.
    Locality,
    /// The area code of a number of the North American Numbering Plan.
    Npa,
    /// The area code and the exchange of such a number.
    NpaNxx,
    /// The country.
    CountryCode,
}

impl GroupBy {
    /// The key of a number. An index contains all columns of it.
    fn sql(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Locality => "locality",
            Self::Npa => "case when phonenumber < '2' then substr(phonenumber, 2, 3) end",
            Self::NpaNxx => "case when phonenumber < '2' then substr(phonenumber, 2, 6) end",
            Self::CountryCode => "country_code",
        }
    }
}

/// The argument of the coverage.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CoverageArguments {
    /// What to group the numbers by.
    #[param(inline)]
    group_by: GroupBy,
}

/// A request for a page of the coverage.
pub struct CoverageRequest {
    group_by: GroupBy,
    /// The page.
    pub items: ItemsRequest,
}

impl IntoParams for CoverageRequest {
    fn into_params(parameter_in: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let group_by = CoverageArguments::into_params(&parameter_in);
        [group_by, ItemsRequest::into_params(&parameter_in)].concat()
    }
}

impl FromRequest for CoverageRequest {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_known = |name: &str| ["count", "key"].contains(&name);
        let mut parse = || {
            let arguments = Query::from_request(request, payload).into_inner()?;
            let Query(CoverageArguments { group_by }) = arguments;
            let items =
                ItemsRequest::parse(request, "coverage, which is in order of key", is_known)?;
            Ok(Self { group_by, items })
        };
        ready(parse())
    }
}

/// A row of the page, or if the page is empty, a row without a count.
#[derive(FromRow)]
struct Row {
    total: i64,
    key: Option<String>,
    count: Option<i64>,
}

impl CoverageRequest {
    /// Returns the page of the numbers that the partner can rent, and the number of all keys.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn count(
        &self,
        connection: &mut PgConnection,
        partner_sid: Uuid,
    ) -> Result<(Vec<CoverageItem>, i64), ApiError> {
        let key = self.group_by.sql();
        let statement = format!(
            "with counts as materialized (
                 select key, sum(count)::bigint as count
                 from partner_tree cross join lateral (
                     select {key} as key, count(*) as count from did_stock
                     where stock_partner_sid = ancestor_sid and status = 'available' group by 1
                 ) as stock
                 where descendant_sid = $1 group by key
             )
             select total, key, count
             from (select count(*) as total from counts) as totals
             left join (
                 select key, count from counts order by key nulls last limit $2 offset $3
             ) as page on true
             order by key nulls last"
        );
        let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(partner_sid)
            .bind(self.items.limit())
            .bind(self.items.offset())
            .fetch_all(connection)
            .await?;
        let total = rows.first().map_or(0, |row| row.total);
        let items = rows
            .into_iter()
            .filter_map(|Row { key, count, .. }| count.map(|count| CoverageItem { count, key }));
        Ok((items.collect(), total))
    }
}
