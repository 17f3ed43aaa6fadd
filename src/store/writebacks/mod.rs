//! What is owed to each EHR's charts.
//!
//! `owed -> writing -> written`, or `unknown` where the answer was lost, or `refused`, or `exported`, or `kept` in the ledger by the
//! contract's word. A row is born in the transaction that ends its attempt and is never deleted. Each patient has a lane: rows are
//! written in the order in which they were owed; those that wait on a person (refused, parked) and a day's note that is still being
//! collected do not block the ones behind them.

mod debts;
mod persons;

use std::collections::HashMap;

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use domain::Timestamp;

use super::attempts::Attempt;
use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::leases::Fence;
use super::people;
use super::schema::{attempt, patient, writeback};

pub use debts::{Debt, ends, items, originals, owe_provenance, owe_status_change, targets};
pub(super) use debts::{items_of, owe, owe_answer, owe_correction};
pub use persons::{Cause, Resolution, Wanted, causes, first_word, get, of_attempt, of_attempts, reopen, resolve};

/// A write-back.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = writeback)]
pub struct Writeback {
    /// Its id.
    pub id: String,
    /// The attempt.
    pub attempt: String,
    /// `original`, `answer`, `correction`, `note`, `status-change` or `provenance`.
    pub kind: String,
    /// 0 for the original; which of the attempt's answers, corrections or status changes it is, from 1; of a Provenance the place in the lane
    /// of what it is of.
    pub revision: i64,
    /// The EHR.
    pub ehr: String,
    /// The patient record.
    pub patient: i64,
    /// Place in the patient's lane.
    pub number: i64,
    /// `owed`, `writing`, `written`, `unknown`, `refused`, `exported`, `kept`.
    pub state: String,
    /// The lease token under which it was last claimed.
    pub token: i64,
    /// How often it was tried.
    pub tries: i64,
    /// Not before this instant. While it is being written: not to be taken over before it. The end of time: it waits for a person.
    pub next_at: i64,
    /// The logical id in the EHR, or the name of the exported file.
    pub remote_id: Option<String>,
    /// Its version there.
    pub remote_version: Option<String>,
    /// What could not be carried, JSON.
    pub loss: String,
    /// Why it waits or was refused.
    pub failure: Option<String>,
    /// When it was owed.
    pub owed_at: i64,
    /// When it was written, refused, exported or kept.
    pub settled_at: Option<i64>,
    /// What carries it, once that was decided: `communication`, `document-reference`, `appointment`, `provenance`, `route`,
    /// `export`, `ledger`.
    pub carrier: Option<String>,
    /// Where what the EHR kept differs from what was sent, JSON; absent where that was not looked at.
    pub differences: Option<String>,
    /// How it was put into the EHR, and could be found, when it was last tried; absent where it was not tried, or by a worker that died.
    pub put_as: Option<String>,
    /// How often in a row it was sent and it stayed unclear whether it arrived.
    pub unanswered: i64,
}

impl Writeback {
    /// Whether it stays unknown until a person has looked.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.state == "unknown" && self.next_at == PARKED
    }
}

/// A claimed write-back, and what it was when it was claimed.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The row, as it is now.
    pub row: Writeback,
    /// Whether an earlier try may have reached the EHR: it must be searched for before it is sent again.
    pub unclear: bool,
}

/// `next_at` of a row that waits for a person: no clock brings it back.
const PARKED: i64 = i64::MAX;

#[derive(QueryableByName)]
struct ClaimRow {
    #[diesel(sql_type = Text)]
    id: String,
}

/// Claims write-backs of one EHR that are due and first in their lane. A row that says `writing` under an earlier token was left by a
/// worker that died: it is claimed as unclear, and not before the instant up to which that worker's request may still have been on its
/// way. `until` is that instant for the rows claimed now.
///
/// # Errors
/// The engine's refusal.
pub fn claim(conn: &mut Conn, ehr: &str, fence: &Fence, now: Timestamp, until: Timestamp, limit: i64) -> Result<Vec<Claimed>, StoreError> {
    let (mut found, mut left): (Vec<(String, bool)>, Vec<String>) = (Vec::new(), Vec::new());
    // State by state, so that the index gives each in order and no claim sorts all that is owed. Unclear ones first: they are the oldest.
    for (state, token, unclear) in [("writing", fence.token, true), ("unknown", i64::MAX, true), ("owed", i64::MAX, false)] {
        let more = limit - i64::try_from(found.len()).unwrap_or(limit);
        if more > 0 {
            let mut rows = first_of_lanes(conn, ehr, (state, token), &Due::by(now), more)?;
            if rows.is_empty() {
                rows = first_of_lanes(conn, ehr, (state, token), &Due::astray(now), more)?;
            }
            if state == "writing" {
                left.extend(rows.iter().map(|r| r.id.clone()));
            }
            found.extend(rows.into_iter().map(|r| (r.id, unclear)));
        }
    }
    let ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
    // How a worker that died put it, nobody knows; what is on the row is of an earlier try.
    if !left.is_empty() {
        on_backend!(conn, c => diesel::update(writeback::table.filter(writeback::id.eq_any(&left)))
            .set(writeback::put_as.eq(None::<String>))
            .execute(c))?;
    }
    on_backend!(conn, c => diesel::update(writeback::table.filter(writeback::id.eq_any(&ids)))
        .set((
            writeback::state.eq("writing"),
            writeback::token.eq(fence.token),
            writeback::tries.eq(writeback::tries + 1),
            writeback::next_at.eq(until.micros()),
        ))
        .execute(c))?;
    let rows: Vec<Writeback> =
        on_backend!(conn, c => writeback::table.filter(writeback::id.eq_any(&ids)).select(Writeback::as_select()).load(c))?;
    let mut rows: HashMap<String, Writeback> = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
    Ok(found.into_iter().filter_map(|(id, unclear)| rows.remove(&id).map(|row| Claimed { row, unclear })).collect())
}

/// Nothing but a clock that was ahead puts a row off for longer: a server is granted a day.
const ASTRAY: TimeDelta = TimeDelta::hours(48);

/// From when to when rows are due that are due now.
struct Due {
    after: i64,
    until: i64,
    /// A day's note that is still being collected, too.
    notes: i64,
}

impl Due {
    const fn by(now: Timestamp) -> Self {
        Self { after: i64::MIN, until: now.micros(), notes: 1 }
    }

    /// Due at an instant that was told by a clock that was put back since.
    fn astray(now: Timestamp) -> Self {
        Self { after: now.plus(ASTRAY).micros(), until: PARKED - 1, notes: 0 }
    }
}

/// Due rows in a state, those that nothing of the same patient stands before. What waits for a person does not stand in the way.
fn first_of_lanes(
    conn: &mut Conn,
    ehr: &str,
    (state, token_below): (&str, i64),
    due: &Due,
    limit: i64,
) -> Result<Vec<ClaimRow>, StoreError> {
    const TEXT: &str = "SELECT w.id FROM writeback w WHERE w.ehr = $1 AND w.state = $2 AND w.next_at > $3 AND w.next_at <= $4
        AND w.token < $5 AND ($6 = 1 OR w.kind <> 'note' OR w.tries > 0)
        AND NOT EXISTS (SELECT 1 FROM writeback b WHERE b.patient = w.patient AND b.number < w.number
            AND b.state IN ('owed', 'writing', 'unknown') AND b.next_at < 9223372036854775807 AND (b.kind <> 'note' OR b.tries > 0))
        ORDER BY w.next_at LIMIT $7";
    Ok(match conn {
        // SQLite takes `?1`, and one writer at a time needs no lock on rows.
        Conn::Sqlite(c) => diesel::sql_query(TEXT.replace('$', "?"))
            .bind::<Text, _>(ehr)
            .bind::<Text, _>(state)
            .bind::<BigInt, _>(due.after)
            .bind::<BigInt, _>(due.until)
            .bind::<BigInt, _>(token_below)
            .bind::<BigInt, _>(due.notes)
            .bind::<BigInt, _>(limit)
            .load(c)?,
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => diesel::sql_query(format!("{TEXT} FOR UPDATE OF w SKIP LOCKED"))
            .bind::<Text, _>(ehr)
            .bind::<Text, _>(state)
            .bind::<BigInt, _>(due.after)
            .bind::<BigInt, _>(due.until)
            .bind::<BigInt, _>(token_below)
            .bind::<BigInt, _>(due.notes)
            .bind::<BigInt, _>(limit)
            .load(c)?,
    })
}

/// What became of a claimed write-back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The EHR has it.
    Written {
        /// Logical id there.
        remote_id: Option<String>,
        /// Version there.
        version: Option<String>,
        /// What could not be carried, JSON.
        loss: String,
        /// Where what the EHR kept differs from what was sent, JSON; absent where that was not looked at.
        differences: Option<String>,
    },
    /// It was put into a file for the site.
    Exported {
        /// The file's name.
        file: String,
        /// What could not be carried, JSON.
        loss: String,
    },
    /// By the contract's word it stays in the ledger.
    Kept {
        /// Why, in words.
        why: String,
    },
    /// It certainly did not reach the EHR; it is tried again at an instant.
    Again {
        /// When.
        at: Timestamp,
        /// Why, in words.
        why: String,
    },
    /// It may have reached the EHR; it is searched for after an instant.
    Unknown {
        /// When.
        at: Timestamp,
        /// Why, in words.
        why: String,
    },
    /// The EHR does not take it; a person has to look.
    Refused {
        /// Why, in words.
        why: String,
    },
    /// It may have reached the EHR, and nothing can tell: it stays unknown, and a person has to look.
    Parked {
        /// Why, in words.
        why: String,
    },
    /// It was claimed and not tried: it is again what it was, and the try does not count.
    PutBack {
        /// Not before this instant.
        at: Timestamp,
        /// What it was claimed as.
        unclear: bool,
    },
}

/// By what a try went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way<'a> {
    /// The carrier.
    pub carrier: &'a str,
    /// How it was put; absent where that is not known.
    pub put_as: Option<&'a str>,
}

/// Records what became of a claimed write-back, and by what it went where it was tried. `false` where another worker has it by now.
///
/// # Errors
/// The engine's refusal.
pub fn settle(
    conn: &mut Conn,
    id: &str,
    fence: &Fence,
    how: &Settlement,
    way: Option<Way<'_>>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let row = writeback::table.find(id).filter(writeback::state.eq("writing")).filter(writeback::token.eq(fence.token));
    let hit = match how {
        Settlement::Written { remote_id, version, loss, differences } => on_backend!(conn, c => diesel::update(row)
            .set((
                writeback::state.eq("written"),
                writeback::remote_id.eq(remote_id.as_deref()),
                writeback::remote_version.eq(version.as_deref()),
                writeback::loss.eq(loss),
                writeback::differences.eq(differences.as_deref()),
                writeback::failure.eq(None::<String>),
                writeback::settled_at.eq(now.micros()),
            ))
            .execute(c))?,
        Settlement::Exported { file, loss } => on_backend!(conn, c => diesel::update(row)
            .set((
                writeback::state.eq("exported"),
                writeback::remote_id.eq(file),
                writeback::loss.eq(loss),
                writeback::failure.eq(None::<String>),
                writeback::settled_at.eq(now.micros()),
            ))
            .execute(c))?,
        Settlement::Kept { why } => on_backend!(conn, c => diesel::update(row)
            .set((writeback::state.eq("kept"), writeback::failure.eq(why), writeback::settled_at.eq(now.micros())))
            .execute(c))?,
        Settlement::Again { at, why } => on_backend!(conn, c => diesel::update(row)
            .set((writeback::state.eq("owed"), writeback::next_at.eq(at.micros()), writeback::failure.eq(why)))
            .execute(c))?,
        Settlement::Unknown { at, why } => on_backend!(conn, c => diesel::update(row)
            .set((writeback::state.eq("unknown"), writeback::next_at.eq(at.micros()), writeback::failure.eq(why)))
            .execute(c))?,
        Settlement::Refused { why } => on_backend!(conn, c => diesel::update(row)
            .set((writeback::state.eq("refused"), writeback::failure.eq(why), writeback::settled_at.eq(now.micros())))
            .execute(c))?,
        Settlement::Parked { why } => on_backend!(conn, c => diesel::update(row)
            .set((writeback::state.eq("unknown"), writeback::next_at.eq(PARKED), writeback::failure.eq(why)))
            .execute(c))?,
        Settlement::PutBack { at, unclear } => on_backend!(conn, c => diesel::update(row)
            .set((
                writeback::state.eq(if *unclear { "unknown" } else { "owed" }),
                writeback::next_at.eq(at.micros()),
                writeback::tries.eq(writeback::tries - 1),
            ))
            .execute(c))?,
    };
    if hit == 1 && matches!(how, Settlement::Refused { .. }) {
        debts::owe_unheard(conn, id, now)?;
    }
    if let Some(Way { carrier, put_as }) = way.filter(|_| hit == 1) {
        let sent = (writeback::carrier.eq(carrier), writeback::put_as.eq(put_as));
        match how {
            Settlement::Unknown { .. } => on_backend!(conn, c => diesel::update(writeback::table.find(id))
                .set((sent, writeback::unanswered.eq(writeback::unanswered + 1)))
                .execute(c))?,
            _ => on_backend!(conn, c => diesel::update(writeback::table.find(id)).set((sent, writeback::unanswered.eq(0_i64))).execute(c))?,
        };
    }
    Ok(hit == 1)
}

/// Write-backs by state.
///
/// # Errors
/// The engine's refusal.
pub fn counts(conn: &mut Conn) -> Result<Vec<(String, i64)>, StoreError> {
    use diesel::dsl::count_star;
    Ok(
        on_backend!(conn, c => writeback::table.group_by(writeback::state).select((writeback::state, count_star())).order(writeback::state).load(c))?,
    )
}

/// The next instant at which anything of an EHR is due; what waits behind another one of its patient does not count. What was put off by a
/// clock that was ahead is due now.
///
/// # Errors
/// The engine's refusal.
pub fn next_due(conn: &mut Conn, ehr: &str, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    #[derive(QueryableByName)]
    struct Least {
        #[diesel(sql_type = Nullable<BigInt>)]
        at: Option<i64>,
    }
    const TEXT: &str = "SELECT MIN(CASE WHEN w.next_at > $2 AND (w.kind <> 'note' OR w.tries > 0) THEN $3 ELSE w.next_at END) AS at FROM writeback w WHERE w.ehr = $1 AND w.state IN ('owed', 'writing', 'unknown')
        AND w.next_at < 9223372036854775807 AND NOT EXISTS (SELECT 1 FROM writeback b WHERE b.patient = w.patient AND b.number < w.number
            AND b.state IN ('owed', 'writing', 'unknown') AND b.next_at < 9223372036854775807 AND (b.kind <> 'note' OR b.tries > 0))";
    let (astray, now) = (now.plus(ASTRAY).micros(), now.micros());
    let least: Least = match conn {
        Conn::Sqlite(c) => {
            let query = diesel::sql_query(TEXT.replace('$', "?")).bind::<Text, _>(ehr);
            query.bind::<BigInt, _>(astray).bind::<BigInt, _>(now).get_result(c)?
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => {
            let query = diesel::sql_query(TEXT).bind::<Text, _>(ehr);
            query.bind::<BigInt, _>(astray).bind::<BigInt, _>(now).get_result(c)?
        }
    };
    Ok(least.at.map(Timestamp::from_micros))
}

/// Write-backs for a list, the latest owed first; `parked` are the unknown ones that wait for a person.
///
/// # Errors
/// The engine's refusal.
pub fn list(conn: &mut Conn, ehr: Option<&str>, state: Option<&str>, limit: i64) -> Result<Vec<Writeback>, StoreError> {
    on_backend!(conn, c => {
        let mut q = writeback::table.select(Writeback::as_select()).into_boxed();
        if let Some(ehr) = ehr {
            q = q.filter(writeback::ehr.eq(ehr));
        }
        match state {
            // What waits for a person is unknown, too.
            Some("parked") => q = q.filter(writeback::state.eq("unknown").and(writeback::next_at.eq(PARKED))),
            Some(state) => q = q.filter(writeback::state.eq(state)),
            None => {}
        }
        Ok(q.order((writeback::owed_at.desc(), writeback::id)).limit(limit).load(c)?)
    })
}

/// What write-backs are composed from: each row's attempt with its patient's logical id, by attempt. What is owed to a record that was merged
/// since goes to its survivor at the same EHR ([`people::survivor`]); where it is not settled which that is, the EHR's answer to the merged
/// id decides.
///
/// # Errors
/// The engine's refusal.
pub fn subjects(conn: &mut Conn, attempts: &[&str]) -> Result<HashMap<String, (Attempt, String)>, StoreError> {
    let rows: Vec<(Attempt, (String, Option<i64>))> = on_backend!(conn, c => attempt::table
        .inner_join(patient::table)
        .filter(attempt::id.eq_any(attempts))
        .select((Attempt::as_select(), (patient::fhir_id, patient::root)))
        .load(c))?;
    rows.into_iter()
        .map(|(a, (fhir_id, root))| {
            let id = if root.is_some() { people::survivor(conn, a.patient)?.fhir_id } else { fhir_id };
            Ok((a.id.clone(), (a, id)))
        })
        .collect()
}
