//! What the EHR does with a resource type: read, version read, create, update, delete (R4 http). Searching is in `searchset`.
//! Owns status codes and headers of these interactions, and the faults that strike them. Who may do it was checked before.

use serde_json::{Map, Value};

use crate::answer::{Answer, Reply, outcome};
use crate::call::{Call, Return};
use crate::charts::{Created, Stored, Updated};
use crate::ehr::{Ehr, Interaction};
use crate::faults::FaultKind;
use crate::instant::http_date;
use crate::search::{Search, parse};
use crate::validity;

impl Ehr {
    pub(crate) fn interact(&self, call: &Call, resource_type: &'static str, interaction: Interaction<'_>, now: i64) -> Reply {
        match interaction {
            Interaction::Read(id) => self.page_fault(call).unwrap_or_else(|| self.read(call, resource_type, id).into()),
            Interaction::VersionRead(id, version) => self.version_read(resource_type, id, version).into(),
            Interaction::Search => self.page_fault(call).unwrap_or_else(|| self.search(call, resource_type).into()),
            Interaction::Create => self.create(call, resource_type, now),
            Interaction::Update(id) => self.update(call, resource_type, id, now).into(),
            Interaction::Delete(id) => self.delete(resource_type, id, now).into(),
        }
    }

    fn read(&self, call: &Call, resource_type: &str, id: &str) -> Answer {
        if self.fault(call, |kind| *kind == FaultKind::Gone).is_some() {
            return gone();
        }
        let records = self.charts.read();
        let Some(entry) = records.get(resource_type, id) else {
            return not_found();
        };
        match &entry.body {
            None => gone(),
            Some(body) => versioned(Answer::fhir(200, body.to_string()), entry.version, entry.updated),
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

    fn create(&self, call: &Call, resource_type: &'static str, now: i64) -> Reply {
        let before = |kind: &FaultKind| {
            matches!(
                kind,
                FaultKind::CreateLost | FaultKind::Create500NotApplied | FaultKind::CreateConflict409 | FaultKind::PreconditionFailed412
            )
        };
        match self.fault(call, before) {
            Some(FaultKind::CreateLost) => return Reply::Hangup,
            Some(FaultKind::Create500NotApplied) => return Answer::error(500, "exception", "something went wrong").into(),
            Some(FaultKind::CreateConflict409) => return Answer::error(409, "conflict", "another change is in progress").into(),
            Some(_) => return Answer::error(412, "conflict", "a precondition failed").into(),
            None => {}
        }
        let members = match resource_of(call, resource_type) {
            Ok(members) => members,
            Err(refusal) => return refusal.into(),
        };
        let condition = match self.condition(call, resource_type) {
            Ok(condition) => condition,
            Err(refusal) => return refusal.into(),
        };
        match self.charts.create(resource_type, members, condition.as_ref(), now) {
            Err(_) => Answer::error(500, "no-store", "the journal cannot be written").into(),
            Ok(Created::Ambiguous) => Answer::error(412, "multiple-matches", "If-None-Exist matches more than one resource").into(),
            Ok(Created::Existing(stored)) => self.written(call, 200, resource_type, &stored).into(),
            Ok(Created::New(stored)) => self.created(call, resource_type, &stored),
        }
    }

    /// The answer to a create that was done, or what a fault makes of it.
    fn created(&self, call: &Call, resource_type: &str, stored: &Stored) -> Reply {
        let after = |kind: &FaultKind| {
            matches!(
                kind,
                FaultKind::CreateAppliedAnswerLost
                    | FaultKind::Create500Applied
                    | FaultKind::CreateEmptyBody
                    | FaultKind::LocationOtherHost { .. }
            )
        };
        let answer = self.written(call, 201, resource_type, stored);
        match self.fault(call, after) {
            Some(FaultKind::CreateAppliedAnswerLost) => Reply::Hangup,
            Some(FaultKind::Create500Applied) => Answer::error(500, "exception", "something went wrong").into(),
            Some(FaultKind::CreateEmptyBody) => {
                let mut empty = Answer::empty(201);
                empty.headers = answer.headers.into_iter().filter(|(name, _)| *name != "Content-Type").collect();
                empty.into()
            }
            Some(FaultKind::LocationOtherHost { origin }) => {
                let mut elsewhere = answer;
                elsewhere.headers.retain(|(name, _)| *name != "Location");
                let location = format!("{origin}/fhir/{resource_type}/{}/_history/{}", stored.id, stored.version);
                elsewhere.with("Location", location).into()
            }
            _ => answer.into(),
        }
    }

    /// The search in `If-None-Exist`. A condition that is not understood in full is refused: to ignore a part of it would match too much.
    fn condition(&self, call: &Call, resource_type: &'static str) -> Result<Option<Search>, Answer> {
        let Some(pairs) = call.if_none_exist() else { return Ok(None) };
        if self.fault(call, |kind| *kind == FaultKind::ConditionalIgnored).is_some() {
            return Ok(None);
        }
        let mut search = parse(resource_type, &pairs, self.rules).map_err(|text| Answer::error(400, "invalid", &text))?;
        if search.filters.is_empty() || !search.ignored.is_empty() {
            return Err(Answer::error(400, "invalid", "If-None-Exist must be a search by parameters of this type"));
        }
        search.count = 1;
        Ok(Some(search))
    }

    fn update(&self, call: &Call, resource_type: &'static str, id: &str, now: i64) -> Answer {
        if self.fault(call, |kind| *kind == FaultKind::PreconditionFailed412).is_some() {
            return Answer::error(412, "conflict", "a precondition failed");
        }
        let members = match resource_of(call, resource_type) {
            Ok(members) => members,
            Err(refusal) => return refusal,
        };
        if members.get("id").and_then(Value::as_str) != Some(id) {
            return Answer::error(400, "invalid", "the resource's id is not the one of the URL");
        }
        let Ok(if_match) = call.if_match() else {
            return Answer::error(412, "conflict", "If-Match names no version of this resource");
        };
        match self.charts.update(resource_type, id, members, if_match, now) {
            Err(_) => Answer::error(500, "no-store", "the journal cannot be written"),
            // R4 http, "update as create": a server that does not allow client-chosen ids answers 405.
            Ok(Updated::Unknown) => {
                Answer::error(405, "not-supported", "ids are given out by the server: create with POST").with("Allow", "GET")
            }
            Ok(Updated::VersionMismatch) => Answer::error(412, "conflict", "the resource has another version"),
            Ok(Updated::Done(stored)) => self.written(call, 200, resource_type, &stored),
        }
    }

    fn delete(&self, resource_type: &'static str, id: &str, now: i64) -> Answer {
        match self.charts.delete(resource_type, id, now) {
            Err(_) => Answer::error(500, "no-store", "the journal cannot be written"),
            Ok(false) => not_found(),
            Ok(true) => Answer::empty(204),
        }
    }

    fn written(&self, call: &Call, status: u16, resource_type: &str, stored: &Stored) -> Answer {
        let answer = match call.wants_back() {
            Return::Minimal => Answer::empty(status),
            Return::Representation => Answer::fhir(status, stored.body.to_string()),
            Return::Outcome => Answer::fhir(status, outcome("information", "informational", "done")),
        };
        let location = format!("{}/{resource_type}/{}/_history/{}", self.base, stored.id, stored.version);
        versioned(answer, stored.version, stored.updated).with("Location", location)
    }
}

fn resource_of(call: &Call, resource_type: &str) -> Result<Map<String, Value>, Answer> {
    if !call.has_media_type(&["application/fhir+json", "application/json"]) {
        return Err(Answer::error(415, "not-supported", "the body must be application/fhir+json"));
    }
    let Ok(Value::Object(members)) = serde_json::from_slice(&call.body) else {
        return Err(Answer::error(400, "structure", "the body is not a JSON object"));
    };
    if members.get("resourceType").and_then(Value::as_str) != Some(resource_type) {
        return Err(Answer::error(400, "invalid", "the body's resourceType is not the one of the URL"));
    }
    match validity::problem(resource_type, &members) {
        Some(problem) => Err(Answer::error(422, "invariant", problem)),
        None => Ok(members),
    }
}

fn versioned(answer: Answer, version: u64, updated: i64) -> Answer {
    answer.with("ETag", etag(version)).with("Last-Modified", http_date(updated))
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
