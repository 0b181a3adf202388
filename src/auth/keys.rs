//! The keys that JSON Web Tokens are signed and verified with.

use anyhow::{Context, bail, ensure};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::settings::Settings;

/// What a token says (RFC 7519, section 4.1; `scope` as in RFC 9068).
#[derive(Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The partner.
    pub sub: Uuid,
    /// The scopes, separated by spaces.
    #[serde(default)]
    pub scope: String,
    /// The token's sid, where it is one of ours; else any string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Who made the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// Whom the token is for. One name when we make it; when we read it, the library judges it, be it one or many.
    #[serde(default, skip_serializing_if = "Option::is_none", skip_deserializing)]
    pub aud: Option<String>,
    /// When it was made, in seconds since 1970; others make it with a fraction.
    pub iat: serde_json::Number,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
}

/// A key that verifies. The algorithm belongs to the key, never to the token's header.
struct VerifyingKey {
    kid: Option<String>,
    key: DecodingKey,
    validation: Validation,
}

struct SigningKey {
    key: EncodingKey,
    header: Header,
}

/// The configured keys, with the issuer and the audience that tokens must name.
pub struct Keys {
    verifying: Vec<VerifyingKey>,
    signing: Option<SigningKey>,
    issuer: Option<String>,
    audience: Option<String>,
}

impl Keys {
    /// Reads the configured keys.
    ///
    /// # Errors
    /// Where a secret is missing or weak, or a file is missing or holds no key that we know.
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
        if let Some(text) = settings.jwt_keys()? {
            keys.add_public_keys(&text).context("SHORTLINE_JWT_KEYS")?;
        }
        if let Some(pem) = settings.jwt_signing_key()? {
            keys.signing =
                Some(signing_key(pem.expose_secret()).context("SHORTLINE_JWT_SIGNING_KEY")?);
            keys.name_signing_key();
        }
        Ok(keys)
    }

    /// Whether no token could be verified.
    pub fn is_empty(&self) -> bool {
        self.verifying.is_empty()
    }

    /// Whether there is a key to make tokens with.
    pub fn can_sign(&self) -> bool {
        self.signing.is_some()
    }

    fn add_secret(&mut self, secret: &SecretString) -> anyhow::Result<()> {
        let secret = secret.expose_secret().as_bytes();
        ensure!(
            secret.len() >= 32,
            "SHORTLINE_JWT_SECRET has {} bytes; it must have at least 32 (try `openssl rand -hex 32`)",
            secret.len()
        );
        self.add(None, Algorithm::HS256, DecodingKey::from_secret(secret));
        self.signing = Some(SigningKey {
            key: EncodingKey::from_secret(secret),
            header: Header::new(Algorithm::HS256),
        });
        Ok(())
    }

    fn add_public_keys(&mut self, text: &str) -> anyhow::Result<()> {
        if text.trim_start().starts_with('{') {
            let set: JwkSet = serde_json::from_str(text).context("is no JWK set")?;
            for jwk in &set.keys {
                let algorithm = jwk_algorithm(jwk)?;
                let key = DecodingKey::from_jwk(jwk).context("holds a JWK that cannot be read")?;
                self.add(jwk.common.key_id.clone(), algorithm, key);
            }
        } else {
            for pem in text.split_inclusive("-----END PUBLIC KEY-----") {
                if pem.contains("-----BEGIN") {
                    let (algorithm, key) = public_key(pem)?;
                    self.add(None, algorithm, key);
                }
            }
        }
        ensure!(!self.verifying.is_empty(), "holds no public key (PEM or JWK set)");
        Ok(())
    }

    fn add(&mut self, kid: Option<String>, algorithm: Algorithm, key: DecodingKey) {
        let mut validation = Validation::new(algorithm);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.validate_aud = self.audience.is_some();
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        self.verifying.push(VerifyingKey { kid, key, validation });
    }

    /// Writes the `kid` of the only key of the signing key's algorithm into the header, so that others can choose by it.
    fn name_signing_key(&mut self) {
        if let Some(signing) = &mut self.signing {
            let mut of_kind = self
                .verifying
                .iter()
                .filter(|key| key.validation.algorithms == [signing.header.alg]);
            if let (Some(only), None) = (of_kind.next(), of_kind.next()) {
                signing.header.kid.clone_from(&only.kid);
            }
        }
    }

    /// The claims of a token that one of our keys signed and that is valid now.
    pub fn verify(&self, token: &str) -> Option<Claims> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        // RFC 7515, section 4.1.11: what must be understood is not.
        if header.crit.is_some() {
            return None;
        }
        let named = |key: &&VerifyingKey| header.kid.is_some() && key.kid == header.kid;
        let fits = |key: &&VerifyingKey| {
            key.validation.algorithms == [header.alg]
                && (header.kid.is_none() || key.kid.is_none() || named(key))
        };
        self.verifying
            .iter()
            .filter(fits)
            .find_map(|key| jsonwebtoken::decode(token, &key.key, &key.validation).ok())
            .map(|decoded| decoded.claims)
    }

    /// Makes a token of `claims`, with our issuer and audience.
    ///
    /// # Errors
    /// Where there is no key to sign with.
    pub fn sign(&self, mut claims: Claims) -> anyhow::Result<String> {
        let signing = self.signing.as_ref().context(
            "no key to sign a JWT with: set SHORTLINE_JWT_SECRET or SHORTLINE_JWT_SIGNING_KEY, or make an opaque token",
        )?;
        claims.iss.clone_from(&self.issuer);
        claims.aud.clone_from(&self.audience);
        Ok(jsonwebtoken::encode(&signing.header, &claims, &signing.key)?)
    }
}

fn jwk_algorithm(jwk: &Jwk) -> anyhow::Result<Algorithm> {
    use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve};
    Ok(match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        _ => bail!("holds a key that is neither RSA, nor P-256, nor Ed25519"),
    })
}

/// The library reads a PEM only as the kind of key that it is.
fn public_key(pem: &str) -> anyhow::Result<(Algorithm, DecodingKey)> {
    let pem = pem.as_bytes();
    DecodingKey::from_ed_pem(pem)
        .map(|key| (Algorithm::EdDSA, key))
        .or_else(|_| DecodingKey::from_ec_pem(pem).map(|key| (Algorithm::ES256, key)))
        .or_else(|_| DecodingKey::from_rsa_pem(pem).map(|key| (Algorithm::RS256, key)))
        .context("holds a PEM that is no public key of RSA, P-256 or Ed25519")
}

fn signing_key(pem: &str) -> anyhow::Result<SigningKey> {
    let pem = pem.as_bytes();
    let (algorithm, key) = EncodingKey::from_ed_pem(pem)
        .map(|key| (Algorithm::EdDSA, key))
        .or_else(|_| EncodingKey::from_ec_pem(pem).map(|key| (Algorithm::ES256, key)))
        .or_else(|_| EncodingKey::from_rsa_pem(pem).map(|key| (Algorithm::RS256, key)))
        .context("holds no private key of RSA, P-256 or Ed25519 (PEM, PKCS #8)")?;
    Ok(SigningKey { key, header: Header::new(algorithm) })
}
