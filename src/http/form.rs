//! Forms, which the OAuth endpoints take (RFC 6749, appendix B).

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use url::form_urlencoded;

use super::body::read;
use crate::error::{ApiError, OauthError};

const FORM: &str = "application/x-www-form-urlencoded";

/// The fields of a form. An empty body is an empty form, whatever its type.
#[derive(Debug, Default)]
pub struct Form(BTreeMap<String, String>);

impl Form {
    /// The field of that name. One without a value counts as absent (RFC 6749, section 3.2).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The field of that name.
    ///
    /// # Errors
    /// `invalid_request` where it is absent.
    pub fn required(&self, name: &'static str) -> Result<&str, ApiError> {
        let absent = || ApiError::bad_argument(name, "must be present");
        self.get(name).ok_or_else(|| absent().with_oauth_code(OauthError::InvalidRequest))
    }

    fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            let (name, value) = (name.into_owned(), value.into_owned());
            if value.contains('\0') {
                return Err(ApiError::bad_argument(name, r"must not contain the character \u0000"));
            }
            if fields.insert(name.clone(), value).is_some() {
                return Err(ApiError::bad_argument(name, "must be sent once"));
            }
        }
        Ok(Self(fields))
    }
}

impl FromRequest for Form {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_form = request.content_type().eq_ignore_ascii_case(FORM);
        let bytes = read(request, payload);
        Box::pin(async move {
            let form = match bytes.await? {
                bytes if is_form || bytes.is_empty() => Self::parse(&bytes),
                _ => Err(ApiError::UnsupportedMediaType { accepted: FORM }),
            };
            form.map_err(|error| error.with_oauth_code(OauthError::InvalidRequest))
        })
    }
}
