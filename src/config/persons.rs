//! Which records are one person.

use super::reader::Section;

/// Which records are one person, beside what EHRs and staff say.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Persons {
    /// Identifier systems (URIs) that name a person and not a record: of an enterprise master patient index, a national number. Records of
    /// whichever EHRs that share one are one person.
    pub common_identifiers: Vec<String>,
}

impl Persons {
    pub(super) fn read(s: &mut Section<'_, '_>) -> Self {
        let is_uri = |t: &str| {
            t.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty() && !t.contains(char::is_whitespace))
        };
        Self {
            common_identifiers: s
                .list("common_identifiers", "URIs of identifier systems, such as \"urn:oid:1.2.36.146.595\"", is_uri)
                .unwrap_or_default(),
        }
    }
}
