//! What a client of an EHR needs from outside to share with other nodes: its tokens, what persons granted, and which key is in turn. How
//! and where these are kept is not known here.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;

use domain::Timestamp;

use super::Signer;
use super::scope::Need;
use crate::net::Secret;

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptToken {
    /// The bearer token.
    pub token: Secret,
    /// What it allows, as [`super::Granted`] writes it.
    pub allows: String,
    /// What to ask for since the whole was refused, and since when.
    pub reduced: Option<(Vec<Need>, Timestamp)>,
    /// From when on it is not used any more.
    pub renew_at: Timestamp,
}

/// What a person granted, as it is kept.
#[derive(Clone, Debug)]
pub struct KeptGrant {
    /// The refresh token.
    pub refresh: Secret,
    /// Names the state that was read.
    pub revision: i64,
    /// An earlier refresh was begun, and its outcome was never stored.
    pub cut_off: bool,
    /// Why it is lost, where it is.
    pub lost: Option<String>,
    /// What was granted last.
    pub scope: String,
}

/// The outcome of a refresh, or of a grant.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// The refresh token to use from now on.
    pub refresh: Secret,
    /// What was granted.
    pub scope: String,
    /// When the refresh token ends, where told.
    pub expires_at: Option<Timestamp>,
    /// The slot of the access token that came with it, and the token.
    pub access: Option<(String, KeptToken)>,
}

/// The keeper could not do it; in words, without a secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeeperFailed(pub String);

/// A turn to ask a token endpoint: nobody else has it until this value is dropped.
pub type Turn = Box<dyn Any + Send>;

/// An answer in the making.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, KeeperFailed>> + Send + 'a>>;

/// Keeps the tokens and grants of one EHR for all nodes.
pub trait Keeper: Send + Sync {
    /// The token of a slot, also one whose time has come: it tells what was granted last.
    fn token<'a>(&'a self, slot: &'a str) -> Answering<'a, Option<KeptToken>>;
    /// The turn to get what is in a slot; `None` where another node has it.
    fn turn<'a>(&'a self, slot: &'a str) -> Answering<'a, Option<Turn>>;
    /// Keeps a token.
    fn keep<'a>(&'a self, slot: &'a str, token: &'a KeptToken) -> Answering<'a, ()>;
    /// Throws a token away, where it is still the one that is kept.
    fn forget<'a>(&'a self, slot: &'a str, token: &'a Secret) -> Answering<'a, ()>;
    /// What a person granted to a credential.
    fn grant<'a>(&'a self, name: &'a str) -> Answering<'a, Option<KeptGrant>>;
    /// Says that a refresh begins, before anything is sent; the revision that it has then. `None` where the grant was changed meanwhile.
    fn begin<'a>(&'a self, name: &'a str, revision: i64) -> Answering<'a, Option<i64>>;
    /// Keeps the outcome of a refresh. It is durable when this ends, and nothing of it may be used before. `false` where the grant was
    /// changed meanwhile.
    fn refreshed<'a>(&'a self, name: &'a str, revision: i64, outcome: &'a Refreshed) -> Answering<'a, bool>;
    /// Says that a refresh brought nothing; `lost` where the EHR no longer takes the token.
    fn unrefreshed<'a>(&'a self, name: &'a str, revision: i64, lost: Option<&'a str>) -> Answering<'a, ()>;
}

/// The signing keys of one credential, as far as their rotation is.
pub trait Keyring: Send + Sync {
    /// Looks how the keys stand, before they are asked for: another node may have moved the rotation on since.
    fn renew<'a>(&'a self) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
    /// The key to sign with.
    fn current(&self) -> Arc<dyn Signer>;
    /// The key that is to be tried before it, where one is due.
    fn next(&self, now: Timestamp) -> Option<Arc<dyn Signer>>;
    /// The key that was in use before, while the EHR may still know it and not yet the current one.
    fn before(&self, now: Timestamp) -> Option<Arc<dyn Signer>>;
    /// The EHR gave a token for an assertion of this key.
    fn accepted<'a>(&'a self, kid: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
    /// The EHR refused an assertion of this key, and then took one of another key.
    fn refused<'a>(&'a self, kid: &'a str, told: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// One key, and no other.
pub struct OneKey(pub Arc<dyn Signer>);

impl Keyring for OneKey {
    fn renew<'a>(&'a self) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(std::future::ready(()))
    }

    fn current(&self) -> Arc<dyn Signer> {
        Arc::clone(&self.0)
    }

    fn next(&self, _: Timestamp) -> Option<Arc<dyn Signer>> {
        None
    }

    fn before(&self, _: Timestamp) -> Option<Arc<dyn Signer>> {
        None
    }

    fn accepted<'a>(&'a self, _: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(std::future::ready(()))
    }

    fn refused<'a>(&'a self, _: &'a str, _: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(std::future::ready(()))
    }
}
