//! The keys that tokens are signed with, each with its algorithms.
//!
//! Must not know claims or time. Invariants: a key checks only signatures of its own kind, whatever
//! a token's header asks for; every key was fully parsed at the start; no key reaches a log or
//! `Debug`.

use super::{Flaw, Token};
use crate::work::cost;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey, Header, crypto};
use rustls_pki_types::pem::{PemObject, SectionKind};

/// Most keys of one server. More is a mistake in a file.
const KEYS: usize = 64;

/// The configuration's name of the secrets.
const SECRET: &str = "client.token_hmac_secret";
const OLD_SECRETS: &str = "client.token_hmac_secrets_old";

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
/// Bytes of an RSA key's modulus.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;
const RSA: &[Algorithm] = &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];

/// The configured texts of keys; an empty one has no keys.
#[derive(Clone, Default)]
pub struct KeyOptions {
    /// Secrets of HS256, HS384 and HS512: the current one, then earlier ones.
    pub hmac_secrets: Vec<Vec<u8>>,
    /// PEM texts with public keys of RS256, RS384 and RS512.
    pub rsa: String,
    /// PEM texts with public keys of ES256 (curve P-256) and ES384 (P-384).
    pub ecdsa: String,
    /// PEM texts with public keys of `EdDSA` (Ed25519).
    pub ed25519: String,
    /// A JSON Web Key Set (RFC 7517).
    pub jwks: String,
}

/// A key that cannot be used: its configuration key, and why. Never the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError {
    pub key: &'static str,
    pub rule: String,
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.key, self.rule)
    }
}

/// One key.
#[derive(Clone)]
pub struct Key {
    /// The configuration key that it comes from.
    source: &'static str,
    /// Its name. A key with a name checks only tokens that name it.
    kid: Option<Box<str>>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// All keys of a server.
#[derive(Clone, Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Reads every key.
    ///
    /// # Errors
    /// Every key that cannot be used.
    pub fn new(options: &KeyOptions) -> Result<Keys, Vec<KeyError>> {
        let mut keys = Vec::new();
        let mut errors = Vec::new();
        for (index, secret) in options.hmac_secrets.iter().enumerate() {
            let source = if index == 0 { SECRET } else { OLD_SECRETS };
            if !secret.is_empty() {
                keys.push(Key { source, ..unnamed(HMAC, DecodingKey::from_secret(secret)) });
            }
        }
        let mut add = |source, read: Result<Vec<Key>, String>| match read {
            Ok(read) => keys.extend(read.into_iter().map(|key| Key { source, ..key })),
            Err(rule) => errors.push(KeyError { key: source, rule }),
        };
        add("client.token_rsa_public_key", pem(&options.rsa, rsa_key));
        add("client.token_ecdsa_public_key", pem(&options.ecdsa, ecdsa));
        add("client.token_ed25519_public_key", pem(&options.ed25519, ed25519));
        add("client.token_jwks_file", jwks(&options.jwks));
        if keys.len() > KEYS {
            let rule = format!("there are {} keys; at most {KEYS}", keys.len());
            errors.push(KeyError { key: "client.token_*", rule });
        }
        if errors.is_empty() { Ok(Keys(keys)) } else { Err(errors) }
    }

    /// The keys that a token with this header may be signed with, in the order in which they are
    /// tried.
    pub fn fitting<'a>(&'a self, header: &'a Header) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(|key| {
            let named = key.kid.as_deref();
            key.algorithms.contains(&header.alg)
                && (named.is_none() || named == header.kid.as_deref())
        })
    }

    /// Is checking such a token slow, because a public key has to be tried?
    pub fn are_slow(&self, header: &Header) -> bool {
        !HMAC.contains(&header.alg) && self.fitting(header).next().is_some()
    }

    /// Is there any key whose signatures are slow to check?
    pub fn has_slow(&self) -> bool {
        self.0.iter().any(|key| !HMAC.contains(&key.algorithms[0]))
    }

    /// Describes a token whose signature matches none of its keys.
    pub fn flaw(&self, header: &Header) -> Flaw {
        let mut fitting = self.fitting(header);
        match fitting.next() {
            None => Flaw::NoKey(header.alg),
            Some(key) => Flaw::Signature { key: key.source, others: fitting.count() },
        }
    }
}

impl Key {
    /// Is the token signed with this key?
    pub fn has_signed(&self, token: &Token<'_>) -> bool {
        let (signature, message) = (token.signature, token.message.as_bytes());
        crypto::verify(signature, message, &self.key, token.header.alg) == Ok(true)
    }

    /// The cost of checking that, in nanoseconds.
    pub fn cost_ns(&self, token_bytes: usize) -> usize {
        let of_key = match self.algorithms[0] {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => cost::KEY_HMAC,
            Algorithm::ES256 => cost::KEY_P256,
            Algorithm::ES384 => cost::KEY_P384,
            Algorithm::EdDSA => cost::KEY_ED25519,
            _ => cost::KEY_RSA,
        };
        of_key + token_bytes * cost::TOKEN_BYTE
    }
}

fn unnamed(algorithms: &[Algorithm], key: DecodingKey) -> Key {
    Key { source: "", kid: None, algorithms: algorithms.to_vec(), key }
}

/// Reads the public keys of a PEM text: subject public key infos (RFC 7468 section 13).
fn pem(text: &str, read: fn(&[u8]) -> Result<Key, String>) -> Result<Vec<Key>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut keys = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        match section {
            Ok((SectionKind::PublicKey, der)) => keys.push(read(&der)?),
            Ok((SectionKind::Certificate, _)) => {
                return Err("is a certificate: give its public key alone".into());
            }
            Ok((kind, _)) if is_private(kind) => {
                return Err("is a private key: give the public one".into());
            }
            Ok(_) | Err(_) => return Err("is not PEM with public keys".into()),
        }
    }
    if keys.is_empty() {
        return Err("holds no \"BEGIN PUBLIC KEY\"".into());
    }
    Ok(keys)
}

fn is_private(kind: SectionKind) -> bool {
    let private = [SectionKind::PrivateKey, SectionKind::RsaPrivateKey, SectionKind::EcPrivateKey];
    private.contains(&kind)
}

fn is_key(algorithm: &'static dyn VerificationAlgorithm, der: &[u8]) -> bool {
    ParsedPublicKey::new(algorithm, der).is_ok()
}

fn rsa_key(der: &[u8]) -> Result<Key, String> {
    // The library checks the size only when it verifies a signature.
    if rsa::PublicKey::from_der(der).is_ok_and(|key| RSA_BYTES.contains(&key.modulus_len())) {
        return Ok(unnamed(RSA, DecodingKey::from_rsa_der(der)));
    }
    Err("is not an RSA key of 2048 to 8192 bits".into())
}

fn ecdsa(der: &[u8]) -> Result<Key, String> {
    let key = DecodingKey::from_ec_der(der);
    if is_key(&ECDSA_P256_SHA256_FIXED, der) {
        return Ok(unnamed(&[Algorithm::ES256], key));
    }
    if is_key(&ECDSA_P384_SHA384_FIXED, der) {
        return Ok(unnamed(&[Algorithm::ES384], key));
    }
    Err("is not a key on curve P-256 or P-384".into())
}

fn ed25519(der: &[u8]) -> Result<Key, String> {
    if is_key(&ED25519, der) {
        return Ok(unnamed(&[Algorithm::EdDSA], DecodingKey::from_ed_der(der)));
    }
    Err("is not an Ed25519 key".into())
}

/// Reads a key set. Keys for other purposes or of unknown kinds are skipped (RFC 7517 section 5); a
/// broken key for signatures is an error.
fn jwks(text: &str) -> Result<Vec<Key>, String> {
    #[derive(serde::Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let set: Set = serde_json::from_str(text)
        .map_err(|error| format!("is not a JWK set: {}", place(&error)))?;
    let mut keys = Vec::new();
    for (index, value) in set.keys.into_iter().enumerate() {
        let wrong = |rule: &str| format!("key {} {rule}", index + 1);
        let jwk: Jwk = serde_json::from_value(value).map_err(|_| wrong("is not a JWK"))?;
        let Some(algorithms) = algorithms(&jwk).filter(|_| is_for_signatures(&jwk)) else {
            continue;
        };
        let key = decoding_key(&jwk).ok_or_else(|| wrong("is broken, or too short"))?;
        keys.push(Key { source: "", kid: jwk.common.key_id.map(Box::from), algorithms, key });
    }
    if keys.is_empty() {
        return Err("holds no key for signatures of a kind that is known".into());
    }
    Ok(keys)
}

/// May the key be used for signatures, by what it says itself?
fn is_for_signatures(jwk: &Jwk) -> bool {
    let of_them = |it: &KeyOperations| matches!(it, KeyOperations::Verify | KeyOperations::Sign);
    let common = &jwk.common;
    common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|all| all.iter().any(of_them))
}

/// Where JSON is wrong, without quoting it.
fn place(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

/// The algorithms of a key: the one that it names, else those of its kind. `None`: not supported.
fn algorithms(jwk: &Jwk) -> Option<Vec<Algorithm>> {
    let of_kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(_) => HMAC,
        AlgorithmParameters::RSA(_) => RSA,
        AlgorithmParameters::EllipticCurve(it) if it.curve == EllipticCurve::P256 => {
            &[Algorithm::ES256]
        }
        AlgorithmParameters::EllipticCurve(it) if it.curve == EllipticCurve::P384 => {
            &[Algorithm::ES384]
        }
        AlgorithmParameters::OctetKeyPair(it) if it.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        _ => return None,
    };
    let named = |algorithm: &&Algorithm| {
        jwk.common.key_algorithm.is_none_or(|name| name == KeyAlgorithm::from(**algorithm))
    };
    let algorithms: Vec<Algorithm> = of_kind.iter().filter(named).copied().collect();
    (!algorithms.is_empty()).then_some(algorithms)
}

fn decoding_key(jwk: &Jwk) -> Option<DecodingKey> {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let sound = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(it) => !bytes(&it.value)?.is_empty(),
        AlgorithmParameters::RSA(it) => {
            let key = RsaPublicKeyComponents { n: bytes(&it.n)?, e: bytes(&it.e)? };
            RSA_BYTES.contains(&key.n.len())
                && key.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).is_ok()
        }
        AlgorithmParameters::EllipticCurve(it) => {
            let point = [vec![4], bytes(&it.x)?, bytes(&it.y)?].concat();
            is_key(&ECDSA_P256_SHA256_FIXED, &point) || is_key(&ECDSA_P384_SHA384_FIXED, &point)
        }
        AlgorithmParameters::OctetKeyPair(it) => is_key(&ED25519, &bytes(&it.x)?),
        _ => false,
    };
    if sound { DecodingKey::from_jwk(jwk).ok() } else { None }
}
