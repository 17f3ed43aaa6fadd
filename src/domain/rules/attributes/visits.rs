//! One pass over a person's appointments, shared by all attributes that ask about visits.
//!
//! R4 status to meaning (R4 Appointment.status, value set `appointmentstatus`):
//!
//! | status | means here |
//! |---|---|
//! | booked, arrived, checked-in | an upcoming visit until its start |
//! | pending | an upcoming visit as well: it has a time, and someone's acceptance is still out |
//! | fulfilled | a finished visit; nothing else is one, however long its end has passed |
//! | noshow | a missed visit |
//! | cancelled | a cancelled visit |
//! | proposed, waitlist | asked for, without a time: never upcoming |
//! | entered-in-error | never counts |
//!
//! An appointment without start is never upcoming. A finished visit without start is placed at its end; without either it counts as a
//! visit, but the times of the person's visits are then not known. One that the EHR marked as finished before its booked time is placed
//! where the record was written: nothing that is over lies ahead.

use crate::model::PersonFacts;
use crate::model::facts::AppointmentFacts;
use crate::model::person::Sourced;
use crate::model::time::Timestamp;
use crate::rules::watch::Watch;

/// An appointment with its origin.
pub type Appointment = Sourced<AppointmentFacts>;

/// What an appointment's status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Booked,
    Finished,
    Missed,
    Cancelled,
    Requested,
    /// Entered in error, or not a code of R4.
    Void,
}

/// See the table above.
pub(super) fn meaning(facts: &AppointmentFacts) -> Meaning {
    match facts.status.as_str() {
        "booked" | "arrived" | "checked-in" => Meaning::Booked,
        "pending" if facts.start.is_some() => Meaning::Booked,
        "fulfilled" => Meaning::Finished,
        "noshow" => Meaning::Missed,
        "cancelled" => Meaning::Cancelled,
        "proposed" | "waitlist" | "pending" => Meaning::Requested,
        _ => Meaning::Void,
    }
}

/// When an appointment took place or will.
pub(super) fn time(facts: &AppointmentFacts) -> Option<Timestamp> {
    let booked = facts.start.or(facts.end);
    match facts.ended_by {
        Some(ended) => booked.map(|b| b.min(ended)),
        None => booked,
    }
}

/// The appointment that a question is about, and until when it is that one.
#[derive(Clone, Copy, Default)]
pub(super) struct Pick<'a> {
    pub(super) found: Option<&'a Appointment>,
    /// One that has no time and so may be the wanted one.
    pub(super) undated: Option<&'a Appointment>,
    pub(super) until: Option<Timestamp>,
}

/// What the pass finds.
pub(super) struct Visits<'a> {
    /// The booked visit that comes next.
    pub(super) next: Pick<'a>,
    /// How many booked visits are still to come.
    pub(super) upcoming: i64,
    /// The latest finished visit that has begun.
    pub(super) last: Pick<'a>,
    /// The earliest finished visit that has begun.
    pub(super) first: Option<&'a Appointment>,
    /// The latest missed visit whose time has come.
    pub(super) missed: Pick<'a>,
    /// The cancelled visit with the latest time, past or to come.
    pub(super) cancelled: Pick<'a>,
    /// Something was asked for that has no time yet.
    pub(super) requested: Option<&'a Appointment>,
    /// Some visit was finished, whenever.
    pub(super) any_finished: Option<&'a Appointment>,
}

impl<'a> Visits<'a> {
    pub(super) fn survey(person: &'a PersonFacts, watch: &Watch) -> Self {
        let (mut upcoming, mut finished, mut missed) = (watch.fresh(), watch.fresh(), watch.fresh());
        let none = Pick::default();
        let mut v =
            Self { next: none, upcoming: 0, last: none, first: None, missed: none, cancelled: none, requested: None, any_finished: None };
        for appointment in &person.appointments {
            match meaning(&appointment.facts) {
                Meaning::Booked => {
                    if appointment.facts.start.is_some_and(|start| !upcoming.reached(start)) {
                        v.upcoming += 1;
                        v.next.found = earliest(v.next.found, appointment);
                    }
                }
                Meaning::Finished => {
                    v.any_finished = v.any_finished.or(Some(appointment));
                    if v.last.consider(appointment, &mut finished) {
                        v.first = earliest(v.first, appointment);
                    }
                }
                Meaning::Missed => {
                    v.missed.consider(appointment, &mut missed);
                }
                Meaning::Cancelled => match time(&appointment.facts) {
                    Some(_) => v.cancelled.found = latest(v.cancelled.found, appointment),
                    None => v.cancelled.undated = Some(appointment),
                },
                Meaning::Requested => v.requested = v.requested.or(Some(appointment)),
                Meaning::Void => {}
            }
        }
        v.next.until = upcoming.until();
        v.last.until = finished.until();
        v.missed.until = missed.until();
        v
    }
}

impl<'a> Pick<'a> {
    /// Takes the appointment if it is the latest whose time has come. Tells whether its time has come.
    fn consider(&mut self, appointment: &'a Appointment, watch: &mut Watch) -> bool {
        match time(&appointment.facts) {
            None => self.undated = Some(appointment),
            Some(t) if watch.reached(t) => {
                self.found = latest(self.found, appointment);
                return true;
            }
            Some(_) => {}
        }
        false
    }
}

/// Of two at the same time the one with the smaller id, so that the answer does not depend on the order of the facts.
fn earliest<'a>(best: Option<&'a Appointment>, candidate: &'a Appointment) -> Option<&'a Appointment> {
    let key = |a: &'a Appointment| (time(&a.facts), &a.origin.ehr, &a.origin.id);
    best.filter(|b| key(b) <= key(candidate)).or(Some(candidate))
}

fn latest<'a>(best: Option<&'a Appointment>, candidate: &'a Appointment) -> Option<&'a Appointment> {
    let key = |a: &'a Appointment| (time(&a.facts), std::cmp::Reverse((&a.origin.ehr, &a.origin.id)));
    best.filter(|b| key(b) >= key(candidate)).or(Some(candidate))
}

/// The appointment whose time came last, whatever became of it.
pub(super) fn last_begun<'a>(person: &'a PersonFacts, watch: &Watch) -> Pick<'a> {
    let (mut pick, mut asked) = (Pick::default(), watch.fresh());
    let counts = |a: &&Appointment| !matches!(meaning(&a.facts), Meaning::Requested | Meaning::Void);
    for appointment in person.appointments.iter().filter(counts) {
        pick.consider(appointment, &mut asked);
    }
    pick.until = asked.until();
    pick
}

/// The booked visit that comes next: the one that the attributes `next_appointment.*` speak of.
#[must_use]
pub fn next_visit(person: &PersonFacts, now: Timestamp) -> Option<&Appointment> {
    let upcoming = |a: &&Appointment| meaning(&a.facts) == Meaning::Booked && a.facts.start.is_some_and(|start| start > now);
    person.appointments.iter().filter(upcoming).fold(None, earliest)
}
