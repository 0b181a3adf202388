//! The error responses of the OpenAPI document. The errors themselves create the examples and say
//! which headers the responses have.

use std::collections::BTreeMap;

use actix_web::ResponseError;
use actix_web::http::StatusCode;
use serde_json::json;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::{Components, Ref, RefOr, Response};
use utoipa::{IntoResponses, PartialSchema, ToSchema};
use uuid::Uuid;

use super::headers::{HEADERS, RATE_HEADERS, ResponseHeader, header_ref};
use crate::auth::{Permission, PhonenumberRead, Scope};
use crate::error::{ApiError, ErrorBody, FieldError, OauthError, Precondition, ProblemBody};
use crate::store::{Reference, in_use};

/// Adds the responses and the schemas of their bodies.
pub(super) fn add_errors(components: &mut Components) {
    let mut schemas = vec![
        (ErrorBody::name().into_owned(), ErrorBody::schema()),
        (ProblemBody::name().into_owned(), ProblemBody::schema()),
    ];
    ErrorBody::schemas(&mut schemas);
    components.schemas.extend(schemas);
    for (error, description) in errors() {
        let name = component_name(error.status_code());
        components.responses.insert(name, response(&error, description).into());
    }
}

/// An error of each status, and when it is returned.
fn errors() -> [(ApiError, &'static str); 15] {
    let short_codes =
        Reference { noun: "short code", table: "short_codes", column: "did_group_sid" };
    let reference_sid = Uuid::from_u128(0x531f65b7_dff7_42b4_b638_597f91da9ccc);
    let in_use = in_use(&[(short_codes, 2)], Some(reference_sid));
    let missing = FieldError::general("no JSON object could be decoded: EOF while parsing");
    let accepted = "application/json, application/merge-patch+json";
    let any_of = PhonenumberRead::ANY_OF.iter().map(Scope::as_str).collect();
    let allow = vec!["GET", "HEAD"];
    [
        (
            ApiError::BadRequest(missing),
            "The syntax of the body, of a query argument or of a header is invalid.",
        ),
        (ApiError::Unauthorized { presented: true }, "The token is missing or invalid."),
        (ApiError::Forbidden { any_of }, "The token has none of the required scopes."),
        (ApiError::NoItem, "No object of this sid is visible to the token."),
        (ApiError::MethodNotAllowed { allow }, "The path does not support the method."),
        (ApiError::Timeout, "The body did not arrive in time."),
        (in_use, "Another object prevents the change. Nothing was changed."),
        (
            ApiError::Resync("events after this cursor have been deleted"),
            "The feed cannot be continued at this cursor.",
        ),
        (ApiError::PayloadTooLarge, "The body is larger than 256 KiB."),
        (
            ApiError::UnsupportedMediaType { accepted },
            "The body has another media type, or a content coding.",
        ),
        (
            ApiError::invalid("name", "cannot be null"),
            "Members of the body are invalid: one entry for each.",
        ),
        (
            ApiError::PreconditionFailed(Precondition::IfMatch),
            "The object's version is not one of `If-Match`, or is one of `If-None-Match`. Nothing \
             was changed.",
        ),
        (
            ApiError::PreconditionRequired,
            "The object's owner requires `If-Match`, and the request has none.",
        ),
        (
            ApiError::TooManyRequests { retry_after: 1 },
            "The partner exceeds its rate, or too many of its requests wait at once.",
        ),
        (
            ApiError::Unavailable(None),
            "The database is not available or overloaded, or the service stops.",
        ),
    ]
}

fn component_name(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().replace(' ', "")
}

fn response(error: &ApiError, description: &str) -> Response {
    let body = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(ErrorBody::name())))
        .example(Some(json!(error.body())));
    let problem = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(ProblemBody::name())))
        .example(Some(json!(error.problem())));
    let mut response = ResponseBuilder::new()
        .description(description)
        .content("application/json", body.build())
        .content("application/problem+json", problem.build())
        .build();
    let sent = error.error_response();
    let is_media_type = sent.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let is_counted = matches!(error, ApiError::TooManyRequests { .. });
    let is_sent = |header: &&ResponseHeader| {
        header.name == "X-Request-Id"
            || sent.headers().contains_key(header.name)
            || (is_media_type && header.name == "Accept-Encoding")
            || (is_counted && RATE_HEADERS.contains(&header.name))
    };
    response.headers.extend(HEADERS.iter().filter(is_sent).map(|header| header_ref(header.name)));
    response
}

/// The error response of that status.
pub(super) fn error_ref(status: StatusCode) -> (String, RefOr<Response>) {
    let reference = Ref::from_response_name(component_name(status));
    (status.as_str().to_owned(), reference.into())
}

/// The response of an operation that checks a secret or a password.
pub struct BadCredentials;

impl IntoResponses for BadCredentials {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let error = ApiError::BadCredentials.with_oauth_code(OauthError::InvalidClient);
        let status = error.status_code().as_str().to_owned();
        let response = response(&error, "The secret or the password is wrong or missing.");
        BTreeMap::from([(status, response.into())])
    }
}

/// The response of an operation that requires the database, but no token.
pub struct Unavailable;

impl IntoResponses for Unavailable {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        BTreeMap::from([error_ref(StatusCode::SERVICE_UNAVAILABLE)])
    }
}
