//! The keys of one credential at one EHR, and how their rotation goes on by what the EHR says (standards.md B.3).
//!
//! A new key is published first. Once servers must have fetched the key set anew, it is tried where a token is needed anyway. Taken, it is
//! current and the old one retires; refused, the old one signs at once and the new one is tried again later, each time longer after, and
//! given up in the end. A server that drops a new key that it took before gets the old one back while that is still published.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use domain::{Clock, Timestamp};

use super::keys::{KeyError, KeyRecord};
use super::sealing::MasterKey;
use crate::ehr::auth::{Algorithm, Keyring, Signer};
use crate::store::ehr_keys::{self, At, EhrKey, Refused};
use crate::store::{Store, StoreError, keys};

/// After so many refusals a new key is not tried any more.
pub const REFUSALS: i64 = 5;
/// The longest time between two tries.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(24);
/// How long an assertion may live (SMART client-confidential-asymmetric): so long after its last use a key may still be looked up.
pub const ASSERTION_LIFE: TimeDelta = TimeDelta::minutes(5);

/// A key that is opened, and from or until when it counts.
type Dated = (Arc<dyn Signer>, Timestamp);

/// The keys of one credential.
pub struct Ring {
    store: Store,
    master: Arc<MasterKey>,
    clock: Arc<dyn Clock>,
    at: At,
    overlap: TimeDelta,
    keys: Mutex<Keys>,
}

/// The keys as they stand.
struct Keys {
    current: Arc<dyn Signer>,
    /// The key to be tried, and from when on.
    next: Option<Dated>,
    /// The key that was current before, and until when it is published.
    before: Option<Dated>,
}

/// Why there is no ring.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key to sign with cannot be opened.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No key is in use.
    #[error("no signing key is in use at this EHR")]
    NoKey,
}

impl Ring {
    /// The ring of a credential; `overlap` is how long both keys of a rotation are published.
    ///
    /// # Errors
    /// [`RingError`].
    pub async fn open(store: Store, master: Arc<MasterKey>, clock: Arc<dyn Clock>, at: At, overlap: TimeDelta) -> Result<Self, RingError> {
        let keys = Mutex::new(load(&store, &master, &at, overlap).await?);
        Ok(Self { store, master, clock, at, overlap, keys })
    }

    async fn look_again(&self) {
        match load(&self.store, &self.master, &self.at, self.overlap).await {
            Ok(keys) => *self.keys() = keys,
            Err(error) => {
                tracing::warn!(ehr = %self.at.ehr, %error, "how the signing keys stand could not be read; those of before are used")
            }
        }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a key is tried again that was refused so often before.
    fn again(&self, refusals: u32) -> TimeDelta {
        (0..refusals).fold(self.overlap, |wait, _| (wait * 4).min(LONGEST_WAIT)).min(LONGEST_WAIT.max(self.overlap))
    }

    async fn take(&self, kid: &str) {
        let now = self.clock.now();
        {
            let mut keys = self.keys();
            if keys.current.key_id() == kid {
                return;
            }
            let of = |dated: &Option<Dated>| dated.as_ref().filter(|(s, _)| s.key_id() == kid).map(|(s, _)| Arc::clone(s));
            let Some(taken) = of(&keys.next).or_else(|| of(&keys.before)) else { return };
            if keys.next.as_ref().is_some_and(|(s, _)| s.key_id() == kid) {
                keys.next = None;
            }
            let old = std::mem::replace(&mut keys.current, taken);
            keys.before = Some((old, now.plus(self.overlap)));
        }
        tracing::info!(ehr = %self.at.ehr, key = %kid, "the EHR takes this signing key; it is the current one there now");
        let (at, kid) = (self.at.clone(), kid.to_owned());
        if let Err(error) = self.store.write("promote a key", move |conn| ehr_keys::accepted(conn, &at, &kid, now)).await {
            tracing::warn!(%error, "that a key was taken could not be stored; it is tried again");
        }
    }

    async fn refuse(&self, kid: &str, told: &str) {
        let now = self.clock.now();
        {
            let mut keys = self.keys();
            if keys.next.as_ref().is_some_and(|(s, _)| s.key_id() == kid) {
                keys.next = None;
            }
            if keys.before.as_ref().is_some_and(|(s, _)| s.key_id() == kid) {
                keys.before = None;
            }
        }
        tracing::warn!(
            ehr = %self.at.ehr, key = %kid, told,
            "the EHR refused this signing key and took another of ours; that one is used again. Is the key registered, or its key set fetched by the EHR?"
        );
        let (at, kid, told) = (self.at.clone(), kid.to_owned(), told.to_owned());
        let rows = {
            let at = at.clone();
            self.store.read(move |conn| ehr_keys::of(conn, &at)).await
        };
        let refusals = rows.ok().and_then(|rows| rows.iter().find(|r| r.kid == kid).map(|r| r.refusals)).unwrap_or(0);
        let try_after = now.plus(self.again(u32::try_from(refusals).unwrap_or(0)));
        let noted = self.store.write("note a refused key", move |conn| {
            ehr_keys::refused(conn, &at, &kid, &Refused { told: &told, try_after, at_most: REFUSALS }, now)
        });
        if let Err(error) = noted.await {
            tracing::warn!(%error, "that a key was refused could not be stored");
        }
    }
}

async fn load(store: &Store, master: &MasterKey, at: &At, overlap: TimeDelta) -> Result<Keys, RingError> {
    let of = at.clone();
    let (all, rows) = store.read(move |conn| Ok((keys::list(conn)?, ehr_keys::of(conn, &of)?))).await?;
    let open = |row: &EhrKey| -> Result<Arc<dyn Signer>, RingError> {
        let key = all.iter().find(|k| k.kid == row.kid).ok_or(RingError::NoKey)?;
        let algorithm = Algorithm::parse(&key.alg).ok_or(StoreError::Damaged("a key's algorithm"))?;
        let record = KeyRecord { kid: key.kid.clone(), algorithm, sealed: key.sealed.clone(), public_jwk: key.public_jwk.clone() };
        Ok(Arc::new(record.open(master)?))
    };
    // One that cannot be opened is told by `check`, and is no reason to lose the current one.
    let dated = |row: &EhrKey, from: i64, more: TimeDelta| Some((open(row).ok()?, Timestamp::from_micros(from).plus(more)));
    let current = rows.iter().find(|r| r.state == "current").ok_or(RingError::NoKey)?;
    Ok(Keys {
        current: open(current)?,
        next: rows.iter().find(|r| r.state == "next").and_then(|r| dated(r, r.try_after, TimeDelta::zero())),
        before: rows.iter().filter(|r| r.state == "retiring").max_by_key(|r| r.since).and_then(|r| dated(r, r.since, overlap)),
    })
}

impl Keyring for Ring {
    fn renew<'a>(&'a self) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(self.look_again())
    }

    fn current(&self) -> Arc<dyn Signer> {
        Arc::clone(&self.keys().current)
    }

    fn next(&self, now: Timestamp) -> Option<Arc<dyn Signer>> {
        self.keys().next.as_ref().filter(|(_, from)| now >= *from).map(|(signer, _)| Arc::clone(signer))
    }

    fn before(&self, now: Timestamp) -> Option<Arc<dyn Signer>> {
        self.keys().before.as_ref().filter(|(_, until)| now < *until).map(|(signer, _)| Arc::clone(signer))
    }

    fn accepted<'a>(&'a self, kid: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(self.take(kid))
    }

    fn refused<'a>(&'a self, kid: &'a str, told: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(self.refuse(kid, told))
    }
}
