//! Reading a JSON object as it was written: every digit of its numbers, and nothing of ours smuggled in.

use serde_json::{Map, Value};

use crate::error::{ApiError, FieldError};

/// Reads a JSON object, keeping every digit of its numbers. A repeated member counts as its last value.
///
/// # Errors
/// [`ApiError::BadRequest`] with line and column.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let refused = |reason: String| {
        let message = format!("no JSON object could be decoded: {reason}");
        Err(ApiError::BadRequest(FieldError::general(message)))
    };
    if holds_reserved(bytes) {
        return refused(format!("text that begins with `{RESERVED}` is reserved"));
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => refused("the body is no object (line 1, column 1)".to_owned()),
        Err(error) => refused(error.to_string()),
    }
}

/// How the names begin by which serde_json marks numbers whose digits it keeps, and JSON that it leaves as it is. Sent by a client,
/// such a name would turn the object around it into something else.
const RESERVED: &str = "$serde_json::private::";

/// Whether a string of the body begins so, plain or with escapes.
fn holds_reserved(mut json: &[u8]) -> bool {
    while let Some(start) = json.iter().position(|byte| *byte == b'"') {
        let string = &json[start..];
        let mut end = 1;
        while let Some(byte) = string.get(end).filter(|byte| **byte != b'"') {
            end += if *byte == b'\\' { 2 } else { 1 };
        }
        let Some(literal) = string.get(..=end) else { return false };
        let may_hold = literal.starts_with(b"\"$") || literal.starts_with(b"\"\\");
        if may_hold
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
    fn an_object_cannot_pose_as_anything_else() {
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
    fn what_is_no_object_is_refused_with_its_place() {
        for (body, place) in [
            ("", "line 1 column 0"),
            ("[]", "line 1, column 1"),
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
                    assert!(message.contains(place), "{message} for {body:.20}");
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
