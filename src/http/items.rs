//! Lists of items that are no objects: history entries and counts. They have one order and no
//! filter.

use actix_web::HttpRequest;
use actix_web::web::Json;
use serde::Serialize;
use serde_json::Value;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::arguments::Arguments;
use super::fields::{FieldArguments, Selection};
use super::page::{Envelope, Links, List, PageArguments};
use super::view::View;
use crate::error::ApiError;

/// A request for a page of items.
pub struct ItemsRequest {
    limit: i64,
    offset: i64,
    counts: bool,
    selection: Selection,
    links: Links,
}

impl IntoParams for ItemsRequest {
    fn into_params(parameter_in: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let page = PageArguments::into_params(&parameter_in);
        [page, FieldArguments::into_params(&parameter_in)].concat()
    }
}

impl ItemsRequest {
    /// Reads the arguments of a request. `list` names the list and its order in error messages;
    /// `is_known` says which members can be selected.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] for an invalid argument, or one that applies to objects only.
    pub fn parse(
        request: &HttpRequest,
        list: &str,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<Self, ApiError> {
        let arguments = Arguments::of(request)?;
        for name in ["after", "before", "filter", "order"] {
            if arguments.contains(name) {
                return Err(ApiError::bad_argument(name, format!("does not apply to {list}")));
            }
        }
        let PageArguments { limit, offset, total } = arguments.read()?;
        Ok(Self {
            limit: limit.0,
            offset: offset.0,
            counts: total.0,
            selection: arguments.read::<FieldArguments>()?.selection(is_known)?,
            links: Links::of(request, &arguments),
        })
    }

    /// The most items of the page.
    pub fn limit(&self) -> i64 {
        self.limit
    }

    /// The number of items to skip.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Returns the page with these of `total` items. It may end before its limit.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if an item cannot be serialized.
    pub async fn respond<T: Serialize>(
        self,
        items: &[T],
        total: i64,
    ) -> Result<Json<List<T>>, ApiError> {
        let Self { limit, offset, counts, selection, links } = self;
        let next = offset.saturating_add(items.len() as i64);
        let has_more = next < total && !items.is_empty();
        let mut views = Vec::with_capacity(items.len());
        for item in items {
            views.push(if selection.is_everything() {
                View::new(item)?
            } else {
                View::new(&selection.apply(members(item)?))?
            });
            tokio::task::yield_now().await;
        }
        Ok(Json(List(Envelope {
            count: items.len(),
            has_more,
            items: views,
            limit,
            offset,
            pagination: links.by_offset(limit, offset, has_more.then_some(next)),
            total: counts.then_some(total),
        })))
    }
}

fn members(item: &impl Serialize) -> Result<serde_json::Map<String, Value>, ApiError> {
    match serde_json::to_value(item) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(other) => Err(ApiError::Internal(anyhow::anyhow!("no object: {other}"))),
        Err(error) => Err(ApiError::Internal(error.into())),
    }
}
