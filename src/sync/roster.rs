//! Whose data is read one by one: brings the stored list up to date with what the site gives, and looks up whom identifiers name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use domain::fhir::patient_id;
use domain::model::{FhirId, ResourceType};
use futures_util::{StreamExt as _, stream};

use super::pass::A_HANDFUL;
use super::pull::{Halt, Pull, Start, Tally, chain};
use crate::ehr::reads::RosterSource;
use crate::ehr::{EhrError, ReadOutcome, Search};
use crate::store::roster::{self, Entry};
use crate::store::{coverage, leases};

/// Requests that are under way at a time.
pub(super) const AT_ONCE: usize = 8;
/// Entries of one transaction.
const CHUNK: usize = 500;

/// Why an identifier names nobody who can be read.
const NOBODY: &str = "no patient has this identifier";
const SEVERAL: &str = "several patients have this identifier";

impl Pull<'_> {
    /// Brings the list up to date. An empty list, or one that lost much of what it had, stops the run: nobody is dropped by mistake.
    pub(super) async fn open_roster(&self, start: &Start, tally: &mut Tally) -> Result<(), Halt> {
        let wanted = self.gather(start, tally).await?;
        if wanted.is_empty() {
            return Err(Halt::Person(
                "the roster is empty: no source of it names a patient; nothing was read and nobody was dropped from it".to_owned(),
            ));
        }
        let ehr = self.ehr.clone();
        let known: BTreeMap<String, Option<String>> =
            self.store.read(move |conn| roster::entries(conn, &ehr)).await?.into_iter().map(|e| (e.entry, e.patient)).collect();
        let gone: Vec<String> = known.keys().filter(|entry| !wanted.contains_key(*entry)).cloned().collect();
        let percent = usize::from(self.source.plan.vanish_limit_percent);
        if gone.len() > usize::try_from(A_HANDFUL).unwrap_or(0) && gone.len() * 100 > known.len() * percent && !self.accept_vanished {
            return Err(Halt::Person(format!(
                "{} of {} patients are no longer on the roster; nobody was dropped. Look at its source; if that is right, run \
                 `fhir-engage sync run --ehr {} --accept-vanished`",
                gone.len(),
                known.len(),
                self.ehr
            )));
        }
        let new: Vec<Entry> =
            wanted.into_iter().filter(|(entry, _)| !known.contains_key(entry)).map(|(entry, patient)| Entry { entry, patient }).collect();
        let types: Vec<ResourceType> = self.source.plan.by_patient().collect();
        for chunk in new.chunks(CHUNK) {
            let (chunk, types) = (chunk.to_vec(), types.clone());
            self.note(start, "add to a roster", move |conn, ehr, now| roster::add(conn, ehr, &chunk, &types, now)).await?;
        }
        for chunk in gone.chunks(CHUNK) {
            let (chunk, ask) = (chunk.to_vec(), types.contains(&ResourceType::Patient));
            let strike = move |conn: &mut _, ehr: &_, now| roster::strike(conn, ehr, &texts(&chunk), ask, now);
            self.note(start, "strike off a roster", strike).await?;
        }
        self.look_up(start, types, tally).await?;
        let kind = self.kind;
        self.note(start, "note who is on no roster", move |conn, ehr, now| coverage::unlisted(conn, ehr, kind, now)).await
    }

    /// A write under the lease.
    pub(super) async fn note(
        &self,
        start: &Start,
        name: &'static str,
        mut write: impl FnMut(&mut crate::store::Conn, &domain::model::EhrId, domain::Timestamp) -> Result<(), crate::store::StoreError>
        + Send
        + 'static,
    ) -> Result<(), Halt> {
        let (context, now) = (start.context.clone(), self.clock.now());
        let done = self.store.write(name, move |conn| {
            leases::extend(conn, &context.fence, now, context.term)?;
            write(conn, &context.ehr, now)
        });
        Ok(done.await?)
    }

    /// What the sources say now.
    async fn gather(&self, start: &Start, tally: &mut Tally) -> Result<BTreeMap<String, Option<String>>, Halt> {
        let mut all = BTreeMap::new();
        for source in &self.source.plan.roster {
            match source {
                RosterSource::File(path) => {
                    let (named, path) = (path.clone(), path.clone());
                    let text = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await.map_err(|_| Halt::Stopped)?;
                    let text = text.map_err(|e| Halt::Person(unreadable(&named, &e)))?;
                    let (entries, bad) = lines(&text);
                    if let Some(first) = bad.first() {
                        tally.note(format!(
                            "{} lines of the roster file are neither a logical id nor `system|value` and were left out; the first is line {first}",
                            bad.len()
                        ));
                    }
                    all.extend(entries);
                }
                RosterSource::Group(id) => all.extend(by_id(self.members(start, id).await?)),
                RosterSource::Appointments => {
                    let ehr = self.ehr.clone();
                    all.extend(by_id(self.store.read(move |conn| roster::with_appointments(conn, &ehr)).await?));
                }
            }
        }
        // A list may go on naming the old id after a merge: what it meant is read by the new one.
        let ehr = self.ehr.clone();
        all.extend(by_id(self.store.read(move |conn| roster::survivors(conn, &ehr)).await?));
        Ok(all)
    }

    async fn members(&self, start: &Start, id: &str) -> Result<Vec<String>, Halt> {
        let named = FhirId::parse(id).ok_or(EhrError::BadRequest)?;
        match self.while_alive(&start.context, self.source.client.read("Group", &named)).await?? {
            ReadOutcome::Found(group) => members_of(&group.bytes)
                .ok_or_else(|| Halt::Person(format!("Group/{id}, where the roster comes from, cannot be read as a Group"))),
            ReadOutcome::Moved(_) | ReadOutcome::Gone | ReadOutcome::Absent => {
                Err(Halt::Person(format!("there is no Group/{id} at the EHR, where the roster comes from")))
            }
        }
    }

    /// Looks up whom the identifiers name that are not known yet. Where nobody, or several, it is a hole.
    async fn look_up(&self, start: &Start, types: Vec<ResourceType>, tally: &mut Tally) -> Result<(), Halt> {
        // Once in a round through the types is enough.
        if self.kind != ResourceType::Patient && types.contains(&ResourceType::Patient) {
            return Ok(());
        }
        let ehr = self.ehr.clone();
        let open: Vec<String> = self.store.read(move |conn| roster::unresolved(conn, &ehr)).await?;
        let mut unnamed = 0;
        for chunk in open.chunks(AT_ONCE * 4) {
            let client = self.source.client;
            let asked = stream::iter(chunk.iter().cloned()).map(|entry| async move {
                let found = client.search_all(Search::of("Patient").with("identifier", &entry)).await;
                (entry, found)
            });
            let found: Vec<_> = self.while_alive(&start.context, asked.buffered(AT_ONCE).collect()).await?;
            let mut told: Vec<(String, Result<String, String>)> = Vec::with_capacity(found.len());
            for (entry, found) in found {
                let ids: Result<BTreeSet<String>, EhrError> = found.map(|all| all.into_iter().filter_map(|e| e.id).collect());
                let who = match ids {
                    Ok(ids) => match (ids.first(), ids.len()) {
                        (Some(id), 1) if FhirId::parse(id).is_some() => Ok(id.clone()),
                        (None, _) => Err(NOBODY.to_owned()),
                        _ => Err(SEVERAL.to_owned()),
                    },
                    Err(error) if concerns_all(&error) => return Err(error.into()),
                    Err(error) => Err(chain(&error)),
                };
                unnamed += i64::from(who.is_err());
                told.push((entry, who));
            }
            let types = types.clone();
            let write = move |conn: &mut _, ehr: &_, now| {
                for (entry, who) in &told {
                    match who {
                        Ok(patient) => roster::resolve(conn, ehr, entry, patient, &types, now)?,
                        Err(why) => coverage::open(conn, ehr, ResourceType::Patient, &[(entry, why)], now)?,
                    }
                }
                Ok(())
            };
            self.note(start, "look up whom a roster names", write).await?;
        }
        if unnamed > 0 {
            tally.note(format!("{unnamed} identifiers of the roster name no single patient; see `fhir-engage sync holes {}`", self.ehr));
        }
        Ok(())
    }
}

pub(super) fn texts<'a>(all: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
    all.into_iter().map(String::as_str).collect()
}

fn by_id(ids: Vec<String>) -> impl Iterator<Item = (String, Option<String>)> {
    ids.into_iter().map(|id| (id.clone(), Some(id)))
}

/// Whether an error says something of the EHR or of this client, and nothing of the one patient who was asked for.
pub(super) fn concerns_all(error: &EhrError) -> bool {
    error.is_credential() || matches!(error, EhrError::NotGranted(_) | EhrError::Token(_) | EhrError::Busy { .. } | EhrError::Paused(_))
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("the roster file {} cannot be read ({}); nothing was read", path.display(), error.kind())
}

/// The entries of a file, and the numbers of the lines that are none. Empty lines and those that begin with `#` are passed over.
fn lines(text: &str) -> (BTreeMap<String, Option<String>>, Vec<usize>) {
    let (mut entries, mut bad) = (BTreeMap::new(), Vec::new());
    for (number, line) in text.lines().enumerate().map(|(n, line)| (n + 1, line.trim().trim_start_matches('\u{feff}'))) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let id = line.strip_prefix("Patient/").unwrap_or(line);
        if FhirId::parse(id).is_some() {
            entries.insert(id.to_owned(), Some(id.to_owned()));
        } else if line.split_once('|').is_some_and(|(_, value)| !value.trim().is_empty()) && !line.contains(',') {
            entries.insert(line.to_owned(), None);
        } else {
            bad.push(number);
        }
    }
    (entries, bad)
}

/// The patients who are members of a Group now (R4 Group.member).
fn members_of(bytes: &[u8]) -> Option<Vec<String>> {
    let group: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let members = group.get("member").and_then(|m| m.as_array()).map(Vec::as_slice).unwrap_or_default();
    let now = members.iter().filter(|m| m.get("inactive").and_then(serde_json::Value::as_bool) != Some(true));
    let references = now.filter_map(|m| m.get("entity")?.get("reference")?.as_str());
    Some(references.filter_map(patient_id).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::{lines, members_of};

    #[test]
    fn a_file_names_patients_by_id_and_by_identifier() {
        let (entries, bad) = lines("\u{feff}# panel\npat-1\n\nPatient/pat-2\r\nurn:mrn|0017\n two words\n|\nurn:mrn|1,urn:mrn|2\n");
        let found: Vec<(&str, Option<&str>)> = entries.iter().map(|(e, p)| (e.as_str(), p.as_deref())).collect();
        assert_eq!(found, [("pat-1", Some("pat-1")), ("pat-2", Some("pat-2")), ("urn:mrn|0017", None)]);
        assert_eq!(bad, [6, 7, 8]);
    }

    #[test]
    fn members_are_patients_who_are_in_it_now() {
        let group = br#"{"resourceType":"Group","member":[{"entity":{"reference":"Patient/1"}},{"entity":{"reference":"Device/2"}},
            {"entity":{"reference":"Patient/3"},"inactive":true},{"entity":{"reference":"https://e.org/r4/Patient/4"},"inactive":false},{}]}"#;
        assert_eq!(members_of(group).unwrap(), ["1", "4"]);
        assert_eq!(members_of(b"{}").unwrap(), Vec::<String>::new());
        assert_eq!(members_of(b"<html>"), None);
    }
}
