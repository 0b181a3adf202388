//! Lists of objects.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::web::Json;
use actix_web::{FromRequest, HttpRequest};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use uuid::Uuid;

use super::arguments::{Arguments, flag, member, some};
use super::page::{Envelope, Links, List, PageArguments, Pagination};
use super::view::ViewRequest;
use crate::auth::Actor;
use crate::error::ApiError;
use crate::store::list::{Filter, Order, Page, Query, Start, Target};
use crate::store::{Listed, Resource, Store};

/// The arguments of a list, except those of its page and of its view.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct ListArguments {
    /// `<member>`, `<member> asc` or `<member> desc`, several separated by commas; or `shuffle`.
    #[serde(deserialize_with = "some")]
    #[param(example = "name desc")]
    order: Option<String>,
    /// `<member> <operator> <value>`, joined by `and`. The operators are eq, ne, gt, ge, lt, le,
    /// like, ilike and in, and for members with integers bit.
    #[serde(deserialize_with = "some")]
    #[param(example = "name like \"new%\"")]
    filter: Option<String>,
    /// The sid of the object after which the page begins, in the order of creation. If it was
    /// deleted, the page begins at its former place.
    #[serde(deserialize_with = "member")]
    after: Option<Uuid>,
    /// The sid of the object before which the page ends, in the order of creation. If it was
    /// deleted, the page ends at its former place.
    #[serde(deserialize_with = "member")]
    before: Option<Uuid>,
}

/// The argument of a list whose objects can be restored.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct DeletedArguments {
    /// `true`: lists the deleted objects instead, each as it was last, the newest deletion first,
    /// as far as the history goes back. `after` and `before` then follow this order. Not with
    /// `filter` or `order`.
    #[serde(deserialize_with = "flag")]
    deleted: bool,
}

impl DeletedArguments {
    /// Returns whether the list is that of deleted objects.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] if such a list does not exist, or not in that form.
    fn read<R: Resource>(arguments: &Arguments) -> Result<bool, ApiError> {
        let Self { deleted } = arguments.read()?;
        if deleted && !R::RESTORABLE {
            let message = "must be absent or `false`: deleted objects of this kind are not listed";
            return Err(ApiError::bad_argument("deleted", message));
        }
        match ["filter", "order"].into_iter().find(|name| deleted && arguments.contains(name)) {
            Some(name) => Err(ApiError::bad_argument(name, NOT_WITH_DELETED)),
            None => Ok(deleted),
        }
    }
}

const NOT_WITH_DELETED: &str = "cannot be combined with `deleted`";

impl ListArguments {
    /// Returns the query of a list of `R`.
    fn query<R: Resource>(
        self,
        page: PageArguments,
        omitted: Vec<&'static str>,
    ) -> Result<Query, ApiError> {
        let Self { order, filter, after, before } = self;
        let PageArguments { limit, offset, total } = page;
        let order = order.map_or(Ok(Order::default()), |text| {
            Order::parse::<R>(&text).map_err(|message| ApiError::bad_argument("order", message))
        })?;
        let filter = filter.map_or(Ok(Filter::default()), |text| {
            Filter::parse(&text, Target::of::<R>)
                .map_err(|error| ApiError::bad_argument("filter", error.to_string()))
        })?;
        let is_free = offset.0 == 0 && order == Order::default();
        let conflict = |name, others: &str| {
            Err(ApiError::bad_argument(name, format!("cannot be combined with {others}")))
        };
        let start = match (after, before) {
            (Some(_), Some(_)) => return conflict("before", "`after`"),
            (Some(_), None) if !is_free => return conflict("after", "`order` or `offset`"),
            (None, Some(_)) if !is_free => return conflict("before", "`order` or `offset`"),
            (Some(sid), None) => Start::After(sid),
            (None, Some(sid)) => Start::Before(sid),
            (None, None) => Start::Offset(offset.0),
        };
        Ok(Query {
            filter,
            subset: Filter::default(),
            counts: total.0,
            order,
            start,
            limit: limit.0,
            omitted,
        })
    }
}

/// A request for a list of `R`.
pub struct ListRequest<R> {
    query: Query,
    deleted: bool,
    view: ViewRequest<R>,
    links: Links,
}

impl<R: Resource> IntoParams for ListRequest<R> {
    fn into_params(parameter_in: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let deleted = match R::RESTORABLE {
            true => DeletedArguments::into_params(&parameter_in),
            false => Vec::new(),
        };
        [
            PageArguments::into_params(&parameter_in),
            ListArguments::into_params(&parameter_in),
            deleted,
            ViewRequest::<R>::into_params(&parameter_in),
        ]
        .concat()
    }
}

impl<R: Resource> ListRequest<R> {
    /// Limits the list to the objects that have that sid in the column, the name of an argument.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] if the list is that of deleted objects.
    pub fn with_sid(mut self, column: &'static str, sid: Option<Uuid>) -> Result<Self, ApiError> {
        if let Some(sid) = sid {
            if self.deleted {
                return Err(ApiError::bad_argument(column, NOT_WITH_DELETED));
            }
            self.query.subset.and_sid(column, sid);
        }
        Ok(self)
    }

    /// Limits the list to the objects that have that value in a column of text.
    pub fn with_constant(mut self, column: &'static str, value: &'static str) -> Self {
        self.query.subset.and_constant(column, value);
        self
    }

    /// Leaves out the number of all objects.
    pub fn uncounted(mut self) -> Self {
        self.query.counts = false;
        self
    }

    /// Returns the requested page of the objects that are visible to the actor.
    ///
    /// # Errors
    /// As [`Store::list`] and [`Store::list_deleted`].
    pub async fn respond(self, store: &Store<R>, actor: &Actor) -> Result<Json<List<R>>, ApiError> {
        let page = match self.deleted {
            true => store.list_deleted(actor, &self.query).await?,
            false => store.list(actor, &self.query).await?,
        };
        let pagination = self.pagination(&page);
        let Self { query, view, .. } = self;
        let items = view.of_page(store, actor, page.items).await?;
        Ok(Json(List(Envelope {
            count: items.len(),
            has_more: page.has_next,
            items,
            limit: query.limit,
            offset: query.offset(),
            pagination,
            total: page.total,
        })))
    }

    fn pagination(&self, page: &Page<Listed>) -> Pagination {
        let sid = |item: Option<&Listed>| item.map(|item| item.sid.to_string());
        match self.query.start {
            Start::Offset(offset) => {
                let limit = self.query.limit;
                let next = page.has_next.then(|| offset.saturating_add(limit));
                self.links.by_offset(limit, offset, next)
            }
            Start::After(_) | Start::Before(_) => Pagination {
                next: sid(page.items.last())
                    .filter(|_| page.has_next)
                    .map(|sid| self.links.to("after", &sid)),
                previous: sid(page.items.first())
                    .filter(|_| page.has_previous)
                    .map(|sid| self.links.to("before", &sid)),
            },
        }
    }

    fn parse(request: &HttpRequest) -> Result<Self, ApiError> {
        let arguments = Arguments::of(request)?;
        let page = arguments.read()?;
        let list: ListArguments = arguments.read()?;
        let deleted = DeletedArguments::read::<R>(&arguments)?;
        let view = ViewRequest::of(&arguments)?;
        Ok(Self {
            query: list.query::<R>(page, view.omitted())?,
            deleted,
            view,
            links: Links::of(request, &arguments),
        })
    }
}

impl<R: Resource> FromRequest for ListRequest<R> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::parse(request))
    }
}
