//! From claimed rows to letters: each row's attempt, shaped to the contract by `compose`. Reads the store; sends nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{NaiveDate, TimeDelta};
use domain::Timestamp;
use domain::model::Phi;

use super::compose::{Composed, Site, Subject, Telling, Told, compose};
use super::contract::{Carrier, Contract, PayloadShape};
use super::deed::Deed;
use super::push::Letter;
use super::task::Ended;
use crate::store::answers::{self, Answer};
use crate::store::attempts::Attempt;
use crate::store::writebacks::{self, Claimed, Settlement, Writeback};
use crate::store::{Conn, Store, StoreError};

/// Makes letters of rows, off the async threads.
pub struct Letters {
    /// The store, for what is kept compressed.
    pub store: Store,
    /// What the EHR takes.
    pub contract: Arc<Contract>,
    /// Who writes.
    pub site: Arc<Site>,
}

/// What rows are composed from, beside their attempts.
struct Material {
    answers: Vec<Answer>,
    /// Where the originals are, by attempt.
    told: HashMap<String, Told>,
    /// The attempts of which the chart says what is not true any more.
    untrue: HashSet<String>,
    /// The attempts that notes tell of, by note.
    lines: HashMap<String, Vec<Attempt>>,
    /// What Provenances are of, by Provenance.
    targets: HashMap<String, Told>,
}

impl Letters {
    /// The letters of claimed rows; a row that cannot be composed comes back with its end.
    pub(super) fn of(&self, conn: &mut Conn, claimed: Vec<Claimed>) -> Result<Vec<Result<Letter, Box<Ended>>>, StoreError> {
        let attempts: Vec<&str> = claimed.iter().map(|c| c.row.attempt.as_str()).collect();
        let subjects = writebacks::subjects(conn, &attempts)?;
        let material = material(conn, &claimed)?;
        claimed
            .into_iter()
            .map(|claim| {
                let subject = subjects.get(&claim.row.attempt).ok_or(StoreError::Damaged("a write-back without its attempt"));
                let letter = match subject.and_then(|(attempt, patient)| self.letter(&claim, attempt, patient, &material)) {
                    // One row's damage is no other row's.
                    Err(StoreError::Damaged(what)) => Err(format!("damaged: {what}")),
                    letter => letter?,
                };
                Ok(letter.map_err(|why| refused(claim, why)))
            })
            .collect()
    }

    fn letter(&self, claim: &Claimed, a: &Attempt, patient: &str, from: &Material) -> Result<Result<Letter, String>, StoreError> {
        let row = &claim.row;
        let composed = match self.compose(row, a, patient, from)? {
            Ok(composed) => composed,
            Err(why) => return Ok(Err(why)),
        };
        Ok(Ok(Letter {
            id: row.id.clone(),
            carrier: composed.carrier,
            tried: row.carrier.as_deref().and_then(Carrier::parse),
            put_as: row.put_as.clone(),
            system: self.site.identifier_system.clone(),
            value: key(row).to_owned(),
            patient: patient.to_owned(),
            sent: composed.at,
            since: Timestamp::from_micros(row.owed_at),
            deed: composed.deed,
            loss: serde_json::to_string(&composed.losses).unwrap_or_else(|_| "[]".to_owned()),
            unclear: claim.unclear,
            tries: row.tries,
            unanswered: row.unanswered,
        }))
    }

    fn compose(&self, row: &Writeback, a: &Attempt, patient: &str, from: &Material) -> Result<Result<Composed, String>, StoreError> {
        let answer = from.answers.iter().find(|s| s.attempt == a.id && s.number == row.revision);
        let words = answer.and_then(|s| s.message.as_deref()).map(|m| self.unpack(m)).transpose()?;
        let original = from.told.get(&a.id);
        let message = if row.kind == "original" { self.message(a.message.as_deref())? } else { None };
        let telling = match (row.kind.as_str(), answer) {
            ("original", _) => Telling::Original,
            ("answer", Some(answer)) => Telling::Answer { answer, text: words.as_deref(), original },
            ("status-change", Some(answer)) => Telling::StatusChange { answer },
            ("correction", _) if !from.untrue.contains(&a.id) => {
                let why = "the entry was made when this was known, and says so".to_owned();
                return Ok(Ok(Composed { carrier: Carrier::Ledger, deed: Deed::Keep { why }, at: None, losses: Vec::new() }));
            }
            ("correction", _) => Telling::Correction { original },
            ("note", _) => Telling::Note {
                day: self.day(Timestamp::from_micros(row.owed_at)),
                zone: self.site.zone,
                attempts: from.lines.get(&row.id).map(Vec::as_slice).unwrap_or_default(),
            },
            ("provenance", _) => match from.targets.get(&row.id) {
                Some(of) => Telling::Provenance { of, recorded: Timestamp::from_micros(row.owed_at) },
                None => return Ok(Err("not-there: what it would be of is not written as a resource".to_owned())),
            },
            (kind, _) => return Ok(Err(format!("kind: a write-back of kind {kind} cannot be composed"))),
        };
        let subject = Subject { ehr: &row.ehr, attempt: a, patient, message: message.as_deref(), key: key(row), telling };
        Ok(compose(&subject, &self.site, &self.contract).map_err(|e| e.to_string()))
    }

    /// What a row would become, without claiming it; `None` where its attempt is gone.
    ///
    /// # Errors
    /// The engine's refusal.
    pub fn preview(&self, conn: &mut Conn, row: &Writeback) -> Result<Option<Result<Composed, String>>, StoreError> {
        let subjects = writebacks::subjects(conn, &[row.attempt.as_str()])?;
        let Some((attempt, patient)) = subjects.get(&row.attempt) else { return Ok(None) };
        let claimed = [Claimed { row: row.clone(), unclear: false }];
        let material = material(conn, &claimed)?;
        self.compose(row, attempt, patient, &material).map(Some)
    }

    /// What an attempt would become if it had ended as delivered at an instant; `None` where there is no such attempt.
    ///
    /// # Errors
    /// The engine's refusal.
    pub fn preview_as_delivered(
        &self,
        conn: &mut Conn,
        attempt: &str,
        now: Timestamp,
    ) -> Result<Option<Result<Composed, String>>, StoreError> {
        let subjects = writebacks::subjects(conn, &[attempt])?;
        let Some((a, patient)) = subjects.get(attempt) else { return Ok(None) };
        let ended = Attempt { outcome: Some("delivered".to_owned()), sent_at: a.sent_at.or(Some(now.micros())), ..a.clone() };
        let message = self.message(a.message.as_deref())?;
        let ehr = crate::store::people::ehr_of(conn, a.patient)?;
        let subject = Subject { ehr: &ehr, attempt: &ended, patient, message: message.as_deref(), key: &a.id, telling: Telling::Original };
        Ok(Some(compose(&subject, &self.site, &self.contract).map_err(|e| e.to_string())))
    }

    /// The words that were sent, where the contract wants them: as the ledger keeps them, without the address.
    fn message(&self, packed: Option<&[u8]>) -> Result<Option<String>, StoreError> {
        #[derive(serde::Deserialize)]
        struct Kept {
            subject: Phi<String>,
            body: Phi<String>,
        }
        let Some(packed) = packed.filter(|_| self.contract.shape.payload == PayloadShape::Text) else { return Ok(None) };
        let json = self.store.codec().unpack(packed, None)?;
        let kept: Kept = serde_json::from_slice(&json).map_err(|_| StoreError::Damaged("a message that was sent"))?;
        Ok(Some(format!("{}\n\n{}", kept.subject.expose(), kept.body.expose())))
    }

    fn unpack(&self, packed: &[u8]) -> Result<String, StoreError> {
        let bytes = self.store.codec().unpack(packed, None)?;
        String::from_utf8(bytes).map_err(|_| StoreError::Damaged("an answer's words"))
    }

    /// The day of a note that was begun at an instant: late in the evening it is the next day's.
    fn day(&self, begun: Timestamp) -> NaiveDate {
        let local = begun.to_utc().with_timezone(&self.site.zone).naive_local();
        (local + NOTE_CLOSES_BEFORE_MIDNIGHT).date()
    }
}

/// A day's note is written at ten in the evening (`outreach::owing`), so what comes later is the next day's.
const NOTE_CLOSES_BEFORE_MIDNIGHT: TimeDelta = TimeDelta::hours(2);

/// The key of a row: the original is known by its attempt, as it always was; what comes after it by itself.
fn key(row: &Writeback) -> &str {
    if row.kind == "original" { &row.attempt } else { &row.id }
}

fn material(conn: &mut Conn, claimed: &[Claimed]) -> Result<Material, StoreError> {
    let of = |kinds: &[&str]| claimed.iter().map(|c| &c.row).filter(|r| kinds.contains(&r.kind.as_str())).collect::<Vec<_>>();
    let later: Vec<&str> = of(&["answer", "status-change", "correction"]).iter().map(|r| r.attempt.as_str()).collect();
    let notes: Vec<&str> = of(&["note"]).iter().map(|r| r.id.as_str()).collect();
    let originals = writebacks::originals(conn, &later)?;
    let ended = writebacks::ends(conn, &later)?;
    Ok(Material {
        answers: answers::to(conn, &later)?,
        untrue: originals.iter().filter(|(a, row)| is_untrue(row, ended.get(a).copied())).map(|(a, _)| a.clone()).collect(),
        told: originals.into_iter().filter_map(|(attempt, row)| Some((attempt, told(row)?))).collect(),
        lines: writebacks::items(conn, &notes)?,
        targets: writebacks::targets(conn, &of(&["provenance"]))?.into_iter().filter_map(|(id, row)| Some((id, told(row)?))).collect(),
    })
}

/// Whether an entry says what its attempt does not say any more: it was there before the attempt got its present end, or was found there and
/// holds something else than would be written now.
fn is_untrue(row: &Writeback, ended_at: Option<i64>) -> bool {
    let older = row.settled_at.zip(ended_at).is_none_or(|(written, ended)| written < ended);
    let says_other =
        row.differences.as_deref().is_some_and(|d| ["\"status\"", "\"payload", "\"content"].iter().any(|path| d.contains(path)));
    older || says_other
}

fn told(row: Writeback) -> Option<Told> {
    let note = row.kind == "note";
    Some(Told { carrier: Carrier::parse(row.carrier.as_deref()?)?, id: row.remote_id?, version: row.remote_version, note })
}

/// Not composed: refused. One that may have arrived by an earlier try waits for a person instead.
fn refused(claim: Claimed, why: String) -> Box<Ended> {
    let how = if claim.unclear {
        Settlement::Parked { why: format!("{why}; an earlier try may have arrived") }
    } else {
        Settlement::Refused { why }
    };
    Box::new(Ended { id: claim.row.id, how, way: None, seen: None, wants_provenance: false })
}
