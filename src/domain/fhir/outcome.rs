//! OperationOutcome, codes only: `diagnostics` and texts can hold a patient's data.

use super::elements::{concepts, object};
use super::raw::{Raw, document, document_text, elements};
use crate::model::facts::Coding;

/// What an OperationOutcome says. Safe to log: only what has the form of a code is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Its issues, in the order sent.
    pub issues: Vec<Issue>,
}

/// One issue (R4 OperationOutcome.issue).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issue {
    /// `fatal`, `error`, `warning`, `information`; empty where not told.
    pub severity: String,
    /// The issue type (`too-costly`, `not-found`); empty where not told.
    pub code: String,
    /// `details.coding`: vendors put their own codes here (Epic's 4101, 4119).
    pub details: Vec<Coding>,
}

impl Outcome {
    /// Whether an issue says that the request failed.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.issues.iter().any(|i| matches!(i.severity.as_str(), "error" | "fatal"))
    }

    /// Whether an issue has this code, as its type or among its details.
    #[must_use]
    pub fn has(&self, code: &str) -> bool {
        self.issues.iter().any(|i| i.code == code || i.details.iter().any(|d| d.code == code))
    }
}

impl std::fmt::Display for Outcome {
    /// `error: processing (4119); warning: not-found`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.issues.is_empty() {
            return f.write_str("no issues told");
        }
        for (i, issue) in self.issues.iter().enumerate() {
            let or_unknown = |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.to_owned() };
            write!(f, "{}{}: {}", if i == 0 { "" } else { "; " }, or_unknown(&issue.severity), or_unknown(&issue.code))?;
            if !issue.details.is_empty() {
                write!(f, " ({})", issue.details.iter().map(|d| d.code.as_str()).collect::<Vec<_>>().join(", "))?;
            }
        }
        Ok(())
    }
}

/// Reads an OperationOutcome; `None` where the bytes are not one.
#[must_use]
pub fn outcome(bytes: &[u8]) -> Option<Outcome> {
    if bytes.len() > super::MAX_RESOURCE_BYTES {
        return None;
    }
    let [kind, issue] = document(document_text(bytes).ok()?, ["resourceType", "issue"]).ok()?;
    (kind?.text()? == "OperationOutcome").then(|| from_issues(issue))
}

/// The same from the `issue` member.
pub(super) fn from_issues(issue: Option<Raw<'_>>) -> Outcome {
    let read = |raw: Raw<'_>| {
        let [severity, code, details] = object(Some(raw), ["severity", "code", "details"]);
        let word = |raw: Option<Raw<'_>>| raw.and_then(Raw::owned).filter(|text| is_code(text)).unwrap_or_default();
        let mut codings = concepts(details);
        codings.retain(|c| is_code(&c.code));
        for coding in &mut codings {
            coding.system = coding.system.take().filter(|s| s.starts_with("http") || s.starts_with("urn:"));
        }
        Issue { severity: word(severity), code: word(code), details: codings }
    };
    Outcome { issues: elements(issue).map(read).collect() }
}

/// Whether a text has the form of an issue code: short, one word. A server may put a sentence where a code belongs.
fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}
