//! The structure of `src`, as `src/lib.rs` states it: modules import in one direction, no files import
//! each other in a circle, and files and functions stay short.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The modules from the outermost to the innermost. Each imports only modules after it.
const LAYERS: [&str; 23] = [
    "main",
    "commands",
    "dev",
    "startup",
    "maintenance",
    "routes",
    "oauth",
    "webhooks",
    "events",
    "resolve",
    "short_codes",
    "did_stock",
    "dids",
    "did_groups",
    "partners",
    "http",
    "store",
    "telemetry",
    "auth",
    "shutdown",
    "signals",
    "settings",
    "input",
];
/// The innermost module, which imports nothing of the crate.
const INNERMOST: &str = "error";
const MAX_FILE_LINES: usize = 450;
const MAX_FUNCTION_LINES: usize = 60;

/// The source files, by the path of their module: `store::list::order`.
struct Source(BTreeMap<String, String>);

impl Source {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut files, mut folders) = (BTreeMap::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let module = path.strip_prefix(&root).unwrap().with_extension("");
                    let module = module.to_str().unwrap().replace('/', "::");
                    let module = module.trim_end_matches("::mod").to_owned();
                    files.insert(module, fs::read_to_string(path).unwrap());
                }
            }
        }
        files.remove("build");
        Self(files)
    }

    /// The modules whose items `module` imports.
    fn imports(&self, module: &str) -> BTreeSet<String> {
        let paths = uses(&self.0[module]).into_iter();
        let is_folder = self.0.keys().any(|other| other.starts_with(&format!("{module}::")));
        let imported = paths.filter_map(|path| {
            let path = absolute(&path, module, is_folder)?;
            Some(self.defining(&path)).filter(|defining| defining != module)
        });
        imported.filter(|imported| imported != "lib").collect()
    }

    /// The module that defines the item of that path; re-exports of a folder are followed.
    fn defining(&self, path: &str) -> String {
        let mut module = path;
        while !self.0.contains_key(module) {
            let Some((parent, _)) = module.rsplit_once("::") else { return "lib".to_owned() };
            module = parent;
        }
        let item = path[module.len()..].trim_start_matches("::");
        let export = uses(&self.0[module]).into_iter().find_map(|used| {
            let used = used.trim_start_matches("self::");
            let child = format!("{module}::{}", used.split("::").next()?);
            let is_export = self.0.contains_key(&child) && used.rsplit("::").next() == Some(item);
            is_export.then(|| format!("{module}::{used}"))
        });
        export.map_or_else(|| module.to_owned(), |path| self.defining(&path))
    }
}

/// The paths in the `use` declarations of a file, without those of its tests.
fn uses(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in text.match_indices("use ") {
        let line = text[..at].rsplit('\n').next().unwrap();
        if ["", "pub ", "pub(crate) "].contains(&line) {
            let end = text[at..].find(';').unwrap();
            let tree: String = text[at + 4..at + end].split_whitespace().collect();
            expand("", &tree, &mut paths);
        }
    }
    paths
}

/// Expands `a::{b, c::{d, self}}` into its paths.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let Some((head, rest)) = tree.split_once('{') else {
        let path = format!("{prefix}{tree}");
        paths.push(path.trim_end_matches("::self").to_owned());
        return;
    };
    let prefix = format!("{prefix}{head}");
    let (mut depth, mut start) = (0, 0);
    let rest = &rest[..rest.rfind('}').unwrap()];
    for (at, sign) in rest.char_indices().chain([(rest.len(), ',')]) {
        match sign {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if start < at {
                    expand(&prefix, &rest[start..at], paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// The path from the root of the crate; `None` for a path into another crate.
fn absolute(path: &str, module: &str, is_folder: bool) -> Option<String> {
    if let Some(path) = path.strip_prefix("crate::").or_else(|| path.strip_prefix("shortline::")) {
        return Some(path.to_owned());
    }
    let mut base = if is_folder { module } else { module.rsplit_once("::")?.0 };
    let mut rest = path;
    while let Some(above) = rest.strip_prefix("super::") {
        // The first `super` of a file leads to its folder, which `base` is already.
        if is_folder || rest.len() < path.len() {
            base = base.rsplit_once("::")?.0;
        }
        rest = above;
    }
    (rest.len() < path.len() || path.starts_with("self::"))
        .then(|| format!("{base}::{}", rest.trim_start_matches("self::")))
}

fn layer(module: &str) -> usize {
    let name = module.split("::").next().unwrap();
    let layers = LAYERS.iter().chain([&INNERMOST]);
    layers.clone().position(|layer| *layer == name).unwrap_or_else(|| panic!("no layer: {name}"))
}

#[test]
fn modules_import_only_inner_layers() {
    let source = Source::read();
    let mut wrong = Vec::new();
    for module in source.0.keys().filter(|module| *module != "lib") {
        for imported in source.imports(module) {
            if layer(module) > layer(&imported) {
                wrong.push(format!("{module} imports {imported}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

fn is_reachable(imports: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        let found = imports[module].iter().map(String::as_str);
        next.extend(found.filter(|module| reached.insert(*module)));
    }
    reached.contains(to)
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let source = Source::read();
    let imports: BTreeMap<_, _> =
        source.0.keys().map(|module| (module.clone(), source.imports(module))).collect();
    let mut circles = Vec::new();
    for (module, imported) in &imports {
        let back = imported.iter().filter(|imported| is_reachable(&imports, imported, module));
        circles.extend(back.map(|imported| format!("{module} imports {imported}")));
    }
    assert_eq!(circles, Vec::<String>::new());
}

#[test]
fn files_and_functions_are_short() {
    let mut long = Vec::new();
    for (module, text) in Source::read().0 {
        let lines: Vec<_> = text.lines().collect();
        if lines.len() > MAX_FILE_LINES {
            long.push(format!("{module}: {} lines", lines.len()));
        }
        for (start, line) in lines.iter().enumerate() {
            let signature = line.trim_start();
            let words = signature.split("fn ").next().unwrap();
            if !signature.contains("fn ") || words.contains(['/', '"', '=', ':']) {
                continue;
            }
            let end = format!("{}}}", &line[..line.len() - signature.len()]);
            let length = lines[start..].iter().position(|line| **line == end).unwrap_or(0) + 1;
            if length > MAX_FUNCTION_LINES {
                long.push(format!("{module}: {length} lines: {signature}"));
            }
        }
    }
    assert_eq!(long, Vec::<String>::new());
}
