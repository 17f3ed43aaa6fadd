//! What changes something that is in the EHR already: a resource of ours is marked as entered in error, an Appointment gets another status.
//! Both read first, and change only the version that they read; so an unclear outcome is settled by beginning again.

use std::collections::BTreeSet;

use domain::Timestamp;
use serde_json::{Value, json};

use super::chart::{Changed, Chart, Remote, SearchFailed};
use super::key::carries_any;
use super::push::{Pushed, Try};
use super::settle::remote;

/// How often a change is begun anew because another one came first, before it is left for later.
const ROUNDS: usize = 3;

const IN_ERROR: &str = "entered-in-error";

impl<C: Chart> Try<'_, C> {
    /// Marks a resource of the carrier's type.
    pub(super) async fn enter_in_error(&self, id: &str, why: &str) -> Pushed {
        let Some(resource_type) = self.letter.carrier.resource_type() else {
            return self.refused(format!("not-taken: nothing can be corrected by {}", self.letter.carrier.as_str()));
        };
        let mut conflict = "http-409".to_owned();
        for _ in 0..ROUNDS {
            let (found, at) = match self.subject(resource_type, id).await {
                Ok(found) => found,
                Err(pushed) => return *pushed,
            };
            // An id that a person entered, or that an unverified answer told, may be somebody else's entry.
            let dropped = self.contract.terms(self.letter.carrier).is_some_and(|terms| terms.key_kept == Some(false));
            if !dropped && !carries_any(&found, &self.letter.system) {
                return self.refused(format!("not-ours: the {resource_type} that is to be corrected does not carry our key"));
            }
            if found.get("status").and_then(Value::as_str) == Some(IN_ERROR) {
                return self.written(Remote { kept: None, ..at });
            }
            let marked = marked(resource_type, found, why).to_string().into_bytes();
            match self.chart.update(resource_type, id, at.version.as_deref(), marked).await {
                Changed::Done(done) => return self.changed(id, done, IN_ERROR),
                Changed::Conflict(why) => conflict = why,
                other => return self.not_changed(other),
            }
        }
        self.conflict(&conflict)
    }

    /// Changes the status of an Appointment, where it still has one of those that the patient's word was about.
    pub(super) async fn change_status(&self, appointment: &str, to: &str, start: Option<i64>, from: &BTreeSet<String>) -> Pushed {
        let mut conflict = "http-409".to_owned();
        for round in 1..=ROUNDS {
            let (found, at) = match self.subject("Appointment", appointment).await {
                Ok(found) => found,
                Err(pushed) => return *pushed,
            };
            let status = found.get("status").and_then(Value::as_str).unwrap_or_default();
            if status == to {
                return self.written(Remote { kept: None, ..at });
            }
            let begins = found.get("start").and_then(Value::as_str).and_then(Timestamp::parse).map(Timestamp::micros);
            if start.zip(begins).is_some_and(|(meant, now)| meant != now) {
                return self.refused(
                    "visit-moved: the visit begins at another time by now, and the patient's word was about the earlier one".to_owned(),
                );
            }
            if !from.contains(status) {
                let code = status.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && (1..=20).contains(&status.len());
                let status = if code { status } else { "another" };
                return self.refused(format!("status-moved: the appointment's status is {status} by now, and is left as it is"));
            }
            let patch = json!([
                { "op": "test", "path": "/status", "value": status },
                { "op": "replace", "path": "/status", "value": to },
            ]);
            match self.chart.patch("Appointment", appointment, at.version.as_deref(), patch.to_string().into_bytes()).await {
                Changed::Done(done) => return self.changed(appointment, done, to),
                Changed::Conflict(why) => conflict = why,
                // Without a version the patch's own test is the lock, and a test that failed is no status of its own.
                Changed::Refused(_) if at.version.is_none() && round < ROUNDS => {}
                other => return self.not_changed(other),
            }
        }
        self.conflict(&conflict)
    }

    /// What is to be changed, as it is now. It must be there, and this patient's: a chart may have been merged into another.
    async fn subject(&self, resource_type: &str, id: &str) -> Result<(Value, Remote), Box<Pushed>> {
        let found = self.chart.read(resource_type, id).await.map_err(|failed| match failed {
            SearchFailed::Refused(why) => Box::new(self.refused(why)),
            failed => Box::new(self.search_failed(failed)),
        })?;
        let gone = || Box::new(self.refused(format!("not-there: the {resource_type} that is to be changed is not in the EHR any more")));
        let found = found.ok_or_else(gone)?;
        let resource: Value = serde_json::from_slice(&found.bytes).map_err(|_| gone())?;
        let whose = patients(&resource);
        if !whose.is_empty() && !whose.contains(&self.letter.patient.as_str()) {
            return Err(Box::new(
                self.refused(format!("another-patient: the {resource_type} that is to be changed is another patient's by now")),
            ));
        }
        let at = remote(&resource, &found.bytes);
        Ok((resource, at))
    }

    /// The server says that it is done; where it shows the resource, it must have the status.
    fn changed(&self, id: &str, done: Remote, status: &str) -> Pushed {
        let shown: Option<Value> = done.kept.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok());
        if shown.as_ref().and_then(|r| r.get("status")).is_some_and(|s| s.as_str() != Some(status)) {
            return self.refused("not-kept: the EHR took the change and did not make it".to_owned());
        }
        self.written(Remote { id: Some(id.to_owned()), version: done.version, kept: None })
    }

    fn not_changed(&self, outcome: Changed) -> Pushed {
        match outcome {
            Changed::Unclear(why) => self.unknown(&why),
            Changed::Throttled(asked) => self.throttled(asked),
            Changed::Refused(why) => self.refused(why),
            Changed::Halted(why) => self.put_back(why),
            Changed::Conflict(why) => self.conflict(&why),
            Changed::Done(remote) => self.written(remote),
        }
    }
}

/// The resource as entered in error, with the reason where staff read it.
fn marked(resource_type: &str, mut resource: Value, why: &str) -> Value {
    let Some(members) = resource.as_object_mut() else { return resource };
    members.insert("status".to_owned(), IN_ERROR.into());
    if resource_type == "DocumentReference" {
        let before = members.get("description").and_then(Value::as_str).map(|text| format!("{text} ")).unwrap_or_default();
        members.insert("description".to_owned(), format!("{before}{why}").into());
    } else {
        let notes = members.entry("note").or_insert_with(|| json!([]));
        if let Some(notes) = notes.as_array_mut() {
            notes.push(json!({ "text": why }));
        }
    }
    // What it says of itself in words may not be true any more, and whoever wrote it can write it anew.
    members.remove("text");
    resource
}

/// The patients that a resource is about, by the elements that the types used here have.
fn patients(resource: &Value) -> Vec<&str> {
    let actors = resource.get("participant").and_then(Value::as_array).into_iter().flatten().filter_map(|p| p.get("actor"));
    let named = resource.get("subject").into_iter().chain(actors);
    named.filter_map(|v| domain::fhir::patient_id(v.get("reference")?.as_str()?)).collect()
}
