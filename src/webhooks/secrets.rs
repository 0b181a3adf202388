//! The secrets of endpoints, encrypted at rest.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::SigningKeys;
use super::signature::Signer;
use crate::error::{ApiError, FieldError};
use crate::settings::WebhookSettings;

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
///
/// The first key encrypts, and all of them decrypt.
pub struct SecretBox(Vec<RandomizedNonceKey>);

impl SecretBox {
    /// Returns the box of these settings. Without a key, nothing can be sealed or opened.
    ///
    /// # Errors
    /// If a key is too short, or only the previous one is set.
    pub fn of(settings: &WebhookSettings) -> anyhow::Result<Self> {
        let keys = [
            ("SHORTLINE_EVENTS_KEY", settings.events_key()?),
            ("SHORTLINE_EVENTS_KEY_PREVIOUS", settings.events_key_previous()?),
        ];
        anyhow::ensure!(
            keys[0].1.is_some() || keys[1].1.is_none(),
            "SHORTLINE_EVENTS_KEY_PREVIOUS is set and SHORTLINE_EVENTS_KEY is not; set both"
        );
        let keys = keys.iter().filter_map(|(name, key)| Some(derive(name, key.as_ref()?)));
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }

    /// Whether there is a key.
    pub fn has_key(&self) -> bool {
        !self.0.is_empty()
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
    /// [`ApiError::Conflict`] if the settings have no key, or others than when they were sealed.
    pub fn open(&self, endpoint_sid: Uuid, sealed: &[u8]) -> Result<Secrets, ApiError> {
        self.key()?;
        let opened = self.0.iter().find_map(|key| open(key, endpoint_sid, sealed));
        opened.ok_or_else(|| conflict("the secret was stored under another SHORTLINE_EVENTS_KEY"))
    }

    /// Whether the key that encrypts is the one that has sealed them.
    pub fn is_current(&self, endpoint_sid: Uuid, sealed: &[u8]) -> bool {
        self.0.first().is_some_and(|key| open(key, endpoint_sid, sealed).is_some())
    }

    fn key(&self) -> Result<&RandomizedNonceKey, ApiError> {
        let message = "this service cannot sign: its operator must set SHORTLINE_EVENTS_KEY";
        self.0.first().ok_or_else(|| conflict(message))
    }
}

/// Returns the key that is derived from the setting of that name.
fn derive(name: &str, key: &SecretString) -> anyhow::Result<RandomizedNonceKey> {
    let text = key.expose_secret().as_bytes();
    anyhow::ensure!(
        text.len() >= MIN_KEY_BYTES,
        "{name} has {} bytes; expected at least {MIN_KEY_BYTES} (try `openssl rand -hex 32`)",
        text.len()
    );
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"shortline");
    let mut bytes = [0; 32];
    let derived = salt
        .extract(text)
        .expand(&[b"secrets of endpoints"], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut bytes));
    let key = derived.and_then(|()| RandomizedNonceKey::new(&AES_256_GCM, &bytes));
    key.map_err(|_| anyhow::anyhow!("no key can be derived"))
}

/// Decrypts secrets. `None` if another key has sealed them.
fn open(key: &RandomizedNonceKey, endpoint_sid: Uuid, sealed: &[u8]) -> Option<Secrets> {
    let (nonce, text) = sealed.strip_prefix(&[FORMAT])?.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = text.to_vec();
    let text = key.open_in_place(nonce, Aad::from(endpoint_sid.into_bytes()), &mut text).ok()?;
    serde_json::from_slice(text).ok()
}

fn conflict(message: &str) -> ApiError {
    ApiError::Conflict(FieldError::general(message))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::settings::Settings;
    use crate::webhooks::keys::Secret;

    fn settings(flags: &[&str]) -> WebhookSettings {
        let flags = ["shortline"].iter().chain(flags);
        Settings::try_parse_from(flags).unwrap().webhooks
    }

    fn secret_box(key: &str) -> SecretBox {
        SecretBox::of(&settings(&["--events-key", key])).unwrap()
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
        let none = SecretBox::of(&settings(&[])).unwrap();
        assert!(matches!(none.seal(own, &secrets), Err(ApiError::Conflict(_))));
        assert!(matches!(none.open(own, &sealed), Err(ApiError::Conflict(_))));
    }

    #[test]
    fn a_previous_key_decrypts_and_does_not_encrypt() {
        let current = SigningKeys { secret: Secret::random().unwrap(), seed: None };
        let (secrets, sid) = (Secrets { current, old: None }, Uuid::new_v4());
        let [old, new] = ["k", "l"].map(|byte| byte.repeat(32));
        let both = settings(&["--events-key", &new, "--events-key-previous", &old]);
        let both = SecretBox::of(&both).unwrap();
        let [old, new] = [old, new].map(|key| secret_box(&key));
        let sealed = old.seal(sid, &secrets).unwrap();
        assert!(both.open(sid, &sealed).is_ok() && new.open(sid, &sealed).is_err());
        assert!(!both.is_current(sid, &sealed));
        let sealed = both.seal(sid, &secrets).unwrap();
        assert!(both.is_current(sid, &sealed));
        assert!(new.open(sid, &sealed).is_ok() && old.open(sid, &sealed).is_err());
    }

    #[test]
    fn keys_that_cannot_be_used_are_rejected() {
        let (short, long) = ("k".repeat(31), "k".repeat(32));
        for (flags, expected) in [
            (&["--events-key", &short][..], "SHORTLINE_EVENTS_KEY has 31 bytes"),
            (
                &["--events-key", &long, "--events-key-previous", &short],
                "SHORTLINE_EVENTS_KEY_PREVIOUS has 31 bytes",
            ),
            (&["--events-key-previous", &long], "SHORTLINE_EVENTS_KEY is not; set both"),
        ] {
            let error = SecretBox::of(&settings(flags)).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
