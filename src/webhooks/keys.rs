//! The keys that sign deliveries: shared secrets, and seeds of Ed25519 keys.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ApiError;
use crate::input::{FromMember, ValidationError};

/// The prefix of a secret in the text form of Standard Webhooks.
const PREFIX: &str = "whsec_";
/// The bytes of a new secret.
const SECRET_BYTES: usize = 32;
/// The bytes of a secret that a client chooses.
const VALID_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// A shared secret: 24 to 64 bytes, as text `whsec_` and their base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Returns a new random secret.
    ///
    /// # Errors
    /// If the operating system provides no random numbers.
    pub fn random() -> Result<Self, ApiError> {
        let mut bytes = [0; SECRET_BYTES];
        rand::fill(&mut bytes).map_err(|_| unavailable_randomness())?;
        Ok(Self(format!("{PREFIX}{}", STANDARD.encode(bytes))))
    }

    /// Returns the text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the bytes that sign. Empty if the text is not valid, which no value of the type is.
    pub fn bytes(&self) -> Vec<u8> {
        Self::decoded(&self.0).unwrap_or_default()
    }

    fn decoded(text: &str) -> Option<Vec<u8>> {
        STANDARD.decode(text.strip_prefix(PREFIX)?).ok()
    }
}

/// The text never appears in a log.
impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

impl FromMember for Secret {
    fn from_member(value: Value) -> Result<Self, ValidationError> {
        match value {
            Value::String(text)
                if Self::decoded(&text).is_some_and(|bytes| VALID_BYTES.contains(&bytes.len())) =>
            {
                Ok(Self(text))
            }
            _ => Err("must be `whsec_` and the base64 of 24 to 64 bytes".into()),
        }
    }
}

/// The keys that sign at a time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SigningKeys {
    /// The shared secret.
    pub secret: Secret,
    /// The seed of the Ed25519 key, if the endpoint has one.
    pub seed: Option<Seed>,
}

/// The seed of an Ed25519 key.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed([u8; 32]);

impl std::fmt::Debug for Seed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Seed(..)")
    }
}

impl Seed {
    /// Returns a new random seed.
    ///
    /// # Errors
    /// If the operating system provides no random numbers.
    pub fn random() -> Result<Self, ApiError> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| unavailable_randomness())?;
        Ok(Self(bytes))
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn unavailable_randomness() -> ApiError {
    ApiError::Internal(anyhow::anyhow!("the operating system provides no random numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_its_prefix_and_enough_bytes() {
        let secret =
            |bytes: usize| Value::from(format!("whsec_{}", STANDARD.encode(vec![7; bytes])));
        for bytes in [24, 32, 64] {
            assert!(Secret::from_member(secret(bytes)).is_ok(), "{bytes}");
        }
        for invalid in [
            secret(23),
            secret(65),
            Value::from(""),
            Value::from("whsec_"),
            Value::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS*"),
            Value::from("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            Value::from("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            Value::from(5),
        ] {
            assert!(Secret::from_member(invalid.clone()).is_err(), "{invalid}");
        }
        let (one, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert_ne!(one, other);
        assert!(Secret::from_member(one.as_str().into()).is_ok());
        assert!(!format!("{one:?}").contains(one.as_str()));
    }
}
