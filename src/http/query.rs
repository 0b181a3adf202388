//! Query arguments: of reads, of lists and of writes.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::{FromRequest, HttpRequest};
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

use super::auth::requires_if_match;
use super::conditional;
use super::fields::Selection;
use crate::error::ApiError;
use crate::input::types::Nested;
use crate::input::{parse_sid, unknown};
use crate::store::list::{Filter, Order, Query, Start, Target};
use crate::store::{IdempotencyKey, Precondition, Resource, WriteOptions};

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

    /// The members that are to be shown, of those that `shows` knows.
    pub(super) fn selection(&self, shows: impl Fn(&str) -> bool) -> Result<Selection, ApiError> {
        let mut selection = Selection::default();
        let refused = |name| move |message| ApiError::bad_argument(name, message);
        for name in ["include_fields", "includeFields"] {
            if let Some(names) = self.get(name)? {
                selection.include(names, &shows).map_err(refused(name))?;
            }
        }
        for name in ["exclude_fields", "excludeFields"] {
            if let Some(names) = self.get(name)? {
                selection.exclude(names, &shows).map_err(refused(name))?;
            }
        }
        Ok(selection)
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

/// How many items a page has at most, and how many come before it.
pub(super) fn page(arguments: &Arguments) -> Result<(i64, i64), ApiError> {
    let limit = match arguments.number("limit", MAX_LIMIT)? {
        None | Some(0) => DEFAULT_LIMIT,
        Some(limit) => limit,
    };
    Ok((limit, arguments.number("offset", i64::MAX)?.unwrap_or(0)))
}

/// The query of a list of `R`.
pub(super) fn list_query<R: Resource>(arguments: &Arguments) -> Result<Query, ApiError> {
    let (limit, offset) = page(arguments)?;
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
    let start = start(arguments, offset, order == Order::default())?;
    Ok(Query { filter, order, start, limit })
}

fn start(
    arguments: &Arguments,
    offset: i64,
    in_order_of_creation: bool,
) -> Result<Start, ApiError> {
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

/// How a write is to be made: by its query arguments and its headers. An unknown argument is refused: misspelt, it would change
/// what is written.
#[derive(Debug, Default)]
pub struct WriteArguments {
    /// `nested_objects=replace`: a sent nested object takes the place of the stored one.
    pub nested: Nested,
    /// The version that is to be changed, the key for retries, and whether anything is to be written at all.
    pub options: WriteOptions,
}

/// What a PATCH or PUT is called with, as the OpenAPI document shows it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a schema alone: arguments are read one by one")]
pub struct UpdateParameters {
    /// `replace`: a sent nested object takes the place of the stored one, which a PUT does anyway.
    #[param(inline)]
    nested_objects: Option<NestedObjects>,
    /// Whether everything is judged and answered as ever, and nothing is written.
    validate_only: Option<bool>,
}

/// What another write is called with, as the OpenAPI document shows it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a schema alone: arguments are read one by one")]
pub struct WriteParameters {
    /// Whether everything is judged and answered as ever, and nothing is written.
    validate_only: Option<bool>,
}

/// The values of `nested_objects`.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "a schema alone")]
enum NestedObjects {
    Replace,
}

impl WriteArguments {
    /// Those of a request whose body is still to be read.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] where an argument or a header makes no sense, [`ApiError::PreconditionRequired`] where the
    /// caller's partner wants `If-Match`.
    pub(super) fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let is_update = [Method::PATCH, Method::PUT].contains(request.method());
        let known: &[&str] =
            if is_update { &["nested_objects", "validate_only"] } else { &["validate_only"] };
        let arguments = Arguments::of(request);
        for (name, value) in arguments.pairs() {
            if !known.contains(&name.as_str()) {
                return Err(unknown_argument(name, known));
            }
            // Who names one without saying what, may not mean the default.
            if value.is_empty() {
                return Err(ApiError::bad_argument(name.clone(), "must have a value"));
            }
        }
        let nested = match arguments.get("nested_objects")? {
            None => Nested::default(),
            Some("replace") => Nested::Replace,
            Some(_) => return Err(ApiError::bad_argument("nested_objects", "must be `replace`")),
        };
        let options = WriteOptions {
            validate_only: arguments.flag("validate_only")?,
            precondition: conditional::if_match(request.headers())?,
            key: idempotency_key(request)?,
        };
        // Of what is created nobody has seen a version; what comes back may be gone. The store asks for all else.
        let is_conditional = is_update || request.method() == Method::DELETE;
        if is_conditional
            && options.precondition == Precondition::None
            && requires_if_match(request)
        {
            return Err(ApiError::PreconditionRequired);
        }
        Ok(Self { nested, options })
    }
}

/// The `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header), bound to what the request asks for, but for its body.
fn idempotency_key(request: &HttpRequest) -> Result<Option<IdempotencyKey>, ApiError> {
    const NAME: &str = "Idempotency-Key";
    let mut sent = request.headers().get_all(NAME);
    let Some(key) = sent.next() else { return Ok(None) };
    let is_alone = sent.next().is_none();
    let key = key.as_bytes();
    if !is_alone || !(1..=255).contains(&key.len()) || !key.iter().all(u8::is_ascii_graphic) {
        let message = "must be sent once, with 1 to 255 visible ASCII characters";
        return Err(ApiError::bad_argument(NAME, message));
    }
    let mut key = IdempotencyKey::new(String::from_utf8_lossy(key).into_owned());
    key.add(request.method().as_str().as_bytes());
    key.add(request.path().as_bytes());
    key.add(request.query_string().as_bytes());
    Ok(Some(key))
}

impl FromRequest for WriteArguments {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

/// The query arguments that a form takes: none.
pub struct NoArguments;

impl FromRequest for NoArguments {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let arguments = Arguments::of(request);
        let first = arguments.pairs().first();
        ready(first.map_or(Ok(Self), |(name, _)| Err(unknown_argument(name, &[]))))
    }
}

fn unknown_argument(name: &str, known: &[&str]) -> ApiError {
    ApiError::bad_argument(name.to_owned(), unknown("query argument", name, known))
}
