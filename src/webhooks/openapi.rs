//! The section `webhooks` of the OpenAPI document: the requests that Shortline sends.

use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::Type;
use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, OpenApi, PathItem, PathsBuilder, Ref, Required, ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use super::event::WebhookEvent;

/// The headers of a delivery (Standard Webhooks).
const HEADERS: [(&str, &str); 4] = [
    ("webhook-id", "Identifies the event: the same for each attempt."),
    ("webhook-timestamp", "When the attempt was signed, in seconds since 1970."),
    (
        "webhook-signature",
        "Signatures of `<webhook-id>.<webhook-timestamp>.<body>`, separated by spaces: `v1,` and \
         the base64 of an HMAC-SHA256, or `v1a,` and that of an Ed25519 signature.",
    ),
    (TRACEPARENT, "The trace of the request that made the change, if it named one (W3C)."),
];
/// The only header that not every delivery has.
const TRACEPARENT: &str = "traceparent";

/// Adds the section to the document.
pub fn describe(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    components.schemas.insert(WebhookEvent::name().into_owned(), WebhookEvent::schema());
    let schema = Ref::from_schema_name(WebhookEvent::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let body = RequestBodyBuilder::new()
        .content("application/json", content)
        .required(Some(Required::True))
        .build();
    let response = |description: &str| ResponseBuilder::new().description(description).build();
    let mut operation = OperationBuilder::new()
        .operation_id(Some("deliver_event"))
        .tag("Events")
        .summary(Some("Delivers an event to an endpoint."))
        .request_body(Some(body))
        .response("2XX", response("The event is accepted."))
        .response("410", response("The endpoint is disabled."))
        .response("default", response("The event is delivered again later."))
        .build();
    operation.parameters = Some(HEADERS.map(header).map(Into::into).into());
    operation.security = Some(Vec::new());
    let item = PathItem::new(HttpMethod::Post, operation);
    document.webhooks = Some(PathsBuilder::new().path("event", item).build());
}

fn header((name, description): (&str, &str)) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(if name == TRACEPARENT { Required::False } else { Required::True })
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}
