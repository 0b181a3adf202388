//! Lists on the wire: the envelope, and the links from page to page.

use std::future::{Ready, ready};
use std::marker::PhantomData;

use actix_web::dev::Payload;
use actix_web::web::Json;
use actix_web::{FromRequest, HttpRequest, web};
use serde::Serialize;
use serde_json::{Map, Value};
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::client_ip::TrustedProxies;
use super::fields::View;
use super::query::{Arguments, list_query};
use crate::auth::Actor;
use crate::error::ApiError;
use crate::store::list::{Page, Query, Start};
use crate::store::{Resource, Store};

/// The URL that clients know the service by, where it is configured.
#[derive(Clone, Debug, Default)]
pub struct PublicUrl(pub Option<String>);

/// The envelope of a list.
#[derive(Debug, Serialize)]
pub struct Listing {
    /// How many items this page has.
    pub count: usize,
    /// Whether there are items after this page.
    pub has_more: bool,
    /// The items.
    pub items: Vec<Map<String, Value>>,
    /// How many items a page has at most.
    pub limit: i64,
    /// How many items were skipped.
    pub offset: i64,
    /// Links to the pages around this one.
    pub pagination: Pagination,
    /// How many items there are on all pages.
    pub total: i64,
}

/// Links to the pages around one.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Pagination {
    /// The page after it; absent where there is none.
    #[schema(value_type = String, format = "uri", required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The page before it; absent where there is none.
    #[schema(value_type = String, format = "uri", required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

/// The list of `R` as the OpenAPI document shows it.
pub struct ListOf<R>(PhantomData<R>);

/// A page of a list.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema alone: items are shown as the reader wants to see them")]
pub(super) struct Envelope {
    /// How many items this page has.
    count: u32,
    /// Whether there are items after this page.
    has_more: bool,
    /// The items.
    items: Vec<Value>,
    /// How many items a page has at most.
    limit: u32,
    /// How many items were skipped.
    offset: u64,
    /// Links to the pages around this one.
    pagination: Pagination,
    /// How many items there are on all pages.
    total: u64,
}

/// The query arguments of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a schema alone: arguments are read one by one")]
pub struct ListParameters {
    /// How many items a page has at most; 0 means the default.
    #[param(minimum = 0, maximum = 1000, default = 10)]
    limit: Option<i64>,
    /// How many items to skip.
    #[param(minimum = 0, maximum = 9_223_372_036_854_775_807_i64)]
    offset: Option<i64>,
    /// `<member>`, `<member> asc` or `<member> desc`, several with commas between them; or `shuffle`.
    #[param(example = "name desc")]
    order: Option<String>,
    /// `<member> <operator> <value>` joined by `and`; operators: eq, ne, gt, ge, lt, le, like, ilike, in.
    #[param(example = "name like \"new%\"")]
    filter: Option<String>,
    /// Begins after the object of this sid, in the order of creation.
    after: Option<Uuid>,
    /// Ends before the object of this sid, in the order of creation.
    before: Option<Uuid>,
    /// Whether to add `partner`, the owner.
    with_related: Option<bool>,
    /// The members to show, with commas between them; a dot leads into a nested object.
    #[param(example = "name,callback_url")]
    include_fields: Option<String>,
    /// The members to hide.
    #[param(example = "partner_sid")]
    exclude_fields: Option<String>,
}

/// A request for a list of `R`.
pub struct ListRequest<R> {
    query: Query,
    view: View<R>,
    links: Links,
}

impl<R: Resource> ListRequest<R> {
    /// The page that is asked for, of what `actor` reaches.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn respond(self, store: &Store<R>, actor: &Actor) -> Result<Json<Listing>, ApiError> {
        let page = store.list(actor, &self.query).await?;
        let pagination = self.pagination(&page);
        let Self { query, view, .. } = self;
        let items: Result<_, ApiError> = page.items.iter().map(R::representation).collect();
        let items = view.show(store, actor, items?).await?;
        Ok(Json(Listing {
            count: items.len(),
            has_more: page.has_next,
            items,
            limit: query.limit,
            offset: query.offset(),
            pagination,
            total: page.total,
        }))
    }

    fn pagination(&self, page: &Page<R>) -> Pagination {
        let sid = |item: Option<&R>| item.map(|item| item.sid().to_string());
        match self.query.start {
            Start::Offset(offset) => self.links.by_offset(self.query.limit, offset, page.has_next),
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
        let arguments = Arguments::of(request);
        Ok(Self {
            query: list_query::<R>(&arguments)?,
            view: View::parse(&arguments)?,
            links: Links::of(request, &arguments),
        })
    }
}

/// Makes the links from a page to those around it.
pub(super) struct Links {
    /// Where the list is.
    url: String,
    /// The arguments but for those that say where a page begins: what the links repeat.
    repeated: Vec<(String, String)>,
}

impl Links {
    /// The links of that request.
    pub fn of(request: &HttpRequest, arguments: &Arguments) -> Self {
        let begins = |name: &str| ["offset", "after", "before"].contains(&name);
        Self {
            url: format!("{}{}", base(request), request.path()),
            repeated: arguments.pairs().iter().filter(|(name, _)| !begins(name)).cloned().collect(),
        }
    }

    /// To the pages around the one that begins at `offset`.
    pub fn by_offset(&self, limit: i64, offset: i64, has_next: bool) -> Pagination {
        let to = |offset: i64| self.to("offset", &offset.to_string());
        Pagination {
            next: has_next.then(|| to(offset.saturating_add(limit))),
            previous: (offset > 0).then(|| to(offset.saturating_sub(limit).max(0))),
        }
    }

    fn to(&self, name: &str, value: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.repeated).append_pair(name, value);
        format!("{}?{}", self.url, query.finish())
    }
}

impl<R: Resource> FromRequest for ListRequest<R> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::parse(request))
    }
}

/// The configured public URL, else the request's own scheme and host.
fn base(request: &HttpRequest) -> String {
    if let Some(PublicUrl(Some(url))) =
        request.app_data::<web::Data<PublicUrl>>().map(|url| &***url)
    {
        return url.clone();
    }
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let trusted = request
        .app_data::<web::Data<TrustedProxies>>()
        .is_some_and(|proxies| proxies.sent(request));
    let forwarded = |name| header(name).filter(|_| trusted);
    let scheme =
        forwarded("x-forwarded-proto").filter(|scheme| *scheme == "https").unwrap_or("http");
    let host = forwarded("x-forwarded-host").or_else(|| header("host")).unwrap_or_default();
    format!("{scheme}://{host}")
}
