//! The console: a page on which people read and change objects. It uses the API of the service and
//! nothing else.

use std::future::ready;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{self, Bytes, ServiceConfig};
use serde::{Serialize, Serializer};

use super::embedded::{Embedded, with_prefix, wrong_method};
use super::openapi::page as documentation;
use super::target::PublicUrl;
use crate::settings::ConsoleMode;

const PATH: &str = "/console";

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../assets/console/", $name)))),+]
    };
}

/// The page.
const PAGE: &str = include_str!("../../assets/console/index.html");
/// The files that it loads. The binary contains them, so each file of the folder has to be named.
const FILES: &[(&str, &str)] = &files![
    "access.js",
    "api.js",
    "changes.js",
    "conflict.js",
    "console.css",
    "curl.js",
    "diff.js",
    "edit.js",
    "endpoint.js",
    "fields.js",
    "filter.js",
    "history.js",
    "htm.js",
    "json.js",
    "list.js",
    "main.js",
    "object.js",
    "parts.js",
    "preact-hooks.js",
    "preact.js",
    "resolve.js",
    "resources.js",
    "review.js",
    "route.js",
    "session.js",
    "signin.js",
    "table.js",
    "tail.js",
    "tree.js",
    "ui.js",
    "value.js",
];

/// Allows the files and the API of this service only, even if its public URL is another one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; \
                      base-uri 'none'; form-action 'none'";

/// The console of a service.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Console {
    /// The token that the page offers, which is no secret.
    demo_token: Option<&'static str>,
    #[serde(serialize_with = "name")]
    mode: ConsoleMode,
}

impl Console {
    /// A console in that mode, which offers that token.
    pub fn new(mode: ConsoleMode, demo_token: Option<&'static str>) -> Self {
        Self { demo_token, mode }
    }

    /// The path of the page for a browser that asks for `/`.
    pub fn home(self) -> &'static str {
        if self.mode == ConsoleMode::Off { documentation::PATH } else { PATH }
    }

    /// Serves the page, its files and its settings, unless it is off.
    pub fn configure(self, config: &mut ServiceConfig, url: &PublicUrl) {
        if self.mode == ConsoleMode::Off {
            return;
        }
        let policy = POLICY.to_owned();
        let page = Embedded { path: PATH.to_owned(), text: with_prefix(PAGE, url), policy };
        page.configure(config);
        for (name, text) in FILES {
            let text = Bytes::from_static(text.as_bytes());
            let path = format!("{PATH}/{name}");
            Embedded { path, text, policy: POLICY.to_owned() }.configure(config);
        }
        let settings = move || {
            let no_store = (header::CACHE_CONTROL, "no-store");
            ready(HttpResponse::Ok().insert_header(no_store).json(self))
        };
        let settings = web::resource(format!("{PATH}/settings.json")).get(settings);
        config.service(settings.default_service(web::to(wrong_method)));
    }
}

/// Serializes a mode as its value in the settings.
fn name<S: Serializer>(mode: &ConsoleMode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match mode {
        ConsoleMode::On => "on",
        ConsoleMode::ReadOnly => "read-only",
        ConsoleMode::Off => "off",
    })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/console");

    fn files_in(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        // These document the others.
        let is_document = |name: &str| {
            ["LICENSE", "NOTICE", "README"].iter().any(|document| name.contains(document))
        };
        let files = files_in(Path::new(FOLDER));
        let names = files.iter().map(|file| file.strip_prefix(FOLDER).unwrap().to_str().unwrap());
        let mut in_folder: Vec<_> = names.filter(|name| !is_document(name)).collect();
        let mut served: Vec<_> = FILES.iter().map(|(name, _)| *name).collect();
        served.push("index.html");
        in_folder.sort_unstable();
        served.sort_unstable();
        assert_eq!(served, in_folder, "name the files of assets/console in FILES");
    }
}
