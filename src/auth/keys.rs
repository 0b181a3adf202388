//! The keys of JSON Web Tokens, read again when their files change.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::ensure;
use sha2::{Digest, Sha256};

use super::jwt::{Claims, KeySet};
use crate::settings::Settings;

/// The configured keys.
pub struct Keys {
    settings: Settings,
    current: RwLock<Arc<KeySet>>,
    /// The hash of the contents of each file when the keys were read last.
    seen: Mutex<Vec<Option<[u8; 32]>>>,
}

impl Keys {
    /// Reads the configured keys.
    ///
    /// # Errors
    /// If a secret is too short, a file cannot be read or contains something other than supported
    /// keys, or the signing key has no public key.
    pub fn from_settings(settings: &Settings) -> anyhow::Result<Self> {
        let seen = Mutex::new(contents(settings));
        let current = RwLock::new(Arc::new(KeySet::from_settings(settings)?));
        Ok(Self { settings: settings.clone(), current, seen })
    }

    /// Reads the keys again if their files have changed. Returns whether they have.
    ///
    /// # Errors
    /// As [`Self::from_settings`], or if the new keys cannot do what the old ones could. The old
    /// keys remain, and the files are read again after the next change.
    pub fn reload(&self) -> anyhow::Result<bool> {
        let contents = contents(&self.settings);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == contents {
            return Ok(false);
        }
        *seen = contents;
        let new = KeySet::from_settings(&self.settings)?;
        ensure!(new.can_sign() == self.can_sign(), "keys to sign with need a restart");
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(true)
    }

    fn current(&self) -> Arc<KeySet> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether there is no key to verify tokens with.
    pub fn is_empty(&self) -> bool {
        self.current().is_empty()
    }

    /// Returns whether there is a key to sign tokens with.
    pub fn can_sign(&self) -> bool {
        self.current().can_sign()
    }

    /// Verifies a token and returns its claims. `None` if it is not valid now.
    pub fn verify(&self, token: &str) -> Option<Claims> {
        self.current().verify(token)
    }

    /// Verifies a token like [`Self::verify`], but also one that becomes valid only later.
    pub fn verify_early(&self, token: &str) -> Option<Claims> {
        self.current().verify_early(token)
    }

    /// Signs a token of these claims with the configured issuer and audience.
    ///
    /// # Errors
    /// If there is no key to sign with.
    pub fn sign(&self, claims: Claims) -> anyhow::Result<String> {
        self.current().sign(claims)
    }
}

/// The hash of the contents of each file; `None` for one that cannot be read.
fn contents(settings: &Settings) -> Vec<Option<[u8; 32]>> {
    let read = |file| std::fs::read(file).ok().map(|content| Sha256::digest(content).into());
    settings.key_files().map(read).collect()
}
