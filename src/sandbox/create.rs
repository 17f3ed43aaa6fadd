//! Creates and what a create or update is made of: what is asked of it, what is dropped, what the server adds, the condition, and the
//! faults that strike a create before, while and after it is done. Owns the creates that are done late. Updates and the other interactions
//! are in `interactions`; the rules themselves are tables of `flavour`.

use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::answer::{Answer, Reply};
use crate::call::Call;
use crate::charts::{Created, Stored};
use crate::ehr::Ehr;
use crate::faults::FaultKind;
use crate::flavour::{Kept, Served, Writing};
use crate::instant::{cut_to_millis, format_instant};
use crate::search::{Search, parse};
use crate::validity;

/// A create whose client was hung up on.
struct Late {
    due: i64,
    call: Call,
    served: Served,
}

/// The creates that are still to be done.
#[derive(Default)]
pub(crate) struct Lateness {
    creates: Mutex<Vec<Late>>,
}

impl Ehr {
    pub(crate) fn create(&self, call: &Call, served: &Served, now: i64) -> Reply {
        let before = |kind: &FaultKind| {
            matches!(
                kind,
                FaultKind::CreateLost
                    | FaultKind::Create500NotApplied
                    | FaultKind::CreateConflict409
                    | FaultKind::PreconditionFailed412
                    | FaultKind::AppliedLate { .. }
            )
        };
        match self.fault(call, before) {
            Some(FaultKind::CreateLost) => return Reply::Hangup,
            Some(FaultKind::AppliedLate { millis }) => {
                let due = now.saturating_add(micros(millis));
                let mut creates = self.late.creates.lock().unwrap_or_else(PoisonError::into_inner);
                creates.push(Late { due, call: call.clone(), served: *served });
                return Reply::Hangup;
            }
            Some(FaultKind::Create500NotApplied) => return Answer::error(500, "exception", "something went wrong").into(),
            Some(FaultKind::CreateConflict409) => return Answer::error(409, "conflict", "another change is in progress").into(),
            Some(_) => return Answer::error(412, "conflict", "a precondition failed").into(),
            None => {}
        }
        match self.make(call, served, now) {
            Err(refusal) => refusal.into(),
            Ok(Created::Ambiguous) => Answer::error(412, "multiple-matches", "If-None-Exist matches more than one resource").into(),
            Ok(Created::Existing(stored)) => self.written(call, 200, served.name, &stored).into(),
            Ok(Created::New(stored)) => self.created(call, served.name, &stored),
        }
    }

    /// Does the late creates that are due by now, in the order in which they came. One that breaks a rule is not done, and nobody is told.
    pub(crate) fn settle(&self, now: i64) {
        // The lock is held to the end, so that nobody looks between.
        let mut creates = self.late.creates.lock().unwrap_or_else(PoisonError::into_inner);
        let (due, later): (Vec<Late>, Vec<Late>) = creates.drain(..).partition(|late| late.due <= now);
        *creates = later;
        for late in due {
            if let Err(refusal) = self.make(&late.call, &late.served, late.due) {
                tracing::warn!(status = refusal.status, "a late create was not done");
            }
        }
    }

    fn make(&self, call: &Call, served: &Served, now: i64) -> Result<Created, Answer> {
        let mut members = self.taken(call, served)?;
        let condition = self.condition(call, served, now)?;
        let no_store = |_| Answer::error(500, "no-store", "the journal cannot be written");
        if let Some(writing) = served.writing {
            (writing.adds)(&mut members, &format_instant(cut_to_millis(now)));
            if writing.threaded {
                self.thread(&mut members)?;
            }
            if writing.payload_as_binary {
                self.file_payloads(&mut members, now).map_err(no_store)?;
            }
        }
        if served.name == "Subscription" {
            self.subscriptions.secret(&members, call.header("x-hub-secret"));
        }
        self.charts.create(served.name, members, condition.as_ref(), now).map_err(no_store)
    }

    /// What is kept of the resource in a create or update.
    pub(crate) fn taken(&self, call: &Call, served: &Served) -> Result<Map<String, Value>, Answer> {
        let mut members = parsed(call, served.name)?;
        if let Some(writing) = served.writing {
            obeys(writing, served.name, &members)?;
            let dropped: Vec<&str> = members.keys().map(String::as_str).filter(|name| !writing.kept.keeps(name)).collect();
            if !dropped.is_empty() && self.fault(call, |kind| *kind == FaultKind::RefusesUnsupported).is_some() {
                return Err(Answer::error(422, "not-supported", &format!("not supported: {}", dropped.join(", "))));
            }
            if !matches!(writing.kept, Kept::All) {
                members.retain(|name, _| writing.kept.keeps(name));
            }
        }
        if let Some(problem) = validity::problem(served.name, &members) {
            return Err(Answer::error(422, "invariant", problem));
        }
        while let Some(FaultKind::DropsElement { name }) =
            self.fault(call, |kind| matches!(kind, FaultKind::DropsElement { name } if members.contains_key(name)))
        {
            members.remove(&name);
        }
        Ok(members)
    }

    // A reply belongs to the thread of what it replies to, whatever it says itself.
    fn thread(&self, members: &mut Map<String, Value>) -> Result<(), Answer> {
        members.remove("partOf");
        let Some(replied) = members.get("inResponseTo") else { return Ok(()) };
        let target = replied.get(0).and_then(|one| one.get("reference")).and_then(Value::as_str);
        let id = target.and_then(|target| target.strip_prefix("Communication/"));
        let records = self.charts.read();
        let body = id.and_then(|id| records.get("Communication", id)?.body.clone());
        let Some(parent) = body.and_then(|body| serde_json::from_str::<Value>(&body).ok()) else {
            return Err(Answer::error(422, "not-found", "Communication.inResponseTo names no message that is here"));
        };
        let root = parent.get("partOf").cloned().unwrap_or_else(|| json!([{ "reference": target }]));
        members.insert("partOf".to_owned(), root);
        Ok(())
    }

    fn file_payloads(&self, members: &mut Map<String, Value>, now: i64) -> std::io::Result<()> {
        for payload in members.get_mut("payload").and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(payload) = payload.as_object_mut() else { continue };
            let Some(Value::Object(mut attachment)) = payload.remove("contentAttachment") else { continue };
            let mut binary = Map::new();
            for name in ["contentType", "data"] {
                binary.extend(attachment.remove(name).map(|value| (name.to_owned(), value)));
            }
            if let Created::New(stored) = self.charts.create("Binary", binary, None, now)? {
                payload.insert("contentReference".to_owned(), json!({ "reference": format!("Binary/{}", stored.id) }));
            }
        }
        Ok(())
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
                elsewhere.with("Location", self.location(&format!("{origin}/fhir"), resource_type, stored)).into()
            }
            _ => answer.into(),
        }
    }

    /// The search in `If-None-Exist`. A condition that is not understood in full is refused: to ignore a part of it would match too much.
    fn condition(&self, call: &Call, served: &Served, now: i64) -> Result<Option<Search>, Answer> {
        let Some(pairs) = call.if_none_exist().filter(|_| self.manner.conditional_create) else { return Ok(None) };
        let fault = self.fault(call, |kind| matches!(kind, FaultKind::ConditionalIgnored | FaultKind::ConditionalRace { .. }));
        if fault == Some(FaultKind::ConditionalIgnored) {
            return Ok(None);
        }
        let mut search = parse(served, &pairs, self.rules).map_err(|text| Answer::error(400, "invalid", &text))?;
        if search.filters.is_empty() || !search.ignored.is_empty() {
            return Err(Answer::error(400, "invalid", "If-None-Exist must be a search by parameters of this type"));
        }
        if let Some(FaultKind::ConditionalRace { millis }) = fault {
            search.before(cut_to_millis(now).saturating_sub(micros(millis)));
        }
        search.count = 1;
        Ok(Some(search))
    }
}

fn parsed(call: &Call, resource_type: &str) -> Result<Map<String, Value>, Answer> {
    if !call.has_media_type(&["application/fhir+json", "application/json"]) {
        return Err(Answer::error(415, "not-supported", "the body must be application/fhir+json"));
    }
    let Ok(Value::Object(members)) = serde_json::from_slice(&call.body) else {
        return Err(Answer::error(400, "structure", "the body is not a JSON object"));
    };
    if members.get("resourceType").and_then(Value::as_str) != Some(resource_type) {
        return Err(Answer::error(400, "invalid", "the body's resourceType is not the one of the URL"));
    }
    Ok(members)
}

fn obeys(writing: &Writing, resource_type: &str, members: &Map<String, Value>) -> Result<(), Answer> {
    if let Some(name) = writing.required.iter().find(|name| !members.contains_key(**name)) {
        return Err(Answer::error(writing.missing, "required", &format!("{resource_type}.{name} is required")));
    }
    match (writing.check)(members) {
        Some(broken) => Err(Answer::error(422, "business-rule", broken)),
        None => Ok(()),
    }
}

fn micros(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1000)
}
