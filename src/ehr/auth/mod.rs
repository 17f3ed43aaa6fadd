//! Getting in: client credentials with a signed assertion (SMART Backend Services) or a secret, what a person granted, or a static token.
//!
//! Where keys, tokens and grants live is not known here: whoever connects passes a [`Signer`] or [`Keyring`], and a [`Keeper`].

pub mod assertion;
pub mod authorize;
pub mod client;
pub mod context;
pub mod exchange;
pub mod keeper;
mod purse;
pub mod scope;
pub mod tokens;

use serde::{Deserialize, Serialize};

pub use exchange::{SecretMethod, TokenError, TokenGrant};
pub use keeper::{Keeper, Keyring};
pub use scope::{Dialect, Granted, Level, Need, Ops, Purpose};
pub use tokens::{Access, Tokens};

/// The signature algorithms: the two that SMART asks of every client (client-confidential-asymmetric, "Authenticating to the token endpoint"), and the
/// two that authorization servers for any purpose take, some of them nothing else (RFC 7518, 3.1, "Recommended").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-384. Taken by every EHR seen.
    #[serde(rename = "RS384")]
    Rs384,
    /// ECDSA on P-384 with SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rs384, Self::Es384, Self::Rs256, Self::Es256];

    /// The name in a JWT header (RFC 7518, 3.1).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs384 => "RS384",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == name)
    }
}

/// A private key that signs client assertions.
pub trait Signer: Send + Sync {
    /// What it signs with.
    fn algorithm(&self) -> Algorithm;
    /// The `kid` under which its public half is published.
    fn key_id(&self) -> &str;
    /// Signs; the result is in JWS form (RFC 7518, 3.3 and 3.4).
    ///
    /// # Errors
    /// [`SigningFailed`], which does not happen with an intact key.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed>;
}

/// The key could not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signing key could not sign; check it with a new key")]
pub struct SigningFailed;
