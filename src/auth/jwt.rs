//! Keys that sign and verify JSON Web Tokens.
//!
//! Signatures are verified by jsonwebtoken, claims here: the library cannot read a date with a
//! fraction.

use anyhow::{Context, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use pem::Pem;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Number;
use time::OffsetDateTime;
use uuid::Uuid;

use super::scope::Scopes;
use crate::settings::Settings;

/// The claims of a token (RFC 7519, section 4.1; `scope` as in RFC 9068). Dates are in seconds
/// since 1970; issuers may add a fraction.
#[derive(Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The partner.
    pub sub: Uuid,
    /// The scopes, separated by spaces.
    #[serde(default)]
    pub scope: String,
    /// The token's sid if Shortline issued the token, otherwise any string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The date of issue.
    pub iat: Number,
    /// The expiry.
    pub exp: Number,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<Audience>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Claims {
    /// Returns the claims of a new token. [`Keys::sign`](super::Keys::sign) adds issuer and audience.
    pub fn new(sub: Uuid, scopes: &Scopes, jti: Option<Uuid>, iat: i64, exp: i64) -> Self {
        let (iat, exp, scope) = (iat.into(), exp.into(), scopes.as_str().to_owned());
        Self {
            sub,
            scope,
            jti: jti.map(|sid| sid.to_string()),
            iat,
            exp,
            nbf: None,
            iss: None,
            aud: None,
        }
    }

    /// Returns the expiry in whole seconds.
    pub fn expiry(&self) -> i64 {
        seconds(&self.exp)
    }

    fn has_issuer(&self, issuer: &str) -> bool {
        self.iss.as_deref() == Some(issuer)
    }

    fn has_audience(&self, audience: &str) -> bool {
        match &self.aud {
            None => false,
            Some(Audience::One(one)) => one == audience,
            Some(Audience::Many(many)) => many.iter().any(|one| one == audience),
        }
    }
}

fn seconds(date: &Number) -> i64 {
    date.as_f64().map_or(i64::MIN, |seconds| seconds as i64)
}

/// A key that verifies tokens. Its algorithm is fixed and never taken from a token's header.
struct VerifyingKey {
    kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

struct SigningKey {
    key: EncodingKey,
    header: Header,
}

/// The configured keys, issuer and audience.
pub(super) struct KeySet {
    verifying: Vec<VerifyingKey>,
    signing: Option<SigningKey>,
    issuer: Option<String>,
    audience: Option<String>,
}

impl KeySet {
    /// Reads the configured keys.
    ///
    /// # Errors
    /// If a secret is too short, a file cannot be read or contains something other than supported
    /// keys, or the signing key has no public key.
    pub fn from_settings(settings: &Settings) -> anyhow::Result<Self> {
        let mut keys = Self {
            verifying: Vec::new(),
            signing: None,
            issuer: settings.jwt_issuer.clone(),
            audience: settings.jwt_audience.clone(),
        };
        if let Some(secret) = settings.jwt_secret()? {
            keys.add_secret(&secret)?;
        }
        if let Some(secret) = settings.jwt_secret_previous()? {
            keys.verifying.push(verifying_secret("SHORTLINE_JWT_SECRET_PREVIOUS", &secret)?);
        }
        if let Some(text) = settings.jwt_keys()? {
            let public_keys = public_keys(&text).context("SHORTLINE_JWT_KEYS")?;
            keys.verifying.extend(public_keys);
        }
        if let Some(pem) = settings.jwt_signing_key()? {
            keys.signing =
                Some(signing_key(pem.expose_secret()).context("SHORTLINE_JWT_SIGNING_KEY")?);
            keys.set_kid();
        }
        keys.check_signing_key()?;
        Ok(keys)
    }

    /// Checks that a signed token can be verified, so that an unusable pair of keys prevents the
    /// start.
    fn check_signing_key(&self) -> anyhow::Result<()> {
        if self.signing.is_none() {
            return Ok(());
        }
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let probe = self.sign(Claims::new(Uuid::nil(), &Scopes::default(), None, now, now + 60))?;
        ensure!(
            self.verify(&probe).is_some(),
            "SHORTLINE_JWT_KEYS contains no public key for SHORTLINE_JWT_SIGNING_KEY; add it, so \
             that the signed tokens can be verified"
        );
        Ok(())
    }

    /// Returns whether there is no key to verify tokens with.
    pub fn is_empty(&self) -> bool {
        self.verifying.is_empty()
    }

    /// Returns whether there is a key to sign tokens with.
    pub fn can_sign(&self) -> bool {
        self.signing.is_some()
    }

    fn add_secret(&mut self, secret: &SecretString) -> anyhow::Result<()> {
        self.verifying.push(verifying_secret("SHORTLINE_JWT_SECRET", secret)?);
        self.signing = Some(SigningKey {
            key: EncodingKey::from_secret(secret.expose_secret().as_bytes()),
            header: Header::new(Algorithm::HS256),
        });
        Ok(())
    }

    /// Adds the `kid` of the public key to the header of signed tokens, if only one key has the
    /// signing key's algorithm.
    fn set_kid(&mut self) {
        if let Some(signing) = &mut self.signing {
            let mut matching =
                self.verifying.iter().filter(|key| key.algorithm == signing.header.alg);
            if let (Some(only), None) = (matching.next(), matching.next()) {
                signing.header.kid.clone_from(&only.kid);
            }
        }
    }

    /// Verifies a token and returns its claims. `None` if it is not valid now.
    pub fn verify(&self, token: &str) -> Option<Claims> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        // RFC 7515, section 4.1.11: a token with an extension that is not supported must be
        // rejected.
        if header.crit.is_some() {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let is_genuine = self.candidates(&header).any(|VerifyingKey { algorithm, key, .. }| {
            jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, *algorithm)
                .unwrap_or(false)
        });
        let claims = is_genuine.then(|| signed.split_once('.'))?;
        let claims: Claims =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims?.1).ok()?).ok()?;
        self.accepts(&claims).then_some(claims)
    }

    /// Returns the keys with which a token of this header can be signed.
    fn candidates(&self, header: &Header) -> impl Iterator<Item = &VerifyingKey> {
        self.verifying.iter().filter(|key| {
            let kid_matches = header.kid.is_none() || key.kid.is_none() || key.kid == header.kid;
            key.algorithm == header.alg && kid_matches
        })
    }

    /// Returns whether the claims are valid now, to the second, for the configured issuer and
    /// audience.
    fn accepts(&self, claims: &Claims) -> bool {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        now < claims.expiry()
            && claims.nbf.as_ref().is_none_or(|begins| seconds(begins) <= now)
            && self.issuer.as_ref().is_none_or(|issuer| claims.has_issuer(issuer))
            && self.audience.as_ref().is_none_or(|audience| claims.has_audience(audience))
    }

    /// Signs a token of these claims with the configured issuer and audience.
    ///
    /// # Errors
    /// If there is no key to sign with.
    pub fn sign(&self, mut claims: Claims) -> anyhow::Result<String> {
        let signing = self.signing.as_ref().context(
            "no key to sign a JWT: set SHORTLINE_JWT_SECRET or SHORTLINE_JWT_SIGNING_KEY, or issue \
             an opaque token",
        )?;
        claims.iss.clone_from(&self.issuer);
        claims.aud = self.audience.clone().map(Audience::One);
        Ok(jsonwebtoken::encode(&signing.header, &claims, &signing.key)?)
    }
}

/// The key of a secret, which must be long enough.
fn verifying_secret(name: &str, secret: &SecretString) -> anyhow::Result<VerifyingKey> {
    let secret = secret.expose_secret().as_bytes();
    ensure!(
        secret.len() >= 32,
        "{name} has {} bytes; it must have at least 32, such as the output of `openssl rand -hex \
         32`",
        secret.len()
    );
    let (algorithm, key) = (Algorithm::HS256, DecodingKey::from_secret(secret));
    Ok(VerifyingKey { kid: None, algorithm, key })
}

/// Parses the public keys of a PEM file or a JWK set.
fn public_keys(text: &str) -> anyhow::Result<Vec<VerifyingKey>> {
    let keys = if text.trim_start().starts_with('{') {
        let set: JwkSet = serde_json::from_str(text).context("is not a valid JWK set")?;
        set.keys.iter().filter_map(verifying_jwk).collect::<anyhow::Result<Vec<_>>>()?
    } else {
        pem_blocks(text)?.iter().map(public_key).collect::<anyhow::Result<_>>()?
    };
    ensure!(
        !keys.is_empty(),
        "expected public keys for EdDSA, ES256 or RS256, as PEM or as a JWK set; found none"
    );
    Ok(keys)
}

/// Parses all blocks of a PEM file.
fn pem_blocks(text: &str) -> anyhow::Result<Vec<Pem>> {
    let blocks = pem::parse_many(text).context("is not a valid PEM file")?;
    // The parser stops at a block without an end, and ignores it.
    let begun = text.matches("-----BEGIN ").count();
    ensure!(begun == blocks.len(), "contains a PEM block without its `-----END` line");
    Ok(blocks)
}

/// Converts a key of a JWK set. `None` if it is for another use or algorithm: a set can contain
/// keys for encryption too.
fn verifying_jwk(jwk: &Jwk) -> Option<anyhow::Result<VerifyingKey>> {
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let signs = |key_use: &PublicKeyUse| *key_use == PublicKeyUse::Signature;
    let verifies = |operations: &Vec<KeyOperations>| operations.contains(&KeyOperations::Verify);
    let fits = jwk.common.public_key_use.as_ref().is_none_or(signs)
        && jwk.common.key_operations.as_ref().is_none_or(verifies)
        && jwk.common.key_algorithm.is_none_or(|algorithm| algorithm == name);
    let kid = jwk.common.key_id.clone();
    fits.then(|| {
        let key = DecodingKey::from_jwk(jwk).context("contains a JWK that is not valid")?;
        Ok(VerifyingKey { kid, algorithm, key })
    })
}

/// Converts a PEM block. The library has one function for each kind of key, which rejects the
/// others.
fn public_key(block: &Pem) -> anyhow::Result<VerifyingKey> {
    let label = block.tag();
    ensure!(
        ["PUBLIC KEY", "RSA PUBLIC KEY"].contains(&label),
        "expected PEM blocks with the label `PUBLIC KEY`, found `{label}`"
    );
    let pem = pem::encode(block);
    let pem = pem.as_bytes();
    let (algorithm, key) = DecodingKey::from_ed_pem(pem)
        .map(|key| (Algorithm::EdDSA, key))
        .or_else(|_| DecodingKey::from_ec_pem(pem).map(|key| (Algorithm::ES256, key)))
        .or_else(|_| DecodingKey::from_rsa_pem(pem).map(|key| (Algorithm::RS256, key)))
        .with_context(|| format!("contains a `{label}` that is not of RSA, P-256 or Ed25519"))?;
    Ok(VerifyingKey { kid: None, algorithm, key })
}

/// Parses the private key of a PEM file, which must contain nothing else.
fn signing_key(text: &str) -> anyhow::Result<SigningKey> {
    let blocks = pem_blocks(text)?;
    let labels: Vec<_> = blocks.iter().map(Pem::tag).collect();
    ensure!(
        matches!(labels[..], ["PRIVATE KEY" | "RSA PRIVATE KEY"]),
        "expected one PEM block with the label `PRIVATE KEY` (PKCS #8), found [{}]",
        labels.join(", ")
    );
    let pem = text.as_bytes();
    let (algorithm, key) = EncodingKey::from_ed_pem(pem)
        .map(|key| (Algorithm::EdDSA, key))
        .or_else(|_| EncodingKey::from_ec_pem(pem).map(|key| (Algorithm::ES256, key)))
        .or_else(|_| EncodingKey::from_rsa_pem(pem).map(|key| (Algorithm::RS256, key)))
        .context("contains a private key that is not of RSA, P-256 or Ed25519")?;
    Ok(SigningKey { key, header: Header::new(algorithm) })
}
