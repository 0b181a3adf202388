//! Snapshots of JSON.

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::App;

/// The width of a line.
const WIDTH: usize = 80;

/// A value as indented JSON for a snapshot. Placeholders stand for what differs between two runs:
/// dates, sids that are not fixed, JWTs and the address of the service.
pub fn snapshot(app: &App, value: &Value) -> String {
    let mut value = value.clone();
    redact(app, &mut value);
    indented(&value, 0)
}

/// A value as JSON, on one line where it fits.
pub fn indented(value: &Value, depth: usize) -> String {
    let flat = flat(value);
    if 2 * depth + flat.len() <= WIDTH {
        return flat;
    }
    let (open, members, close) = match value {
        Value::Array(values) => {
            ('[', values.iter().map(|value| indented(value, depth + 1)).collect::<Vec<_>>(), ']')
        }
        Value::Object(members) => {
            let member = |(name, value)| format!("\"{name}\": {}", indented(value, depth + 1));
            ('{', members.iter().map(member).collect(), '}')
        }
        _ => return flat,
    };
    let separator = format!("\n{}", "  ".repeat(depth + 1));
    let members = members.join(&format!(",{separator}"));
    format!("{open}{separator}{members}\n{}{close}", "  ".repeat(depth))
}

fn flat(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            format!("[{}]", values.iter().map(flat).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) => {
            let member = |(name, value)| format!("\"{name}\": {}", flat(value));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        _ => value.to_string(),
    }
}

fn redact(app: &App, value: &mut Value) {
    match value {
        Value::String(text) => {
            if OffsetDateTime::parse(text, &Rfc3339).is_ok() {
                "[date]".clone_into(text);
            } else if text.parse::<Uuid>().is_ok_and(|sid| sid.get_version_num() == 7) {
                "[sid]".clone_into(text);
            } else if text.parse::<Uuid>().is_ok() && !text.starts_with("0000000") {
                "[secret]".clone_into(text);
            } else if text.starts_with("eyJ") && text.split('.').count() == 3 {
                "[jwt]".clone_into(text);
            } else {
                *text = text.replace(&app.base, "[base]");
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| redact(app, value)),
        Value::Object(members) => members.values_mut().for_each(|value| redact(app, value)),
        _ => {}
    }
}
