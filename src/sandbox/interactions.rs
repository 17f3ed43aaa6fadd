//! What the EHR does with a resource: read, version read, update, patch, delete (R4 http). Searching is in `searchset`, creates are in
//! `create`. Owns status codes and headers of these interactions, and the faults that strike them. Who may do it was checked before.

use serde_json::Value;

use crate::answer::{Answer, Reply, outcome};
use crate::call::{Call, Return};
use crate::charts::{Stored, Updated};
use crate::ehr::{Ehr, Interaction};
use crate::faults::FaultKind;
use crate::flavour::Served;
use crate::instant::http_date;
use crate::patch::{JSON_PATCH, patched};

impl Ehr {
    pub(crate) fn interact(&self, call: &Call, served: &Served, interaction: Interaction<'_>, now: i64) -> Reply {
        let resource_type = served.name;
        if let Some(refusal) = self.of_patient(call, resource_type, interaction) {
            return refusal.into();
        }
        match interaction {
            Interaction::Read(id) => self.page_fault(call).unwrap_or_else(|| self.read(call, resource_type, id).into()),
            Interaction::VersionRead(id, version) => self.version_read(resource_type, id, version).into(),
            Interaction::Search => self.page_fault(call).unwrap_or_else(|| self.search(call, served).into()),
            Interaction::Create => self.create(call, served, now),
            Interaction::Update(id) => self.update(call, served, id, now).into(),
            Interaction::Patch(id) => self.patch(call, served, id, now).into(),
            Interaction::Delete(id) => self.delete(resource_type, id, now).into(),
        }
    }

    /// The fault that strikes one patient's data.
    fn of_patient(&self, call: &Call, resource_type: &str, interaction: Interaction<'_>) -> Option<Answer> {
        let named: Vec<String> = match interaction {
            Interaction::Read(id) if resource_type == "Patient" => vec![id.to_owned()],
            Interaction::Search => {
                let whose = |name: &str| matches!(name.split(':').next(), Some("patient" | "subject"));
                let pairs = call.query_pairs().into_iter().chain(call.form());
                pairs.filter(|(name, _)| whose(name)).map(|(_, value)| value.trim_start_matches("Patient/").to_owned()).collect()
            }
            _ => return None,
        };
        let fault = self.fault(call, |kind| matches!(kind, FaultKind::OfPatient { patient, .. } if named.contains(patient)))?;
        let FaultKind::OfPatient { status, code, .. } = fault else { return None };
        let issue = if status >= 500 { "transient" } else { "forbidden" };
        let mut told = serde_json::json!({ "severity": "error", "code": issue });
        if let (Some(code), Some(members)) = (code, told.as_object_mut()) {
            members.insert("details".to_owned(), serde_json::json!({ "coding": [{ "code": code }] }));
        }
        let outcome = serde_json::json!({ "resourceType": "OperationOutcome", "issue": [told] });
        Some(Answer::fhir(status, outcome.to_string()))
    }

    fn read(&self, call: &Call, resource_type: &str, id: &str) -> Answer {
        if self.fault(call, |kind| *kind == FaultKind::Gone).is_some() {
            return gone();
        }
        if let Some(elsewhere) = self.sent_on(resource_type, id) {
            return elsewhere;
        }
        let records = self.charts.read();
        let Some(entry) = records.get(resource_type, id) else {
            return not_found();
        };
        match &entry.body {
            None => gone(),
            Some(body) => self.versioned(Answer::fhir(200, body.to_string()), entry.version, entry.updated),
        }
    }

    fn version_read(&self, resource_type: &str, id: &str, version: &str) -> Answer {
        let records = self.charts.read();
        let (Some(entry), Ok(version)) = (records.get(resource_type, id), version.parse::<u64>()) else {
            return not_found();
        };
        let current = (entry.version == version).then_some(&entry.body);
        let body = current.or_else(|| entry.earlier.iter().find(|(earlier, _)| *earlier == version).map(|(_, body)| body));
        match body {
            None => not_found(),
            Some(None) => gone(),
            Some(Some(body)) => Answer::fhir(200, body.to_string()).with("ETag", etag(version)),
        }
    }

    fn update(&self, call: &Call, served: &Served, id: &str, now: i64) -> Answer {
        if self.fault(call, |kind| *kind == FaultKind::PreconditionFailed412).is_some() {
            return Answer::error(412, "conflict", "a precondition failed");
        }
        let members = match self.taken(call, served) {
            Ok(members) => members,
            Err(refusal) => return refusal,
        };
        if members.get("id").and_then(Value::as_str) != Some(id) {
            return Answer::error(400, "invalid", "the resource's id is not the one of the URL");
        }
        let Ok(if_match) = call.if_match() else {
            return Answer::error(412, "conflict", "If-Match names no version of this resource");
        };
        match self.charts.update(served.name, id, members, if_match, now) {
            Err(_) => Answer::error(500, "no-store", "the journal cannot be written"),
            // R4 http, "update as create": a server that does not allow client-chosen ids answers 405.
            Ok(Updated::Unknown) => {
                Answer::error(405, "not-supported", "ids are given out by the server: create with POST").with("Allow", "GET")
            }
            Ok(Updated::VersionMismatch) => self.stale(),
            Ok(Updated::Done(stored)) => self.written(call, 200, served.name, &stored),
        }
    }

    /// `If-Match` is mandatory: a patch is made from what was read, and must not meet anything else.
    fn patch(&self, call: &Call, served: &Served, id: &str, now: i64) -> Answer {
        let Some(patching) = served.patching else { return not_found() };
        if self.fault(call, |kind| *kind == FaultKind::PreconditionFailed412).is_some() {
            return Answer::error(412, "conflict", "a precondition failed");
        }
        if !call.has_media_type(&[JSON_PATCH]) {
            return Answer::error(415, "not-supported", "the body must be application/json-patch+json");
        }
        let Ok(Some(version)) = call.if_match() else {
            return Answer::error(412, "required", "a patch needs If-Match with the version that was read");
        };
        let (current, body) = match self.charts.read().get(served.name, id) {
            None => return not_found(),
            Some(entry) => (entry.version, entry.body.clone()),
        };
        let Some(body) = body else { return gone() };
        if current != version {
            return self.stale();
        }
        let Ok(resource) = serde_json::from_str(&body) else { return not_found() };
        let members = match patched(patching, &call.body, &resource) {
            Ok(members) => members,
            Err(refusal) => return refusal,
        };
        match self.charts.update(served.name, id, members, Some(version), now) {
            Err(_) => Answer::error(500, "no-store", "the journal cannot be written"),
            Ok(Updated::Unknown) => not_found(),
            Ok(Updated::VersionMismatch) => self.stale(),
            Ok(Updated::Done(stored)) => self.written(call, 200, served.name, &stored),
        }
    }

    fn stale(&self) -> Answer {
        Answer::error(self.manner.stale, "conflict", "the resource has another version")
    }

    fn delete(&self, resource_type: &'static str, id: &str, now: i64) -> Answer {
        match self.charts.delete(resource_type, id, now) {
            Err(_) => Answer::error(500, "no-store", "the journal cannot be written"),
            Ok(false) => not_found(),
            Ok(true) => Answer::empty(204),
        }
    }

    /// The answer to a write that was done.
    pub(crate) fn written(&self, call: &Call, status: u16, resource_type: &str, stored: &Stored) -> Answer {
        let answer = match call.wants_back() {
            _ if !self.manner.echoes => Answer::empty(status),
            Return::Minimal => Answer::empty(status),
            Return::Representation => Answer::fhir(status, stored.body.to_string()),
            Return::Outcome => Answer::fhir(status, outcome("information", "informational", "done")),
        };
        self.versioned(answer, stored.version, stored.updated).with("Location", self.location(&self.base, resource_type, stored))
    }

    pub(crate) fn location(&self, base: &str, resource_type: &str, stored: &Stored) -> String {
        let version = if self.manner.versioned_location { format!("/_history/{}", stored.version) } else { String::new() };
        format!("{base}/{resource_type}/{}{version}", stored.id)
    }

    fn versioned(&self, answer: Answer, version: u64, updated: i64) -> Answer {
        let answer = if self.manner.versioned { answer.with("ETag", etag(version)) } else { answer };
        answer.with("Last-Modified", http_date(updated))
    }
}

fn etag(version: u64) -> String {
    format!("W/\"{version}\"")
}

fn gone() -> Answer {
    Answer::error(410, "deleted", "this resource was deleted")
}

fn not_found() -> Answer {
    Answer::error(404, "not-found", "there is no such resource")
}
