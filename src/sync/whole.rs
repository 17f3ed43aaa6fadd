//! What a whole answer no longer shows: an export of everybody, or a search for everything that was read to its last page. What is stored since
//! before it was asked for and is not in it is missing, and settled by reads as anywhere (`vanish`).

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use domain::Timestamp;

use super::import::prepare::seen_hash;
use super::pass::Pass;
use super::pull::{Halt, Pull, Start, Tally};
use super::roster::texts;
use crate::store::exports::HASH;
use crate::store::{StoreError, coverage, exports, roster};

/// What is compared together.
const CHUNK: i64 = 2_000;
/// Patients whose resources are compared together.
const PATIENTS: i64 = 200;

/// The resources that a whole answer has shown: eight bytes each.
#[derive(Debug, Default)]
pub(super) struct Shown(HashSet<[u8; HASH]>);

impl Shown {
    /// Notes these.
    pub(super) fn extend<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>) {
        self.0.extend(ids.into_iter().map(seen_hash));
    }

    /// Whether it was shown.
    pub(super) fn has(&self, id: &str) -> bool {
        self.0.contains(&seen_hash(id))
    }
}

impl From<Vec<[u8; HASH]>> for Shown {
    fn from(hashes: Vec<[u8; HASH]>) -> Self {
        Self(hashes.into_iter().collect())
    }
}

/// Of whom an answer is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// All that there is.
    All,
    /// All that is about a patient: of what is about nobody it shows nothing.
    Patients,
    /// Those on the list of patients.
    Listed,
}

impl Pull<'_> {
    /// Notes what a whole answer does not show although it was stored `before` it was asked for, and settles what is missing.
    pub(super) async fn compare_whole(
        &self,
        start: &Start,
        (whose, before): (Whose, Timestamp),
        shown: &Shown,
        tally: &mut Tally,
    ) -> Result<(), Halt> {
        let mut pass = Pass::at(self.clock.now());
        self.found_again(start, shown).await?;
        let (kind, mut after) = (self.kind, String::new());
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Halt::Stopped);
            }
            let (expected, next) = self.expected(whose, &after, before).await?;
            let Some(next) = next else { break };
            after = next;
            pass.expected += i64::try_from(expected.len()).unwrap_or(i64::MAX);
            let missed: Vec<String> = expected.into_iter().filter(|id| !shown.has(id)).collect();
            if missed.is_empty() {
                continue;
            }
            pass.missed += self.newly_missed(&missed).await?;
            self.note(start, "note what an answer does not show", move |conn, ehr, now| {
                coverage::miss(conn, ehr, kind, &texts(&missed), false, now)
            })
            .await?;
        }
        self.settle(start, &pass, tally).await
    }

    /// What was missing and is shown is not missing.
    async fn found_again(&self, start: &Start, shown: &Shown) -> Result<(), Halt> {
        let (kind, mut after) = (self.kind, String::new());
        loop {
            let (ehr, from) = (self.ehr.clone(), after.clone());
            let missing = self.store.read(move |conn| coverage::missing_after(conn, &ehr, kind, &from, CHUNK)).await?;
            let Some(last) = missing.last() else { return Ok(()) };
            after.clone_from(&last.fhir_id);
            let found: Vec<String> = missing.into_iter().map(|m| m.fhir_id).filter(|id| shown.has(id)).collect();
            if !found.is_empty() {
                self.note(start, "note what is there again", move |conn, ehr, _| coverage::found(conn, ehr, kind, &texts(&found))).await?;
            }
        }
    }

    /// Some of what has to be shown, after a key; and the key to go on from, `None` at the end.
    async fn expected(&self, whose: Whose, after: &str, before: Timestamp) -> Result<(Vec<String>, Option<String>), StoreError> {
        let (ehr, kind, after) = (self.ehr.clone(), self.kind, after.to_owned());
        self.store
            .read(move |conn| {
                if whose == Whose::Listed {
                    let patients = roster::listed_by(conn, &ehr, before, &after, PATIENTS)?;
                    let found = exports::expected_of(conn, &ehr, kind, &texts(&patients), before)?;
                    return Ok((found, patients.last().cloned()));
                }
                let found = exports::expected_after(conn, &ehr, kind, whose == Whose::Patients, before, &after, CHUNK)?;
                let last = found.last().cloned();
                Ok((found, last))
            })
            .await
    }
}
