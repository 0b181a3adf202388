//! The `Prefer` header, RFC 7240.

use actix_web::http::header::HeaderMap;

/// How to treat members that have no effect (RFC 7240, section 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// A read-only member that differs from the stored one is rejected.
    Strict,
    /// Unknown members are ignored.
    Lenient,
}

impl Handling {
    /// Returns the preferred handling. Of several, the first counts (RFC 7240, section 2).
    pub fn preferred(headers: &HeaderMap) -> Option<Self> {
        let preferences = headers.get_all("Prefer").filter_map(|value| value.to_str().ok());
        let handling = preferences.flat_map(|value| value.split(',')).find_map(|preference| {
            let (name, value) = preference.split(';').next()?.split_once('=')?;
            name.trim().eq_ignore_ascii_case("handling").then(|| value.trim().trim_matches('"'))
        })?;
        match handling.to_ascii_lowercase().as_str() {
            "strict" => Some(Self::Strict),
            "lenient" => Some(Self::Lenient),
            _ => None,
        }
    }

    /// The value of `Preference-Applied`.
    pub fn applied(self) -> &'static str {
        match self {
            Self::Strict => "handling=strict",
            Self::Lenient => "handling=lenient",
        }
    }
}
