//! Signing keys: made here, sealed at rest, public as a JWK whose `kid` is its RFC 7638 thumbprint (so a new key always has a new
//! `kid`, which servers that cache key sets for ever depend on; standards.md B.3).
//!
//! RS384 is taken by every EHR seen, ES384 by most: RS384 is the default. Authorization servers that were not made for EHRs may take RS256 and
//! ES256 only.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair, RsaKeyPair,
};
use rsa::pkcs8::EncodePrivateKey;
use serde_json::{Value, json};

use super::sealing::{MasterKey, SealError};
use crate::ehr::auth::{Algorithm, Signer, SigningFailed};

/// Bits of a new RSA key: what all EHRs take, and enough until 2030 (NIST SP 800-57 part 1, table 2).
const RSA_BITS: usize = 2048;

/// A key as it is stored. Nothing in it is secret without the master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key's id in assertions and in the key set.
    pub kid: String,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// The private key: PKCS#8 DER, sealed with the `kid` as label.
    pub sealed: Vec<u8>,
    /// The public key: a JWK, JSON.
    pub public_jwk: String,
}

/// A key opened for signing.
pub struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
}

/// Why a key could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key could not be generated.
    #[error("a key could not be generated")]
    Generate,
    /// The stored key could not be unsealed.
    #[error("signing key {kid}")]
    Sealed {
        /// Which.
        kid: String,
        #[source]
        source: SealError,
    },
    /// What was unsealed is not a key of that kind.
    #[error("signing key {0} is damaged: what was unsealed is not a private key of its algorithm")]
    Damaged(String),
}

/// Makes a new key and seals it. Takes up to a second or two for RSA: call it off the async threads.
///
/// # Errors
/// [`KeyError`].
pub fn generate(algorithm: Algorithm, master: &MasterKey) -> Result<KeyRecord, KeyError> {
    let pkcs8 = match algorithm {
        Algorithm::Rs384 | Algorithm::Rs256 => {
            let key = rsa::RsaPrivateKey::new(&mut SystemRng(SystemRandom::new()), RSA_BITS).map_err(|_| KeyError::Generate)?;
            key.to_pkcs8_der().map_err(|_| KeyError::Generate)?.as_bytes().to_vec()
        }
        Algorithm::Es384 | Algorithm::Es256 => {
            EcdsaKeyPair::generate_pkcs8(curve(algorithm).signing, &SystemRandom::new()).map_err(|_| KeyError::Generate)?.as_ref().to_vec()
        }
    };
    let pair = Pair::read(algorithm, &pkcs8).ok_or(KeyError::Generate)?;
    let required = pair.required_members(algorithm).ok_or(KeyError::Generate)?;
    let kid = thumbprint(&required);
    let sealed = master.seal(&kid, &pkcs8).map_err(|source| KeyError::Sealed { kid: kid.clone(), source })?;
    Ok(KeyRecord { public_jwk: public_jwk(required, &kid, algorithm), kid, algorithm, sealed })
}

impl KeyRecord {
    /// Opens the key for signing.
    ///
    /// # Errors
    /// [`KeyError`] where the master key is another or the record is damaged.
    pub fn open(&self, master: &MasterKey) -> Result<SigningKey, KeyError> {
        let pkcs8 = master.open(&self.kid, &self.sealed).map_err(|source| KeyError::Sealed { kid: self.kid.clone(), source })?;
        let pair = Pair::read(self.algorithm, &pkcs8).ok_or_else(|| KeyError::Damaged(self.kid.clone()))?;
        Ok(SigningKey { kid: self.kid.clone(), algorithm: self.algorithm, pair })
    }
}

impl Signer for SigningKey {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn key_id(&self) -> &str {
        &self.kid
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let padding = if self.algorithm == Algorithm::Rs256 { &signature::RSA_PKCS1_SHA256 } else { &signature::RSA_PKCS1_SHA384 };
                pair.sign(padding, &random, message, &mut signature).map_err(|_| SigningFailed)?;
                Ok(signature)
            }
            Pair::Ec(pair) => pair.sign(&random, message).map(|s| s.as_ref().to_vec()).map_err(|_| SigningFailed),
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl Pair {
    fn read(algorithm: Algorithm, pkcs8: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Rs384 | Algorithm::Rs256 => RsaKeyPair::from_pkcs8(pkcs8).ok().map(Box::new).map(Self::Rsa),
            Algorithm::Es384 | Algorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(curve(algorithm).signing, pkcs8, &SystemRandom::new()).ok().map(Box::new).map(Self::Ec)
            }
        }
    }

    /// The members that make the key what it is, and nothing else (RFC 7638, 3.2).
    fn required_members(&self, algorithm: Algorithm) -> Option<Members> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes).into();
        Some(match self {
            Self::Rsa(pair) => {
                let public = signature::RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                Members::from([("kty", "RSA".into()), ("n", text(&public.n)), ("e", text(&public.e))])
            }
            Self::Ec(pair) => {
                // SEC 1, 2.3.3: 4, then x and y of as many bytes each.
                let curve = curve(algorithm);
                let (x, y) = pair.public_key().as_ref().strip_prefix(&[4])?.split_at_checked(curve.bytes)?;
                Members::from([("kty", "EC".into()), ("crv", curve.name.into()), ("x", text(x)), ("y", text(y))])
            }
        })
    }
}

/// A curve: its name in a JWK (RFC 7518, 6.2.1.1), and the bytes of a coordinate.
struct Curve {
    name: &'static str,
    bytes: usize,
    signing: &'static EcdsaSigningAlgorithm,
}

const fn curve(algorithm: Algorithm) -> Curve {
    match algorithm {
        Algorithm::Es256 => Curve { name: "P-256", bytes: 32, signing: &ECDSA_P256_SHA256_FIXED_SIGNING },
        Algorithm::Es384 | Algorithm::Rs256 | Algorithm::Rs384 => {
            Curve { name: "P-384", bytes: 48, signing: &ECDSA_P384_SHA384_FIXED_SIGNING }
        }
    }
}

/// Members of a JWK, in lexical order: the thumbprint depends on it.
type Members = BTreeMap<&'static str, Value>;

/// RFC 7638: SHA-256 over the required members in lexical order, without white space.
fn thumbprint(required: &Members) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, json!(required).to_string().as_bytes()))
}

fn public_jwk(mut members: Members, kid: &str, algorithm: Algorithm) -> String {
    members.insert("kid", kid.into());
    members.insert("alg", algorithm.as_str().into());
    members.insert("use", "sig".into());
    members.insert("key_ops", json!(["verify"]));
    json!(members).to_string()
}

/// The system's randomness in the form that the RSA key generator takes.
struct SystemRng(SystemRandom);

impl rsa::rand_core::RngCore for SystemRng {
    fn next_u32(&mut self) -> u32 {
        rsa::rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rsa::rand_core::impls::next_u64_via_fill(self)
    }

    #[expect(clippy::expect_used, reason = "a key made without randomness must never be: there is no way on")]
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.try_fill_bytes(dest).expect("the system gives random bytes");
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.0.fill(dest).map_err(|_| rsa::rand_core::Error::new("the system gives no random bytes"))
    }
}

impl rsa::rand_core::CryptoRng for SystemRng {}

#[cfg(test)]
mod tests {
    use super::*;

    fn master() -> MasterKey {
        MasterKey::parse(&MasterKey::generate().unwrap()).unwrap()
    }

    fn member(record: &KeyRecord, name: &str) -> Vec<u8> {
        let jwk: Value = serde_json::from_str(&record.public_jwk).unwrap();
        URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap()
    }

    #[test]
    fn a_signature_verifies_with_the_published_key() {
        let master = master();
        let jwk = |record: &KeyRecord| serde_json::from_str::<Value>(&record.public_jwk).unwrap();
        for (algorithm, checked) in
            [(Algorithm::Rs384, &signature::RSA_PKCS1_2048_8192_SHA384), (Algorithm::Rs256, &signature::RSA_PKCS1_2048_8192_SHA256)]
        {
            let record = generate(algorithm, &master).unwrap();
            let key = record.open(&master).unwrap();
            let signature = key.sign(b"message").unwrap();
            let public = signature::RsaPublicKeyComponents { n: member(&record, "n"), e: member(&record, "e") };
            public.verify(checked, b"message", &signature).unwrap();
            assert!(public.verify(checked, b"other", &signature).is_err());
            assert_eq!((key.algorithm(), jwk(&record)["alg"].as_str()), (algorithm, Some(algorithm.as_str())));
        }
        for (algorithm, checked, curve, bytes) in [
            (Algorithm::Es384, &signature::ECDSA_P384_SHA384_FIXED, "P-384", 96),
            (Algorithm::Es256, &signature::ECDSA_P256_SHA256_FIXED, "P-256", 64),
        ] {
            let record = generate(algorithm, &master).unwrap();
            let key = record.open(&master).unwrap();
            let signature = key.sign(b"message").unwrap();
            assert_eq!(signature.len(), bytes, "JWS wants r and s side by side (RFC 7518, 3.4), not DER");
            let point = [&[4][..], &member(&record, "x"), &member(&record, "y")].concat();
            signature::UnparsedPublicKey::new(checked, point).verify(b"message", &signature).unwrap();
            assert_eq!((key.algorithm(), jwk(&record)["crv"].as_str()), (algorithm, Some(curve)));
        }
    }

    #[test]
    fn a_record_shows_no_private_member_and_opens_only_with_its_master_key() {
        let (ours, other) = (master(), master());
        let record = generate(Algorithm::Es384, &ours).unwrap();
        let jwk: Value = serde_json::from_str(&record.public_jwk).unwrap();
        let names: Vec<&String> = jwk.as_object().unwrap().keys().collect();
        assert_eq!(names, ["alg", "crv", "key_ops", "kid", "kty", "use", "x", "y"]);
        assert!(matches!(record.open(&other), Err(KeyError::Sealed { .. })));
        let swapped = KeyRecord { kid: "another".into(), ..record };
        assert!(swapped.open(&ours).is_err(), "a sealed key was taken under another kid");
    }

    #[test]
    fn the_kid_is_the_thumbprint_of_rfc_7638() {
        // The example of RFC 7638, section 3.1.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn6\
                 4tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n9\
                 1CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let members = Members::from([("kty", "RSA".into()), ("n", n.into()), ("e", "AQAB".into())]);
        assert_eq!(thumbprint(&members), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
