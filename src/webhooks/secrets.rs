//! The secrets of endpoints, encrypted at rest.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::SigningKeys;
use super::signature::Signer;
use crate::error::{ApiError, FieldError};

/// The least length of the setting, in bytes.
const MIN_KEY_BYTES: usize = 32;
/// The first byte of a sealed value, for a later change of the format.
const FORMAT: u8 = 1;

/// The keys of an endpoint: those that sign, and those before the last rotation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Secrets {
    /// The newest keys.
    pub current: SigningKeys,
    /// The keys before them, which sign too during the grace period.
    pub old: Option<SigningKeys>,
}

impl Secrets {
    /// Returns the signer of a delivery. The old keys sign too if `with_old`.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if a key is not valid, which no stored key is.
    pub fn signer(&self, with_old: bool) -> Result<Signer, ApiError> {
        let old = self.old.as_ref().filter(|_| with_old);
        Signer::new([Some(&self.current), old].into_iter().flatten())
    }
}

/// Encrypts the secrets of endpoints with AES-256-GCM under a key of the settings. The sid of the
/// endpoint is authenticated with them, so that they cannot be moved to another endpoint.
pub struct SecretBox(Option<RandomizedNonceKey>);

impl SecretBox {
    /// Returns the box of that setting. Without it, nothing can be sealed or opened.
    ///
    /// # Errors
    /// If the key is too short.
    pub fn of(key: Option<&SecretString>) -> anyhow::Result<Self> {
        let Some(key) = key else { return Ok(Self(None)) };
        let text = key.expose_secret().as_bytes();
        anyhow::ensure!(
            text.len() >= MIN_KEY_BYTES,
            "SHORTLINE_EVENTS_KEY has {} bytes; expected at least {MIN_KEY_BYTES} (try `openssl \
             rand -hex 32`)",
            text.len()
        );
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"shortline");
        let mut bytes = [0; 32];
        let derived = salt
            .extract(text)
            .expand(&[b"secrets of endpoints"], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut bytes));
        let key = derived.and_then(|()| RandomizedNonceKey::new(&AES_256_GCM, &bytes));
        key.map(|key| Self(Some(key))).map_err(|_| anyhow::anyhow!("no key can be derived"))
    }

    /// Whether there is a key.
    pub fn has_key(&self) -> bool {
        self.0.is_some()
    }

    /// Encrypts the secrets of the endpoint of that sid.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if the settings have no key.
    pub fn seal(&self, endpoint_sid: Uuid, secrets: &Secrets) -> Result<Vec<u8>, ApiError> {
        let mut text =
            serde_json::to_vec(secrets).map_err(|error| ApiError::Internal(error.into()))?;
        let aad = Aad::from(endpoint_sid.into_bytes());
        let nonce = self.key()?.seal_in_place_append_tag(aad, &mut text);
        let nonce = nonce.map_err(|_| ApiError::Internal(anyhow::anyhow!("sealing failed")))?;
        Ok([&[FORMAT][..], nonce.as_ref(), &text].concat())
    }

    /// Decrypts the secrets of the endpoint of that sid.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if the settings have no key, or another one than when they were
    /// sealed.
    pub fn open(&self, endpoint_sid: Uuid, sealed: &[u8]) -> Result<Secrets, ApiError> {
        let (key, aad) = (self.key()?, Aad::from(endpoint_sid.into_bytes()));
        let opened = sealed.strip_prefix(&[FORMAT]).and_then(|sealed| {
            let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut text = text.to_vec();
            let text = key.open_in_place(nonce, aad, &mut text).ok()?;
            serde_json::from_slice(text).ok()
        });
        opened.ok_or_else(|| conflict("the secret was stored under another SHORTLINE_EVENTS_KEY"))
    }

    fn key(&self) -> Result<&RandomizedNonceKey, ApiError> {
        let message = "this service cannot sign: its operator must set SHORTLINE_EVENTS_KEY";
        self.0.as_ref().ok_or_else(|| conflict(message))
    }
}

fn conflict(message: &str) -> ApiError {
    ApiError::Conflict(FieldError::general(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhooks::keys::Secret;

    fn secret_box(key: &str) -> SecretBox {
        SecretBox::of(Some(&SecretString::from(key))).unwrap()
    }

    #[test]
    fn sealed_secrets_open_for_their_endpoint_and_key_only() {
        let current = SigningKeys { secret: Secret::random().unwrap(), seed: None };
        let secrets = Secrets { current, old: None };
        let (own, other) = (Uuid::new_v4(), Uuid::new_v4());
        let (key, another_key) = (secret_box(&"k".repeat(32)), secret_box(&"l".repeat(32)));
        let sealed = key.seal(own, &secrets).unwrap();
        assert_ne!(sealed, key.seal(own, &secrets).unwrap(), "the nonces are the same");
        let opened = key.open(own, &sealed).unwrap();
        assert_eq!(opened.current.secret, secrets.current.secret);
        assert!(key.open(other, &sealed).is_err(), "another endpoint");
        assert!(another_key.open(own, &sealed).is_err(), "another key");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(own, &changed).is_err(), "byte {at}");
        }
        for length in 0..sealed.len() {
            assert!(key.open(own, &sealed[..length]).is_err(), "{length} bytes");
        }
        let none = SecretBox::of(None).unwrap();
        assert!(matches!(none.seal(own, &secrets), Err(ApiError::Conflict(_))));
        assert!(SecretBox::of(Some(&SecretString::from("k".repeat(31)))).is_err());
    }
}
