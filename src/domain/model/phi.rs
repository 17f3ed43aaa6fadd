//! Protected health information that must not be printed by accident.

use serde::{Deserialize, Serialize};

/// A value that identifies or describes a patient. Its `Debug` is redacted and it has no `Display`, so that it reaches a message
/// or a template only through [`Phi::expose`], which a reader can search for.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Phi<T>(T);

impl<T> Phi<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for a place that may have it: the wire to the patient, the EHR, or a page for authorised staff.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value, given up for good.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> std::fmt::Debug for Phi<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T> From<T> for Phi<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

#[cfg(test)]
mod tests {
    use super::Phi;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Phi::new("Ada Lovelace")), "[redacted]");
    }
}
