//! The documentation page: Swagger UI with this service's document. The binary contains its files,
//! so that the page loads nothing from another host.

use actix_web::http::header::{self, ContentType};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, mime};

use crate::error::ApiError;
use crate::http::in_pieces;

const PAGE: &str = include_str!("../../../assets/docs/index.html");
const START: &str = include_str!("../../../assets/docs/start.js");
const SCRIPT: &str = include_str!("../../../assets/docs/swagger-ui-bundle.js");
const STYLE: &str = include_str!("../../../assets/docs/swagger-ui.css");

/// Allows the files of this service only. Swagger UI sets styles on its elements, and its style
/// sheet contains its icons.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// Serves the page and its files.
pub fn configure(config: &mut ServiceConfig) {
    let files = [
        ("/docs", PAGE, mime::TEXT_HTML_UTF_8),
        ("/docs/start.js", START, mime::APPLICATION_JAVASCRIPT_UTF_8),
        ("/docs/swagger-ui-bundle.js", SCRIPT, mime::APPLICATION_JAVASCRIPT_UTF_8),
        ("/docs/swagger-ui.css", STYLE, mime::TEXT_CSS_UTF_8),
    ];
    for (path, text, kind) in files {
        config.service(
            web::resource(path)
                .get(move || std::future::ready(file(text, kind.clone())))
                .default_service(web::to(wrong_method)),
        );
    }
}

fn file(text: &'static str, kind: mime::Mime) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(ContentType(kind))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        // A new release can have new files.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(in_pieces(text))
}

async fn wrong_method() -> Result<HttpResponse, ApiError> {
    Err(ApiError::MethodNotAllowed { allow: ["GET", "HEAD", "OPTIONS"].map(str::to_owned).into() })
}
