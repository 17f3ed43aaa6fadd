//! Counts that are kept for a while: counting reads whole indexes, and nobody should wait for it. What is a little old is shown at once while
//! it is counted anew behind it, and they are counted now and then while nobody looks, so that whoever comes first does not wait either.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::store::{Conn, Store, StoreError};
use crate::worker::Stop;

/// While nobody looks, they are counted this often.
const UNSEEN: Duration = Duration::from_secs(60);
/// Counting takes at most this part of the time while somebody looks,
const ONE_OF: u32 = 10;
/// and this part while nobody does.
const ONE_OF_UNSEEN: u32 = 50;
/// After an act whoever comes next waits for counts that take less than this, to see what was done.
const QUICK: Duration = Duration::from_millis(100);

/// What was counted last.
#[derive(Debug)]
struct Last<T> {
    at: Instant,
    took: Duration,
    /// How many acts there had been when counting began: what was done since is not in it.
    acts: u64,
    found: Arc<T>,
}

impl<T> Clone for Last<T> {
    fn clone(&self) -> Self {
        Self { found: Arc::clone(&self.found), ..*self }
    }
}

impl<T> Last<T> {
    /// How often it is counted while nobody looks.
    fn unseen(&self) -> Duration {
        UNSEEN.max(self.took * ONE_OF_UNSEEN)
    }
}

/// Counts of one kind.
pub(super) struct Kept<T> {
    store: Store,
    read: fn(&mut Conn) -> Result<T, StoreError>,
    keep: Duration,
    last: std::sync::Mutex<Option<Last<T>>>,
    /// Callers that must wait share one reading.
    waiting: Mutex<()>,
    counting: AtomicBool,
    acts: AtomicU64,
}

impl<T: Send + Sync + 'static> Kept<T> {
    /// Counts that are fresh for `keep`; for longer, where counting takes long. With zero each caller counts.
    pub(super) fn new(store: Store, keep: Duration, read: fn(&mut Conn) -> Result<T, StoreError>) -> Arc<Self> {
        Arc::new(Self {
            store,
            read,
            keep,
            last: std::sync::Mutex::default(),
            waiting: Mutex::new(()),
            counting: AtomicBool::new(false),
            acts: AtomicU64::new(0),
        })
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Last<T>>> {
        self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn count(&self) -> Result<Arc<T>, StoreError> {
        let (began, acts, read) = (Instant::now(), self.acts.load(Ordering::SeqCst), self.read);
        let fresh = Arc::new(self.store.read(read).await?);
        *self.last() = Some(Last { at: Instant::now(), took: began.elapsed(), acts, found: Arc::clone(&fresh) });
        Ok(fresh)
    }

    /// What was counted is no longer so: it is counted anew as soon as somebody asks.
    pub(super) fn forget(&self) {
        self.acts.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts now and then while nobody looks, until `stop`.
    pub(super) async fn keep_warm(self: Arc<Self>, stop: Stop) {
        while !self.keep.is_zero() && !stop.is_requested() {
            let next = self.last().as_ref().map(|last| last.unseen().saturating_sub(last.at.elapsed()));
            match next {
                Some(wait) if !wait.is_zero() => pause(wait, &stop).await,
                _ => {
                    if let Err(error) = self.count().await {
                        tracing::warn!(%error, "counts could not be read; they are read again in a minute");
                        pause(UNSEEN, &stop).await;
                    }
                }
            }
        }
    }

    /// The counts, a minute old at most; older only where counting takes more than a second.
    pub(super) async fn get(self: &Arc<Self>) -> Result<Arc<T>, StoreError> {
        if self.keep.is_zero() {
            return self.count().await;
        }
        if let Some(found) = self.usable() {
            return Ok(found);
        }
        let _alone = self.waiting.lock().await;
        match self.usable() {
            Some(found) => Ok(found),
            None => self.count().await,
        }
    }

    fn usable(self: &Arc<Self>) -> Option<Arc<T>> {
        let last = self.last().clone()?;
        let is_outdated = last.acts != self.acts.load(Ordering::SeqCst);
        if !is_outdated && last.at.elapsed() < self.keep.max(last.took * ONE_OF) {
            return Some(last.found);
        }
        if last.at.elapsed() > last.unseen() * 2 || is_outdated && last.took < QUICK {
            return None;
        }
        if !self.counting.swap(true, Ordering::Relaxed) {
            let this = Arc::clone(self);
            actix_web::rt::spawn(async move {
                if let Err(error) = this.count().await {
                    tracing::warn!(%error, "counts could not be read; the ones before them are shown");
                }
                this.counting.store(false, Ordering::Relaxed);
            });
        }
        Some(last.found)
    }
}

async fn pause(time: Duration, stop: &Stop) {
    drop(tokio::time::timeout(time, stop.requested()).await);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::store::Location;

    static BEGUN: AtomicU32 = AtomicU32::new(0);
    static COUNTED: AtomicU32 = AtomicU32::new(0);

    fn slow(_: &mut Conn) -> Result<u32, StoreError> {
        BEGUN.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(QUICK);
        Ok(COUNTED.fetch_add(1, Ordering::SeqCst) + 1)
    }

    #[actix_web::test]
    async fn what_counts_slowly_is_counted_before_anybody_comes_and_behind_whoever_did_something() {
        let path = std::env::temp_dir().join(format!("fhir-engage-kept-{}.db", std::process::id()));
        let kept = Kept::new(Store::open(Location::Sqlite(path.clone())).unwrap(), Duration::from_secs(3600), slow);
        let stop = Stop::new();
        let warm = actix_web::rt::spawn(Arc::clone(&kept).keep_warm(stop.clone()));
        while kept.last().is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!(*kept.get().await.unwrap(), 1, "nobody waits for a count of their own");
        kept.forget();
        assert_eq!(*kept.get().await.unwrap(), 1, "what was counted before is shown at once");
        while *kept.get().await.unwrap() == 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*kept.get().await.unwrap(), 2, "and was counted anew behind it, once");
        kept.forget();
        assert_eq!(*kept.get().await.unwrap(), 2);
        while BEGUN.load(Ordering::SeqCst) < 3 {
            tokio::task::yield_now().await;
        }
        // What is done while it is being counted is in none of that count.
        kept.forget();
        while *kept.get().await.unwrap() < 4 {
            tokio::task::yield_now().await;
        }
        stop.request();
        warm.await.unwrap();
        std::fs::remove_file(path).unwrap();
    }
}
