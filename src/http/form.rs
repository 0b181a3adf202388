//! Forms, the bodies of the OAuth endpoints (RFC 6749, appendix B).

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use serde::de::DeserializeOwned;

use super::arguments;
use super::body::read;
use crate::error::{ApiError, OauthError};

const FORM: &str = "application/x-www-form-urlencoded";

/// A form. Unknown fields are ignored, and a field without a value counts as absent (RFC 6749,
/// section 3.2). An empty body is an empty form, whatever its media type.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned> Form<T> {
    fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = BTreeMap::new();
        for (name, value) in arguments::pairs(body)? {
            if value.contains('\0') {
                let message = r"must not contain the character \u0000";
                return Err(ApiError::bad_argument(name.into_owned(), message));
            }
            if fields.insert(name.clone(), value).is_some() {
                return Err(ApiError::bad_argument(name.into_owned(), "must be sent once"));
            }
        }
        let sent = fields.iter().map(|(name, value)| (&**name, &**value));
        arguments::read(sent.filter(|(_, value)| !value.is_empty())).map(Self)
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Form<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_form = request.content_type().eq_ignore_ascii_case(FORM);
        let bytes = read(request, payload);
        Box::pin(async move {
            let (bytes, _memory) = bytes.await?;
            let form = match bytes {
                bytes if is_form || bytes.is_empty() => Self::parse(&bytes),
                _ => Err(ApiError::UnsupportedMediaType { accepted: FORM }),
            };
            form.map_err(|error| error.with_oauth_code(OauthError::InvalidRequest))
        })
    }
}
