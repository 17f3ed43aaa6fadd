//! Who and where it is that appointments and patients name: read by id, one by one, since few servers give a list of everybody. Those that
//! are stored already are read anew once a month.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::fhir::{self, reference_type};
use domain::model::facts::Facts;
use domain::model::{FhirId, ResourceType};
use futures_util::{StreamExt as _, stream};

use super::page::Told;
use super::pull::{Halt, Pull, Start, Tally};
use super::roster::{AT_ONCE, concerns_all};
use crate::ehr::{EhrError, Entry, ReadOutcome};
use crate::store::{references, resources};

/// How long a name may be trusted without being read anew.
const REFRESH: TimeDelta = TimeDelta::days(30);
/// Reads of one commit.
const CHUNK: usize = 32;
/// Rows looked at together.
const ROWS: i64 = 2_000;

impl Pull<'_> {
    /// Reads those that are named and not stored, and all that are named where that was long ago; returns the new mark of the latter.
    pub(super) async fn read_named(&self, start: &Start, tally: &mut Tally) -> Result<Option<Timestamp>, Halt> {
        let anew = start.mark.is_none_or(|at| start.at.since(at) >= REFRESH);
        let named: Vec<String> = self.named().await?.into_iter().collect();
        let mut missed = 0_usize;
        for chunk in named.chunks(CHUNK) {
            if self.stop.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(Halt::Stopped);
            }
            let wanted = if anew { chunk.to_vec() } else { self.not_stored(chunk).await? };
            if wanted.is_empty() {
                continue;
            }
            let (client, kind, asked) = (self.source.client, self.kind, self.clock.now());
            let each = stream::iter(wanted).map(|id| async move {
                match FhirId::parse(&id) {
                    Some(id) => client.read(kind.as_str(), &id).await,
                    None => Ok(ReadOutcome::Absent),
                }
            });
            let answers: Vec<Result<ReadOutcome, EhrError>> = self.while_alive(&start.context, each.buffered(AT_ONCE).collect()).await?;
            let none = !answers.iter().any(Result::is_ok);
            let mut entries: Vec<Entry> = Vec::new();
            for answer in answers {
                match answer {
                    Ok(ReadOutcome::Found(entry) | ReadOutcome::Moved(entry)) => entries.push(entry),
                    Ok(ReadOutcome::Gone | ReadOutcome::Absent) => missed += 1,
                    Err(error) if none || concerns_all(&error) => return Err(error.into()),
                    Err(_) => missed += 1,
                }
            }
            let told = Told {
                number: tally.counts.pages + 1,
                pages: i64::try_from(entries.len()).unwrap_or(i64::MAX),
                resume: None,
                server_started: start.at,
                partial: false,
                asked,
                now: self.clock.now(),
            };
            self.commit(start, entries, told, |_| Ok(()), tally).await?;
        }
        if missed > 0 {
            tally.note(format!("{missed} of the {} that are named could not be read; messages leave their names out", self.kind));
        }
        Ok(anew.then_some(start.at))
    }

    async fn not_stored(&self, ids: &[String]) -> Result<Vec<String>, Halt> {
        let (ehr, kind, asked) = (self.ehr.clone(), self.kind, ids.to_vec());
        let known =
            self.store.read(move |conn| references::stored(conn, &ehr, kind, &asked.iter().map(String::as_str).collect::<Vec<_>>()));
        let known: BTreeSet<String> = known.await?.into_iter().collect();
        Ok(ids.iter().filter(|id| !known.contains(*id)).cloned().collect())
    }

    /// The logical ids of this type that stored facts name.
    async fn named(&self) -> Result<BTreeSet<String>, Halt> {
        let (store, ehr, kind) = (self.store.clone(), self.ehr.clone(), self.kind);
        let gathered = tokio::task::spawn_blocking(move || {
            let mut all = BTreeSet::new();
            for naming in [ResourceType::Appointment, ResourceType::Patient] {
                let mut after = (i64::MIN, i64::MIN);
                loop {
                    let rows = store.read_blocking(|conn| references::facts_after(conn, &ehr, naming, after, ROWS))?;
                    let Some(last) = rows.last() else { break };
                    after = (last.patient, last.resource);
                    for facts in rows.iter().filter_map(|row| Facts::from_bytes(naming, &row.facts).ok()) {
                        all.extend(naming_of(&facts).filter_map(|reference| id_of(kind, reference)));
                    }
                }
            }
            // Roles and places name others in turn.
            for naming in [ResourceType::PractitionerRole, ResourceType::Location] {
                let mut after = String::new();
                loop {
                    let rows = store.read_blocking(|conn| resources::after(conn, &ehr, naming, &after, ROWS))?;
                    let Some(last) = rows.last() else { break };
                    after.clone_from(&last.fhir_id);
                    for row in &rows {
                        if let Ok(projected) = fhir::project(naming, &row.body(store.codec())?) {
                            all.extend(naming_of(&projected.facts).filter_map(|reference| id_of(kind, reference)));
                        }
                    }
                }
            }
            Ok::<_, crate::store::StoreError>(all)
        });
        Ok(gathered.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))?)
    }
}

/// The references that facts hold to who and where.
fn naming_of(facts: &Facts) -> Box<dyn Iterator<Item = &String> + '_> {
    match facts {
        Facts::Appointment(a) => Box::new(a.practitioners.iter().chain(&a.locations)),
        Facts::Patient(p) => Box::new(p.general_practitioner.iter()),
        Facts::PractitionerRole(d) | Facts::Location(d) => Box::new(d.practitioner.iter().chain(&d.organization).chain(&d.locations)),
        _ => Box::new(std::iter::empty()),
    }
}

/// The logical id, where the reference is to that type.
fn id_of(kind: ResourceType, reference: &str) -> Option<String> {
    (reference_type(reference) == Some(kind.as_str())).then(|| fhir::reference_id(reference)).flatten().map(str::to_owned)
}
