//! The OpenAPI document. The handlers document what is particular to them; this module adds what
//! follows from it for every operation, and the documentation page.

mod errors;
mod headers;
mod operations;
pub mod page;
mod schemas;

use std::collections::HashSet;

use serde_json::json;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, OpenApi, Server, Tag};
use utoipa::{PartialSchema, ToSchema};

use super::write::NestedObjects;
pub use errors::{BadCredentials, Unavailable};
pub use schemas::Viewed;

/// Completes the document of the handlers.
pub fn complete(document: &mut OpenApi) {
    document.servers = Some(vec![Server::new("/")]);
    document.tags = Some(tags());
    add_components(document.components.get_or_insert_default());
    for (template, item) in &mut document.paths.paths {
        operations::complete(template, item);
    }
    drop_unused(document);
}

/// Drops the schemas that nothing refers to, because other schemas were derived from them.
fn drop_unused(document: &mut OpenApi) {
    let text = json!(document).to_string();
    let references = text.split("\"#/components/schemas/").skip(1);
    let used: HashSet<_> = references.filter_map(|rest| rest.split('"').next()).collect();
    if let Some(components) = &mut document.components {
        components.schemas.retain(|name, _| used.contains(name.as_str()));
    }
}

fn tags() -> Vec<Tag> {
    let described = [
        ("DID groups", "Named sets of phone numbers with a callback URL."),
        ("DIDs", "Phone numbers: the stock, the rented numbers, and where their traffic goes."),
        ("Short codes", "Numbers of 3 to 8 digits, with a callback URL and a DID group."),
        ("Partners", "The tenants. Partners form a tree."),
        ("Events", "The changes of all visible objects: a feed, and webhooks that deliver them."),
        ("OAuth", "The tokens of a partner's clients and logins."),
        ("Service", "Probes and this document. They require no token."),
    ];
    let tag =
        |(name, description)| TagBuilder::new().name(name).description(Some(description)).build();
    described.map(tag).into()
}

fn add_components(components: &mut Components) {
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.description = Some("An opaque token or a JWT with any one of the scopes.".into());
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let mut client = Http::new(HttpAuthScheme::Basic);
    client.description = Some("`client_id` and `client_secret` (RFC 6749, section 2.3.1).".into());
    components.add_security_scheme("client", SecurityScheme::Http(client));
    components.schemas.insert(NestedObjects::name().into_owned(), NestedObjects::schema());
    headers::add_headers(components);
    errors::add_errors(components);
}
