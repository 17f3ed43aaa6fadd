//! Read-after-write: where what the EHR kept differs from what was sent. Names elements and never values, so that it may be stored and
//! shown. Pure.

use domain::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key::carries;

/// What became of an element that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// It is not there.
    Absent,
    /// It is there with another value.
    Changed,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Difference {
    /// The element as FHIR writes it, such as `payload.contentString`; or `key`: what we find it again by.
    pub path: String,
    /// What became of it.
    pub kept: Kept,
}

/// The path of a difference that says that our key is not there.
pub const KEY: &str = "key";

/// What a server sets itself, or may.
const SERVERS: [&str; 3] = ["id", "meta", "text"];

/// Where a resource as it was kept differs from the one that was sent; what was added does not count. A resource that carries our key
/// nowhere cannot be found again, which is told as `key`.
#[must_use]
pub fn differences(sent: &Value, kept: &Value, system: &str, key: &str) -> Vec<Difference> {
    let mut found = Vec::new();
    for (name, value) in sent.as_object().into_iter().flatten().filter(|(name, _)| !SERVERS.contains(&name.as_str())) {
        element(name, name, value, kept.get(name), &mut found);
    }
    if carries(sent, system, key) && !carries(kept, system, key) {
        found.push(Difference { path: KEY.to_owned(), kept: Kept::Absent });
    }
    found.sort();
    found.dedup();
    found
}

fn element(path: &str, name: &str, sent: &Value, kept: Option<&Value>, found: &mut Vec<Difference>) {
    let mut differs = |kept| found.push(Difference { path: path.to_owned(), kept });
    match (sent, kept) {
        (_, None | Some(Value::Null)) => differs(Kept::Absent),
        (Value::Object(members), Some(Value::Object(there))) => {
            for (member, value) in members {
                element(&format!("{path}.{member}"), member, value, there.get(member), found);
            }
        }
        (Value::Array(items), Some(Value::Array(there))) => list(path, name, items, there, found),
        (Value::Array(items), Some(_)) if items.is_empty() => {}
        (sent, Some(kept)) if same(name, sent, kept) => {}
        _ => differs(Kept::Changed),
    }
}

/// Order does not count: each that was sent must have one of its own that holds all of it.
fn list(path: &str, name: &str, items: &[Value], there: &[Value], found: &mut Vec<Difference>) {
    let mut left: Vec<&Value> = there.iter().collect();
    let mut unmatched = Vec::new();
    for item in items {
        let holds = |other: &&Value| {
            let mut differences = Vec::new();
            element(path, name, item, Some(other), &mut differences);
            differences.is_empty()
        };
        match left.iter().position(holds) {
            Some(at) => {
                left.swap_remove(at);
            }
            None => unmatched.push(item),
        }
    }
    match (unmatched.as_slice(), left.as_slice()) {
        ([], _) => {}
        (_, []) => found.push(Difference { path: path.to_owned(), kept: Kept::Absent }),
        // One against one: say what it is in it.
        ([item], [other]) => element(path, name, item, Some(other), found),
        _ => found.push(Difference { path: path.to_owned(), kept: Kept::Changed }),
    }
}

fn same(name: &str, sent: &Value, kept: &Value) -> bool {
    if sent == kept {
        return true;
    }
    let (Some(sent), Some(kept)) = (sent.as_str(), kept.as_str()) else { return false };
    // A server may make a relative reference absolute, and write an instant in its own zone.
    let absolute = || name == "reference" && kept.strip_suffix(sent).is_some_and(|base| base.ends_with('/'));
    let instant = || Timestamp::parse(sent).is_some_and(|s| Timestamp::parse(kept) == Some(s));
    absolute() || instant()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(sent: &Value, kept: &Value) -> Vec<String> {
        let name = |d: Difference| format!("{} {}", d.path, if d.kept == Kept::Absent { "absent" } else { "changed" });
        differences(sent, kept, "urn:s", "a1").into_iter().map(name).collect()
    }

    #[test]
    fn what_was_not_kept_is_named_without_its_value() {
        let sent = json!({
            "resourceType": "Communication", "id": "x", "meta": { "profile": ["p"] }, "text": { "div": "d" },
            "identifier": [{ "system": "urn:s", "value": "a1" }],
            "status": "completed",
            "category": [{ "coding": [{ "system": "c", "code": "reminder" }, { "system": "c", "code": "alert" }] }],
            "subject": { "reference": "Patient/1" },
            "sent": "2026-11-23T10:00:00.000Z",
            "payload": [{ "contentString": "secret words" }],
            "note": [{ "text": "one" }, { "text": "two" }],
        });
        let mut kept = sent.clone();
        kept["id"] = "other".into();
        kept["meta"] = json!({ "versionId": "1" });
        kept["text"] = json!(null);
        kept["received"] = "2026-11-23T10:00:01Z".into();
        kept["subject"] = json!({ "reference": "https://e.org/r4/Patient/1", "display": "Ada" });
        kept["sent"] = "2026-11-23T05:00:00-05:00".into();
        kept["note"] = json!([{ "text": "two", "time": "x" }, { "text": "one" }]);
        kept["category"][0]["coding"].as_array_mut().unwrap().reverse();
        assert_eq!(told(&sent, &kept), [""; 0], "the server's own, and what only looks different");

        let change = |at: &str, value: Value| {
            let mut changed = kept.clone();
            *changed.pointer_mut(at).unwrap() = value;
            told(&sent, &changed)
        };
        assert_eq!(change("/identifier", json!([])), ["identifier absent", "key absent"]);
        assert_eq!(change("/identifier/0/value", json!("a2")), ["identifier.value changed", "key absent"]);
        assert_eq!(change("/status", json!("unknown")), ["status changed"]);
        assert_eq!(change("/subject/reference", json!("https://e.org/r4/Patient/21")), ["subject.reference changed"]);
        assert_eq!(change("/sent", json!("2026-11-23T10:00:01Z")), ["sent changed"]);
        assert_eq!(change("/payload/0/contentString", json!("cut")), ["payload.contentString changed"]);
        assert_eq!(change("/payload", json!("cut")), ["payload changed"]);
        assert_eq!(change("/note", json!([{ "text": "two" }])), ["note absent"]);
        assert_eq!(change("/note", json!(null)), ["note absent"]);
        let all = serde_json::to_string(&differences(&sent, &json!({}), "urn:s", "a1")).unwrap();
        assert!(!all.contains("secret") && all.contains(r#"{"path":"payload","kept":"absent"}"#), "{all}");
    }

    #[test]
    fn a_marker_that_was_not_kept_is_told_as_the_key() {
        let sent = json!({ "topic": { "text": "Reminder [fhir-engage a1]" } });
        assert_eq!(told(&sent, &json!({ "topic": { "text": "Reminder" } })), ["key absent", "topic.text changed"]);
        assert_eq!(told(&sent, &json!({ "topic": { "text": "Reminder" }, "description": "[fhir-engage a1]" })), ["topic.text changed"]);
    }
}
