//! Merge patches (RFC 7396): applying a patch twice equals applying it once, members outside the
//! patch do not change, and the result is that of the RFC.

#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use shortline::input::merge::merge;

/// Generates an object. It has few keys, so that target and patch have some in common.
fn object(input: &mut Unstructured, levels: u8) -> Result<Map<String, Value>> {
    let mut members = Map::new();
    for _ in 0..input.int_in_range(0..=4)? {
        let key = *input.choose(&["", "a", "b", "c", "ä"])?;
        members.insert(key.to_owned(), value(input, levels)?);
    }
    Ok(members)
}

fn value(input: &mut Unstructured, levels: u8) -> Result<Value> {
    Ok(match input.int_in_range(0..=if levels == 0 { 3 } else { 5 })? {
        0 => Value::Null,
        1 => Value::Bool(input.arbitrary()?),
        2 => Value::from(input.arbitrary::<i64>()?),
        3 => Value::from(*input.choose(&["", "text"])?),
        4 => Value::Array(vec![value(input, levels - 1)?]),
        _ => Value::Object(object(input, levels - 1)?),
    })
}

/// `MergePatch`, transcribed from RFC 7396, section 2.
fn merge_patch(target: Option<Value>, patch: Value) -> Value {
    let Value::Object(patch) = patch else { return patch };
    let mut target = match target {
        Some(Value::Object(target)) => target,
        _ => Map::new(),
    };
    for (name, value) in patch {
        let before = target.remove(&name);
        if !value.is_null() {
            target.insert(name, merge_patch(before, value));
        }
    }
    Value::Object(target)
}

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let (Ok(target), Ok(patch)) = (object(&mut input, 4), object(&mut input, 4)) else { return };
    let mut once = target.clone();
    merge(&mut once, patch.clone());
    let mut twice = once.clone();
    merge(&mut twice, patch.clone());
    assert_eq!(once, twice);
    for (name, value) in &target {
        assert!(
            patch.contains_key(name) || once.get(name) == Some(value),
            "{name} is not in the patch"
        );
    }
    for name in once.keys() {
        assert!(
            patch.contains_key(name) || target.contains_key(name),
            "{name} is not in the patch"
        );
    }
    assert_eq!(Value::Object(once), merge_patch(Some(target.into()), patch.into()));
});
