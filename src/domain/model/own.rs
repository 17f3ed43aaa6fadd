//! What is kept of a resource for the operators' own attributes: for each of them what its path led to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::facts::Coding;
use super::phi::Phi;
use super::time::FhirTime;

/// One value that a path led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OwnValue {
    /// Yes or no.
    #[serde(rename = "b")]
    Flag(bool),
    /// A number, as the whole numbers that it lies between, both included.
    #[serde(rename = "n")]
    Number(i64, i64),
    /// A text.
    #[serde(rename = "t")]
    Text(Phi<String>),
    /// Codes, all that the path led to.
    #[serde(rename = "c")]
    Codes(Vec<Coding>),
    /// A date or an instant.
    #[serde(rename = "d")]
    Time(FhirTime),
}

/// What one attribute reads of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnRead {
    /// The values, in the order sent; none where the path leads nowhere.
    #[serde(default, rename = "v", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<OwnValue>,
    /// When it is from, where the attribute says which element tells.
    #[serde(default, rename = "at", skip_serializing_if = "Option::is_none")]
    pub at: Option<FhirTime>,
    /// The path led to more values than are looked at.
    #[serde(default, rename = "m", skip_serializing_if = "std::ops::Not::not")]
    pub too_many: bool,
}

/// What was read of one resource, by the key of each attribute. One that is not in here was not asked of this resource yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnFacts(pub BTreeMap<String, OwnRead>);

impl OwnFacts {
    /// The bytes to store.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Texts as keys and no fallible Serialize: this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads stored bytes; `None` where they are damaged.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}
