//! Attempts to reach a person, the gate's verdicts on them, and what each finished attempt owes to the chart.
//!
//! `planned -> (held) -> sending -> sent -> finished`, or `refused` by the gate, or `void` because its reason went away. A row says
//! `sending` before anything leaves the building, and the commit that says so also moves the person's contact revision from the one
//! that the gate read; so two nodes cannot both use the last permit. What a finished attempt owes to the chart is decided in the same
//! transaction as its end ([`finish`]).

mod by_person;
mod ending;
mod holding;

use std::collections::BTreeSet;

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::reading::{self, leave_out};
use super::schema::{attempt, person, verdict};

pub use by_person::{made_by_person, stop};
pub use ending::{End, Outcome, bounced, finish, owe_unreachable};
use holding::STOPPED;
pub(super) use holding::ask_to_wake;
pub use holding::{hold, wake_some};

/// States of an attempt that has not left the building.
const WAITING: [&str; 2] = ["planned", "held"];

/// An attempt.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = attempt)]
pub struct Attempt {
    /// Public id: in the write-back's identifier and in a message's id.
    pub id: String,
    /// The enrolment.
    pub enrolment: i64,
    /// The program.
    pub program: String,
    /// The version of the program that planned it.
    pub program_version: i64,
    /// The step.
    pub step: String,
    /// The rung of the ladder, from 0.
    pub rung: i64,
    /// Which state of its anchor it was planned for: a rescheduled appointment is another one.
    pub anchor_revision: String,
    /// The resource that it is about: `Appointment/12`.
    pub about: Option<String>,
    /// The person, as whom its record counts now.
    pub person: i64,
    /// The patient record it belongs to, which decides the EHR that is told.
    pub patient: i64,
    /// `planned`, `held`, `sending`, `sent`, `finished`, `refused`, `void`.
    pub state: String,
    /// `delivered`, `answered`, `failed`, `unknown`, once finished.
    pub outcome: Option<String>,
    /// When it is due, or looked at again.
    pub due_at: i64,
    /// After this it is of no use.
    pub expires_at: Option<i64>,
    /// The channel that was chosen.
    pub channel: Option<String>,
    /// Hash of the contact point that was chosen.
    pub contact_hash: Option<Vec<u8>>,
    /// The template.
    pub template: String,
    /// The language that it was rendered in.
    pub language: Option<String>,
    /// The one thing that it asks for.
    pub action: String,
    /// The text that was sent, compressed.
    pub message: Option<Vec<u8>>,
    /// The lease token under which it was last claimed.
    pub token: i64,
    /// The channel's own reference.
    pub provider_ref: Option<String>,
    /// Why it failed or was voided, a code with words and without contact data.
    pub failure: Option<String>,
    /// When it left the building.
    pub sent_at: Option<i64>,
    /// When a missing receipt means that the outcome stays unknown.
    pub settle_by: Option<i64>,
    /// When it ended.
    pub finished_at: Option<i64>,
}

impl Attempt {
    /// Whether it may or may not have left, and only a person can tell: [`leave_to_person`].
    #[must_use]
    pub fn is_left_to_person(&self) -> bool {
        self.state == "sending" && self.failure.is_some()
    }

    /// It is held because outreach is stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.state == "held" && self.failure.as_deref() == Some(STOPPED)
    }
}

/// An attempt to plan.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Public id to give it.
    pub id: &'a str,
    /// The enrolment.
    pub enrolment: i64,
    /// The program.
    pub program: &'a str,
    /// Its version.
    pub program_version: i64,
    /// The step.
    pub step: &'a str,
    /// The rung.
    pub rung: i64,
    /// The anchor's state.
    pub anchor_revision: &'a str,
    /// What it is about.
    pub about: Option<&'a str>,
    /// The person.
    pub person: i64,
    /// The record.
    pub patient: i64,
    /// When it is due.
    pub due_at: Timestamp,
    /// After this it is of no use.
    pub expires_at: Option<Timestamp>,
    /// The template.
    pub template: &'a str,
    /// What it asks for.
    pub action: &'a str,
}

/// Plans an attempt; one that is there already for the same step, rung and state of the anchor stays as it is. A void one of that kind is
/// planned again: its reason came back; a planned one of another version of the program follows the new one. Returns whether anything was
/// planned.
///
/// # Errors
/// The engine's refusal.
pub fn plan(conn: &mut Conn, p: &Plan<'_>) -> Result<bool, StoreError> {
    let row = (
        (
            attempt::id.eq(p.id),
            attempt::enrolment.eq(p.enrolment),
            attempt::program.eq(p.program),
            attempt::program_version.eq(p.program_version),
        ),
        (attempt::step.eq(p.step), attempt::rung.eq(p.rung), attempt::anchor_revision.eq(p.anchor_revision), attempt::about.eq(p.about)),
        (attempt::person.eq(p.person), attempt::patient.eq(p.patient), attempt::state.eq("planned"), attempt::due_at.eq(p.due_at.micros())),
        (
            attempt::expires_at.eq(p.expires_at.map(Timestamp::micros)),
            attempt::template.eq(p.template),
            attempt::action.eq(p.action),
            attempt::token.eq(0_i64),
        ),
    );
    let made = on_backend!(conn, c => diesel::insert_into(attempt::table).values(row).on_conflict_do_nothing().execute(c))?;
    if made == 1 {
        return Ok(true);
    }
    // A void one comes back; one that still waits to be judged follows a changed program.
    let revived = attempt::state.eq("void");
    let outdated = attempt::state.eq("planned").and(attempt::program_version.ne(p.program_version));
    let same = attempt::table
        .filter(attempt::enrolment.eq(p.enrolment))
        .filter(attempt::step.eq(p.step))
        .filter(attempt::rung.eq(p.rung))
        .filter(attempt::anchor_revision.eq(p.anchor_revision))
        .filter(revived.or(outdated));
    let again = on_backend!(conn, c => diesel::update(same)
        .set((
            attempt::state.eq("planned"),
            attempt::program_version.eq(p.program_version),
            attempt::template.eq(p.template),
            attempt::action.eq(p.action),
            attempt::due_at.eq(p.due_at.micros()),
            attempt::expires_at.eq(p.expires_at.map(Timestamp::micros)),
            attempt::failure.eq(None::<String>),
            attempt::finished_at.eq(None::<i64>),
        ))
        .execute(c))?;
    Ok(again == 1)
}

/// Voids the attempts of an enrolment that have not left the building; returns how many.
///
/// # Errors
/// The engine's refusal.
pub fn void(conn: &mut Conn, enrolment: i64, why: &str, now: Timestamp) -> Result<usize, StoreError> {
    let rows = attempt::table.filter(attempt::enrolment.eq(enrolment)).filter(attempt::state.eq_any(WAITING));
    Ok(on_backend!(conn, c => diesel::update(rows)
        .set((attempt::state.eq("void"), attempt::failure.eq(why), attempt::finished_at.eq(now.micros())))
        .execute(c))?)
}

/// Voids one attempt that has not left the building: the person left the segment, the appointment was cancelled or moved. Returns whether
/// there was one.
///
/// # Errors
/// The engine's refusal.
pub fn void_one(
    conn: &mut Conn,
    enrolment: i64,
    step: &str,
    rung: i64,
    anchor_revision: &str,
    why: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let row = attempt::table
        .filter(attempt::enrolment.eq(enrolment))
        .filter(attempt::step.eq(step))
        .filter(attempt::rung.eq(rung))
        .filter(attempt::anchor_revision.eq(anchor_revision))
        .filter(attempt::state.eq_any(WAITING));
    let hit = on_backend!(conn, c => diesel::update(row)
        .set((attempt::state.eq("void"), attempt::failure.eq(why), attempt::finished_at.eq(now.micros())))
        .execute(c))?;
    Ok(hit == 1)
}

/// A person's attempts, the first due first.
///
/// # Errors
/// The engine's refusal.
pub fn of_person(conn: &mut Conn, person: i64) -> Result<Vec<Attempt>, StoreError> {
    Ok(on_backend!(conn, c => attempt::table
        .filter(attempt::person.eq(person))
        .select(Attempt::as_select())
        .order((attempt::due_at, attempt::id))
        .load(c))?)
}

/// One attempt.
///
/// # Errors
/// The engine's refusal.
pub fn get(conn: &mut Conn, id: &str) -> Result<Option<Attempt>, StoreError> {
    Ok(on_backend!(conn, c => attempt::table.find(id).select(Attempt::as_select()).first(c).optional())?)
}

/// Attempts that are due: planned or held, the first due first. Whoever is among the first `limit` comes with all that is due to that
/// person, so there may be more: which of them is the most urgent can only be told where all are seen. Persons of an EHR that is known by
/// half ([`reading`]) are left out.
///
/// # Errors
/// The engine's refusal.
pub fn due(conn: &mut Conn, now: Timestamp, limit: i64) -> Result<Vec<Attempt>, StoreError> {
    let half = reading::half_read(conn, now)?;
    let mut first: Vec<(i64, String, i64)> = Vec::new();
    // State by state, so that the index gives each in order: a batch must not sort all that waits.
    for state in WAITING {
        first.extend(on_backend!(conn, c => {
            let rows = attempt::table
                .filter(attempt::state.eq(state))
                .filter(attempt::due_at.le(now.micros()))
                .select((attempt::due_at, attempt::id, attempt::person))
                .order((attempt::due_at, attempt::id))
                .limit(limit)
                .into_boxed();
            leave_out!(rows, attempt::person, half).load::<(i64, String, i64)>(c)
        })?);
    }
    first.sort_unstable();
    first.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let persons: BTreeSet<i64> = first.into_iter().map(|(_, _, person)| person).collect();
    // With nothing appended the state is not what an index is of: SQLite would take the index of what is due, and walk all of it.
    let waits = attempt::state.concat("").eq_any(WAITING);
    let theirs = attempt::table.filter(attempt::person.eq_any(persons)).filter(waits).filter(attempt::due_at.le(now.micros()));
    let mut due: Vec<Attempt> = on_backend!(conn, c => theirs.select(Attempt::as_select()).load(c))?;
    due.sort_unstable_by(|a, b| (a.due_at, &a.id).cmp(&(b.due_at, &b.id)));
    Ok(due)
}

/// The next instant at which anything is due, for a worker that wants to sleep until then.
///
/// # Errors
/// The engine's refusal.
pub fn next_due(conn: &mut Conn) -> Result<Option<Timestamp>, StoreError> {
    use diesel::dsl::min;
    let at: Option<i64> = on_backend!(conn, c => attempt::table
        .filter(attempt::state.eq_any(WAITING))
        .select(min(attempt::due_at))
        .first(c))?;
    Ok(at.map(Timestamp::from_micros))
}

/// Attempts that say `sending` under an earlier lease than `token`: their worker died, or lost its lease, in the middle of the send.
///
/// # Errors
/// The engine's refusal.
pub fn left_sending(conn: &mut Conn, token: i64, limit: i64) -> Result<Vec<Attempt>, StoreError> {
    Ok(on_backend!(conn, c => attempt::table
        .filter(attempt::state.eq("sending"))
        .filter(attempt::token.lt(token))
        .filter(attempt::failure.is_null())
        .select(Attempt::as_select())
        .order(attempt::due_at)
        .limit(limit)
        .load(c))?)
}

/// Attempts that were sent and whose time for receipts has passed.
///
/// # Errors
/// The engine's refusal.
pub fn unsettled(conn: &mut Conn, now: Timestamp, limit: i64) -> Result<Vec<Attempt>, StoreError> {
    Ok(on_backend!(conn, c => attempt::table
        .filter(attempt::state.eq("sent"))
        .filter(attempt::settle_by.le(now.micros()))
        .select(Attempt::as_select())
        .order(attempt::settle_by)
        .limit(limit)
        .load(c))?)
}

/// A verdict of the policy gate, to be kept.
#[derive(Clone, Debug)]
pub struct Verdict<'a> {
    /// `allow`, `hold`, `refuse`.
    pub outcome: &'a str,
    /// When to look again.
    pub hold_until: Option<Timestamp>,
    /// All data it looked at is known up to this instant.
    pub facts_as_of: Option<Timestamp>,
    /// Its reasons, serialised.
    pub reasons: &'a [u8],
}

/// A stored verdict.
#[derive(Clone, Debug, Queryable)]
pub struct VerdictRow {
    /// The attempt.
    pub attempt: String,
    /// Number within the attempt.
    pub number: i64,
    /// When.
    pub judged_at: i64,
    /// `allow`, `hold`, `refuse`.
    pub outcome: String,
    /// When it is looked at again.
    pub hold_until: Option<i64>,
    /// All data it looked at was known up to this instant.
    pub facts_as_of: Option<i64>,
    /// Its reasons, serialised.
    pub reasons: Vec<u8>,
}

fn keep_verdict(conn: &mut Conn, id: &str, v: &Verdict<'_>, now: Timestamp) -> Result<(), StoreError> {
    use diesel::dsl::max;
    let last: Option<i64> = on_backend!(conn, c => verdict::table.filter(verdict::attempt.eq(id)).select(max(verdict::number)).first(c))?;
    let row = (
        verdict::attempt.eq(id),
        verdict::number.eq(last.unwrap_or(0) + 1),
        verdict::judged_at.eq(now.micros()),
        verdict::outcome.eq(v.outcome),
        verdict::hold_until.eq(v.hold_until.map(Timestamp::micros)),
        verdict::facts_as_of.eq(v.facts_as_of.map(Timestamp::micros)),
        verdict::reasons.eq(v.reasons),
    );
    on_backend!(conn, c => diesel::insert_into(verdict::table).values(row).execute(c))?;
    Ok(())
}

/// The verdicts on an attempt, in order.
///
/// # Errors
/// The engine's refusal.
pub fn verdicts(conn: &mut Conn, id: &str) -> Result<Vec<VerdictRow>, StoreError> {
    Ok(on_backend!(conn, c => verdict::table.filter(verdict::attempt.eq(id)).order(verdict::number).load(c))?)
}

/// The verdicts on these attempts, by attempt and in order.
///
/// # Errors
/// The engine's refusal.
pub fn verdicts_on(conn: &mut Conn, ids: &[&str]) -> Result<Vec<VerdictRow>, StoreError> {
    let mut found = Vec::new();
    for chunk in ids.chunks(500) {
        let rows = verdict::table.filter(verdict::attempt.eq_any(chunk)).order((verdict::attempt, verdict::number));
        found.extend(on_backend!(conn, c => rows.load::<VerdictRow>(c))?);
    }
    Ok(found)
}

/// Keeps a verdict that refuses an attempt. `false` where the attempt is no longer waiting.
///
/// # Errors
/// The engine's refusal.
pub fn refuse(conn: &mut Conn, id: &str, why: &str, v: &Verdict<'_>, now: Timestamp) -> Result<bool, StoreError> {
    let rows = attempt::table.find(id).filter(attempt::state.eq_any(WAITING));
    let hit = on_backend!(conn, c => diesel::update(rows)
        .set((attempt::state.eq("refused"), attempt::failure.eq(why), attempt::finished_at.eq(now.micros())))
        .execute(c))?;
    if hit == 1 {
        keep_verdict(conn, id, v, now)?;
    }
    Ok(hit == 1)
}

/// What is fixed when an attempt starts to leave the building.
#[derive(Clone, Debug)]
pub struct Departure<'a> {
    /// The channel.
    pub channel: &'a str,
    /// Hash of the contact point, where the channel has one.
    pub contact_hash: Option<&'a [u8]>,
    /// Language of the text.
    pub language: &'a str,
    /// The text, compressed.
    pub message: &'a [u8],
    /// The lease token of the sender.
    pub token: i64,
    /// The person's contact revision that the gate read.
    pub contact_revision: i64,
    /// The record that the message goes by, and whose EHR is told.
    pub patient: i64,
    /// How many messages to the contact point the gate read of, since when: others may share it.
    pub to_point: (usize, Timestamp),
}

/// Marks an attempt as `sending`, keeps the verdict that allowed it, and uses up the person's permit. `false` where the attempt is no
/// longer waiting, or another send to the same person came in between: the gate must judge again.
///
/// # Errors
/// The engine's refusal.
pub fn depart(conn: &mut Conn, a: &Attempt, d: &Departure<'_>, v: &Verdict<'_>, now: Timestamp) -> Result<bool, StoreError> {
    if let Some(hash) = d.contact_hash
        && sends_to(conn, &[hash.to_vec()], d.to_point.1)?.len() != d.to_point.0
    {
        return Ok(false);
    }
    let permit = person::table.find(a.person).filter(person::contact_revision.eq(d.contact_revision));
    let used = on_backend!(conn, c => diesel::update(permit).set(person::contact_revision.eq(d.contact_revision + 1)).execute(c))?;
    if used != 1 {
        return Ok(false);
    }
    let rows = attempt::table.find(&a.id).filter(attempt::state.eq_any(WAITING));
    let hit = on_backend!(conn, c => diesel::update(rows)
        .set((
            attempt::state.eq("sending"),
            attempt::patient.eq(d.patient),
            attempt::channel.eq(d.channel),
            attempt::contact_hash.eq(d.contact_hash),
            attempt::language.eq(d.language),
            attempt::message.eq(d.message),
            attempt::token.eq(d.token),
            // Why an earlier try was put back: kept, it would hide this one from `left_sending`.
            attempt::failure.eq(None::<String>),
            attempt::sent_at.eq(now.micros()),
        ))
        .execute(c))?;
    if hit != 1 {
        // The permit goes back: this transaction wrote nothing else.
        let back = person::table.find(a.person);
        on_backend!(conn, c => diesel::update(back).set(person::contact_revision.eq(d.contact_revision)).execute(c))?;
        return Ok(false);
    }
    keep_verdict(conn, &a.id, v, now)?;
    Ok(true)
}

/// A message that went, or may have gone, to a contact point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentTo {
    /// Hash of the contact point.
    pub point: Vec<u8>,
    /// To whom.
    pub person: i64,
    /// When.
    pub at: Timestamp,
}

/// What was sent to these contact points since an instant, whoever it was meant for. What failed for good reached nobody.
///
/// # Errors
/// The engine's refusal.
pub fn sends_to(conn: &mut Conn, points: &[Vec<u8>], since: Timestamp) -> Result<Vec<SentTo>, StoreError> {
    let mut found = Vec::new();
    for chunk in points.chunks(500) {
        let reached = attempt::outcome.is_null().or(attempt::outcome.ne("failed"));
        let rows = attempt::table
            .filter(attempt::contact_hash.eq_any(chunk.iter().map(Vec::as_slice)))
            .filter(attempt::sent_at.ge(since.micros()))
            .filter(attempt::state.eq_any(["sending", "sent", "finished"]))
            .filter(reached)
            .select((attempt::contact_hash, attempt::person, attempt::sent_at));
        let rows: Vec<(Option<Vec<u8>>, i64, Option<i64>)> = on_backend!(conn, c => rows.load(c))?;
        found.extend(
            rows.into_iter().filter_map(|(point, person, at)| Some(SentTo { point: point?, person, at: Timestamp::from_micros(at?) })),
        );
    }
    Ok(found)
}

/// Puts an attempt that certainly did not leave the building back among the waiting.
///
/// # Errors
/// The engine's refusal.
pub fn put_back(conn: &mut Conn, id: &str, due_at: Timestamp, why: Option<&str>) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(attempt::table.find(id).filter(attempt::state.eq("sending")))
        .set((
            attempt::state.eq("held"),
            attempt::due_at.eq(due_at.micros()),
            attempt::failure.eq(why),
            attempt::sent_at.eq(None::<i64>),
        ))
        .execute(c))?;
    Ok(())
}

/// Leaves a send whose outcome cannot be told by machine to a person.
///
/// # Errors
/// The engine's refusal.
pub fn leave_to_person(conn: &mut Conn, id: &str, why: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(attempt::table.find(id).filter(attempt::state.eq("sending")))
        .set(attempt::failure.eq(why))
        .execute(c))?;
    Ok(())
}

/// The channel took it; receipts may follow until `settle_by`.
///
/// # Errors
/// The engine's refusal.
pub fn sent(conn: &mut Conn, id: &str, provider_ref: Option<&str>, settle_by: Timestamp) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(attempt::table.find(id).filter(attempt::state.eq("sending")))
        .set((attempt::state.eq("sent"), attempt::provider_ref.eq(provider_ref), attempt::settle_by.eq(settle_by.micros())))
        .execute(c))?;
    Ok(())
}

/// Attempts by state and outcome, a row or more of each.
///
/// # Errors
/// The engine's refusal.
pub fn counts(conn: &mut Conn) -> Result<Vec<(String, Option<String>, i64)>, StoreError> {
    use diesel::dsl::count_star;
    // By program as well, since an index of that holds all that is asked for: without it each attempt would be looked up.
    Ok(on_backend!(conn, c => attempt::table
        .group_by((attempt::program, attempt::state, attempt::outcome))
        .select((attempt::state, attempt::outcome, count_star()))
        .load(c))?)
}

/// How many attempts are left to a person.
///
/// # Errors
/// The engine's refusal.
pub fn left_to_person(conn: &mut Conn) -> Result<i64, StoreError> {
    let left = attempt::table.filter(attempt::state.eq("sending")).filter(attempt::failure.is_not_null());
    Ok(on_backend!(conn, c => left.count().get_result(c))?)
}

/// Which attempts a list is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// All.
    All,
    /// Those in a state.
    In(String),
    /// Those that [`leave_to_person`] left to a person.
    LeftToPerson,
}

/// Attempts for a list, the latest due first.
///
/// # Errors
/// The engine's refusal.
pub fn list(conn: &mut Conn, which: &Listed, program: Option<&str>, limit: i64) -> Result<Vec<Attempt>, StoreError> {
    on_backend!(conn, c => {
        let mut q = attempt::table.select(Attempt::as_select()).into_boxed();
        match which {
            Listed::All => {}
            Listed::In(state) => q = q.filter(attempt::state.eq(state)),
            Listed::LeftToPerson => q = q.filter(attempt::state.eq("sending")).filter(attempt::failure.is_not_null()),
        }
        if let Some(program) = program {
            q = q.filter(attempt::program.eq(program));
        }
        Ok(q.order((attempt::due_at.desc(), attempt::id)).limit(limit).load(c)?)
    })
}
