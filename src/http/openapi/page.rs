//! The documentation page: Swagger UI with this service's document.

use actix_web::web::{Bytes, ServiceConfig};
use url::Url;

use crate::http::PublicUrl;
use crate::http::embedded::{Embedded, with_prefix};

/// The path of the page.
pub const PATH: &str = "/docs";

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
pub fn configure(config: &mut ServiceConfig, url: &PublicUrl) {
    // The page can be opened under another URL than the public one, which it sends requests to.
    let policy = match &url.0 {
        Some(url) => format!("{POLICY} {}", origin(url)),
        None => POLICY.to_owned(),
    };
    let start = match url.prefix() {
        "" => Bytes::from_static(START.as_bytes()),
        prefix => START.replace("\"/", &format!("\"{prefix}/")).into(),
    };
    for (file, text) in [
        ("", with_prefix(PAGE, url)),
        ("/start.js", start),
        ("/swagger-ui-bundle.js", Bytes::from_static(SCRIPT.as_bytes())),
        ("/swagger-ui.css", Bytes::from_static(STYLE.as_bytes())),
    ] {
        let path = format!("{PATH}{file}");
        Embedded { path, text, policy: policy.clone() }.configure(config);
    }
}

fn origin(url: &str) -> String {
    Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}
