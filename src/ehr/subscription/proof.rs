//! Whether a notification comes from whom it was asked of: a random token in its address, and a secret in a header or a signature over the
//! body (standards.md D.7, "Security"; WebSub, "Signing content"). Compared in constant time.

use ring::hmac;
use serde::{Deserialize, Serialize};

use super::Manner;
use crate::ehr::{Entropy, Secret};

/// Bytes of a token or a secret.
const BYTES: usize = 32;

/// What an address is found by, and what shows who calls.
#[derive(Serialize, Deserialize)]
pub struct Proof {
    token: String,
    secret: String,
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proof")
    }
}

impl Proof {
    /// A new one.
    #[must_use]
    pub fn new(entropy: &dyn Entropy) -> Self {
        let text = || {
            let mut bytes = [0; BYTES];
            entropy.fill(&mut bytes);
            hex(&bytes)
        };
        Self { token: text(), secret: text() }
    }

    /// As it is sealed.
    #[must_use]
    pub fn to_secret(&self) -> Secret {
        Secret::new(format!("{} {}", self.token, self.secret))
    }

    /// As it was sealed.
    #[must_use]
    pub fn from_secret(secret: &Secret) -> Option<Self> {
        let (token, secret) = secret.expose().split_once(' ')?;
        Some(Self { token: token.to_owned(), secret: secret.to_owned() })
    }

    /// The end of the address.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The hash by which a token is found.
    #[must_use]
    pub fn hash(token: &str) -> String {
        blake3::hash(token.as_bytes()).to_hex().to_string()
    }

    /// What the EHR is given.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Whether a notification shows it: `Authorization: Bearer SECRET`, or `X-Hub-Signature: sha256=HEX` over the body.
    #[must_use]
    pub fn holds(&self, manner: Manner, authorization: Option<&str>, signature: Option<&str>, body: &[u8]) -> bool {
        match manner {
            Manner::RestHook | Manner::Topic => {
                let shown = authorization.and_then(|a| a.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
                // Comparing two blake3 hashes takes the same time wherever they differ.
                shown.is_some_and(|(_, shown)| blake3::hash(shown.trim().as_bytes()) == blake3::hash(self.secret.as_bytes()))
            }
            Manner::Signed => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
                let tag = signature.and_then(|s| s.trim().strip_prefix("sha256=")).and_then(unhex);
                tag.is_some_and(|tag| hmac::verify(&key, body, &tag).is_ok())
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    (text.len() == 64).then(|| text.as_bytes().chunks(2).map(pair).collect::<Option<Vec<u8>>>()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_knows_the_secret_is_believed() {
        // RFC 4231, test case 2.
        let proof = Proof { token: "t".to_owned(), secret: "Jefe".to_owned() };
        let body = b"what do ya want for nothing?";
        let right = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert!(proof.holds(Manner::Signed, None, Some(right), body));
        for wrong in [None, Some(""), Some("sha256="), Some(&right[7..]), Some("sha1=00"), Some(&right.replace('5', "6") as &str)] {
            assert!(!proof.holds(Manner::Signed, Some("Bearer Jefe"), wrong, body), "{wrong:?}");
        }
        assert!(!proof.holds(Manner::Signed, None, Some(right), b"another body"));
        for manner in [Manner::RestHook, Manner::Topic] {
            assert!(proof.holds(manner, Some("Bearer Jefe"), None, body) && proof.holds(manner, Some("bearer  Jefe"), None, b""));
            for wrong in [None, Some(""), Some("Jefe"), Some("Bearer "), Some("Bearer jefe"), Some("Basic Jefe")] {
                assert!(!proof.holds(manner, wrong, Some(right), body), "{wrong:?}");
            }
        }
        let kept = Proof::from_secret(&proof.to_secret()).unwrap();
        assert_eq!((kept.token(), kept.secret()), ("t", "Jefe"));
    }
}
