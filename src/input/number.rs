//! Numbers in nested objects, in the form that PostgreSQL's `jsonb` stores.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// Returns the number without an exponent and with all its digits: `1.10` for `1.10`, `1000` for
/// `1e3`, `0` for `-0`. `None` if the result has more than 40 characters.
pub fn plain_number(number: &Number) -> Option<Number> {
    const MAX_CHARACTERS: usize = 40;
    let text = number.as_str();
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    // An exponent outside i64 exceeds the limit as any large one does, unless all digits are 0.
    let exponent: i64 =
        exponent.parse().unwrap_or(if exponent.starts_with('-') { -1_000 } else { 1_000 });
    let scale = i64::try_from(fraction.len()).ok()?.checked_sub(exponent)?.max(0);
    let zeros = if digits.is_empty() {
        0
    } else {
        exponent.saturating_sub_unsigned(fraction.len() as u64).max(0)
    };
    if scale.max(zeros) > MAX_CHARACTERS as i64 {
        return None;
    }
    let (scale, zeros) = (scale as usize, zeros as usize);
    let digits = format!("{digits}{:0<zeros$}", "");
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let mut plain = String::new();
    if digits.bytes().any(|digit| digit != b'0') {
        plain.push_str(sign);
    }
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    plain.push_str(whole);
    if scale > 0 {
        write!(plain, ".{fraction}").ok()?;
    }
    if plain.len() <= MAX_CHARACTERS { plain.parse().ok() } else { None }
}

/// Returns the whole number that a value is. A fraction of zero is none, as in JSON Schema: `42.0`.
pub fn whole_number(value: &Value) -> Option<i64> {
    let Value::Number(number) = value else { return None };
    let plain = plain_number(number)?;
    let (whole, fraction) = plain.as_str().split_once('.').unwrap_or((plain.as_str(), ""));
    let is_whole = fraction.bytes().all(|digit| digit == b'0');
    whole.parse().ok().filter(|_| is_whole)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fraction_of_zero_is_no_fraction() {
        let read = |text: &str| whole_number(&serde_json::from_str(text).unwrap());
        for (sent, expected) in [
            ("42", Some(42)),
            ("42.0", Some(42)),
            ("4.2e1", Some(42)),
            ("-7.00", Some(-7)),
            ("42.5", None),
            ("1e30", None),
        ] {
            assert_eq!(read(sent), expected, "{sent}");
        }
        assert_eq!(whole_number(&json!("42")), None);
    }

    fn plain(number: &str) -> Option<String> {
        plain_number(&serde_json::from_str(number).unwrap()).map(|number| number.to_string())
    }

    #[test]
    fn numbers_retain_value_and_digits() {
        for (sent, stored) in [
            ("9007199254740993", "9007199254740993"),
            ("1.10", "1.10"),
            ("1e3", "1000"),
            ("1E+3", "1000"),
            ("-0", "0"),
            ("-0.0", "0.0"),
            ("-0e7", "0"),
            ("0e99999999999999999999", "0"),
            ("1.5e3", "1500"),
            ("1.10e1", "11.0"),
            ("-1.25e-3", "-0.00125"),
            ("12.5e-1", "1.25"),
            ("0.001e3", "1"),
            ("1e39", "1000000000000000000000000000000000000000"),
        ] {
            assert_eq!(plain(sent).as_deref(), Some(stored), "{sent}");
        }
    }

    #[test]
    fn numbers_of_more_than_40_characters_are_rejected() {
        for sent in ["1e40", "1e-39", "1e131071", "1e99999999999999999999", "-1e39", "0e-100"] {
            assert_eq!(plain(sent), None, "{sent}");
        }
        assert_eq!(plain(&"9".repeat(41)), None);
        assert_eq!(plain(&"9".repeat(40)), Some("9".repeat(40)));
    }
}
