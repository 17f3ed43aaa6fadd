//! Ctrl-C and SIGTERM. Heard from the moment a value is made, not from the first wait: in between lies the start of what is to be stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both signals; `None` where the system does not let one be heard, which then ends the program as it does any other.
pub(super) struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Signals {
    /// Begins to listen.
    pub(super) fn listen() -> Self {
        Self { interrupt: signal(SignalKind::interrupt()).ok(), terminate: signal(SignalKind::terminate()).ok() }
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            () = one(&mut self.interrupt) => {}
            () = one(&mut self.terminate) => {}
        }
    }
}

async fn one(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Does something at the first signal; at the second the program ends at once.
pub(super) fn at_first(what: impl FnOnce() + Send + 'static) {
    let mut signals = Signals::listen();
    tokio::spawn(async move {
        signals.next().await;
        what();
        signals.next().await;
        std::process::exit(130);
    });
}

/// Sets a flag at the first signal: the work in hand is committed, and the program ends.
pub(super) fn stop_at(flag: &Arc<AtomicBool>) {
    let flag = Arc::clone(flag);
    at_first(move || flag.store(true, Ordering::Relaxed));
}
