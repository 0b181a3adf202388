//! Query arguments: of reads, of lists and of writes.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

use crate::error::ApiError;
use crate::fields::Nested;
use crate::input::{parse_sid, unknown};
use crate::list::{Filter, Order, Query, Start, Target};
use crate::store::Resource;

/// The arguments of a query string, by name. An empty or bare one counts as absent.
pub struct Arguments(Vec<(String, String)>);

impl Arguments {
    /// The arguments of a request.
    pub fn of(request: &HttpRequest) -> Self {
        let pairs = form_urlencoded::parse(request.query_string().as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// All of them, as they were sent.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The argument of that name, which must not be given twice.
    pub(super) fn get(&self, name: &'static str) -> Result<Option<&str>, ApiError> {
        let mut given = self.0.iter().filter(|(given, value)| given == name && !value.is_empty());
        match (given.next(), given.next()) {
            (_, Some(_)) => Err(ApiError::bad_argument(name, "is given more than once")),
            (first, None) => Ok(first.map(|(_, value)| value.as_str())),
        }
    }

    /// `true` or `false`; false where it is absent.
    pub(super) fn flag(&self, name: &'static str) -> Result<bool, ApiError> {
        match self.get(name)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ApiError::bad_argument(name, "must be `true` or `false`")),
        }
    }

    /// A whole number within bounds.
    fn number(&self, name: &'static str, max: i64) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name)? else { return Ok(None) };
        match text.parse() {
            Ok(number) if (0..=max).contains(&number) => Ok(Some(number)),
            _ => Err(ApiError::bad_argument(name, format!("must be a number from 0 to {max}"))),
        }
    }

    fn sid(&self, name: &'static str) -> Result<Option<uuid::Uuid>, ApiError> {
        let Some(text) = self.get(name)? else { return Ok(None) };
        parse_sid(text)
            .map(Some)
            .ok_or_else(|| ApiError::bad_argument(name, "must be a sid (a hyphenated UUID)"))
    }
}

const DEFAULT_LIMIT: i64 = 10;
const MAX_LIMIT: i64 = 1_000;

/// The query of a list of `R`.
pub(super) fn list_query<R: Resource>(arguments: &Arguments) -> Result<Query, ApiError> {
    let limit = match arguments.number("limit", MAX_LIMIT)? {
        None | Some(0) => DEFAULT_LIMIT,
        Some(limit) => limit,
    };
    let order = match arguments.get("order")? {
        None => Order::default(),
        Some(text) => {
            Order::parse::<R>(text).map_err(|message| ApiError::bad_argument("order", message))?
        }
    };
    let filter = match arguments.get("filter")? {
        None => Filter::default(),
        Some(text) => Filter::parse(text, Target::of::<R>)
            .map_err(|error| ApiError::bad_argument("filter", error.to_string()))?,
    };
    let start = start(arguments, order == Order::default())?;
    Ok(Query { filter, order, start, limit })
}

fn start(arguments: &Arguments, in_order_of_creation: bool) -> Result<Start, ApiError> {
    let offset = arguments.number("offset", i64::MAX)?.unwrap_or(0);
    let (name, start) = match (arguments.sid("after")?, arguments.sid("before")?) {
        (None, None) => return Ok(Start::Offset(offset)),
        (Some(after), None) => ("after", Start::After(after)),
        (None, Some(before)) => ("before", Start::Before(before)),
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_argument("before", "does not go together with `after`"));
        }
    };
    if offset > 0 || !in_order_of_creation {
        return Err(ApiError::bad_argument(name, "does not go together with `order` or `offset`"));
    }
    Ok(start)
}

/// The query arguments that a PATCH or PUT takes. An unknown one is refused: misspelt, it would change what is written.
#[derive(Debug, Default)]
pub struct WriteArguments {
    /// `nested_objects=replace`: a sent nested object takes the place of the stored one.
    pub nested: Nested,
}

/// The query arguments of a PATCH or PUT, as the OpenAPI document shows them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a schema alone: arguments are read one by one")]
pub struct WriteParameters {
    /// `replace`: a sent nested object takes the place of the stored one, which a PUT does anyway.
    #[param(inline)]
    nested_objects: Option<NestedObjects>,
}

/// The values of `nested_objects`.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "a schema alone")]
enum NestedObjects {
    Replace,
}

impl WriteArguments {
    fn parse(arguments: &Arguments) -> Result<Self, ApiError> {
        let mut parsed = Self::default();
        for (name, value) in arguments.pairs() {
            match (name.as_str(), value.as_str()) {
                ("nested_objects", "replace") => parsed.nested = Nested::Replace,
                ("nested_objects", _) => {
                    return Err(ApiError::bad_argument("nested_objects", "must be `replace`"));
                }
                _ => return Err(unknown_argument(name, &["nested_objects"])),
            }
        }
        Ok(parsed)
    }
}

impl FromRequest for WriteArguments {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::parse(&Arguments::of(request)))
    }
}

/// The query arguments that a POST or DELETE takes: none.
pub struct NoArguments;

impl FromRequest for NoArguments {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let arguments = Arguments::of(request);
        ready(
            arguments
                .pairs()
                .first()
                .map_or(Ok(Self), |(name, _)| Err(unknown_argument(name, &[]))),
        )
    }
}

fn unknown_argument(name: &str, known: &[&str]) -> ApiError {
    ApiError::bad_argument(name.to_owned(), unknown("query argument", name, known))
}
