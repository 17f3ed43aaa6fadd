//! How a resource's logical id is made of a number of the vendor's own: some events name a resource by an identifier of a proprietary interface
//! and by no reference (standards.md D.7). What such an id looks like is nowhere written, so the site says it.

use domain::model::FhirId;
use serde::{Deserialize, Serialize};

/// A pattern such as `a-{space}.{value}`: `{value}` is the identifier's value, `{space}` the last part of its system, where vendors put the
/// tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdPattern(String);

/// A text that is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pattern for ids has letters, digits, '-' and '.', the part {{value}}, and perhaps {{space}}")]
pub struct NotAPattern;

impl TryFrom<String> for IdPattern {
    type Error = NotAPattern;

    fn try_from(text: String) -> Result<Self, NotAPattern> {
        let pattern = Self(text);
        // Tried out: what is left when both parts are put in is an id.
        let sound = pattern.0.contains("{value}") && pattern.id("urn:x:1", "1").is_some();
        if sound { Ok(pattern) } else { Err(NotAPattern) }
    }
}

impl From<IdPattern> for String {
    fn from(pattern: IdPattern) -> Self {
        pattern.0
    }
}

impl IdPattern {
    /// The logical id for an identifier; `None` where that gives none.
    #[must_use]
    pub fn id(&self, system: &str, value: &str) -> Option<String> {
        let space = system.rsplit([':', '/']).next().unwrap_or_default();
        // The value last: it may hold what looks like a part of the pattern.
        let id = self.0.replace("{space}", space).replace("{value}", value);
        FhirId::parse(&id).map(|id| id.as_str().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_of_a_number_and_its_tenant_or_not_at_all() {
        let pattern = IdPattern::try_from("a-{space}.{value}".to_owned()).unwrap();
        assert_eq!(pattern.id("urn:vendor:appointment:195900", "17").as_deref(), Some("a-195900.17"));
        assert_eq!(pattern.id("https://vendor.example.org/7", "x-2").as_deref(), Some("a-7.x-2"));
        for (system, value) in [("urn:vendor:7", "1/../2"), ("urn:vendor:7", "a b"), ("urn:vendor:7", "{space}"), ("urn:a b", "1")] {
            assert_eq!(pattern.id(system, value), None, "{system} {value}");
        }
        for bad in ["", "a-{space}", "a/{value}", "{value}?x", "{values}"] {
            assert_eq!(IdPattern::try_from(bad.to_owned()), Err(NotAPattern), "{bad}");
        }
    }
}
