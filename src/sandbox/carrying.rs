//! Whether a resource carries a text, wherever it stands: in a string, inside an attachment's base64 data, or in the Binary that it refers
//! to. For counting by a key of ours that a flavour left no element for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::records::Records;

/// How many living resources of a type carry the text.
pub(crate) fn count(records: &Records, resource_type: &str, text: &str) -> usize {
    let carries = |body: &str| serde_json::from_str(body).is_ok_and(|resource| carries(records, &resource, text));
    records.all(resource_type).filter(|entry| entry.body.as_deref().is_some_and(carries)).count()
}

fn carries(records: &Records, value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string.contains(text) || filed(records, string, text),
        Value::Array(items) => items.iter().any(|item| carries(records, item, text)),
        Value::Object(members) => members.iter().any(|(name, value)| {
            let data = value.as_str().filter(|_| name == "data");
            data.is_some_and(|data| decoded(data, text)) || carries(records, value, text)
        }),
        _ => false,
    }
}

fn filed(records: &Records, reference: &str, text: &str) -> bool {
    let body = reference.strip_prefix("Binary/").and_then(|id| records.get("Binary", id)?.body.clone());
    let binary = body.and_then(|body| serde_json::from_str::<Value>(&body).ok());
    binary.is_some_and(|binary| binary.get("data").and_then(Value::as_str).is_some_and(|data| decoded(data, text)))
}

fn decoded(data: &str, text: &str) -> bool {
    let bytes = STANDARD.decode(data).unwrap_or_default();
    !text.is_empty() && bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
