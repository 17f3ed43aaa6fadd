//! What servers that take notes ask of a DocumentReference: the elements of US Core's write of a clinical note (US Core 9, "Writing
//! clinical notes"), which are the required ones of its DocumentReference profile with the note inside.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{WRITING, Writing};

pub(super) static NOTE: Writing = Writing { required: &["status", "type", "category", "subject", "content"], check: broken, ..WRITING };

/// The rules beyond the required elements; `NOTE` with another status for a missing one uses them too.
pub(super) fn broken(members: &Map<String, Value>) -> Option<&'static str> {
    let status = members.get("status").and_then(Value::as_str);
    if !matches!(status, Some("current" | "superseded" | "entered-in-error")) {
        return Some("DocumentReference.status is not from the value set document-reference-status");
    }
    if !members.get("type").is_some_and(coded) {
        return Some("DocumentReference.type needs a coding with system and code");
    }
    if !members.get("category").and_then(Value::as_array).is_some_and(|categories| categories.iter().any(coded)) {
        return Some("DocumentReference.category needs a coding with system and code");
    }
    if !refers_to(members.get("subject"), "Patient/") {
        return Some("DocumentReference.subject must refer to a Patient");
    }
    let contents = members.get("content").and_then(Value::as_array);
    if !contents.is_some_and(|contents| !contents.is_empty() && contents.iter().all(inline)) {
        return Some("DocumentReference.content.attachment needs contentType and base64 data");
    }
    None
}

fn coded(concept: &Value) -> bool {
    let codings = concept.get("coding").and_then(Value::as_array);
    codings.into_iter().flatten().any(|coding| coding.get("system").is_some() && coding.get("code").is_some())
}

fn inline(content: &Value) -> bool {
    content.get("attachment").and_then(attached).is_some()
}

/// Media type and decoded data of an attachment that has both.
pub(super) fn attached(attachment: &Value) -> Option<(&str, Vec<u8>)> {
    let text = |name| attachment.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    Some((text("contentType")?, STANDARD.decode(text("data")?).ok()?))
}

pub(super) fn refers_to(reference: Option<&Value>, kind: &str) -> bool {
    let target = reference.and_then(|reference| reference.get("reference")).and_then(Value::as_str);
    target.is_some_and(|target| target.strip_prefix(kind).is_some_and(|id| !id.is_empty()))
}
