//! What the OpenAPI document says of every operation alike: said once, from the operation's own shape.

use std::collections::BTreeMap;

use actix_web::ResponseError;
use actix_web::http::StatusCode;
use serde_json::json;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::Type;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, Header, ObjectBuilder, OpenApi, PathItem, Ref, RefOr, Required, Response, Server,
    Tag,
};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use crate::auth::{Permission, PhonenumberRead, Scope};
use crate::error::{ApiError, ErrorBody, FieldError, OauthError, ProblemBody};

pub mod page;
mod schemas;

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const PROBLEM_JSON: &str = "application/problem+json";

/// Completes the document that the handlers have written.
pub fn complete(document: &mut OpenApi) {
    document.servers = Some(vec![Server::new("/")]);
    document.tags = Some(tags());
    add_components(document.components.get_or_insert_default());
    for (template, item) in &mut document.paths.paths {
        complete_updates(item);
        for operation in operations(item) {
            complete_operation(template, operation);
        }
    }
    drop_unused(document);
}

/// Drops the schemas that others were made from and nobody names, and the tags of operations that are yet to come.
fn drop_unused(document: &mut OpenApi) {
    let text = json!(document).to_string();
    let is_named = |name: &str| text.contains(&format!("\"#/components/schemas/{name}\""));
    if let Some(components) = &mut document.components {
        components.schemas.retain(|name, _| is_named(name));
    }
    let is_used = |tag: &Tag| text.contains(&format!("\"tags\":[\"{}\"]", tag.name));
    document.tags.get_or_insert_default().retain(is_used);
}

fn tags() -> Vec<Tag> {
    let described = [
        ("DID groups", "Named sets of phone numbers with a callback URL."),
        ("Short codes", "Numbers of 3 to 8 digits, and where their traffic goes."),
        ("Partners", "The tenants, a tree."),
        ("OAuth", "Tokens: how a partner's clients prove who they are."),
        ("Service", "Probes and this document; no token is needed."),
    ];
    let tag =
        |(name, description)| TagBuilder::new().name(name).description(Some(description)).build();
    described.map(tag).into()
}

fn add_components(components: &mut Components) {
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.description = Some("An opaque token or a JWT. Any one of the scopes is enough.".into());
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let mut client = Http::new(HttpAuthScheme::Basic);
    client.description = Some("`client_id` and `client_secret` (RFC 6749, section 2.3.1).".into());
    components.add_security_scheme("client", SecurityScheme::Http(client));
    let mut known = vec![
        (ErrorBody::name().into_owned(), ErrorBody::schema()),
        (ProblemBody::name().into_owned(), ProblemBody::schema()),
    ];
    ErrorBody::schemas(&mut known);
    components.schemas.extend(known);
    let headers = HEADERS.map(|header| (header.name.to_owned(), header.documented().into()));
    components.headers.extend(headers);
    for (error, description) in refusals() {
        let name = component_name(error.status_code());
        components.responses.insert(name, refusal(&error, description).into());
    }
}

/// A header of answers.
struct AnswerHeader {
    name: &'static str,
    schema_type: Type,
    description: &'static str,
}

const HEADERS: [AnswerHeader; 10] = [
    header("Accept-Patch", Type::String, "What a PATCH takes (RFC 5789); only after a PATCH."),
    header("Allow", Type::String, "The methods that the path knows."),
    header("ETag", Type::String, "The object's version, for `If-Match` and `If-None-Match`."),
    header(
        "Idempotency-Replayed",
        Type::String,
        "`true`: this was answered before, under the same key.",
    ),
    header("Preference-Applied", Type::String, "The preference that was heeded (RFC 7240)."),
    header("RateLimit", Type::String, "What is left of the partner's rate, where it has one."),
    header("RateLimit-Policy", Type::String, "The partner's rate, where it has one."),
    header("Retry-After", Type::Integer, "How many seconds to wait before trying again."),
    header("WWW-Authenticate", Type::String, "What is wrong with the token (RFC 6750)."),
    header("X-Request-Id", Type::String, "The request's id, as the log has it."),
];

const fn header(name: &'static str, schema_type: Type, description: &'static str) -> AnswerHeader {
    AnswerHeader { name, schema_type, description }
}

impl AnswerHeader {
    fn documented(&self) -> Header {
        let schema = ObjectBuilder::new().schema_type(self.schema_type.clone()).build();
        let mut header = Header::new(schema);
        header.description = Some(self.description.to_owned());
        header
    }
}

fn header_ref(name: &str) -> (String, RefOr<Header>) {
    (name.to_owned(), RefOr::Ref(Ref::new(format!("#/components/headers/{name}"))))
}

/// An error of each status, and when it is answered. Body and headers of the examples are those that the error makes.
fn refusals() -> [(ApiError, &'static str); 14] {
    let in_use = "2 short codes use this DID group, among them the one referred to";
    let missing = FieldError::general("no JSON object could be decoded: EOF while parsing");
    [
        (
            ApiError::BadRequest(missing),
            "The syntax of the body, a query argument or a header is wrong.",
        ),
        (
            ApiError::Unauthorized { presented: true },
            "No token was sent, or one that is not valid.",
        ),
        (
            ApiError::Forbidden {
                any_of: PhonenumberRead::ANY_OF.iter().map(Scope::as_str).collect(),
            },
            "The token carries none of the scopes needed.",
        ),
        (ApiError::NoItem, "No object has this sid, as far as the token reaches."),
        (
            ApiError::MethodNotAllowed { allow: vec!["GET".into(), "HEAD".into()] },
            "The path does not know the method.",
        ),
        (ApiError::Timeout, "The body took too long to arrive."),
        (
            ApiError::Conflict(FieldError::general(in_use)),
            "Another object stands in the way; nothing was changed.",
        ),
        (ApiError::PayloadTooLarge, "The body is larger than 256 KiB."),
        (
            ApiError::UnsupportedMediaType {
                accepted: "application/json, application/merge-patch+json",
            },
            "The body is in another format.",
        ),
        (
            ApiError::invalid("name", "cannot be null"),
            "Members of the body are wrong: one entry for each.",
        ),
        (
            ApiError::PreconditionFailed,
            "The object has another version than `If-Match` names; nothing was changed.",
        ),
        (
            ApiError::PreconditionRequired,
            "The object's owner wants every change to name the version that it is for.",
        ),
        (ApiError::TooManyRequests { retry_after: 1 }, "The partner asks more often than it may."),
        (
            ApiError::Unavailable(None),
            "The database is away or busy, or the service is about to stop.",
        ),
    ]
}

fn component_name(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().replace(' ', "")
}

fn refusal(error: &ApiError, description: &str) -> Response {
    let body = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(ErrorBody::name())))
        .example(Some(json!(error.body())));
    let problem = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(ProblemBody::name())))
        .example(Some(json!(error.problem())));
    let mut response = ResponseBuilder::new()
        .description(description)
        .content(JSON, body.build())
        .content(PROBLEM_JSON, problem.build())
        .build();
    let sent = error.error_response();
    let is_sent = |header: &&AnswerHeader| {
        header.name == "X-Request-Id" || sent.headers().contains_key(header.name)
    };
    response.headers.extend(HEADERS.iter().filter(is_sent).map(|header| header_ref(header.name)));
    response
}

/// What is said of updates alone: a PATCH is a merge patch, whichever way it is called; a preference that was heeded is told.
fn complete_updates(item: &mut PathItem) {
    if let Some(RefOr::T(body)) = item.patch.as_mut().and_then(|patch| patch.request_body.as_mut())
        && let Some(content) = body.content.get(JSON).cloned()
    {
        body.content.insert(MERGE_PATCH.to_owned(), content);
    }
    for update in [&mut item.patch, &mut item.put].into_iter().flatten() {
        if let Some(RefOr::T(answer)) = update.responses.responses.get_mut("200") {
            answer.headers.extend([header_ref("Preference-Applied")]);
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, post, patch, put, delete, .. } = item;
    [get, post, patch, put, delete].into_iter().flatten()
}

/// Adds what the operation's shape implies; what its handler says already stays.
fn complete_operation(template: &str, operation: &mut Operation) {
    let takes_json = takes_json(operation);
    let implied = implied(template, operation).into_iter().map(refused);
    let conditions = conditions(template, operation);
    let parameters = operation.parameters.get_or_insert_default();
    parameters.push(request_id().into());
    if takes_json {
        parameters.push(prefer().into());
    }
    parameters.extend(conditions.into_iter().map(RefOr::from));
    let shows_object = takes(operation, "at");
    let is_write = takes(operation, "validate_only");
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            complete_answer(status, response);
            if status == "200" && (shows_object || is_write) {
                response.headers.extend([header_ref("ETag")]);
            }
            if is_write {
                response.headers.extend([header_ref("Idempotency-Replayed")]);
            }
        }
    }
    if shows_object {
        let mut known = ResponseBuilder::new().description("The client has this version.").build();
        complete_answer("304", &mut known);
        known.headers.extend([header_ref("ETag")]);
        operation.responses.responses.insert("304".to_owned(), known.into());
    }
    for (status, response) in implied {
        operation.responses.responses.entry(status).or_insert(response);
    }
}

/// The headers by which a write or a GET says what it is for.
fn conditions(template: &str, operation: &Operation) -> Vec<Parameter> {
    const TAGS: &str = r#"^(\*|(W/)?"[!#-~]*"([ \t]*,[ \t]*(W/)?"[!#-~]*")*)$"#;
    let mut conditions = Vec::new();
    if takes(operation, "at") {
        let said = "The versions that the client has: `*` or entity tags.";
        conditions.push(header_parameter("If-None-Match", said, Some(TAGS)));
    }
    if takes(operation, "validate_only") {
        if template.contains('{') {
            let said = "The versions that may be changed: `*` or entity tags, from `ETag`.";
            conditions.push(header_parameter("If-Match", said, Some(TAGS)));
        }
        if !template.contains("/oauth/") {
            let said = "For 24 hours the same request under the same key is done once, and answered again.";
            conditions.push(header_parameter("Idempotency-Key", said, Some("^[!-~]{1,255}$")));
        }
    }
    conditions
}

/// Whether the operation has a query argument of that name.
fn takes(operation: &Operation, argument: &str) -> bool {
    operation.parameters.iter().flatten().any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.name == argument,
        RefOr::Ref(_) => false,
    })
}

fn complete_answer(status: &str, response: &mut Response) {
    response.headers.extend([header_ref("X-Request-Id")]);
    if response.description.is_empty() {
        let said = if status == "204" { "Done." } else { "The object or the page, as it is now." };
        response.description = said.to_owned();
    }
}

/// The answer of that status to a request that fails.
fn refused(status: StatusCode) -> (String, RefOr<Response>) {
    let reference = Ref::from_response_name(component_name(status));
    (status.as_str().to_owned(), reference.into())
}

/// How an operation can fail, by what it takes.
fn implied(template: &str, operation: &Operation) -> Vec<StatusCode> {
    let mut statuses = vec![StatusCode::METHOD_NOT_ALLOWED];
    if operation.security.is_some() {
        statuses.extend([
            StatusCode::BAD_REQUEST,
            StatusCode::UNAUTHORIZED,
            StatusCode::SERVICE_UNAVAILABLE,
        ]);
    }
    if needs_scope(operation) {
        statuses.push(StatusCode::FORBIDDEN);
    }
    if takes_bearer(operation) {
        statuses.push(StatusCode::TOO_MANY_REQUESTS);
    }
    if template.contains('{') {
        statuses.push(StatusCode::NOT_FOUND);
    }
    if operation.request_body.is_some() {
        statuses.extend([
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ]);
    }
    if takes_json(operation) {
        statuses.push(StatusCode::UNPROCESSABLE_ENTITY);
    }
    if takes(operation, "validate_only") {
        // The key is in flight; it was another request's.
        statuses.extend([StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY]);
        if template.contains('{') {
            statuses.extend([StatusCode::PRECONDITION_FAILED, StatusCode::PRECONDITION_REQUIRED]);
        }
    }
    statuses
}

fn takes_bearer(operation: &Operation) -> bool {
    let schemes = json!(operation.security);
    schemes.as_array().into_iter().flatten().any(|scheme| scheme["bearer"].is_array())
}

fn needs_scope(operation: &Operation) -> bool {
    let schemes = json!(operation.security);
    schemes.as_array().into_iter().flatten().any(|scheme| scheme["bearer"][0].is_string())
}

/// The answer of an operation whose caller proves itself by a secret or password.
pub struct BadCredentials;

impl IntoResponses for BadCredentials {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let error = ApiError::BadCredentials.with_oauth_code(OauthError::InvalidClient);
        let status = error.status_code().as_str().to_owned();
        BTreeMap::from([(
            status,
            refusal(&error, "A secret or password is wrong or missing.").into(),
        )])
    }
}

/// The answer of an operation without a token that asks the database.
pub struct Unavailable;

impl IntoResponses for Unavailable {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        BTreeMap::from([refused(StatusCode::SERVICE_UNAVAILABLE)])
    }
}

fn takes_json(operation: &Operation) -> bool {
    match &operation.request_body {
        Some(RefOr::T(body)) => body.content.contains_key(JSON),
        _ => false,
    }
}

fn request_id() -> Parameter {
    let description = "The request's id, for the log and the answer: 1 to 128 visible ASCII characters. Another one is replaced.";
    header_parameter("X-Request-Id", description, None)
}

fn prefer() -> Parameter {
    let description = "`handling=strict` refuses read-only members that differ from the stored ones, `handling=lenient` ignores unknown \
                       members (RFC 7240). Other preferences have no effect.";
    header_parameter("Prefer", description, None)
}

fn header_parameter(name: &str, description: &str, pattern: Option<&str>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .description(Some(description))
        .required(Required::False)
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).pattern(pattern)))
        .build()
}
