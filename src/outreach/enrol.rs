//! The planning half of the stage: for each marked person, which programs they are in, which attempts that asks for, and which planned ones
//! have lost their reason.

use chrono_tz::Tz;
use domain::Timestamp;
use domain::model::AppointmentFacts;
use domain::model::PersonFacts;
use domain::model::person::Sourced;
use domain::rules::next_visit;

use super::ledger;
use super::plan::{AnchorAppointment, Due, EnrolmentKey, Membership, Planned, Standing, Tried, plan, superseded};
use super::program::{Anchor, Program};
use crate::store::attempts::{self, Attempt, Plan};
use crate::store::enrolments::{self, Enrolment, MERGED};
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
    plans: Vec<Step<'a>>,
    voids: Vec<(i64, String, i64, String, &'static str)>,
    ended: Vec<(i64, &'static str)>,
}

/// A step to plan, with the enrolment that is there, and whether that one has ended.
struct Step<'a> {
    key: EnrolmentKey,
    planned: Planned,
    enrolment: Option<(i64, bool)>,
    program: &'a InForce<'a>,
}

/// Works out what is to be done for one person.
pub(super) fn work_out<'a>(person: &Person, programs: &'a [InForce<'a>], zone: Tz, now: Timestamp) -> Todo<'a> {
    let mut todo = Todo::default();
    if !person.records.iter().any(Record::is_in_use) {
        // Merged into a record that is not known, or deleted. What is given up comes back with a record.
        todo.give_up_all(person);
        return todo;
    }
    for p in programs {
        let member = person.assignment.memberships.get(&p.segment).filter(|m| m.state == State::In);
        let ways = Ways::of(person, p.program, member.is_some());
        let tried = ways.tried(person);
        let membership = match member {
            Some(m) => Membership {
                entered_at: ways.carried.map_or(m.since, |e| m.since.min(Timestamp::from_micros(e.entered_at))),
                entry_no: u32::try_from(ways.carried.map_or(m.entry, |e| e.entry)).unwrap_or(u32::MAX),
                left_at: None,
                answered_at: answered(person, p.program),
                appointment: next_visit(&person.facts, now).and_then(anchor_of),
            },
            None => {
                let Some(last) = ways.all.iter().rev().find(|e| e.state == "active") else {
                    todo.end_old(person, &ways, None);
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
            for e in ways.of_key(&old.enrolment) {
                todo.void(person, e.id, &old.key.step, Some(i64::from(old.key.rung)), old.key.anchor_rev, "moved");
            }
        }
        for step in planned {
            let Some(key) = step.enrolment.clone() else { continue };
            let (name, revision) = (step.key.step.clone(), step.key.anchor_rev);
            match step.due {
                Due::Now | Due::At(_) => {
                    let enrolment = ways.of_key(&key).next().map(|e| (e.id, e.state == "ended"));
                    todo.plans.push(Todo::step(key, step, enrolment, p));
                }
                Due::Void(why) => {
                    for e in ways.of_key(&key) {
                        todo.void(person, e.id, &name, Some(i64::from(step.key.rung)), revision, why.as_str());
                    }
                }
                // What another record of this person has had already is not said again.
                Due::Settled => {
                    for e in ways.of_key(&key) {
                        todo.void(person, e.id, &name, None, revision, MERGED);
                    }
                }
            }
        }
        todo.end_old(person, &ways, member.map(|_| &membership));
    }
    todo
}

/// A person's ways through one program. Ways by a segment are those of the person's own number; one that was under way with a record before it
/// was joined or parted goes on in their place, and the others rest.
struct Ways<'p> {
    all: Vec<&'p Enrolment>,
    person: i64,
    carried: Option<&'p Enrolment>,
}

impl<'p> Ways<'p> {
    fn of(person: &'p Person, program: &Program, is_member: bool) -> Self {
        let all: Vec<&Enrolment> = person.enrolments.iter().filter(|e| e.program == program.id).collect();
        let own = person.taken.person;
        let carried = all
            .iter()
            .copied()
            .filter(|e| is_member && is_carried(e))
            .max_by_key(|e| (e.state == "active", e.person == own, e.entered_at, e.id));
        Self { all, person: own, carried }
    }

    /// The ways that a key names.
    fn of_key(&self, key: &EnrolmentKey) -> impl Iterator<Item = &'p Enrolment> {
        let (person, carried) = (self.person, self.carried.map(|e| e.id));
        self.all.iter().copied().filter(move |e| {
            let own = e.anchor != SEGMENT || carried.map_or(e.person == person, |id| id == e.id);
            own && ledger::enrolment_key(e) == *key
        })
    }

    /// What was tried on these ways. On one that rests, only what reached the person counts: it is not to be said twice.
    fn tried(&self, person: &Person) -> Vec<Tried> {
        let of = |e: &&'p Enrolment| {
            let e: &'p Enrolment = e;
            let attempts = person.attempts.iter().filter(move |a| a.enrolment == e.id).filter_map(|a| ledger::tried(a, e));
            let (carried, own) = (self.carried, e.anchor != SEGMENT || self.carried.map_or(e.person == self.person, |c| c.id == e.id));
            let rests = is_carried(e);
            attempts
                .filter_map(|tried| match carried {
                    _ if own => Some(tried),
                    Some(goes_on) if rests && matches!(tried.standing, Standing::Taken | Standing::Refused) => {
                        Some(Tried { enrolment: ledger::enrolment_key(goes_on), ..tried })
                    }
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        self.all.iter().flat_map(of).collect()
    }
}

const SEGMENT: &str = "segment";

/// Under way by a segment when its person was joined or parted, and not ended since.
fn is_carried(e: &Enrolment) -> bool {
    e.anchor == SEGMENT && e.carried_at.is_some() && (e.state == "active" || e.ended_why.as_deref() == Some(MERGED))
}

impl<'a> Todo<'a> {
    const fn step(key: EnrolmentKey, planned: Planned, enrolment: Option<(i64, bool)>, p: &'a InForce<'a>) -> Step<'a> {
        Step { key, planned, enrolment, program: p }
    }

    /// Gives up what waits of a step, at one rung or at whichever. Attempts of another person, from whom this one was parted, are not this
    /// one's to give up.
    fn void(&mut self, person: &Person, enrolment: i64, step: &str, rung: Option<i64>, revision: i64, why: &'static str) {
        let revision = revision.to_string();
        let waits = person.attempts.iter().filter(|a| a.enrolment == enrolment && a.step == step && a.anchor_revision == revision);
        for a in waits.filter(|a| rung.is_none_or(|rung| rung == a.rung)).filter(|a| is_waiting(a)) {
            self.voids.push((a.enrolment, a.step.clone(), a.rung, a.anchor_revision.clone(), why));
        }
    }

    fn give_up_all(&mut self, person: &Person) {
        for a in person.attempts.iter().filter(|a| is_waiting(a)) {
            self.voids.push((a.enrolment, a.step.clone(), a.rung, a.anchor_revision.clone(), "no-record"));
        }
    }

    /// Ends enrolments that the person's present membership is not about any more and that have nothing left to do.
    fn end_old(&mut self, person: &Person, ways: &Ways<'_>, now: Option<&Membership>) {
        let theirs = |e: &&&Enrolment| person.records.iter().any(|r| r.home() == e.person);
        for e in ways.all.iter().filter(theirs).filter(|e| e.state == "active" || is_carried(e)) {
            let key = ledger::enrolment_key(e);
            let rests = now.is_some() && is_carried(e) && ways.carried.is_some_and(|c| c.id != e.id);
            let current = now.is_some_and(|m| {
                let of_segment = key == EnrolmentKey { anchor: SEGMENT.to_owned(), entry_no: m.entry_no };
                (of_segment && ways.of_key(&key).any(|own| own.id == e.id)) || m.appointment.as_ref().is_some_and(|a| a.key == key.anchor)
            });
            let still_planned = self
                .plans
                .iter()
                .any(|s| s.key == key && s.program.program.id == e.program && s.enrolment.is_none_or(|(id, _)| id == e.id));
            let why = match now {
                Some(_) if rests && e.state == "active" => MERGED,
                Some(_) if rests => continue,
                Some(_) => "moved-on",
                None => "left-segment",
            };
            if !current && !still_planned {
                let waits = person.attempts.iter().filter(|a| a.enrolment == e.id && is_waiting(a));
                self.voids.extend(waits.map(|a| (a.enrolment, a.step.clone(), a.rung, a.anchor_revision.clone(), why)));
                self.ended.push((e.id, why));
            }
        }
    }
}

fn is_waiting(a: &Attempt) -> bool {
    matches!(a.state.as_str(), "planned" | "held")
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
        voided += u64::from(attempts::void_one(conn, *enrolment, step, *rung, revision, why, now)?);
    }
    for Step { key, planned: step, enrolment, program: p } in &todo.plans {
        let Some(definition) = p.program.step(&step.key.step) else { continue };
        let Some((record, home, about)) = record_for(person, key, definition.anchor) else { continue };
        let (enrolment, ended) = match enrolment {
            Some(there) => *there,
            None => {
                let made = enrolments::enrol(conn, &p.program.id, home, &key.anchor, i64::from(key.entry_no), now)?;
                (made.id, made.state == "ended")
            }
        };
        if ended {
            enrolments::reopen(conn, enrolment)?;
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
                enrolment,
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
        enrolments::end(conn, *id, why, now)?;
    }
    Ok((planned, voided))
}

/// The patient record that an attempt belongs to, the home under which its enrolment stands, and what it is about. Of a visit it is the record
/// that the appointment names, or the one that survived it; of a segment the one that outreach goes by, until a message goes
/// ([`super::send`]) the most recently active.
fn record_for<'p>(person: &'p Person, key: &EnrolmentKey, anchor: Anchor) -> Option<(&'p Record, i64, Option<String>)> {
    match anchor {
        Anchor::AppointmentStart => {
            let appointment = person.facts.appointments.iter().find(|a| key_of(a) == key.anchor)?;
            let there = || person.records.iter().filter(|r| r.ehr == appointment.origin.ehr.as_str());
            let named = there().find(|r| appointment.facts.patients.contains(&r.fhir_id))?;
            let survivor = there().find(|r| named.root == Some(r.pk));
            let record = Some(named).filter(|r| r.is_in_use()).or(survivor).filter(|r| r.is_in_use())?;
            Some((record, named.home(), Some(appointment.origin.reference())))
        }
        Anchor::SegmentEntry => {
            let is_of =
                |r: &&Record| person.facts.patients.first().is_some_and(|p| p.origin.ehr.as_str() == r.ehr && p.origin.id == r.fhir_id);
            let in_use = || person.records.iter().filter(|r| r.is_in_use());
            in_use().find(is_of).or_else(|| in_use().next()).map(|r| (r, person.taken.person, None))
        }
    }
}
