//! What seals private keys at rest.

use std::path::Path;

use super::reader::Section;
use crate::credentials::SecretRef;

/// The master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Where the master key is.
    pub master: SecretRef,
    /// Whether the operator named it. The default file is made at first use; a named one that is missing is an error.
    pub master_is_named: bool,
}

impl Keys {
    pub(super) fn read(s: &mut Section<'_, '_>, data_dir: &Path) -> Self {
        let master = s.secret("master");
        Self { master_is_named: master.is_some(), master: master.unwrap_or_else(|| SecretRef::File(data_dir.join("master.key"))) }
    }
}
