//! Error messages for unknown names, with the most similar known name as a hint.

/// The longest name that is compared with known names or repeated in an error.
pub(super) const MAX_NAME_LENGTH: usize = 64;

/// Returns the error message for the unknown `name` of a `what`.
pub fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    // A longer name resembles no known name, and the comparison takes quadratic time.
    if name.len() > MAX_NAME_LENGTH || known.is_empty() {
        return format!("unknown {what}");
    }
    let nearest = known.iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
    format!("unknown {what}; did you mean `{}`?", nearest.unwrap_or(&""))
}
