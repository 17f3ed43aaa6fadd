//! What proves that this gateway is who it says: signing keys and their rotation, their public set, the secrets that configuration points
//! to, and the tokens and grants that all nodes share.
//!
//! A private key is kept only sealed by a master key, which comes from `env:` or `file:` and is never in the database. Signing is
//! behind `ehr::auth::Signer`, so that the EHR client knows nothing of where keys live.

pub mod expiry;
pub mod jwks;
pub mod keys;
pub mod ring;
pub mod sealing;
pub mod secret;
pub mod vault;

pub use expiry::{Expiry, expiries};
pub use keys::{KeyRecord, SigningKey};
pub use ring::Ring;
pub use sealing::MasterKey;
pub use secret::SecretRef;
pub use vault::Vault;
