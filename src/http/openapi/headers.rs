//! The headers of the OpenAPI document: those of responses, and those that every request can have.

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{Components, Header, ObjectBuilder, Ref, RefOr, Required};

/// A header of responses.
pub(super) struct ResponseHeader {
    pub name: &'static str,
    schema_type: Type,
    description: &'static str,
}

pub(super) const HEADERS: [ResponseHeader; 11] = [
    header("Accept-Encoding", Type::String, "`identity`; only if the body has a content coding."),
    header("Accept-Patch", Type::String, "The media types of a PATCH (RFC 5789); only on a PATCH."),
    header("Allow", Type::String, "The methods of the path."),
    header("ETag", Type::String, "The object's version, for `If-Match` and `If-None-Match`."),
    header("Idempotency-Replayed", Type::String, "`true` if the response is a stored response."),
    header("Preference-Applied", Type::String, "The preference that was applied (RFC 7240)."),
    header("RateLimit", Type::String, "What is left of the partner's rate, if it has one."),
    header("RateLimit-Policy", Type::String, "The partner's rate, if it has one."),
    header("Retry-After", Type::Integer, "The number of seconds to wait before a retry."),
    header("WWW-Authenticate", Type::String, "The scheme, and what is wrong (RFC 6750)."),
    header("X-Request-Id", Type::String, "The request's ID, which the log also contains."),
];

/// The headers of responses to requests that are counted against a rate.
pub(super) const RATE_HEADERS: [&str; 2] = ["RateLimit", "RateLimit-Policy"];

const fn header(
    name: &'static str,
    schema_type: Type,
    description: &'static str,
) -> ResponseHeader {
    ResponseHeader { name, schema_type, description }
}

impl ResponseHeader {
    fn documented(&self) -> Header {
        let schema = ObjectBuilder::new().schema_type(self.schema_type.clone()).build();
        let mut header = Header::new(schema);
        header.description = Some(self.description.to_owned());
        header
    }
}

pub(super) fn add_headers(components: &mut Components) {
    let headers = HEADERS.map(|header| (header.name.to_owned(), header.documented().into()));
    components.headers.extend(headers);
}

/// A reference to the response header of that name.
pub(super) fn header_ref(name: &str) -> (String, RefOr<Header>) {
    (name.to_owned(), RefOr::Ref(Ref::new(format!("#/components/headers/{name}"))))
}

pub(super) fn request_id() -> Parameter {
    let description = "The request's ID in the log and in the response: 1 to 128 visible ASCII \
                       characters. Any other value is replaced.";
    parameter("X-Request-Id", description, None)
}

pub(super) fn prefer() -> Parameter {
    let description = "`handling=strict` rejects read-only members that differ from the stored \
                       ones. `handling=lenient` ignores unknown members (RFC 7240). Other \
                       preferences have no effect.";
    parameter("Prefer", description, None)
}

/// A list of entity tags.
const ENTITY_TAGS: &str = r#"^(\*|(W/)?"[!#-~]*"([ \t]*,[ \t]*(W/)?"[!#-~]*")*)$"#;

pub(super) fn if_none_match() -> Parameter {
    let description = "The versions that the client already has: `*` or entity tags.";
    parameter("If-None-Match", description, Some(ENTITY_TAGS))
}

/// `If-None-Match` of a write.
pub(super) fn unless_match() -> Parameter {
    let description = "The versions that the request must not change: `*` or entity tags.";
    parameter("If-None-Match", description, Some(ENTITY_TAGS))
}

pub(super) fn if_match() -> Parameter {
    let description = "The versions that the request can change: `*` or entity tags of `ETag`.";
    parameter("If-Match", description, Some(ENTITY_TAGS))
}

pub(super) fn idempotency_key() -> Parameter {
    let description = "The same value for a request and its retries. For 24 hours, a retry returns \
                       the stored response and changes nothing.";
    parameter("Idempotency-Key", description, Some("^[!-~]{1,255}$"))
}

fn parameter(name: &str, description: &str, pattern: Option<&str>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .description(Some(description))
        .required(Required::False)
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).pattern(pattern)))
        .build()
}
