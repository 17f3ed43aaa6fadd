//! What seals private keys at rest.

use std::path::Path;

use chrono::TimeDelta;

use super::reader::Section;
use crate::credentials::SecretRef;

/// The master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Where the master key is.
    pub master: SecretRef,
    /// Whether the operator named it. The default file is made at first use; a named one that is missing is an error.
    pub master_is_named: bool,
    /// How long a new key is published before it is first used, and an old one after its last use.
    pub overlap: TimeDelta,
}

/// The shortest overlap: the five minutes for which an EHR may keep the key set, and those for which an assertion may live.
const SHORTEST_OVERLAP: TimeDelta = TimeDelta::minutes(10);

impl Keys {
    pub(super) fn read(s: &mut Section<'_, '_>, data_dir: &Path) -> Self {
        let master = s.secret("master");
        let overlap = s.span("overlap", SHORTEST_OVERLAP, TimeDelta::days(30)).unwrap_or(TimeDelta::hours(1));
        Self { master_is_named: master.is_some(), master: master.unwrap_or_else(|| SecretRef::File(data_dir.join("master.key"))), overlap }
    }
}
