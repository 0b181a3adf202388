//! The trace of a request: the header `traceparent` of W3C Trace Context.

/// The text of version 00: `00-<trace-id>-<parent-id>-<flags>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent(String);

/// The length of the text in version 00, with which that of every later version begins.
const LENGTH: usize = 55;
/// The version that is never valid.
const INVALID: &str = "ff";

impl TraceParent {
    /// Reads the value of the header. `None` if it is not valid: then it counts as absent (section
    /// 3.2.2.1 and, for later versions, 3.2.4).
    pub fn parse(text: &str) -> Option<Self> {
        let (known, rest) = text.split_at_checked(LENGTH)?;
        let mut fields = known.split('-');
        let mut field = |length: usize| {
            let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            fields.next().filter(|field| field.len() == length && field.bytes().all(is_digit))
        };
        let (version, trace_id, parent_id, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        let is_current = version == "00";
        let has_valid_end = rest.is_empty() || (!is_current && rest.starts_with('-'));
        let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
        if version == INVALID || is_zero(trace_id) || is_zero(parent_id) || !has_valid_end {
            return None;
        }
        if is_current {
            return Some(Self(known.to_owned()));
        }
        // Of the flags of a later version, only the first has a known meaning: the trace is sampled.
        let is_sampled = u8::from_str_radix(flags, 16).ok()? & 1;
        Some(Self(format!("00-{trace_id}-{parent_id}-{is_sampled:02x}")))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_traceparent_is_taken_as_it_is() {
        for valid in [VALID, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff"] {
            assert_eq!(TraceParent::parse(valid).unwrap().as_str(), valid);
        }
    }

    #[test]
    fn a_later_version_is_read_as_the_known_one() {
        for (later, expected) in [
            (format!("01{}", &VALID[2..]), VALID.to_owned()),
            (format!("cc{}-what-comes", &VALID[2..]), VALID.to_owned()),
            (format!("cc{}fe", &VALID[2..53]), format!("{}00", &VALID[..53])),
        ] {
            assert_eq!(TraceParent::parse(&later).unwrap().as_str(), expected, "{later}");
        }
    }

    #[test]
    fn an_invalid_traceparent_is_ignored() {
        for invalid in [
            String::new(),
            VALID[..54].to_owned(),
            format!("{VALID}-"),
            format!("{VALID}-what-comes"),
            format!("cc{}.what-comes", &VALID[2..]),
            format!("ff{}", &VALID[2..]),
            VALID.to_uppercase(),
            VALID.replace('-', "_"),
            VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            VALID.replace("00f067aa0ba902b7", &"0".repeat(16)),
            VALID.replace("4bf9", "xbf9"),
            VALID.replace("-01", "-+1"),
            "é".repeat(40),
        ] {
            assert_eq!(TraceParent::parse(&invalid), None, "{invalid}");
        }
    }
}
