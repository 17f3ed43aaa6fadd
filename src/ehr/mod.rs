//! Talking to one EHR: discovery, authorisation, search, read, create and change over FHIR R4 REST, with what servers of the field do wrong.
//!
//! It hands on bytes as received, checked against what was asked; it does not know what they mean, where they are kept, or when it is
//! called. Keys and secrets come in as parameters ([`auth::Signer`], [`Credential`]), as do time and randomness. No message holds a
//! path, a query or a body: they may name a patient.

pub mod auth;
pub mod bulk;
pub mod capability;
pub mod change;
pub mod check;
pub mod client;
pub mod connection;
pub mod create;
pub mod date;
pub mod discovery;
pub mod error;
pub mod invitation;
pub mod launch;
pub mod limits;
pub mod misread;
pub mod pace;
pub mod plan;
pub mod profile;
pub mod reads;
pub mod retry;
pub mod search;
pub mod statement;
pub mod subscription;
pub mod vendor;
mod wire;

pub use capability::Capability;
pub use change::ChangeOutcome;
pub use client::{Client, ReadOutcome};
pub use connection::{ConnectError, Connection, Credential, Parts, Wallet};
pub use create::{CreateOutcome, Refusal, Written};
pub use error::EhrError;
pub use limits::Limits;
pub use pace::{Paces, Pacing, Rate};
pub use plan::{Plan, TypePlan};
pub use profile::Profile;
pub use search::{Entry, Page, Pages, Search};
pub use statement::Statement;

// Whoever connects an EHR hands secrets in, and may not import `net`.
pub use crate::net::Secret;

/// A source of random bytes. What comes of it (`jti`, jitter) must differ between processes, so it must be the system's in production.
pub trait Entropy: Send + Sync {
    /// Fills the buffer.
    fn fill(&self, bytes: &mut [u8]);
}
