//! Signatures of Standard Webhooks: HMAC-SHA256 (`v1`) and Ed25519 (`v1a`) over
//! `<webhook-id>.<webhook-timestamp>.<body>`.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::keys::{Seed, SigningKeys};
use crate::error::ApiError;

/// The keys of a delivery, each of which adds a signature.
pub struct Signer {
    secrets: Vec<hmac::Key>,
    key_pairs: Vec<Ed25519KeyPair>,
}

impl Signer {
    /// Returns the signer of these keys, newest first.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if a seed is not valid, which no stored one is.
    pub fn new<'a>(keys: impl Iterator<Item = &'a SigningKeys>) -> Result<Self, ApiError> {
        let (mut secrets, mut key_pairs) = (Vec::new(), Vec::new());
        for SigningKeys { secret, seed } in keys {
            secrets.push(hmac::Key::new(hmac::HMAC_SHA256, &secret.bytes()));
            key_pairs.extend(seed.as_ref().map(key_pair).transpose()?);
        }
        Ok(Self { secrets, key_pairs })
    }

    /// Returns the value of `webhook-signature`: the signatures, separated by spaces.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let content = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
        let symmetric = self.secrets.iter().map(|key| {
            let signature = hmac::sign(key, &content);
            format!("v1,{}", STANDARD.encode(signature))
        });
        let asymmetric = self.key_pairs.iter().map(|key_pair| {
            let signature = key_pair.sign(&content);
            format!("v1a,{}", STANDARD.encode(signature))
        });
        symmetric.chain(asymmetric).collect::<Vec<_>>().join(" ")
    }
}

/// Returns the public key of the seed: `whpk_` and the base64 of its 32 bytes.
///
/// # Errors
/// As [`Signer::new`].
pub fn public_key(seed: &Seed) -> Result<String, ApiError> {
    let key_pair = key_pair(seed)?;
    Ok(format!("whpk_{}", STANDARD.encode(key_pair.public_key())))
}

fn key_pair(seed: &Seed) -> Result<Ed25519KeyPair, ApiError> {
    let key_pair = Ed25519KeyPair::from_seed_unchecked(seed.bytes());
    key_pair.map_err(|error| ApiError::Internal(anyhow::anyhow!("{error}")))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;
    use crate::input::FromMember;
    use crate::webhooks::keys::Secret;
    use crate::webhooks::secrets::Secrets;

    fn keys(secret: &str, seed: Option<Seed>) -> SigningKeys {
        SigningKeys { secret: Secret::from_member(secret.into()).unwrap(), seed }
    }

    /// The example of the specification.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_published_example_has_its_signature() {
        let signer = Secrets { current: keys(SECRET, None), old: None }.signer(true).unwrap();
        assert_eq!(signer.sign(ID, TIMESTAMP, BODY), SIGNATURE);
    }

    #[test]
    fn both_secrets_sign_during_a_rotation_only() {
        let new = keys("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", None);
        let secrets = Secrets { current: new, old: Some(keys(SECRET, None)) };
        let both = secrets.signer(true).unwrap().sign(ID, TIMESTAMP, BODY);
        let both: Vec<_> = both.split(' ').collect();
        assert_eq!((both.len(), both[1]), (2, SIGNATURE));
        let one = secrets.signer(false).unwrap().sign(ID, TIMESTAMP, BODY);
        assert_eq!(one, both[0]);
    }

    #[test]
    fn an_ed25519_signature_is_verified_by_the_public_key() {
        let seed = Seed::random().unwrap();
        let public = public_key(&seed).unwrap();
        let public = STANDARD.decode(public.strip_prefix("whpk_").unwrap()).unwrap();
        let secrets = Secrets { current: keys(SECRET, Some(seed)), old: None };
        let signatures = secrets.signer(false).unwrap().sign(ID, TIMESTAMP, BODY);
        let (symmetric, asymmetric) = signatures.split_once(' ').unwrap();
        assert_eq!(symmetric, SIGNATURE);
        let signature = STANDARD.decode(asymmetric.strip_prefix("v1a,").unwrap()).unwrap();
        let content = [format!("{ID}.{TIMESTAMP}.").as_bytes(), BODY].concat();
        UnparsedPublicKey::new(&ED25519, public).verify(&content, &signature).unwrap();
    }
}
