//! The lines of an export that hold no resources: what was deleted, and what went wrong. Pure.

use std::collections::BTreeMap;

use domain::fhir::outcome;
use domain::model::{FhirId, ResourceType};
use serde_json::Value;

/// What a line of a `deleted` file names, of the types that are synced: a Bundle of type `transaction` whose entries have
/// `request.method` DELETE and `request.url` Type/id. `None` where it is no such Bundle.
#[must_use]
pub fn deleted(line: &[u8]) -> Option<Vec<(ResourceType, String)>> {
    let bundle: Value = serde_json::from_slice(line).ok()?;
    if bundle.get("resourceType").and_then(Value::as_str) != Some("Bundle") {
        return None;
    }
    let entries = bundle.get("entry").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let one = |entry: &Value| {
        let request = entry.get("request")?;
        let method = request.get("method")?.as_str()?;
        // Some write the whole URL.
        let url = request.get("url")?.as_str()?.split('?').next()?.trim_end_matches('/');
        let (before, id) = url.rsplit_once('/')?;
        let kind = ResourceType::parse(before.rsplit('/').next()?)?;
        (method.eq_ignore_ascii_case("DELETE")).then(|| FhirId::parse(id).map(|id| (kind, id.as_str().to_owned()))).flatten()
    };
    Some(entries.iter().filter_map(one).collect())
}

/// What the lines of an `error` file say, counted. Only errors are failures: some EHRs put their remarks there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    errors: BTreeMap<String, u64>,
    remarks: BTreeMap<String, u64>,
}

impl Trouble {
    /// Takes a line.
    pub fn add(&mut self, line: &[u8]) {
        let Some(found) = outcome(line) else {
            *self.errors.entry("not an OperationOutcome".to_owned()).or_insert(0) += 1;
            return;
        };
        let failed = found.is_error();
        for issue in found.issues {
            let is_error = matches!(issue.severity.as_str(), "error" | "fatal");
            if failed == is_error {
                let codes = if failed { &mut self.errors } else { &mut self.remarks };
                *codes.entry(if issue.code.is_empty() { "unknown".to_owned() } else { issue.code }).or_insert(0) += 1;
            }
        }
    }

    /// What is missing, in words; `None` where nothing is.
    #[must_use]
    pub fn errors(&self) -> Option<String> {
        words(&self.errors)
    }

    /// What the EHR remarks, in words.
    #[must_use]
    pub fn remarks(&self) -> Option<String> {
        words(&self.remarks)
    }
}

fn words(codes: &BTreeMap<String, u64>) -> Option<String> {
    // A server may make up as many codes as it likes.
    let some: Vec<String> = codes.iter().take(10).map(|(code, n)| format!("{code}: {n}")).collect();
    (!some.is_empty()).then(|| some.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deleted_resources_are_those_of_the_entries() {
        let line = br#"{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"DELETE","url":"Patient/1"}},
            {"request":{"method":"DELETE","url":"https://e.org/r4/CarePlan/a-b"}},{"request":{"method":"DELETE","url":"Device/9"}},
            {"request":{"method":"PUT","url":"Patient/2"}},{"request":{"method":"DELETE","url":"Patient?identifier=7"}},{}]}"#;
        assert_eq!(deleted(line).unwrap(), [(ResourceType::Patient, "1".to_owned()), (ResourceType::CarePlan, "a-b".to_owned())]);
        assert_eq!(deleted(br#"{"resourceType":"Patient","id":"1"}"#), None);
        assert_eq!(deleted(b"nonsense"), None);
    }

    #[test]
    fn remarks_are_no_errors() {
        let mut trouble = Trouble::default();
        let line = |severity: &str, code: &str| {
            format!(
                r#"{{"resourceType":"OperationOutcome","issue":[{{"severity":"{severity}","code":"{code}","diagnostics":"Jane Doe"}}]}}"#
            )
        };
        trouble.add(line("warning", "not-supported").as_bytes());
        trouble.add(line("information", "informational").as_bytes());
        assert_eq!((trouble.errors(), trouble.remarks().unwrap().as_str()), (None, "informational: 1, not-supported: 1"));
        trouble.add(line("error", "exception").as_bytes());
        trouble.add(line("fatal", "exception").as_bytes());
        trouble.add(b"<html>");
        assert_eq!(trouble.errors().unwrap(), "exception: 2, not an OperationOutcome: 1");
    }
}
