//! Counts that are kept for a while: counting reads whole tables, and nobody should wait for it. What is a little old is shown at once while
//! it is counted anew behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::store::{Conn, Store, StoreError};

/// What is older than this is not shown: whoever comes then waits.
const OLDEST: Duration = Duration::from_secs(60);
/// Counting takes at most this part of the time.
const ONE_OF: u32 = 10;

/// Counts of one kind.
pub(super) struct Kept<T> {
    store: Store,
    read: fn(&mut Conn) -> Result<T, StoreError>,
    keep: Duration,
    /// When it was counted, for how long it is fresh, and what came of it.
    last: std::sync::Mutex<Option<(Instant, Duration, Arc<T>)>>,
    /// Callers that must wait share one reading.
    waiting: Mutex<()>,
    counting: AtomicBool,
}

impl<T: Send + Sync + 'static> Kept<T> {
    /// Counts that are fresh for `keep`; for longer, where counting takes long. With zero each caller counts.
    pub(super) fn new(store: Store, keep: Duration, read: fn(&mut Conn) -> Result<T, StoreError>) -> Arc<Self> {
        Arc::new(Self { store, read, keep, last: std::sync::Mutex::default(), waiting: Mutex::new(()), counting: AtomicBool::new(false) })
    }

    fn last(&self) -> Option<(Instant, Duration, Arc<T>)> {
        self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    async fn count(&self) -> Result<Arc<T>, StoreError> {
        let (began, read) = (Instant::now(), self.read);
        let fresh = Arc::new(self.store.read(read).await?);
        let keep = self.keep.max(began.elapsed() * ONE_OF);
        *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((Instant::now(), keep, Arc::clone(&fresh)));
        Ok(fresh)
    }

    /// What was counted is no longer so: whoever comes next counts anew.
    pub(super) fn forget(&self) {
        *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }

    /// The counts, at most a minute old.
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
        let (at, keep, found) = self.last()?;
        if at.elapsed() < keep {
            return Some(found);
        }
        if at.elapsed() > OLDEST.max(keep * 2) {
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
        Some(found)
    }
}
