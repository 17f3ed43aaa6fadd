//! What an EHR states of itself, both documents together, as it is kept from one run to the next. Reduced to what this gateway acts on, and
//! without what changes by itself (many servers give the present as the statement's date).

use serde::{Deserialize, Serialize};

use super::capability::Capability;
use super::discovery::Discovery;

/// What an EHR states of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Statement {
    /// `/metadata`.
    pub capability: Capability,
    /// smart-configuration, or what stands of it in `/metadata`.
    pub discovery: Discovery,
}

impl Statement {
    /// Both documents as read.
    #[must_use]
    pub fn of(capability: &Capability, discovery: &Discovery) -> Self {
        let mut discovery = discovery.clone();
        // Lists without an order; some servers give another one each time.
        for list in [
            &mut discovery.capabilities,
            &mut discovery.algorithms,
            &mut discovery.auth_methods,
            &mut discovery.grant_types,
            &mut discovery.scopes,
        ] {
            list.sort_unstable();
            list.dedup();
        }
        Self { capability: Capability { date: None, ..capability.clone() }, discovery }
    }

    /// Reads what [`Statement::to_text`] wrote; `None` where it is another version's.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// As it is stored: equal statements give equal texts.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Cannot fail: all keys are texts.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use url::Url;

    #[test]
    fn what_is_kept_does_not_change_by_itself_and_is_read_again() {
        let base = Url::parse("https://ehr.example.org/r4").unwrap();
        let read = |date: &str, scopes: &str| {
            let statement = format!(
                r#"{{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","date":"{date}","software":{{"name":"X"}},
                    "rest":[{{"mode":"server","resource":[{{"type":"Patient","interaction":[{{"code":"read"}}]}}]}}]}}"#
            );
            let (capability, _) = Capability::read(statement.as_bytes(), &base).unwrap();
            let smart = format!(r#"{{"token_endpoint":"https://ehr.example.org/token","scopes_supported":[{scopes}]}}"#);
            Statement::of(&capability, &Discovery::from_smart_configuration(smart.as_bytes(), &base).unwrap())
        };
        let (one, two) = (read("2026-11-23", r#""a","b""#), read("2026-11-24", r#""b","a""#));
        assert_eq!(one.to_text(), two.to_text());
        assert_eq!(Statement::from_text(&one.to_text()), Some(one));
        // What a later version adds is absent in what an earlier one kept.
        assert!(Statement::from_text(r#"{"capability":{"types":{"Patient":{}}}}"#).is_some());
        assert_eq!(Statement::from_text("no"), None);
    }
}
