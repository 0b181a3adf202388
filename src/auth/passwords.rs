//! Passwords and client secrets: kept as Argon2id, and verified off the threads that serve.

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

/// How long a request waits for its turn to be verified.
const PATIENCE: Duration = Duration::from_secs(5);

/// The PHC string of a password: Argon2id with the library's parameters (19 MiB, 2 passes) and a new salt. Takes its time.
///
/// # Errors
/// Where the machine has no randomness.
pub fn hash_password(password: &str) -> anyhow::Result<String> {
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| anyhow!("a password cannot be hashed: {error}"))?;
    Ok(hash.to_string())
}

fn is_right(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// Verifies passwords, no more at a time than leave half of the machine to everything else.
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// Of a password that nobody knows.
    nobodys: String,
}

impl Passwords {
    /// Ready to verify.
    ///
    /// # Errors
    /// Where the machine has no randomness.
    pub fn new() -> anyhow::Result<Self> {
        let cores = available_parallelism().map_or(1, usize::from);
        let nobodys = hash_password(&Uuid::new_v4().to_string())?;
        Ok(Self { turns: Arc::new(Semaphore::new((cores / 2).max(1))), nobodys })
    }

    /// Whether the password is the one that was hashed. Where there is no hash, finding out takes as long.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`] where too many others are waiting.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, ApiError> {
        let crowded = |_| ApiError::Unavailable(None);
        let turn = timeout(PATIENCE, self.turns.clone().acquire_owned()).await.map_err(crowded)?;
        let known = hash.is_some();
        let hash = hash.unwrap_or(&self.nobodys).to_owned();
        let password = password.to_owned();
        let right = spawn_blocking(move || {
            // The turn ends with the work, even where the client has gone away.
            let _turn = turn;
            is_right(&password, &hash)
        });
        Ok(right.await.map_err(|error| ApiError::Internal(error.into()))? && known)
    }
}
