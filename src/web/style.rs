//! The style sheet: it stands in the page itself, so that no further route is open, and the browser takes it by its hash alone. Another
//! `<style>`, or a `style` attribute that got into a page, is not applied.
//!
//! `templates/layout.html` is the one place that holds it; every page extends that.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What stands between `<style>` and `</style>`, to the byte.
pub(super) const SHEET: &str = include_str!("style.css");

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, SHEET.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'"
    )
});

/// The Content-Security-Policy of an answer (CSP Level 3, "Usage of hash sources"): scripts and forms of this server alone, no inline script, no foreign
/// source; and in frames of these origins only, in nobody's where there is none.
pub(super) fn policy(framed_by: &str) -> String {
    let ancestors = if framed_by.is_empty() { "'none'" } else { framed_by };
    format!("{}; frame-ancestors {ancestors}", *POLICY)
}
