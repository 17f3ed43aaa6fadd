//! The planning half of the stage: for each marked person, which programs they are in, which attempts that asks for, and which planned ones
//! have lost their reason.

use chrono_tz::Tz;
use domain::Timestamp;
use domain::model::AppointmentFacts;
use domain::model::PersonFacts;
use domain::model::person::Sourced;
use domain::rules::next_visit;

use super::ledger;
use super::plan::{AnchorAppointment, Due, EnrolmentKey, Membership, Planned, Tried, plan, superseded};
use super::program::{Anchor, Program};
use crate::store::attempts::{self, Attempt, Plan};
use crate::store::enrolments::{self, Enrolment};
use crate::store::memberships::{self, Assignment, State};
use crate::store::pending::Pending;
use crate::store::people::{self, Record};
use crate::store::{Conn, StoreError};

/// A program in force, with the number of its segment.
pub(super) struct InForce<'a> {
    pub(super) program: &'a Program,
    pub(super) version: i64,
    pub(super) segment: i64,
}

/// All that planning needs to know of one person.
pub(super) struct Person {
    pub(super) taken: Pending,
    facts: PersonFacts,
    assignment: Assignment,
    enrolments: Vec<Enrolment>,
    attempts: Vec<Attempt>,
    records: Vec<Record>,
}

/// Reads the persons of one chunk.
pub(super) fn load(conn: &mut Conn, taken: &[Pending]) -> Result<Vec<Person>, StoreError> {
    let persons: Vec<i64> = taken.iter().map(|p| p.person).collect();
    let mut facts = people::facts(conn, &persons)?;
    let mut assignments = memberships::assignments(conn, &persons)?;
    taken
        .iter()
        .map(|t| {
            Ok(Person {
                taken: *t,
                facts: facts.remove(&t.person).map(|k| k.facts).unwrap_or_default(),
                assignment: assignments.remove(&t.person).unwrap_or_default(),
                enrolments: enrolments::of(conn, t.person)?,
                attempts: attempts::of_person(conn, t.person)?,
                records: people::records(conn, t.person)?,
            })
        })
        .collect()
}

/// What a person's planning changes.
#[derive(Default)]
pub(super) struct Todo<'a> {
    plans: Vec<(EnrolmentKey, Planned, &'a InForce<'a>)>,
    voids: Vec<(i64, String, i64, i64, &'static str)>,
    ended: Vec<(i64, &'static str)>,
}

/// Works out what is to be done for one person.
pub(super) fn work_out<'a>(person: &Person, programs: &'a [InForce<'a>], zone: Tz, now: Timestamp) -> Todo<'a> {
    let mut todo = Todo::default();
    for p in programs {
        let member = person.assignment.memberships.get(&p.segment).filter(|m| m.state == State::In);
        let tried: Vec<Tried> = person
            .enrolments
            .iter()
            .filter(|e| e.program == p.program.id)
            .flat_map(|e| person.attempts.iter().filter(|a| a.enrolment == e.id).filter_map(|a| ledger::tried(a, e)))
            .collect();
        let membership = match member {
            Some(m) => Membership {
                entered_at: m.since,
                entry_no: u32::try_from(m.entry).unwrap_or(u32::MAX),
                left_at: None,
                answered_at: answered(person, p.program),
                appointment: next_visit(&person.facts, now).and_then(anchor_of),
            },
            None => {
                let Some(last) = person.enrolments.iter().rev().find(|e| e.program == p.program.id && e.state == "active") else {
                    continue;
                };
                Membership {
                    entered_at: Timestamp::from_micros(last.entered_at),
                    entry_no: u32::try_from(last.entry).unwrap_or(u32::MAX),
                    left_at: Some(now),
                    answered_at: answered(person, p.program),
                    appointment: anchor_by_key(&person.facts, &last.anchor, now),
                }
            }
        };
        let planned = plan(p.program, &membership, &tried, zone, now);
        for old in superseded(p.program, &membership, &tried) {
            todo.void(person, p.program, &old.enrolment, &old.key.step, i64::from(old.key.rung), old.key.anchor_rev, "moved");
        }
        for step in planned {
            let Some(enrolment) = step.enrolment.clone() else { continue };
            match step.due {
                Due::Now | Due::At(_) => todo.plans.push((enrolment, step, p)),
                Due::Void(why) => {
                    let key = &step.key;
                    todo.void(person, p.program, &enrolment, &key.step, i64::from(key.rung), key.anchor_rev, why.as_str());
                }
                Due::Settled => {}
            }
        }
        todo.end_old(person, p.program, member.map(|_| &membership));
    }
    todo
}

impl Todo<'_> {
    #[expect(clippy::too_many_arguments, reason = "an attempt is told apart by four keys, and all are at hand")]
    fn void(&mut self, person: &Person, program: &Program, key: &EnrolmentKey, step: &str, rung: i64, revision: i64, why: &'static str) {
        let found = person.enrolments.iter().find(|e| e.program == program.id && ledger::enrolment_key(e) == *key);
        if let Some(e) = found {
            self.voids.push((e.id, step.to_owned(), rung, revision, why));
        }
    }

    /// Ends enrolments that the person's present membership is not about any more and that have nothing left to do.
    fn end_old(&mut self, person: &Person, program: &Program, now: Option<&Membership>) {
        for e in person.enrolments.iter().filter(|e| e.program == program.id && e.state == "active") {
            let key = ledger::enrolment_key(e);
            let current = now.is_some_and(|m| {
                key == EnrolmentKey { anchor: "segment".to_owned(), entry_no: m.entry_no }
                    || m.appointment.as_ref().is_some_and(|a| a.key == key.anchor)
            });
            let still_planned = self.plans.iter().any(|(k, _, p)| *k == key && p.program.id == program.id);
            if !current && !still_planned {
                self.ended.push((e.id, if now.is_some() { "moved-on" } else { "left-segment" }));
            }
        }
    }
}

fn answered(person: &Person, program: &Program) -> Option<Timestamp> {
    let of_program = person.attempts.iter().filter(|a| a.program == program.id && a.outcome.as_deref() == Some("answered"));
    of_program.filter_map(|a| a.finished_at).max().map(Timestamp::from_micros)
}

fn key_of(a: &Sourced<AppointmentFacts>) -> String {
    format!("{}/Appointment/{}", a.origin.ehr, a.origin.id)
}

fn anchor_of(a: &Sourced<AppointmentFacts>) -> Option<AnchorAppointment> {
    a.facts.start.map(|start| AnchorAppointment { key: key_of(a), start })
}

fn anchor_by_key(facts: &PersonFacts, key: &str, now: Timestamp) -> Option<AnchorAppointment> {
    let booked = |a: &&Sourced<AppointmentFacts>| matches!(a.facts.status.as_str(), "booked" | "pending" | "arrived" | "checked-in");
    let of_key = facts.appointments.iter().filter(|a| key_of(a) == key).find(booked)?;
    anchor_of(of_key).filter(|a| a.start > now)
}

/// Writes what was worked out; returns how many attempts were planned and how many given up.
pub(super) fn write(
    conn: &mut Conn,
    person: &Person,
    todo: &Todo<'_>,
    fresh_id: &dyn Fn() -> String,
    now: Timestamp,
) -> Result<(u64, u64), StoreError> {
    let (mut planned, mut voided) = (0, 0);
    for (enrolment, step, rung, revision, why) in &todo.voids {
        voided += u64::from(attempts::void_one(conn, *enrolment, step, *rung, &revision.to_string(), why, now)?);
    }
    for (key, step, p) in &todo.plans {
        let Some(definition) = p.program.step(&step.key.step) else { continue };
        let Some((record, about)) = record_for(person, key, definition.anchor) else { continue };
        let enrolment = enrolments::enrol(conn, &p.program.id, person.taken.person, &key.anchor, i64::from(key.entry_no), now)?;
        if enrolment.state == "ended" {
            enrolments::reopen(conn, enrolment.id)?;
        }
        let due_at = match step.due {
            Due::At(at) => at,
            _ => step.due_at.min(now),
        };
        let id = fresh_id();
        planned += u64::from(attempts::plan(
            conn,
            &Plan {
                id: &id,
                enrolment: enrolment.id,
                program: &p.program.id,
                program_version: p.version,
                step: &step.key.step,
                rung: i64::from(step.key.rung),
                anchor_revision: &step.key.anchor_rev.to_string(),
                about: about.as_deref(),
                person: person.taken.person,
                patient: record.pk,
                due_at,
                expires_at: Some(step.expires_at),
                template: &definition.template,
                action: definition.action.as_str(),
            },
        )?);
    }
    for (id, why) in &todo.ended {
        voided += u64::try_from(attempts::void(conn, *id, why, now)?).unwrap_or(0);
        enrolments::end(conn, *id, why, now)?;
    }
    Ok((planned, voided))
}

/// The patient record that an attempt belongs to: that of the appointment's EHR, else the first one in use; and what it is about.
fn record_for<'p>(person: &'p Person, key: &EnrolmentKey, anchor: Anchor) -> Option<(&'p Record, Option<String>)> {
    let live = || person.records.iter().filter(|r| r.state != "merged" && r.state != "gone");
    match anchor {
        Anchor::AppointmentStart => {
            let appointment = person.facts.appointments.iter().find(|a| key_of(a) == key.anchor)?;
            let record = live().find(|r| r.ehr == appointment.origin.ehr.as_str())?;
            Some((record, Some(appointment.origin.reference())))
        }
        Anchor::SegmentEntry => live().next().map(|r| (r, None)),
    }
}
