//! The wish to stop, as seen by everything that runs in the background.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells whether the program is to stop. Cloned freely; once requested it stays so.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// Nothing is to stop yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything that holds this token to stop at its next safe point.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Whether to stop: a task asks between two pieces of its work.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when a stop is requested.
    pub async fn requested(&self) {
        // Cannot fail: this token holds the sender that the receiver listens to.
        drop(self.0.subscribe().wait_for(|stop| *stop).await);
    }
}
