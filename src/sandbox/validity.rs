//! The little that the sandbox asks of a resource before it takes it: required elements and the invariants that real servers enforce.
//! Not a validator: bindings are checked for the statuses of three types only. Its texts name elements, never values.

use serde_json::{Map, Value};

const COMMUNICATION: &[&str] =
    &["preparation", "in-progress", "not-done", "on-hold", "stopped", "completed", "entered-in-error", "unknown"];
const APPOINTMENT: &[&str] =
    &["proposed", "pending", "booked", "arrived", "fulfilled", "cancelled", "noshow", "entered-in-error", "checked-in", "waitlist"];
const CARE_PLAN: &[&str] = &["draft", "active", "on-hold", "revoked", "completed", "entered-in-error", "unknown"];

/// What is wrong with a resource that a client sent; `None`: it is taken.
pub(crate) fn problem(resource_type: &str, members: &Map<String, Value>) -> Option<&'static str> {
    if members.values().any(|value| value.is_null() || value.as_array().is_some_and(Vec::is_empty)) {
        return Some("JSON of R4 has no null members and no empty arrays");
    }
    let status = members.get("status").and_then(Value::as_str);
    let among = |statuses: &[&str]| status.is_some_and(|status| statuses.contains(&status));
    let has = |name| members.contains_key(name);
    match resource_type {
        "Communication" if !among(COMMUNICATION) => Some("Communication.status is required and from the value set event-status"),
        "Communication" if !payloads_have_content(members) => Some("Communication.payload.content[x] is required"),
        "Appointment" if !among(APPOINTMENT) => Some("Appointment.status is required and from the value set appointmentstatus"),
        "Appointment" if !members.get("participant").is_some_and(Value::is_array) => Some("Appointment.participant is required"),
        "Appointment" if has("start") != has("end") => Some("app-2: start and end are both given or neither"),
        "Appointment" if !has("start") && !among(&["proposed", "cancelled", "waitlist"]) => {
            Some("app-3: only proposed or cancelled appointments can be missing start/end dates")
        }
        "CarePlan" if !among(CARE_PLAN) => Some("CarePlan.status is required and from the value set request-status"),
        "CarePlan" if !has("intent") || !has("subject") => Some("CarePlan.intent and CarePlan.subject are required"),
        _ => None,
    }
}

fn payloads_have_content(members: &Map<String, Value>) -> bool {
    let payloads = members.get("payload").and_then(Value::as_array);
    payloads.into_iter().flatten().all(|payload| {
        let content = payload.as_object().into_iter().flat_map(|payload| payload.keys()).filter(|name| name.starts_with("content"));
        content.count() == 1
    })
}
