//! Field selection: the members of an object that a response contains.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::arguments::some;
use crate::error::ApiError;

/// The most members that an argument can select: each is looked up in every object of a page.
const MAX_NAMES: usize = 1_000;

/// The arguments that select members. Clients of CarrierX also send their names in camel case.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct FieldArguments {
    /// The members to return, separated by commas. A dot leads into a nested object.
    #[serde(deserialize_with = "some")]
    #[param(example = "partner_sid")]
    include_fields: Option<String>,
    /// The members to leave out, applied after `include_fields`.
    #[serde(deserialize_with = "some")]
    #[param(example = "partner_sid")]
    exclude_fields: Option<String>,
    #[serde(deserialize_with = "some", rename = "includeFields")]
    #[param(ignore)]
    include_in_camel_case: Option<String>,
    #[serde(deserialize_with = "some", rename = "excludeFields")]
    #[param(ignore)]
    exclude_in_camel_case: Option<String>,
}

impl FieldArguments {
    /// Returns the selection.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] for a name that `is_known` rejects.
    pub fn selection(&self, is_known: impl Fn(&str) -> bool) -> Result<Selection, ApiError> {
        let paths = |argument, names: &Option<String>| match names {
            Some(names) => parse(argument, names, &is_known),
            None => Ok(Vec::new()),
        };
        let mut selection = Selection {
            include: paths("include_fields", &self.include_fields)?,
            exclude: paths("exclude_fields", &self.exclude_fields)?,
        };
        selection.include.extend(paths("includeFields", &self.include_in_camel_case)?);
        selection.exclude.extend(paths("excludeFields", &self.exclude_in_camel_case)?);
        Ok(selection)
    }
}

/// The selected members: those included, without those excluded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    include: Vec<Path>,
    exclude: Vec<Path>,
}

/// The names of a member and of the keys inside it, outermost first.
type Path = Vec<String>;

impl Selection {
    /// Whether every member is selected.
    pub fn is_everything(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether any part of the member of that name can be selected.
    pub fn includes(&self, name: &str) -> bool {
        let is_included = |path: &Path| path[0] == name;
        let is_excluded = |path: &Path| *path == [name];
        (self.include.is_empty() || self.include.iter().any(is_included))
            && !self.exclude.iter().any(is_excluded)
    }

    /// Whether the member of that name is selected by name.
    pub fn names(&self, name: &str) -> bool {
        self.include.iter().any(|path| *path == [name])
    }

    /// Returns the selected members of `object`.
    pub fn apply(&self, mut object: Map<String, Value>) -> Map<String, Value> {
        if !self.include.is_empty() {
            let mut selected = Map::new();
            for path in &self.include {
                copy(&object, path, &mut selected);
            }
            object = selected;
        }
        for path in &self.exclude {
            remove(&mut object, path);
        }
        object
    }
}

/// Parses names that are separated by commas.
fn parse(
    argument: &'static str,
    names: &str,
    is_known: impl Fn(&str) -> bool,
) -> Result<Vec<Path>, ApiError> {
    let path = |name: &str| {
        if is_known(name) {
            Ok(name.split('.').map(str::to_owned).collect())
        } else {
            Err(ApiError::bad_argument(argument, format!("no member is called `{name}`")))
        }
    };
    let names: BTreeSet<_> = names.split(',').map(str::trim).collect();
    if names.len() > MAX_NAMES {
        let message = format!("must be at most {MAX_NAMES} members");
        return Err(ApiError::bad_argument(argument, message));
    }
    names.into_iter().map(path).collect()
}

fn copy(from: &Map<String, Value>, path: &[String], to: &mut Map<String, Value>) {
    let Some((key, rest)) = path.split_first() else { return };
    match from.get(key) {
        None => {}
        Some(value) if rest.is_empty() => {
            to.insert(key.clone(), value.clone());
        }
        Some(Value::Object(nested)) => {
            let inner = to.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                copy(nested, rest, inner);
            }
        }
        Some(_) => {}
    }
}

fn remove(object: &mut Map<String, Value>, path: &[String]) {
    match path.split_first() {
        Some((key, [])) => {
            object.remove(key);
        }
        Some((key, rest)) => {
            if let Some(Value::Object(nested)) = object.get_mut(key) {
                remove(nested, rest);
            }
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn include_is_applied_before_exclude() {
        let object = json!({"a": 1, "b": {"c": {"d": 2, "e": 3}, "f": 4}, "g": null});
        for (include, exclude, selected) in [
            ("", "", object.clone()),
            ("a,g", "", json!({"a": 1, "g": null})),
            ("", "a, b.f", json!({"b": {"c": {"d": 2, "e": 3}}, "g": null})),
            ("a,b.c", "b.c.d", json!({"a": 1, "b": {"c": {"e": 3}}})),
            ("b.c.d,b.f", "", json!({"b": {"c": {"d": 2}, "f": 4}})),
            ("b", "b", json!({})),
            ("b.x,a.y", "a.z", json!({"b": {}})),
        ] {
            let names = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let arguments = FieldArguments {
                include_fields: names(include),
                exclude_in_camel_case: names(exclude),
                ..FieldArguments::default()
            };
            let selection = arguments.selection(|_| true).unwrap();
            let applied = selection.apply(object.as_object().unwrap().clone());
            assert_eq!(Value::Object(applied), selected, "{include} / {exclude}");
        }
    }
}
