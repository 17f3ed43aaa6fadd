//! Merges of patients as EHRs do them, and their undoing. The EHR moves what is about the retired patient to the survivor, and tells of the
//! merge in the manner of its vendor: by links (R4 Patient.link, and HL7's `$merge`), by links on a record that no search shows any more (Oracle),
//! by redirecting reads of the retired id with an OperationOutcome of code 4107 (Epic), or by 410 alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::ehr::Ehr;
use crate::records::TYPES;

/// How an EHR tells of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MergeManner {
    /// The retired record is inactive and linked, and searches show it.
    Linked,
    /// The same, and no search shows it.
    Hidden,
    /// A read of it is sent on to the survivor, and no search shows it.
    Redirected,
    /// It is deleted; the survivor says what it replaces.
    Deleted,
}

/// A merge that can be undone.
pub(crate) struct Merged {
    survivor: String,
    manner: MergeManner,
    /// The retired record as it was.
    was: Value,
    /// What was moved to the survivor, as type and id.
    moved: Vec<(String, String)>,
}

/// The merges of this EHR, by the retired id. They are kept in memory: a restarted sandbox undoes none.
pub(crate) type Merges = BTreeMap<String, Merged>;

/// Why patients were not merged, or not parted.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// One of them is not there.
    #[error("the sandbox has no such Patient")]
    UnknownPatient,
    /// The retired one was merged already, or was not merged.
    #[error("the Patient was merged already, or not at all")]
    WrongState,
    /// The journal could not be written.
    #[error("the sandbox's journal cannot be written")]
    Journal(#[source] std::io::Error),
}

/// Replaces references to one patient by references to another; tells whether there were any.
fn point(value: &mut Value, from: &str, to: &str) -> bool {
    match value {
        Value::Object(members) => {
            let mut found = false;
            for (name, member) in members.iter_mut() {
                match member {
                    Value::String(text) if name == "reference" && text == from => {
                        to.clone_into(text);
                        found = true;
                    }
                    other => found |= point(other, from, to),
                }
            }
            found
        }
        Value::Array(items) => {
            // Each of them, also after one was found.
            let mut found = false;
            for item in items {
                found |= point(item, from, to);
            }
            found
        }
        _ => false,
    }
}

/// A Patient with one more link.
fn linked(patient: &Value, other: &str, kind: &str) -> Value {
    let mut patient = patient.clone();
    if let Some(members) = patient.as_object_mut() {
        let link = json!({ "other": { "reference": format!("Patient/{other}") }, "type": kind });
        match members.get_mut("link") {
            Some(Value::Array(links)) => links.push(link),
            _ => drop(members.insert("link".to_owned(), json!([link]))),
        }
        if kind == "replaced-by" {
            members.insert("active".to_owned(), json!(false));
        }
    }
    patient
}

/// A Patient without links to one other.
fn unlinked(mut patient: Value, other: &str) -> Value {
    let reference = format!("Patient/{other}");
    if let Some(members) = patient.as_object_mut() {
        if let Some(Value::Array(links)) = members.get_mut("link") {
            links.retain(|link| link.pointer("/other/reference").and_then(Value::as_str) != Some(&reference));
        }
        if members.get("link").and_then(Value::as_array).is_some_and(Vec::is_empty) {
            members.remove("link");
        }
    }
    patient
}

impl Ehr {
    fn current(&self, resource_type: &str, id: &str) -> Option<Value> {
        let body = self.charts.read().get(resource_type, id)?.body.clone()?;
        serde_json::from_str(&body).ok()
    }

    fn put(&self, resource_type: &'static str, id: &str, resource: Value) -> Result<(), MergeError> {
        let Value::Object(members) = resource else { return Err(MergeError::UnknownPatient) };
        self.charts.update(resource_type, id, members, None, self.now()).map_err(MergeError::Journal)?;
        Ok(())
    }

    /// Moves what refers to one patient to another; `only` narrows it to what was moved before.
    fn move_all(&self, from: &str, to: &str, only: Option<&[(String, String)]>) -> Result<Vec<(String, String)>, MergeError> {
        let (from, to) = (format!("Patient/{from}"), format!("Patient/{to}"));
        let mut moved = Vec::new();
        for kind in TYPES.iter().filter(|kind| **kind != "Patient") {
            let ids: Vec<String> = self.charts.read().all(kind).map(|entry| entry.id.clone()).collect();
            for id in ids {
                let key = ((*kind).to_owned(), id.clone());
                if only.is_some_and(|only| !only.contains(&key)) {
                    continue;
                }
                let Some(mut resource) = self.current(kind, &id) else { continue };
                if point(&mut resource, &from, &to) {
                    self.put(kind, &id, resource)?;
                    moved.push(key);
                }
            }
        }
        Ok(moved)
    }

    pub(crate) fn merge(&self, retired: &str, survivor: &str, manner: MergeManner) -> Result<(), MergeError> {
        let mut merges = self.merges.lock().unwrap_or_else(PoisonError::into_inner);
        if merges.contains_key(retired) || retired == survivor {
            return Err(MergeError::WrongState);
        }
        let was = self.current("Patient", retired).ok_or(MergeError::UnknownPatient)?;
        let mut stays = self.current("Patient", survivor).ok_or(MergeError::UnknownPatient)?;
        let moved = self.move_all(retired, survivor, None)?;
        match manner {
            MergeManner::Linked | MergeManner::Hidden => {
                self.put("Patient", retired, linked(&was, survivor, "replaced-by"))?;
            }
            MergeManner::Deleted => {
                self.charts.delete("Patient", retired, self.now()).map_err(MergeError::Journal)?;
            }
            MergeManner::Redirected => {}
        }
        if manner != MergeManner::Redirected {
            stays = linked(&stays, retired, "replaces");
        }
        // The survivor has a new version whatever the manner: it has more than before.
        self.put("Patient", survivor, stays)?;
        merges.insert(retired.to_owned(), Merged { survivor: survivor.to_owned(), manner, was, moved });
        Ok(())
    }

    pub(crate) fn unmerge(&self, retired: &str) -> Result<(), MergeError> {
        let mut merges = self.merges.lock().unwrap_or_else(PoisonError::into_inner);
        let Merged { survivor, was, moved, .. } = merges.remove(retired).ok_or(MergeError::WrongState)?;
        self.put("Patient", retired, was)?;
        if let Some(stays) = self.current("Patient", &survivor) {
            self.put("Patient", &survivor, unlinked(stays, retired))?;
        }
        self.move_all(&survivor, retired, Some(&moved))?;
        Ok(())
    }

    /// Where a read of a patient is sent on to.
    pub(crate) fn sent_on(&self, resource_type: &str, id: &str) -> Option<Answer> {
        if resource_type != "Patient" {
            return None;
        }
        let merges = self.merges.lock().unwrap_or_else(PoisonError::into_inner);
        let merged = merges.get(id).filter(|merged| merged.manner == MergeManner::Redirected)?;
        let outcome = json!({ "resourceType": "OperationOutcome", "issue": [{ "severity": "warning", "code": "processing",
            "details": { "coding": [{ "system": "urn:oid:1.2.840.114350.1.13.0.1.7.2.657369", "code": "4107" }] } }] });
        let target = format!("{}/Patient/{}", self.base, merged.survivor);
        Some(Answer::fhir(302, outcome.to_string()).with("Location", target))
    }

    /// The patients that no search shows.
    pub(crate) fn unlisted(&self) -> BTreeSet<String> {
        let merges = self.merges.lock().unwrap_or_else(PoisonError::into_inner);
        let hidden = merges.iter().filter(|(_, merged)| matches!(merged.manner, MergeManner::Hidden | MergeManner::Redirected));
        hidden.map(|(id, _)| id.clone()).collect()
    }
}
