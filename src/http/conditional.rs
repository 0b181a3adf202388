//! Conditional requests: entity tags, `If-Match` and `If-None-Match` (RFC 9110, section 13).
//!
//! Parsed here, because actix-web drops entity tags that it cannot parse.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use serde::Serialize;

use crate::error::ApiError;
use crate::store::{EntityTags, Preconditions};

/// The header with that entity tag: a strong tag, since it changes whenever the response can
/// change.
pub(super) fn entity_tag(tag: &str) -> (HeaderName, String) {
    (header::ETAG, format!("\"{tag}\""))
}

/// The entity tags that the client of a GET already has: `If-None-Match`.
pub struct KnownTags(EntityTags);

impl KnownTags {
    /// Whether the client has the version of that tag.
    pub(super) fn contain(&self, tag: &str) -> bool {
        self.0.names(tag)
    }

    /// Returns the object with that tag, or 304 if the client has it.
    pub fn respond<T: Serialize>(&self, tag: &str, object: impl FnOnce() -> T) -> HttpResponse {
        if self.contain(tag) {
            HttpResponse::NotModified().insert_header(entity_tag(tag)).finish()
        } else {
            HttpResponse::Ok().insert_header(entity_tag(tag)).json(object())
        }
    }
}

impl FromRequest for KnownTags {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

impl KnownTags {
    /// Returns the tags of a request.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] if the header is not a list of entity tags.
    pub(super) fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        if_none_match(request.headers()).map(Self)
    }
}

/// Returns the preconditions of a write. A weak tag is accepted in `If-Match`: proxies that
/// compress mark tags as weak.
///
/// # Errors
/// [`ApiError::BadRequest`] if a header is not a list of entity tags.
pub(super) fn preconditions(headers: &HeaderMap) -> Result<Preconditions, ApiError> {
    let if_match = versions(headers, header::IF_MATCH, "If-Match")?;
    Ok(Preconditions { if_match, if_none_match: if_none_match(headers)? })
}

/// Returns the versions of `If-None-Match`.
///
/// # Errors
/// [`ApiError::BadRequest`] if it is not a list of entity tags.
fn if_none_match(headers: &HeaderMap) -> Result<EntityTags, ApiError> {
    versions(headers, header::IF_NONE_MATCH, "If-None-Match")
}

fn versions(
    headers: &HeaderMap,
    header: HeaderName,
    name: &'static str,
) -> Result<EntityTags, ApiError> {
    let invalid = || ApiError::bad_argument(name, "must be `*` or a list of entity tags in quotes");
    let mut lines = Vec::new();
    for line in headers.get_all(header) {
        lines.push(line.to_str().map_err(|_| invalid())?);
    }
    let text = lines.join(",");
    match text.trim() {
        _ if lines.is_empty() => Ok(EntityTags::None),
        "*" => Ok(EntityTags::Exists),
        text => tags(text).map(EntityTags::OneOf).ok_or_else(invalid),
    }
}

/// Returns the tags of a list, without quotes. Elements can be empty (RFC 9110, section 5.6.1.2),
/// but not all of them.
fn tags(mut text: &str) -> Option<Vec<String>> {
    let mut tags = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return (!tags.is_empty()).then_some(tags);
        }
        let (tag, rest) =
            text.strip_prefix("W/").unwrap_or(text).strip_prefix('"')?.split_once('"')?;
        if !tag.bytes().all(|byte| byte == 0x21 || (0x23..=0x7e).contains(&byte)) {
            return None;
        }
        tags.push(tag.to_owned());
        text = rest.trim_start_matches([' ', '\t']);
        if !text.is_empty() && !text.starts_with(',') {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_of_a_list_are_parsed() {
        let read = |text| tags(text).map(|tags| tags.join("|"));
        assert_eq!(read(r#""1""#).as_deref(), Some("1"));
        assert_eq!(read(r#" "1" , W/"2","a,b" ,, """#).as_deref(), Some("1|2|a,b|"));
        for wrong in ["", ",", "1", r#""1"#, r#""1" "2""#, r#"w/"1""#, r#""a b""#, r#"*, "1""#] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
