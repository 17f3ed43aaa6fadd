//! What proves that this gateway is who it says: signing keys, their public set, and the secrets that configuration points to.
//!
//! A private key is kept only sealed by a master key, which comes from `env:` or `file:` and is never in the database. Signing is
//! behind `ehr::auth::Signer`, so that the EHR client knows nothing of where keys live.

pub mod jwks;
pub mod keys;
pub mod sealing;
pub mod secret;

pub use keys::{KeyRecord, SigningKey};
pub use sealing::MasterKey;
pub use secret::SecretRef;
