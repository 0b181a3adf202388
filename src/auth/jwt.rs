//! Keys that sign and verify JSON Web Tokens.
//!
//! Signatures are verified by jsonwebtoken, headers and claims here: the library does not know the
//! algorithm name `Ed25519`, and cannot read a date with a fraction.

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use pem::Pem;
use secrecy::{ExposeSecret, SecretString};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value, to_value};
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
    /// Returns the claims of a new token. [`Keys::sign`](super::Keys::sign) adds issuer and
    /// audience.
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

    /// Returns the expiry in whole seconds, rounded down. A number that no date has counts as
    /// expired.
    pub fn expiry(&self) -> i64 {
        self.exp.as_f64().map_or(i64::MIN, |seconds| seconds.floor() as i64)
    }

    /// Returns the second at which the token becomes valid, rounded up.
    pub fn begin(&self) -> i64 {
        let Some(date) = &self.nbf else { return i64::MIN };
        let never = if date.as_str().starts_with('-') { i64::MIN } else { i64::MAX };
        date.as_f64().map_or(never, |seconds| seconds.ceil() as i64)
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

/// The header of a token, as far as it is read.
#[derive(Deserialize)]
struct TokenHeader {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

/// Parses one part of a token.
fn part<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

/// Whether `name` is a name of the algorithm. Ed25519 has two: RFC 8037 and RFC 9864.
fn is_named(algorithm: Algorithm, name: &str) -> bool {
    match algorithm {
        Algorithm::EdDSA => matches!(name, "EdDSA" | "Ed25519"),
        _ => name.parse().is_ok_and(|named: Algorithm| named == algorithm),
    }
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
        let (iat, exp) = (now(), now() + 60);
        let probe = self.sign(Claims::new(Uuid::nil(), &Scopes::default(), None, iat, exp))?;
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
        self.verify_early(token).filter(|claims| claims.begin() <= now())
    }

    /// Verifies a token like [`Self::verify`], but also one that becomes valid only later.
    pub fn verify_early(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: TokenHeader = part(header)?;
        // RFC 7515, section 4.1.11: a token with an extension that is not supported must be
        // rejected.
        if header.crit.is_some() {
            return None;
        }
        let is_genuine = self.candidates(&header).any(|VerifyingKey { algorithm, key, .. }| {
            jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, *algorithm)
                .unwrap_or(false)
        });
        let claims: Claims = is_genuine.then(|| part(claims))??;
        self.accepts(&claims).then_some(claims)
    }

    /// Returns the keys with which a token of this header can be signed.
    fn candidates(&self, header: &TokenHeader) -> impl Iterator<Item = &VerifyingKey> {
        self.verifying.iter().filter(|key| {
            let kid_matches = header.kid.is_none() || key.kid.is_none() || key.kid == header.kid;
            is_named(key.algorithm, &header.alg) && kid_matches
        })
    }

    /// Returns whether the token has not expired, to the second, and is for the configured issuer
    /// and audience.
    fn accepts(&self, claims: &Claims) -> bool {
        now() < claims.expiry()
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

/// Returns the current time in seconds since 1970.
fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
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

/// A JWK set (RFC 7517, section 5), its keys not parsed yet: a set can contain keys of types that
/// the library does not know.
#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

/// Parses the public keys of a PEM file or a JWK set.
fn public_keys(text: &str) -> anyhow::Result<Vec<VerifyingKey>> {
    let keys = if text.trim_start().starts_with('{') {
        let set: JwkSet = serde_json::from_str(text).context("is not a valid JWK set")?;
        let keys = set.keys.into_iter().filter_map(|key| verifying_jwk(key).transpose());
        keys.collect::<anyhow::Result<Vec<_>>>()?
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
    // The parser stops at a block without an end, and ignores it and those with misspelt lines.
    let begun = text.to_ascii_uppercase().matches("-BEGIN ").count();
    ensure!(
        begun == blocks.len(),
        "contains a PEM block whose `-----BEGIN` or `-----END` line is missing or misspelt"
    );
    Ok(blocks)
}

/// Converts a key of a JWK set. `None` if it is for another use or algorithm: a set can contain
/// keys for encryption too.
fn verifying_jwk(mut jwk: Value) -> anyhow::Result<Option<VerifyingKey>> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let algorithm = match (text("kty"), text("crv")) {
        (Some("RSA"), _) => Algorithm::RS256,
        (Some("EC"), Some("P-256")) => Algorithm::ES256,
        (Some("OKP"), Some("Ed25519")) => Algorithm::EdDSA,
        (Some(_), _) => return Ok(None),
        (None, _) => bail!("contains a JWK without `kty`"),
    };
    if let Some(name) = text("alg") {
        if !is_named(algorithm, name) {
            return Ok(None);
        }
        // The library does not know every name.
        jwk["alg"] = to_value(algorithm)?;
    }
    let jwk: Jwk = serde_json::from_value(jwk).context("contains a JWK that is not valid")?;
    let signs = |key_use: &PublicKeyUse| *key_use == PublicKeyUse::Signature;
    let verifies = |operations: &Vec<KeyOperations>| operations.contains(&KeyOperations::Verify);
    let fits = jwk.common.public_key_use.as_ref().is_none_or(signs)
        && jwk.common.key_operations.as_ref().is_none_or(verifies);
    if !fits {
        return Ok(None);
    }
    let key = DecodingKey::from_jwk(&jwk).context("contains a JWK that is not valid")?;
    Ok(Some(VerifyingKey { kid: jwk.common.key_id, algorithm, key }))
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
