//! JSON merge patch, RFC 7396.

use serde_json::{Map, Value};

/// Applies `patch` to `target`: objects are merged, `null` deletes a key, other values replace.
///
/// This is `MergePatch` of RFC 7396, section 2, for two objects.
pub fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.remove(&key);
            }
            Value::Object(patch) => {
                let nested = target.entry(key).or_insert(Value::Null);
                if !nested.is_object() {
                    *nested = Value::Object(Map::new());
                }
                if let Value::Object(nested) = nested {
                    merge(nested, patch);
                }
            }
            value => {
                target.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The examples of RFC 7396, appendix A, each inside an object, since [`merge`] takes only
    /// objects.
    #[test]
    fn examples_of_rfc_7396_are_merged_as_specified() {
        let examples = [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ];
        for (target, patch, expected) in examples {
            let mut target = Map::from_iter([("x".to_owned(), target)]);
            merge(&mut target, Map::from_iter([("x".to_owned(), patch.clone())]));
            assert_eq!(target["x"], expected, "patched with {patch}");
        }
    }

    fn object() -> impl Strategy<Value = Map<String, Value>> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c]{0,3}".prop_map(Value::from),
        ];
        let value = leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        prop::collection::btree_map("[a-c]", value, 0..4).prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn an_empty_patch_changes_nothing(target in object()) {
            let mut merged = target.clone();
            merge(&mut merged, Map::new());
            prop_assert_eq!(merged, target);
        }

        #[test]
        fn merging_twice_equals_merging_once(target in object(), patch in object()) {
            let mut once = target;
            merge(&mut once, patch.clone());
            let mut twice = once.clone();
            merge(&mut twice, patch);
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn merging_into_an_empty_object_results_in_the_patch(patch in object()) {
            let mut target = Map::new();
            merge(&mut target, patch.clone());
            prop_assert_eq!(target, patch);
        }
    }
}
