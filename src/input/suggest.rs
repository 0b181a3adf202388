//! Error messages for unknown names, with the nearest known name as a hint.

/// The longest name, in characters, that is compared with known names or repeated in an error.
pub(super) const LONGEST_NAME: usize = 64;

/// Says that nothing is called `name`, and what is called nearly so.
pub fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    // Far longer than any of ours, a name is near to none; and comparing it would take long.
    if name.len() > LONGEST_NAME || known.is_empty() {
        return format!("unknown {what}");
    }
    let nearest = known.iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
    format!("unknown {what}; did you mean `{}`?", nearest.unwrap_or(&""))
}
