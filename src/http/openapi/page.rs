//! The documentation page: Swagger UI with this service's document. The binary contains its files,
//! so that the page loads nothing from another host.

use std::borrow::Cow;
use std::future::ready;

use actix_web::http::header::{self, ContentType};
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpResponse, mime};
use url::Url;

use crate::error::ApiError;
use crate::http::{PublicUrl, in_pieces};

const PAGE: &str = include_str!("../../../assets/docs/index.html");
const START: &str = include_str!("../../../assets/docs/start.js");
const SCRIPT: &str = include_str!("../../../assets/docs/swagger-ui-bundle.js");
const STYLE: &str = include_str!("../../../assets/docs/swagger-ui.css");

/// Allows the files of this service only, and requests to it. Swagger UI sets styles on its
/// elements, and its style sheet contains its icons.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; connect-src 'self'";

/// Serves the page and its files.
pub fn configure(config: &mut ServiceConfig) {
    let files = [
        ("/docs", PAGE, mime::TEXT_HTML_UTF_8),
        ("/docs/start.js", START, mime::APPLICATION_JAVASCRIPT_UTF_8),
        ("/docs/swagger-ui-bundle.js", SCRIPT, mime::APPLICATION_JAVASCRIPT_UTF_8),
        ("/docs/swagger-ui.css", STYLE, mime::TEXT_CSS_UTF_8),
    ];
    for (path, text, kind) in files {
        let get = move |url: Data<PublicUrl>| ready(file(text, kind.clone(), &url));
        config.service(web::resource(path).get(get).default_service(web::to(wrong_method)));
    }
}

fn file(text: &'static str, kind: mime::Mime, url: &PublicUrl) -> HttpResponse {
    let text = match url.prefix() {
        "" => Cow::Borrowed(text),
        prefix => with_prefix(text, prefix),
    };
    // The page can be opened under another URL than the public one, which it sends requests to.
    let policy = match &url.0 {
        Some(url) => format!("{POLICY} {}", origin(url)),
        None => POLICY.to_owned(),
    };
    HttpResponse::Ok()
        .insert_header(ContentType(kind))
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        // A new release can have new files.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(in_pieces(match text {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => text.into(),
        }))
}

/// Puts the path of the public URL before the paths of the page and of its script.
fn with_prefix(text: &'static str, prefix: &str) -> Cow<'static, str> {
    match text {
        PAGE => PAGE.replace("\"/", &format!("\"{}/", prefix.replace('&', "&amp;"))).into(),
        START => START.replace("\"/", &format!("\"{prefix}/")).into(),
        text => text.into(),
    }
}

fn origin(url: &str) -> String {
    Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

/// Redirects a browser that asks for `/` to the page.
pub fn redirect(url: &PublicUrl) -> HttpResponse {
    HttpResponse::Found()
        .insert_header((header::LOCATION, format!("{}/docs", url.prefix())))
        .insert_header((header::VARY, header::ACCEPT.as_str()))
        .finish()
}

async fn wrong_method() -> Result<HttpResponse, ApiError> {
    Err(ApiError::MethodNotAllowed { allow: vec!["GET", "HEAD", "OPTIONS"] })
}
