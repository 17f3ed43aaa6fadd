//! JSON Patch (RFC 6902, R4 http "patch") on the few elements that a flavour lets be changed, which is the status of an appointment. Owns
//! what a patch document must be like and which changes of status are allowed. Changes nothing itself: it answers the patched resource.

use serde_json::{Map, Value};

use crate::answer::Answer;
use crate::flavour::Patching;
use crate::validity;

/// The media type of a JSON Patch.
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";

/// The resource with every operation of the document applied, or the refusal; one that fails fails all.
pub(crate) fn patched(patching: &Patching, document: &[u8], resource: &Map<String, Value>) -> Result<Map<String, Value>, Answer> {
    let operations = match serde_json::from_slice(document) {
        Ok(Value::Array(operations)) if !operations.is_empty() => operations,
        _ => return Err(Answer::error(400, "structure", "the body is not a JSON Patch: an array of operations")),
    };
    let mut after = resource.clone();
    for operation in &operations {
        apply(patching, operation, &mut after)?;
    }
    let status = |members: &Map<String, Value>| members.get("status").and_then(Value::as_str).unwrap_or_default().to_owned();
    let (from, to) = (status(resource), status(&after));
    if from != to {
        allowed(patching, &from, &to, &after)?;
    }
    match validity::problem("Appointment", &after) {
        Some(problem) => Err(Answer::error(422, "invariant", problem)),
        None => Ok(after),
    }
}

fn apply(patching: &Patching, operation: &Value, members: &mut Map<String, Value>) -> Result<(), Answer> {
    let text = |name| operation.get(name).and_then(Value::as_str);
    let (Some(kind), Some(path)) = (text("op"), text("path")) else {
        return Err(Answer::error(400, "structure", "each operation of a JSON Patch has op and path"));
    };
    let name = path.strip_prefix('/').filter(|_| patching.paths.contains(&path));
    let Some(name) = name.filter(|_| matches!(kind, "add" | "replace" | "test")) else {
        let text = format!("only add, replace and test of {} are supported", patching.paths.join(" and "));
        return Err(Answer::error(422, "not-supported", &text));
    };
    let Some(value) = operation.get("value") else {
        return Err(Answer::error(400, "structure", "this operation of a JSON Patch needs a value"));
    };
    match kind {
        "test" if members.get(name) != Some(value) => Err(Answer::error(422, "conflict", "a test of the JSON Patch failed")),
        "test" => Ok(()),
        "replace" if !members.contains_key(name) => Err(Answer::error(422, "not-found", "there is nothing to replace at the path")),
        _ => {
            members.insert(name.to_owned(), value.clone());
            Ok(())
        }
    }
}

fn allowed(patching: &Patching, from: &str, to: &str, after: &Map<String, Value>) -> Result<(), Answer> {
    let Some(transitions) = patching.transitions else { return Ok(()) };
    let reachable = transitions.iter().find(|(status, _)| *status == from).map_or(&[] as &[&str], |(_, reachable)| reachable);
    if !reachable.contains(&to) {
        let text = if reachable.is_empty() {
            "an appointment of this status cannot be changed".to_owned()
        } else {
            format!("from its status an appointment can only become {}", reachable.join(" or "))
        };
        return Err(Answer::error(422, "business-rule", &text));
    }
    let slots = after.get("slot").and_then(Value::as_array).map_or(0, Vec::len);
    if patching.booking_needs_slot && to == "booked" && slots != 1 {
        return Err(Answer::error(422, "business-rule", "to become booked an appointment needs one slot: add /slot in the same patch"));
    }
    Ok(())
}
