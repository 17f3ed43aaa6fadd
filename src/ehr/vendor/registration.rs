//! What whoever connects a vendor's server has to know beside how it is read and written: where a client is registered and how, what to ask
//! the vendor for, what its servers cannot do, which headers they want, and which elements they leave out. Data, each with its source.

use std::collections::BTreeMap;

use domain::model::ResourceType;
use serde::{Deserialize, Serialize};

use crate::ehr::auth::{Algorithm, Dialect};

/// How a client is registered, and what for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registration {
    /// The page where it is done; absent where each operator has an own one.
    pub portal: Option<String>,
    /// How the public key gets there.
    pub keys: KeyForm,
    /// What may be signed with; empty where nothing is known.
    pub algorithms: Vec<Algorithm>,
    /// How scopes are registered, where that is known.
    pub dialect: Option<Dialect>,
    /// Types for which a client without a user is granted nothing.
    pub no_system_scope: Vec<ResourceType>,
    /// The published limit of requests, in words.
    pub limit: Option<Said>,
    /// What the vendor or the operator has to be asked for.
    pub ask: Vec<Said>,
    /// What such servers cannot do.
    pub cannot: Vec<Said>,
    /// What else has to be known.
    pub mind: Vec<Said>,
}

/// How a public key gets to whoever checks our signatures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyForm {
    /// Not known: the URL where it can be taken, else the keys themselves.
    #[default]
    Unknown,
    /// By the URL of our JWK Set.
    Url,
    /// By either.
    Either,
    /// There are none: such servers are open, or know bearers or secrets.
    None,
}

/// Something that is known, with where it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// In words.
    pub says: String,
    /// A section of `standards.md`, the captured statement, or a page.
    pub source: String,
}

/// What is known of one element.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElementNote {
    /// `Type.element`.
    pub element: String,
    /// Whether it comes.
    pub sent: Sent,
    /// What is known, in words.
    pub says: String,
    /// As [`Said::source`].
    pub source: String,
}

/// Whether an element comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sent {
    /// Never.
    Never,
    /// Mostly not.
    Seldom,
    /// It comes, but it is written nowhere that it tells what a rule takes it for.
    Unproven,
}

/// Request headers that a vendor's servers want, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Headers {
    /// With each request to the FHIR base.
    pub send: BTreeMap<String, String>,
    /// Why.
    pub why: Option<Said>,
}

#[cfg(test)]
mod tests {
    use crate::ehr::vendor;

    #[test]
    fn everything_that_is_told_says_where_it_is_from() {
        for p in vendor::all() {
            let r = &p.register;
            let said = r.limit.iter().chain(&r.ask).chain(&r.cannot).chain(&r.mind).chain(&p.headers.why);
            let elements = p.elements.iter().map(|e| (&e.says, &e.source));
            for (says, source) in said.map(|s| (&s.says, &s.source)).chain(elements) {
                let known = ["standards.md ", "anchors.md ", "statement", "https://", "ours"].iter().any(|s| source.starts_with(s));
                assert!(known && says.trim().len() > 10 && !says.ends_with('.'), "{}: {says} [{source}]", p.name);
            }
            assert!(p.headers.send.is_empty() || p.headers.why.is_some(), "{}: headers without a reason", p.name);
            assert!(!r.ask.is_empty() && !r.cannot.is_empty(), "{}: what to ask for and what cannot be is not told", p.name);
            for e in &p.elements {
                assert!(e.element.contains('.'), "{}: {}", p.name, e.element);
            }
        }
    }
}
