//! Pages of lists and of histories: limit and offset, the envelope and its links.

use actix_web::HttpRequest;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

use super::arguments::Arguments;
use super::target::base_url;
use super::view::View;

const DEFAULT_LIMIT: i64 = 10;
/// The most items of a page.
const MAX_LIMIT: i64 = 1_000;

/// The arguments that choose a page.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct PageArguments {
    /// The most items of a page. 0 means the default.
    #[param(value_type = i64, minimum = 0, maximum = 1000, default = 10)]
    pub limit: Limit<DEFAULT_LIMIT>,
    /// The number of items to skip.
    #[param(value_type = i64, minimum = 0, maximum = 9_223_372_036_854_775_807_i64)]
    pub offset: Offset,
    /// `false`: the items of all pages are not counted, and `total` is `null`.
    #[param(value_type = bool, default = true)]
    pub total: Total,
}

/// The most items of a page, `DEFAULT` unless the request says.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Limit<const DEFAULT: i64>(pub i64);

impl<const DEFAULT: i64> Default for Limit<DEFAULT> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<const DEFAULT: i64> TryFrom<String> for Limit<DEFAULT> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match number(&text, MAX_LIMIT)? {
            0 => Ok(Self::default()),
            limit => Ok(Self(limit)),
        }
    }
}

/// The number of items before a page.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Offset(pub i64);

impl TryFrom<String> for Offset {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        number(&text, i64::MAX).map(Self)
    }
}

/// Whether the items of all pages are counted.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Total(pub bool);

impl Default for Total {
    fn default() -> Self {
        Self(true)
    }
}

impl TryFrom<String> for Total {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        text.parse().map(Self).map_err(|_| "must be `true` or `false`")
    }
}

/// Reads a number of at most `max`.
///
/// # Errors
/// A message that says what was expected.
pub(crate) fn number(text: &str, max: i64) -> Result<i64, String> {
    let number = text.parse().ok().filter(|number| (0..=max).contains(number));
    number.ok_or_else(|| format!("must be a number from 0 to {max}"))
}

/// A page of a list or of a history.
#[derive(Serialize, ToSchema)]
pub(super) struct Envelope<T> {
    /// The number of items on this page.
    #[schema(minimum = 0)]
    pub count: usize,
    /// Whether items follow this page.
    pub has_more: bool,
    /// The items.
    pub items: Vec<T>,
    /// The most items of a page.
    #[schema(minimum = 1)]
    pub limit: i64,
    /// The number of items that were skipped.
    #[schema(minimum = 0)]
    pub offset: i64,
    /// Links to the pages around this one.
    pub pagination: Pagination,
    /// The number of items of all pages. `null` if it is not counted.
    #[schema(minimum = 0, required)]
    pub total: Option<i64>,
}

/// A page of objects of type `T`, in the OpenAPI document `TList`.
#[derive(Serialize)]
#[serde(transparent, bound = "")]
pub struct List<T>(pub(super) Envelope<View<T>>);

/// Links to the pages around a page.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Pagination {
    /// The next page. Absent on the last page.
    #[schema(value_type = String, format = "uri", required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The previous page. Absent on the first page.
    #[schema(value_type = String, format = "uri", required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

/// Creates the links of a page.
pub(super) struct Links {
    /// The URL of the list.
    url: String,
    /// The arguments that every link repeats: all but those that say where a page begins.
    repeated: Vec<(String, String)>,
}

impl Links {
    /// The links of the response to that request.
    pub fn of(request: &HttpRequest, arguments: &Arguments) -> Self {
        let is_repeated = |(name, _): &(&str, &str)| !["offset", "after", "before"].contains(name);
        let repeated = arguments.pairs().filter(is_repeated);
        Self {
            url: format!("{}{}", base_url(request), request.path()),
            repeated: repeated.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }

    /// Returns the links to the pages around the one that begins at `offset`, of which the next one
    /// begins at `next`.
    pub fn by_offset(&self, limit: i64, offset: i64, next: Option<i64>) -> Pagination {
        let to = |offset: i64| self.to("offset", &offset.to_string());
        Pagination {
            next: next.map(to),
            previous: (offset > 0).then(|| to(offset.saturating_sub(limit).max(0))),
        }
    }

    /// Returns the link to the page that begins where the argument of that name says.
    pub fn to(&self, name: &str, value: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.repeated).append_pair(name, value);
        format!("{}?{}", self.url, query.finish())
    }
}
