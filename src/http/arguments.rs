//! Query arguments of writes.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use url::form_urlencoded;

use crate::error::ApiError;
use crate::fields::Nested;
use crate::input::unknown;

/// The query arguments that a PATCH or PUT takes. An unknown one is refused: misspelt, it would change what is written.
#[derive(Debug, Default)]
pub struct WriteArguments {
    /// `nested_objects=replace`: a sent nested object takes the place of the stored one.
    pub nested: Nested,
}

impl WriteArguments {
    fn parse(query: &str) -> Result<Self, ApiError> {
        let mut arguments = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*name, &*value) {
                ("nested_objects", "replace") => arguments.nested = Nested::Replace,
                ("nested_objects", _) => {
                    return Err(ApiError::bad_argument("nested_objects", "must be `replace`"));
                }
                _ => {
                    let message = unknown("query argument", &name, &["nested_objects"]);
                    return Err(ApiError::bad_argument(name.into_owned(), message));
                }
            }
        }
        Ok(arguments)
    }
}

impl FromRequest for WriteArguments {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::parse(request.query_string()))
    }
}
