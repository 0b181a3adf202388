//! Passwords and client secrets: stored as Argon2id hashes, and verified outside the threads that
//! serve requests.
//!
//! Functions that hash fail if the operating system provides no random numbers.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::anyhow;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use uuid::Uuid;

use crate::error::ApiError;

/// The longest time that a request waits for a permit to verify.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Hashes a password with a new salt, and returns its PHC string: Argon2id with the library's
/// parameters (19 MiB, 2 passes). Slow by design: call it from a blocking thread.
///
/// # Errors
/// As this module.
pub fn hash_password(password: &str) -> anyhow::Result<String> {
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| anyhow!("cannot hash a password: {error}"))?;
    Ok(hash.to_string())
}

fn matches(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// Verifies passwords, on at most half of the CPU cores at a time.
pub struct Passwords {
    permits: Arc<Semaphore>,
    /// The hash of a random password. It is verified instead of a hash that does not exist, so that
    /// both take the same time.
    decoy: String,
}

impl Passwords {
    /// Returns a verifier.
    ///
    /// # Errors
    /// As this module.
    pub fn new() -> anyhow::Result<Self> {
        let cores = available_parallelism().map_or(1, usize::from);
        let decoy = hash_password(&Uuid::new_v4().to_string())?;
        Ok(Self { permits: Arc::new(Semaphore::new((cores / 2).max(1))), decoy })
    }

    /// Returns whether the password matches the hash. Without a hash, it takes the same time and
    /// returns false.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`] if too many verifications are waiting.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, ApiError> {
        let overloaded = |_| ApiError::Unavailable(None);
        let permit = timeout(PERMIT_TIMEOUT, self.permits.clone().acquire_owned())
            .await
            .map_err(overloaded)?;
        let exists = hash.is_some();
        let hash = hash.unwrap_or(&self.decoy).to_owned();
        let password = password.to_owned();
        let verification = spawn_blocking(move || {
            // Holds the permit until the end, even if the client has disconnected.
            let _permit = permit;
            matches(&password, &hash)
        });
        Ok(verification.await.map_err(|error| ApiError::Internal(error.into()))? && exists)
    }
}
