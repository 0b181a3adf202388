//! The table of endpoints, and the OpenAPI document made from it.

use std::collections::BTreeMap;

use actix_web::http::Method;
use actix_web::http::header::{self, ContentType};
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, get};
use utoipa::openapi::{Info, License, OpenApi, OpenApiBuilder, PathItem, Server};
use utoipa_actix_web::AppExt;
use utoipa_actix_web::scope::scope;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::error::ApiError;
use crate::http::{
    Console, PublicUrl, accepts, authenticate, health, in_pieces, limit_memory, openapi, private,
    redirect,
};
use crate::{did_groups, did_stock, dids, events, oauth, partners, resolve, short_codes, webhooks};

/// Every endpoint.
pub fn configure(config: &mut ServiceConfig<'_>) {
    config.service(health::healthz).service(health::readyz).service(openapi_json).service(
        // The router tries one after the other, so the most frequent requests come first.
        scope("/core/v2")
            .service(resolve::get_resolution)
            .service(short_codes::handlers::get_short_code)
            .service(short_codes::handlers::patch_short_code)
            .service(short_codes::handlers::list_short_codes)
            .service(short_codes::handlers::post_short_code)
            .service(short_codes::handlers::put_short_code)
            .service(short_codes::handlers::delete_short_code)
            .service(short_codes::handlers::get_short_code_history)
            .service(short_codes::handlers::post_short_code_revert)
            .service(did_stock::handlers::list_available_dids)
            .service(did_stock::handlers::get_available_did)
            .service(did_stock::handlers::post_available_did)
            .service(did_stock::handlers::delete_available_did)
            .service(did_stock::handlers::get_coverage)
            .service(did_stock::handlers::list_inventory)
            // Otherwise other methods would be those of a DID whose sid is `inventory`.
            .route("/phonenumber/dids/inventory", web::to(unmatched))
            .service(did_stock::handlers::get_inventory_did)
            .service(dids::handlers::get_did)
            .service(dids::handlers::patch_did)
            .service(dids::handlers::list_dids)
            .service(dids::handlers::post_did)
            .service(dids::handlers::put_did)
            .service(dids::handlers::delete_did)
            .service(dids::handlers::get_did_history)
            .service(dids::handlers::post_did_revert)
            .service(did_groups::handlers::list_did_groups)
            .service(did_groups::handlers::post_did_group)
            .service(did_groups::handlers::get_did_group)
            .service(did_groups::handlers::patch_did_group)
            .service(did_groups::handlers::put_did_group)
            .service(did_groups::handlers::delete_did_group)
            .service(did_groups::handlers::get_did_group_history)
            .service(did_groups::handlers::post_did_group_revert)
            .service(partners::handlers::list_partners)
            .service(partners::handlers::get_partner)
            .service(partners::handlers::post_partner)
            .service(partners::handlers::patch_partner)
            .service(partners::handlers::put_partner)
            .configure(configure_events)
            .service(
                scope("/oauth")
                    .service(oauth::handlers::post_token)
                    .service(oauth::handlers::post_sub_partner_token)
                    .service(oauth::handlers::list_tokens)
                    .service(oauth::handlers::get_token)
                    .service(oauth::handlers::patch_token)
                    .service(oauth::handlers::post_revoke)
                    .service(oauth::handlers::get_whoami)
                    .wrap(no_store()),
            )
            .wrap(from_fn(limit_memory))
            .wrap(from_fn(authenticate))
            .wrap(from_fn(private)),
    );
}

/// The endpoints of events and webhooks.
fn configure_events(config: &mut ServiceConfig<'_>) {
    config
        .service(events::handlers::list_events)
        .service(webhooks::handlers::list_endpoints)
        .service(webhooks::handlers::post_endpoint)
        .service(webhooks::handlers::get_endpoint)
        .service(webhooks::handlers::patch_endpoint)
        .service(webhooks::handlers::put_endpoint)
        .service(webhooks::handlers::delete_endpoint)
        .service(webhooks::handlers::get_endpoint_history)
        .service(webhooks::handlers::post_endpoint_rotate)
        .service(webhooks::handlers::list_endpoint_deliveries)
        .service(webhooks::handlers::post_endpoint_replay)
        .service(webhooks::handlers::post_endpoint_test);
}

/// The OpenAPI document of a service with that public URL, made from the handlers.
pub fn openapi_of(url: &PublicUrl) -> OpenApi {
    let mut info = Info::new("Shortline", env!("CARGO_PKG_VERSION"));
    info.description = Some(env!("CARGO_PKG_DESCRIPTION").to_owned());
    let mut license = License::new(env!("CARGO_PKG_LICENSE"));
    license.identifier = Some(env!("CARGO_PKG_LICENSE").to_owned());
    info.license = Some(license);
    let (_, mut document) = App::new()
        .into_utoipa_app()
        .openapi(OpenApiBuilder::new().info(info).build())
        .configure(configure)
        .split_for_parts();
    webhooks::openapi::describe(&mut document);
    openapi::complete(&mut document);
    if let PublicUrl(Some(url)) = url {
        document.servers = Some(vec![Server::new(url)]);
    }
    document
}

/// What a service needs of its OpenAPI document, which itself takes some megabytes.
pub struct Document {
    /// The JSON text.
    text: Bytes,
    /// The methods of each path.
    methods: BTreeMap<String, Vec<&'static str>>,
}

impl Document {
    /// Makes the document of a service with that public URL.
    ///
    /// # Errors
    /// If it cannot be serialized.
    pub fn of(url: &PublicUrl) -> serde_json::Result<Self> {
        let document = openapi_of(url);
        let text = serde_json::to_vec(&document)?.into();
        let paths = document.paths.paths.into_iter();
        Ok(Self { text, methods: paths.map(|(path, item)| (path, methods_of(&item))).collect() })
    }

    /// The methods of a path, for `Allow`; none if there is no such path.
    fn methods_of(&self, path: &str) -> &[&'static str] {
        let matches = |template: &str| {
            let (mut given, mut known) = (path.split('/'), template.split('/'));
            loop {
                match (given.next(), known.next()) {
                    (None, None) => return true,
                    (Some(given), Some(known))
                        if given == known || (known.starts_with('{') && !given.is_empty()) => {}
                    _ => return false,
                }
            }
        };
        let mut paths = self.methods.iter();
        let found = self.methods.get(path);
        found
            .or_else(|| paths.find(|(template, _)| matches(template)).map(|(_, methods)| methods))
            .map_or(&[], Vec::as_slice)
    }
}

fn methods_of(item: &PathItem) -> Vec<&'static str> {
    let known = [
        ("GET", &item.get),
        ("HEAD", &item.get),
        ("POST", &item.post),
        ("PATCH", &item.patch),
        ("PUT", &item.put),
        ("DELETE", &item.delete),
    ];
    let known =
        known.into_iter().filter(|(_, operation)| operation.is_some()).map(|(name, _)| name);
    known.chain(["OPTIONS"]).collect()
}

/// Returns this document.
#[utoipa::path(
    tag = "Service",
    responses((status = OK, description = "OpenAPI 3.1", body = BTreeMap<String, Value>)),
)]
#[get("/openapi.json")]
async fn openapi_json(document: Data<Document>) -> HttpResponse {
    HttpResponse::Ok().insert_header(ContentType::json()).body(in_pieces(document.text.clone()))
}

/// The headers of responses with secrets, which must not be stored (RFC 6749, section 5.1).
fn no_store() -> DefaultHeaders {
    DefaultHeaders::new().add((header::CACHE_CONTROL, "no-store")).add((header::PRAGMA, "no-cache"))
}

/// Answers a request that no route matched: a browser's for `/` with a redirect to the console,
/// `OPTIONS` with the methods of the path, another method of a known path with 405, everything else
/// with 404.
pub async fn unmatched(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    // The path as the router reads it, percent-decoded.
    let path = request.match_info().as_str();
    if path == "/"
        && request.method() == Method::GET
        && accepts(request.headers(), "text/html")
        && let Some(url) = request.app_data::<Data<PublicUrl>>()
        && let Some(console) = request.app_data::<Data<Console>>()
    {
        return Ok(redirect(url, console.home()));
    }
    let document = request.app_data::<Data<Document>>();
    let allow = document.map_or(&[][..], |document| document.methods_of(path));
    if allow.is_empty() {
        return Err(ApiError::NotFound);
    }
    if request.method() == Method::OPTIONS {
        return Ok(HttpResponse::NoContent()
            .insert_header((header::ALLOW, allow.join(", ")))
            .finish());
    }
    Err(ApiError::MethodNotAllowed { allow: allow.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_of_a_path_come_from_the_document() {
        let document = Document::of(&PublicUrl::default()).unwrap();
        assert_eq!(
            document.methods_of("/core/v2/phonenumber/did_groups/x"),
            ["GET", "HEAD", "PATCH", "PUT", "DELETE", "OPTIONS"]
        );
        assert_eq!(document.methods_of("/healthz"), ["GET", "HEAD", "OPTIONS"]);
        for unknown in [
            "/",
            "/core/v2",
            "/core/v2/phonenumber/did_groups/",
            "/core/v2/phonenumber/did_groups/x/y",
        ] {
            assert!(document.methods_of(unknown).is_empty(), "{unknown}");
        }
    }
}
