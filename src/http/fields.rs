//! What a response shows of objects: a selection of their members, and related objects.

use std::collections::HashMap;
use std::marker::PhantomData;

use serde_json::{Map, Value};

use super::query::Arguments;
use crate::auth::Actor;
use crate::error::ApiError;
use crate::store::{Representation, Resource, Store};

/// What a response shows of objects of type `R`.
pub struct View<R> {
    selection: Selection,
    with_related: bool,
    of: PhantomData<R>,
}

impl<R: Resource> View<R> {
    pub(super) fn parse(arguments: &Arguments) -> Result<Self, ApiError> {
        let with_related = arguments.flag("with_related")? && R::is_owned();
        let shows = |name: &str| {
            let related = name.strip_prefix("partner").map(|key| key.strip_prefix('.'));
            R::shows(name)
                || (with_related && related.is_some_and(|key| key.is_none_or(R::Owner::shows)))
        };
        let selection = arguments.selection(shows)?;
        Ok(Self { selection, with_related, of: PhantomData })
    }

    /// Whether it shows objects as they are stored, with all members and nothing else.
    pub(super) fn is_plain(&self) -> bool {
        self.selection.is_everything() && !self.with_related
    }

    /// Returns what it shows of each of these objects.
    pub(super) async fn show(
        &self,
        store: &Store<R>,
        actor: &Actor,
        objects: Vec<Representation>,
    ) -> Result<Vec<Map<String, Value>>, ApiError> {
        let mut owners = HashMap::new();
        if self.with_related {
            let mut sids: Vec<_> = objects.iter().map(|object| object.partner_sid).collect();
            sids.sort();
            sids.dedup();
            for owner in store.owners(actor, &sids).await? {
                owners.insert(owner.sid(), Value::Object(owner.representation()?.members));
            }
        }
        let shown = objects.into_iter().map(|Representation { partner_sid, mut members }| {
            if self.with_related {
                let owner = owners.get(&partner_sid).cloned();
                members.insert("partner".to_owned(), owner.unwrap_or(Value::Null));
            }
            self.selection.apply(members)
        });
        Ok(shown.collect())
    }
}

/// The members to show: those included, without those excluded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    include: Vec<Vec<String>>,
    exclude: Vec<Vec<String>>,
}

impl Selection {
    /// Whether everything is shown.
    pub fn is_everything(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Shows only the members of these names, and what earlier calls named.
    ///
    /// # Errors
    /// A name that `is_known` does not know.
    pub fn include(&mut self, names: &str, is_known: impl Fn(&str) -> bool) -> Result<(), String> {
        parse(names, is_known).map(|paths| self.include.extend(paths))
    }

    /// Hides the members of these names, and what earlier calls named.
    ///
    /// # Errors
    /// A name that `is_known` does not know.
    pub fn exclude(&mut self, names: &str, is_known: impl Fn(&str) -> bool) -> Result<(), String> {
        parse(names, is_known).map(|paths| self.exclude.extend(paths))
    }

    /// What of `object` is shown.
    pub fn apply(&self, mut object: Map<String, Value>) -> Map<String, Value> {
        if !self.include.is_empty() {
            let mut shown = Map::new();
            for path in &self.include {
                copy(&object, path, &mut shown);
            }
            object = shown;
        }
        for path in &self.exclude {
            remove(&mut object, path);
        }
        object
    }
}

/// Names with commas between them; a dot leads into a nested object.
fn parse(names: &str, is_known: impl Fn(&str) -> bool) -> Result<Vec<Vec<String>>, String> {
    names
        .split(',')
        .map(str::trim)
        .map(|name| match is_known(name) {
            true => Ok(name.split('.').map(str::to_owned).collect()),
            false => Err(format!("no member is called `{name}`")),
        })
        .collect()
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
    fn include_comes_first_then_exclude() {
        let object = json!({"a": 1, "b": {"c": {"d": 2, "e": 3}, "f": 4}, "g": null});
        for (include, exclude, shown) in [
            ("", "", object.clone()),
            ("a,g", "", json!({"a": 1, "g": null})),
            ("", "a, b.f", json!({"b": {"c": {"d": 2, "e": 3}}, "g": null})),
            ("a,b.c", "b.c.d", json!({"a": 1, "b": {"c": {"e": 3}}})),
            ("b.c.d,b.f", "", json!({"b": {"c": {"d": 2}, "f": 4}})),
            ("b", "b", json!({})),
            ("b.x,a.y", "a.z", json!({"b": {}})),
        ] {
            let mut selection = Selection::default();
            if !include.is_empty() {
                selection.include(include, |_| true).unwrap();
            }
            if !exclude.is_empty() {
                selection.exclude(exclude, |_| true).unwrap();
            }
            let applied = selection.apply(object.as_object().unwrap().clone());
            assert_eq!(Value::Object(applied), shown, "{include} / {exclude}");
        }
    }
}
