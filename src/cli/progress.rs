//! Progress on stderr, and only where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A counter of unknown length.
pub(super) fn spinner(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} {msg} ({per_sec}, {elapsed})") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
