//! Completes the operations of the OpenAPI document: adds the headers and the errors that follow
//! from the parameters, the body and the security of an operation.

use actix_web::http::StatusCode;
use serde_json::json;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{Deprecated, PathItem, RefOr, Required, Response};

use super::errors::error_ref;
use super::headers::{self, RATE_HEADERS, header_ref};

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// Completes the operations of a path. What a handler has documented remains.
pub(super) fn complete(template: &str, item: &mut PathItem) {
    complete_updates(item);
    let PathItem { get, post, patch, put, delete, .. } = item;
    for operation in [get, post, patch, put, delete].into_iter().flatten() {
        let traits = Traits::of(template, operation);
        if template.contains("/inventory") {
            operation.deprecated = Some(Deprecated::True);
        }
        make_optional_form_absent(operation);
        // An explicit "no security", so that generated clients do not ask for a token.
        operation.security.get_or_insert_default();
        let parameters = operation.parameters.get_or_insert_default();
        parameters.extend(traits.headers().into_iter().map(RefOr::from));
        traits.complete_responses(operation);
    }
}

/// Documents both media types of a PATCH, and the preference that an update applies.
fn complete_updates(item: &mut PathItem) {
    if let Some(RefOr::T(body)) = item.patch.as_mut().and_then(|patch| patch.request_body.as_mut())
        && let Some(content) = body.content.get(JSON).cloned()
    {
        body.content.insert(MERGE_PATCH.to_owned(), content);
    }
    for update in [&mut item.patch, &mut item.put].into_iter().flatten() {
        if let Some(RefOr::T(response)) = update.responses.responses.get_mut("200") {
            response.headers.extend([header_ref("Preference-Applied")]);
        }
    }
}

/// Documents an optional form as a body that can be absent. utoipa documents an `Option` as a body
/// that can be `null`, which a form cannot.
fn make_optional_form_absent(operation: &mut Operation) {
    let Some(RefOr::T(body)) = &mut operation.request_body else { return };
    for content in body.content.values_mut() {
        if let RefOr::T(content) = content
            && let Some(RefOr::T(Schema::OneOf(form))) = &content.schema
            && let Some(form) = form.items.iter().find(|item| matches!(item, RefOr::Ref(_)))
        {
            content.schema = Some(form.clone());
            body.required = Some(Required::False);
        }
    }
}

/// The parameter, unless it is a reference.
fn named(parameter: &RefOr<Parameter>) -> Option<&Parameter> {
    match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    }
}

/// The traits of an operation that its headers and errors follow from.
struct Traits {
    /// A GET of one row.
    is_object: bool,
    /// A GET whose response has an entity tag.
    is_tagged: bool,
    is_write: bool,
    /// Its path contains a sid.
    has_sid: bool,
    has_body: bool,
    has_json: bool,
    is_secured: bool,
    needs_token: bool,
    needs_scope: bool,
    is_oauth: bool,
    /// It continues at a cursor.
    has_cursor: bool,
}

impl Traits {
    fn of(template: &str, operation: &Operation) -> Self {
        let has_argument = |name: &str| {
            let parameters = operation.parameters.iter().flatten();
            parameters.filter_map(named).any(|parameter| parameter.name == name)
        };
        let schemes = json!(operation.security);
        let has_scheme = |pointer: &str| {
            schemes.as_array().into_iter().flatten().any(|scheme| scheme.pointer(pointer).is_some())
        };
        let body = &operation.request_body;
        let has_304 = operation.responses.responses.contains_key("304");
        Self {
            is_object: has_argument("at") || has_304,
            // The members of tokens and of numbers in a stock change without a new version.
            is_tagged: has_304
                || has_argument("at")
                    && !["/oauth/", "/available_dids", "/inventory"]
                        .iter()
                        .any(|part| template.contains(part)),
            is_write: has_argument("validate_only"),
            has_sid: template.contains('{'),
            has_body: body.is_some(),
            has_json: matches!(body, Some(RefOr::T(body)) if body.content.contains_key(JSON)),
            is_secured: operation.security.is_some(),
            needs_token: has_scheme("/bearer"),
            needs_scope: has_scheme("/bearer/0"),
            is_oauth: template.contains("/oauth/"),
            has_cursor: has_argument("after") && has_argument("wait"),
        }
    }

    /// The headers that a request can have.
    fn headers(&self) -> Vec<Parameter> {
        [
            (true, headers::request_id as fn() -> Parameter),
            (self.has_json, headers::prefer),
            (self.is_tagged, headers::if_none_match),
            (self.is_write && self.has_sid, headers::if_match),
            (self.is_write && self.has_sid, headers::unless_match),
            (self.is_write && !self.is_oauth, headers::idempotency_key),
        ]
        .into_iter()
        .filter_map(|(is_read, header)| is_read.then(header))
        .collect()
    }

    fn complete_responses(&self, operation: &mut Operation) {
        let responses = &mut operation.responses.responses;
        for (status, response) in responses.iter_mut() {
            if let RefOr::T(response) = response {
                self.complete_response(status, response);
            }
        }
        if self.is_tagged {
            let mut unchanged =
                ResponseBuilder::new().description("The client has this version.").build();
            unchanged.headers.extend(["ETag", "X-Request-Id"].map(header_ref));
            responses.insert("304".to_owned(), unchanged.into());
        }
        for (status, response) in self.errors().into_iter().map(error_ref) {
            responses.entry(status).or_insert(response);
        }
    }

    fn complete_response(&self, status: &str, response: &mut Response) {
        if response.description.is_empty() {
            let is_empty = status == "204";
            let description =
                if is_empty { "The write is complete." } else { "The object or the page." };
            response.description = description.to_owned();
        }
        let is_success = status.starts_with('2');
        response.headers.extend([header_ref("X-Request-Id")]);
        if status == "200" && (self.is_tagged || self.is_write) && !self.is_oauth {
            response.headers.extend([header_ref("ETag")]);
        }
        if is_success && self.is_write {
            response.headers.extend([header_ref("Idempotency-Replayed")]);
        }
        if is_success && self.needs_token {
            response.headers.extend(RATE_HEADERS.map(header_ref));
        }
    }

    /// The statuses of the errors that the operation can return.
    fn errors(&self) -> Vec<StatusCode> {
        let is_update = self.is_write && self.has_sid;
        [
            (true, &[StatusCode::METHOD_NOT_ALLOWED][..]),
            (
                self.is_secured,
                &[
                    StatusCode::BAD_REQUEST,
                    StatusCode::UNAUTHORIZED,
                    StatusCode::SERVICE_UNAVAILABLE,
                ],
            ),
            (self.needs_scope, &[StatusCode::FORBIDDEN]),
            // Of the OAuth endpoints, those with a form verify the secrets of clients.
            (
                self.needs_token || (self.is_oauth && self.has_body),
                &[StatusCode::TOO_MANY_REQUESTS],
            ),
            (self.has_sid || self.is_object, &[StatusCode::NOT_FOUND]),
            (self.has_cursor, &[StatusCode::GONE]),
            (
                self.has_body,
                &[
                    StatusCode::REQUEST_TIMEOUT,
                    StatusCode::PAYLOAD_TOO_LARGE,
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                ],
            ),
            (self.has_json, &[StatusCode::UNPROCESSABLE_ENTITY]),
            // The idempotency key is in use, or belongs to another request.
            (self.is_write, &[StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY]),
            (is_update, &[StatusCode::PRECONDITION_FAILED, StatusCode::PRECONDITION_REQUIRED]),
        ]
        .into_iter()
        .filter(|(can_occur, _)| *can_occur)
        .flat_map(|(_, statuses)| statuses.iter().copied())
        .collect()
    }
}
