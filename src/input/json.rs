//! Parsing of JSON objects. Numbers retain their digits.

use serde_json::{Map, Value};

use crate::error::{ApiError, FieldError};

/// Parses a JSON object. Of a repeated member, the last value counts.
///
/// # Errors
/// [`ApiError::BadRequest`] with the line and column of the first fault.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let rejected = |reason: String| {
        let message = format!("no JSON object could be decoded: {reason}");
        Err(ApiError::BadRequest(FieldError::general(message)))
    };
    if contains_reserved(bytes) {
        return rejected(format!("strings that start with `{RESERVED}` are reserved"));
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => rejected("expected an object at line 1 column 1".to_owned()),
        Err(error) => rejected(error.to_string()),
    }
}

/// The prefix of the member names with which serde_json represents numbers and raw JSON internally.
/// A client's object with such a name would be read as something else.
const RESERVED: &str = "$serde_json::private::";

/// Returns whether a string of the body starts with [`RESERVED`], with or without escapes.
fn contains_reserved(mut json: &[u8]) -> bool {
    while let Some(start) = json.iter().position(|byte| *byte == b'"') {
        let string = &json[start..];
        let mut end = 1;
        while let Some(byte) = string.get(end).filter(|byte| **byte != b'"') {
            end += if *byte == b'\\' { 2 } else { 1 };
        }
        let Some(literal) = string.get(..=end) else { return false };
        let may_contain = literal.starts_with(b"\"$") || literal.starts_with(b"\"\\");
        if may_contain
            && serde_json::from_slice::<String>(literal)
                .is_ok_and(|text| text.starts_with(RESERVED))
        {
            return true;
        }
        json = &string[end + 1..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_with_reserved_names_are_rejected() {
        for body in [
            r#"{"attributes":{"$serde_json::private::Number":"12"}}"#,
            r#"{"attributes":{"\u0024serde_json::private::Number":"12"}}"#,
            r#"{"attributes":{"$serde_json::private::Numbe\u0072":"12"}}"#,
            r#"{"attributes":{"a":{"b":1,"$serde_json::private::RawValue":"junk"}}}"#,
            r#"{"$serde_json::private::RawValue":"{\"name\":\"x\"}"}"#,
            r#"{"a\"\\":1,"$\u0073erde_json::private::RawValue":"1"}"#,
        ] {
            assert!(parse_object(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn other_bodies_are_rejected_with_line_and_column() {
        for (body, position) in [
            ("", "line 1 column 0"),
            ("[]", "line 1 column 1"),
            ("{\n\"a\":}", "line 2 column 5"),
            (r#"{"a":"\ud800"}"#, "line 1 column 13"),
            (&"[".repeat(5_000), "line 1 column 128"),
            (&r#"{"a":"#.repeat(5_000), "line 1"),
            ("{} {}", "line 1 column 4"),
            ("{\"a\":\"\\", "line 1"),
        ] {
            match parse_object(body.as_bytes()) {
                Err(ApiError::BadRequest(FieldError { message, .. })) => {
                    assert!(message.starts_with("no JSON object could be decoded"), "{message}");
                    assert!(message.contains(position), "{message} for {body:.20}");
                }
                other => panic!("{other:?} for {body:.20}"),
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(body: Vec<u8>) {
            let _ = parse_object(&body);
        }

        #[test]
        fn parsing_text_of_quotes_and_escapes_never_panics(body in r#"[\\"{}:a ]{0,40}"#) {
            let _ = parse_object(body.as_bytes());
        }
    }
}
