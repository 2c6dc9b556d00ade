//! Makes tokens, for operators and tests; the server itself makes none.
//!
//! Must not know what claims mean. Invariant: a private key is never shown, even if it is invalid.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RsaKeyPair, RsaSignatureEncoding,
};
use aws_lc_rs::{error::Unspecified, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily, Header};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

/// A key that signs.
pub struct Signer {
    algorithm: Algorithm,
    key: Key,
}

enum Key {
    Hmac(Box<hmac::Key>),
    Rsa(RsaKeyPair, &'static RsaSignatureEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    /// Signs with a secret; `algorithm` is HS256, HS384 or HS512.
    ///
    /// # Errors
    /// If the algorithm is another.
    pub fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Signer, String> {
        let hash = match algorithm {
            Algorithm::HS256 => hmac::HMAC_SHA256,
            Algorithm::HS384 => hmac::HMAC_SHA384,
            Algorithm::HS512 => hmac::HMAC_SHA512,
            other => return Err(format!("{other:?} needs a private key, not a secret")),
        };
        Ok(Signer { algorithm, key: Key::Hmac(Box::new(hmac::Key::new(hash, secret))) })
    }

    /// Signs with a private key in PEM (PKCS #8, PKCS #1 or SEC 1). Without an algorithm it uses
    /// the key's own, RS256 for RSA.
    ///
    /// # Errors
    /// If there is no such key, or it is for another algorithm.
    pub fn from_pem(algorithm: Option<Algorithm>, pem: &[u8]) -> Result<Signer, String> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "holds no private key in PEM")?;
        let (found, key) =
            read(&der, algorithm).ok_or("holds no RSA, P-256, P-384, Ed25519 key")?;
        match algorithm {
            Some(wanted) if wanted != found => {
                Err(format!("is a key of {found:?}, not {wanted:?}"))
            }
            _ => Ok(Signer { algorithm: found, key }),
        }
    }

    /// A token with these claims, a JSON object.
    ///
    /// # Errors
    /// If the library cannot sign.
    pub fn sign(&self, kid: Option<&str>, claims: &str) -> Result<String, Unspecified> {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(self.algorithm) };
        let header = serde_json::to_vec(&header).map_err(|_| Unspecified)?;
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(claims));
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }

    /// The signature of any bytes.
    ///
    /// # Errors
    /// If the library cannot sign.
    pub fn signature(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        Ok(match &self.key {
            Key::Hmac(key) => hmac::sign(key, message).as_ref().to_vec(),
            Key::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Key::Ecdsa(pair) => pair.sign(&random, message)?.as_ref().to_vec(),
            Key::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)?;
                signature
            }
        })
    }
}

fn read(der: &PrivateKeyDer<'_>, wanted: Option<Algorithm>) -> Option<(Algorithm, Key)> {
    let rsa = |pair| {
        let of_rsa = wanted.filter(|wanted| wanted.family() == AlgorithmFamily::Rsa);
        let (algorithm, encoding) = match of_rsa {
            Some(Algorithm::RS384) => (Algorithm::RS384, &RSA_PKCS1_SHA384),
            Some(Algorithm::RS512) => (Algorithm::RS512, &RSA_PKCS1_SHA512),
            _ => (Algorithm::RS256, &RSA_PKCS1_SHA256),
        };
        (algorithm, Key::Rsa(pair, encoding))
    };
    let curves: [(Algorithm, &'static EcdsaSigningAlgorithm); 2] = [
        (Algorithm::ES256, &ECDSA_P256_SHA256_FIXED_SIGNING),
        (Algorithm::ES384, &ECDSA_P384_SHA384_FIXED_SIGNING),
    ];
    let bytes = der.secret_der();
    match der {
        PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(bytes).ok().map(rsa),
        PrivateKeyDer::Sec1(_) => curves.into_iter().find_map(|(algorithm, curve)| {
            let pair = EcdsaKeyPair::from_private_key_der(curve, bytes).ok()?;
            Some((algorithm, Key::Ecdsa(pair)))
        }),
        _ => {
            let of_curve = curves.into_iter().find_map(|(algorithm, curve)| {
                let pair = EcdsaKeyPair::from_pkcs8(curve, bytes).ok()?;
                Some((algorithm, Key::Ecdsa(pair)))
            });
            let ed25519 = || {
                let pair = Ed25519KeyPair::from_pkcs8(bytes).ok()?;
                Some((Algorithm::EdDSA, Key::Ed25519(pair)))
            };
            of_curve.or_else(ed25519).or_else(|| RsaKeyPair::from_pkcs8(bytes).ok().map(rsa))
        }
    }
}
