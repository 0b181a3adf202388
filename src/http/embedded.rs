//! Pages whose files the binary contains, so that they load nothing from another host.

use std::cell::OnceCell;
use std::future::ready;
use std::rc::Rc;

use actix_web::http::header::{self, ContentType, HeaderName};
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{HttpResponse, mime};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::conditional::{KnownTags, entity_tag};
use super::memory::in_pieces;
use super::target::PublicUrl;
use crate::error::ApiError;

/// A file of a page.
pub(super) struct Embedded {
    /// The path from the root of the service.
    pub path: String,
    pub text: Bytes,
    pub policy: String,
}

impl Embedded {
    /// Serves the file.
    pub fn configure(self, config: &mut ServiceConfig) {
        let resource = web::resource(&*self.path).default_service(web::to(wrong_method));
        let (file, tag) = (Rc::new(self), Rc::new(OnceCell::new()));
        let get = move |known: KnownTags| {
            let tag = tag.get_or_init(|| BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&file.text)));
            ready(file.respond(&known, tag))
        };
        config.service(resource.get(get));
    }

    fn respond(&self, known: &KnownTags, tag: &str) -> HttpResponse {
        let is_known = known.contain(tag);
        let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        response
            .insert_header(entity_tag(tag))
            .insert_header((header::CONTENT_SECURITY_POLICY, &*self.policy))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .insert_header((header::REFERRER_POLICY, "no-referrer"))
            .insert_header((CROSS_ORIGIN_OPENER_POLICY, "same-origin"))
            // A new release can have new files.
            .insert_header((header::CACHE_CONTROL, "no-cache"));
        if is_known {
            return response.finish();
        }
        response.insert_header(ContentType(self.media_type())).body(in_pieces(self.text.clone()))
    }

    fn media_type(&self) -> mime::Mime {
        match self.path.rsplit_once('.') {
            None => mime::TEXT_HTML_UTF_8,
            Some((_, "css")) => mime::TEXT_CSS_UTF_8,
            Some((_, "js")) => mime::APPLICATION_JAVASCRIPT_UTF_8,
            Some((_, "svg")) => mime::IMAGE_SVG,
            Some(_) => mime::TEXT_PLAIN_UTF_8,
        }
    }
}

const CROSS_ORIGIN_OPENER_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy");

/// Puts the path of the public URL before the paths in a file of HTML.
pub(super) fn with_prefix(html: &'static str, url: &PublicUrl) -> Bytes {
    match url.prefix() {
        "" => Bytes::from_static(html.as_bytes()),
        prefix => html.replace("\"/", &format!("\"{}/", prefix.replace('&', "&amp;"))).into(),
    }
}

/// Redirects a browser that asks for `/` to the page at that path.
pub fn redirect(url: &PublicUrl, path: &str) -> HttpResponse {
    HttpResponse::Found()
        .insert_header((header::LOCATION, format!("{}{path}", url.prefix())))
        .insert_header((header::VARY, header::ACCEPT.as_str()))
        .finish()
}

/// Rejects a method that a page does not support.
pub(super) async fn wrong_method() -> Result<HttpResponse, ApiError> {
    Err(ApiError::MethodNotAllowed { allow: vec!["GET", "HEAD", "OPTIONS"] })
}
