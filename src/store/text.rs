//! Texts that an EHR chose, made fit for both engines.
//!
//! JSON may hold a NUL character (as `\u0000`) and SQLite takes it; PostgreSQL's `text` has none and would refuse the whole statement, and
//! with it the page. Bodies and facts are bytes and need none of this; what is left are versions, ids and places.

use std::borrow::Cow;

/// The text with each NUL replaced by U+FFFD.
pub(super) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}
