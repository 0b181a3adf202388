//! Passwords and client secrets: stored as Argon2id hashes, and verified outside the threads that
//! serve requests.
//!
//! Functions that hash fail if the operating system provides no random numbers.

use std::net::IpAddr;
use std::thread::available_parallelism;

use anyhow::anyhow;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::verification::{OccupiedLane, Subject, Turn, VerificationQueue};
use crate::error::ApiError;

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

/// Verifies passwords, on at most half of the CPU cores at a time, in a fair queue.
pub struct Passwords {
    queue: VerificationQueue,
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
        Ok(Self { queue: VerificationQueue::new((cores / 2).max(1)), decoy })
    }

    /// Waits until a password of that client or login can be verified for a request from that
    /// address.
    ///
    /// # Errors
    /// [`ApiError::TooManyRequests`] if too many verifications are waiting.
    pub async fn turn(&self, subject: Subject, address: Option<IpAddr>) -> Result<Turn, ApiError> {
        self.queue.turn(subject, address).await
    }

    /// Returns the first of the hashes that the password matches. Without a hash, it takes as long
    /// as with one. Returns the lane of the turn, too: it should be held until the response is
    /// sent.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if the verification panics.
    pub async fn verify(
        &self,
        Turn { core, lane }: Turn,
        password: &str,
        hashes: Vec<String>,
    ) -> Result<(Option<String>, OccupiedLane), ApiError> {
        let (decoy, password) = (self.decoy.clone(), password.to_owned());
        let verification = spawn_blocking(move || {
            // Occupies the core until the end, even if the client has disconnected.
            let _core = core;
            if hashes.is_empty() {
                matches(&password, &decoy);
            }
            hashes.into_iter().find(|hash| matches(&password, hash))
        });
        Ok((verification.await.map_err(|error| ApiError::Internal(error.into()))?, lane))
    }
}
