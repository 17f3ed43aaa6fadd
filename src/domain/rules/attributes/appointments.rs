//! Attributes of appointments: the next and the last visit, and counts over a period. `visits.rs` says which status means what.

use crate::model::facts::AppointmentFacts;
use crate::model::time::Timestamp;
use crate::rules::catalogue::{Attribute, Derivation};
use crate::rules::kind::{Kind, is_of};
use crate::rules::truth::Truth;
use crate::rules::value::{Event, Finding, Items, Set, Source, Type, Value, Why};
use crate::rules::watch::Watch;

use super::visits::{Appointment, Meaning, Pick, meaning, time};
use super::{APPOINTMENT, Context, instant, row};

const NO_NEXT: &str = "there is no booked visit to come";
const NO_LAST: &str = "there is no finished visit";
const NO_MISSED: &str = "there is no missed visit";
const NO_CANCELLED: &str = "there is no cancelled visit";

pub(super) const ROWS: &[Attribute] = &[
    row(
        "next_appointment.start",
        Type::Time,
        APPOINTMENT,
        "When the next booked visit begins.",
        "",
        "next_appointment.start within 72h",
        |c, w| next(c, w, "start", |a| a.start.map(instant)),
    ),
    row(
        "next_appointment.status",
        Type::Text,
        APPOINTMENT,
        "The R4 status of the next booked visit.",
        "",
        "next_appointment.status = \"pending\"",
        |c, w| next(c, w, "status", |a| Some(Value::Text(&a.status))),
    )
    .one_of(&["pending", "booked", "arrived", "checked-in"]),
    row(
        "next_appointment.confirmed",
        Type::Bool,
        APPOINTMENT,
        "The person accepted the next booked visit, or is already there.",
        "the EHR does not tell the patient's participation status",
        "not next_appointment.confirmed",
        confirmed,
    ),
    row(
        "next_appointment.service",
        Type::Set,
        APPOINTMENT,
        "Codes of the service of the next booked visit.",
        "",
        "next_appointment.service = \"394802001\"",
        |c, w| next(c, w, "serviceType", |a| codes(&a.services)),
    ),
    row(
        "next_appointment.type",
        Type::Set,
        APPOINTMENT,
        "Codes of the kind of the next booked visit (routine, follow-up, walk-in).",
        "",
        "next_appointment.type in (\"ROUTINE\", \"FOLLOWUP\")",
        |c, w| next(c, w, "appointmentType", |a| codes(&a.kinds)),
    ),
    row(
        "next_appointment.location",
        Type::Set,
        APPOINTMENT,
        "References of the places of the next booked visit, as sent.",
        "",
        "next_appointment.location = \"Location/12\"",
        |c, w| next(c, w, "participant", |a| texts(&a.locations)),
    ),
    row(
        "next_appointment.virtual",
        Type::Bool,
        APPOINTMENT,
        "The next booked visit is by video or telephone: by R5's `virtualService` (as an extension), or a code for it.",
        "nothing marks the visit so: R4 has no element for it",
        "next_appointment.virtual",
        is_virtual,
    ),
    row(
        "last_visit.start",
        Type::Time,
        APPOINTMENT,
        "When the last finished visit began.",
        "a finished visit has no time",
        "last_visit.start older than 12 months",
        |c, w| last(c, w, "start", time),
    ),
    row(
        "last_visit.end",
        Type::Time,
        APPOINTMENT,
        "When the last finished visit ended; where that is not told, when it began.",
        "a finished visit has no time",
        "last_visit.end within last 7d",
        |c, w| last(c, w, "end", |a| a.ended_by.or(a.end).or(a.start)),
    ),
    row(
        "last_visit.service",
        Type::Set,
        APPOINTMENT,
        "Codes of the service of the last finished visit.",
        "a finished visit has no time",
        "last_visit.service = \"394802001\"",
        |c, w| of_last(c, w, "serviceType", |a| codes(&a.services)),
    ),
    row(
        "last_visit.type",
        Type::Set,
        APPOINTMENT,
        "Codes of the kind of the last finished visit.",
        "a finished visit has no time",
        "last_visit.type = \"CHECKUP\"",
        |c, w| of_last(c, w, "appointmentType", |a| codes(&a.kinds)),
    ),
    row(
        "last_visit.location",
        Type::Set,
        APPOINTMENT,
        "References of the places of the last finished visit, as sent.",
        "a finished visit has no time",
        "last_visit.location = \"Location/12\"",
        |c, w| of_last(c, w, "participant", |a| texts(&a.locations)),
    ),
    row(
        "last_visit.days_ago",
        Type::Integer,
        APPOINTMENT,
        "Days since the last finished visit began: the midnights that have passed at the site.",
        "a finished visit has no time",
        "last_visit.days_ago >= 180",
        |c, w| {
            let visit = match settled(c.visits(w).last, w, NO_LAST) {
                Ok(visit) => visit,
                Err(finding) => return finding,
            };
            match time(&visit.facts).and_then(|t| t.day(c.site.zone)) {
                Some(day) => Finding::known(Value::DaysSince(day), visit, "start"),
                None => Finding::unknown(Why::Doubtful("the time of the visit lies outside of the calendar")).at(visit, "start"),
            }
        },
    )
    .in_unit("days"),
    row(
        "last_visit.virtual",
        Type::Bool,
        APPOINTMENT,
        "The last finished visit was by video or telephone: by R5's `virtualService` (as an extension), or a code for it.",
        "a finished visit has no time, or nothing marks it so: R4 has no element for it",
        "last_visit.virtual",
        |c, w| settled(c.visits(w).last, w, NO_LAST).map_or_else(|none| none, by_video),
    ),
    row(
        "first_visit.start",
        Type::Time,
        APPOINTMENT,
        "When the first finished visit on record began.",
        "a finished visit has no time",
        "first_visit.start within last 1 month",
        first_visit,
    ),
    row(
        "last_missed.start",
        Type::Time,
        APPOINTMENT,
        "When the visit last missed would have begun.",
        "a missed visit has no time",
        "last_missed.start within last 30d",
        |c, w| missed(c, w, "start", |a| time(a).map(instant)),
    ),
    row(
        "last_missed.visited_since",
        Type::Bool,
        APPOINTMENT,
        "A finished visit began after the visit last missed.",
        "a finished or missed visit has no time",
        "not last_missed.visited_since",
        visited_since,
    ),
    row(
        "last_missed.reason",
        Type::Set,
        APPOINTMENT,
        "Coded reasons of the visit last missed.",
        "a missed visit has no time",
        "exists last_missed.reason",
        |c, w| missed(c, w, "cancelationReason", |a| codes(&a.cancel_reasons)),
    ),
    row(
        "last_cancelled.start",
        Type::Time,
        APPOINTMENT,
        "The time of the cancelled visit with the latest one, past or to come.",
        "a cancelled visit has no time",
        "last_cancelled.start within last 30d",
        |c, w| cancelled(c, w, "start", |a| time(a).map(instant)),
    ),
    row(
        "last_cancelled.reason",
        Type::Set,
        APPOINTMENT,
        "Coded reasons of the cancelled visit with the latest time.",
        "a cancelled visit has no time",
        "last_cancelled.reason in (\"pat-crs\", \"pat-cpp\")",
        |c, w| cancelled(c, w, "cancelationReason", |a| codes(&a.cancel_reasons)),
    ),
    row(
        "last_cancelled.by",
        Type::Text,
        APPOINTMENT,
        "Who cancelled the cancelled visit with the latest time, as R4's cancellation reasons are grouped.",
        "a cancelled visit has no time, or its reason is not coded so that it tells who",
        "last_cancelled.by = \"patient\"",
        cancelled_by,
    )
    .one_of(&["patient", "provider", "other"]),
    row(
        "appointments.upcoming",
        Type::Integer,
        APPOINTMENT,
        "How many booked visits are still to come.",
        "",
        "appointments.upcoming >= 2",
        |c, w| {
            let visits = c.visits(w);
            w.join(visits.next.until);
            Finding::plain(Value::Integer(visits.upcoming, visits.upcoming))
        },
    )
    .in_unit("visits"),
    count("visits.completed", "visits", "Finished visits.", "visits.completed in last 12 months >= 3", |c, kind, each| {
        events(c, kind, each, |a| meaning(a) == Meaning::Finished);
    }),
    count(
        "appointments.no_show",
        "visits",
        "Missed visits, by the time they were booked for.",
        "appointments.no_show in last 12 months >= 2",
        |c, kind, each| {
            events(c, kind, each, |a| meaning(a) == Meaning::Missed);
        },
    ),
    count(
        "appointments.cancelled",
        "visits",
        "Cancelled visits, by the time they were booked for (R4 does not tell when they were cancelled).",
        "appointments.cancelled in last 12 months >= 2",
        |c, kind, each| events(c, kind, each, |a| meaning(a) == Meaning::Cancelled),
    ),
    count(
        "appointments.booked",
        "visits",
        "Visits that were given a time, whatever became of them.",
        "appointments.booked in last 12 months >= 4",
        |c, kind, each| events(c, kind, each, |a| a.start.is_some() && !matches!(meaning(a), Meaning::Requested | Meaning::Void)),
    ),
    count(
        "appointments.unsettled",
        "visits",
        "Booked visits that the EHR did not mark as finished, missed or cancelled; in a period: whose time has come.",
        "appointments.unsettled in last 30d = 0",
        |c, kind, each| events(c, kind, each, |a| a.start.is_some() && meaning(a) == Meaning::Booked),
    ),
];

const fn count(
    name: &'static str,
    unit: &'static str,
    meaning: &'static str,
    example: &'static str,
    derive: for<'a> fn(&Context<'a>, Option<&Kind>, &mut dyn FnMut(Event<'a>)),
) -> Attribute {
    Attribute {
        name,
        kind: Type::Count,
        unit: Some(unit),
        values: &[],
        meaning,
        needs: APPOINTMENT,
        also_reads: &[],
        of: Some("the visit's service, type or cancellation reason"),
        unknown: "in a period: known only roughly where one has no time",
        example,
        derivation: Derivation::EventsOf(derive),
    }
}

fn events<'a>(context: &Context<'a>, kind: Option<&Kind>, each: &mut dyn FnMut(Event<'a>), counts: impl Fn(&AppointmentFacts) -> bool) {
    for appointment in context.person.appointments.iter().filter(|a| counts(&a.facts)) {
        let f = &appointment.facts;
        let (is_one, unsure) = is_of(kind, f.services.iter().chain(&f.kinds).chain(&f.cancel_reasons));
        if is_one != Truth::False {
            let source = Source::Resource { origin: &appointment.origin, field: "status" };
            each(Event { at: time(f).map(|t| (t, t)), time: "Appointment.start", unsure, source });
        }
    }
}

pub(super) fn codes(codes: &[crate::model::facts::Coding]) -> Option<Value<'_>> {
    (!codes.is_empty()).then_some(Value::Set(Set { items: Items::Codes(codes), open: false }))
}

pub(super) fn texts(texts: &[String]) -> Option<Value<'_>> {
    (!texts.is_empty()).then_some(Value::Set(Set { items: Items::Texts(texts), open: false }))
}

/// A field of the appointment, absent where it has none.
pub(super) fn field<'a>(
    appointment: &'a Appointment,
    name: &'static str,
    read: impl Fn(&'a AppointmentFacts) -> Option<Value<'a>>,
) -> Finding<'a> {
    match read(&appointment.facts) {
        Some(value) => Finding::known(value, appointment, name),
        None => Finding::absent("the visit does not say").at(appointment, name),
    }
}

fn next<'a>(
    context: &Context<'a>,
    watch: &mut Watch,
    name: &'static str,
    read: impl Fn(&'a AppointmentFacts) -> Option<Value<'a>>,
) -> Finding<'a> {
    let pick = context.visits(watch).next;
    watch.join(pick.until);
    pick.found.map_or_else(|| Finding::absent(NO_NEXT), |appointment| field(appointment, name, read))
}

fn confirmed<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let pick = context.visits(watch).next;
    watch.join(pick.until);
    pick.found.map_or_else(|| Finding::absent(NO_NEXT), acceptance)
}

/// Whether the patient accepted an appointment, or came.
pub(super) fn acceptance(appointment: &Appointment) -> Finding<'_> {
    if matches!(appointment.facts.status.as_str(), "arrived" | "checked-in" | "fulfilled") {
        return Finding::known(Value::Bool(true), appointment, "status");
    }
    match &appointment.facts.patient_status {
        Some(status) => Finding::known(Value::Bool(status == "accepted"), appointment, "participant.status"),
        None => Finding::unknown(Why::Missing("Appointment.participant.status of the patient")).at(appointment, "participant.status"),
    }
}

/// The picked appointment, unless one without time may be the wanted one.
pub(super) fn settled<'a>(pick: Pick<'a>, watch: &mut Watch, none: &'static str) -> Result<&'a Appointment, Finding<'a>> {
    watch.join(pick.until);
    match (pick.undated, pick.found) {
        (Some(undated), _) => Err(Finding::unknown(Why::Missing("Appointment.start")).at(undated, "start")),
        (None, Some(found)) => Ok(found),
        (None, None) => Err(Finding::absent(none)),
    }
}

fn last<'a>(context: &Context<'a>, watch: &mut Watch, name: &'static str, read: fn(&AppointmentFacts) -> Option<Timestamp>) -> Finding<'a> {
    match settled(context.visits(watch).last, watch, NO_LAST) {
        Ok(visit) => field(visit, if visit.facts.ended_by.is_some() { "meta.lastUpdated" } else { name }, |a| read(a).map(instant)),
        Err(finding) => finding,
    }
}

fn first_visit<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let visits = context.visits(watch);
    match (settled(visits.last, watch, NO_LAST), visits.first) {
        (Ok(_), Some(first)) => field(first, "start", |a| time(a).map(instant)),
        (Ok(_), None) => Finding::absent(NO_LAST),
        (Err(finding), _) => finding,
    }
}

fn missed<'a>(
    context: &Context<'a>,
    watch: &mut Watch,
    name: &'static str,
    read: impl Fn(&'a AppointmentFacts) -> Option<Value<'a>>,
) -> Finding<'a> {
    match settled(context.visits(watch).missed, watch, NO_MISSED) {
        Ok(visit) => field(visit, name, read),
        Err(finding) => finding,
    }
}

fn visited_since<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let visits = context.visits(watch);
    let missed = match settled(visits.missed, watch, NO_MISSED) {
        Ok(missed) => missed,
        Err(finding) => return finding,
    };
    // A dated visit after the missed one settles it, whatever the undated ones are.
    watch.join(visits.last.until);
    match (visits.last.found, visits.last.undated) {
        (Some(visit), _) if time(&visit.facts) > time(&missed.facts) => Finding::known(Value::Bool(true), visit, "start"),
        (_, Some(undated)) => Finding::unknown(Why::Missing("Appointment.start")).at(undated, "start"),
        _ => Finding::known(Value::Bool(false), missed, "start"),
    }
}

fn of_last<'a>(
    context: &Context<'a>,
    watch: &mut Watch,
    name: &'static str,
    read: impl Fn(&'a AppointmentFacts) -> Option<Value<'a>>,
) -> Finding<'a> {
    match settled(context.visits(watch).last, watch, NO_LAST) {
        Ok(visit) => field(visit, name, read),
        Err(finding) => finding,
    }
}

fn cancelled<'a>(
    context: &Context<'a>,
    watch: &mut Watch,
    name: &'static str,
    read: impl Fn(&'a AppointmentFacts) -> Option<Value<'a>>,
) -> Finding<'a> {
    match settled(context.visits(watch).cancelled, watch, NO_CANCELLED) {
        Ok(visit) => field(visit, name, read),
        Err(finding) => finding,
    }
}

/// The HL7 code of a visit without a meeting. SNOMED CT has more, which its licence does not let be shipped: a site whose EHR codes visits so
/// asks by an attribute of its own.
const VIRTUAL: (&str, &str) = ("http://terminology.hl7.org/CodeSystem/v3-ActCode", "VR");

fn is_virtual<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let pick = context.visits(watch).next;
    watch.join(pick.until);
    pick.found.map_or_else(|| Finding::absent(NO_NEXT), by_video)
}

/// Whether an appointment is without a meeting in person.
pub(super) fn by_video(appointment: &Appointment) -> Finding<'_> {
    let f = &appointment.facts;
    let (system, code) = VIRTUAL;
    let coded = f.services.iter().chain(&f.kinds).any(|c| c.code == code && c.system.as_deref() == Some(system));
    if f.is_virtual {
        return Finding::known(Value::Bool(true), appointment, "extension");
    }
    if coded {
        return Finding::known(Value::Bool(true), appointment, "serviceType");
    }
    Finding::unknown(Why::Missing("mark of a visit by video or telephone, and none of one in person")).at(appointment, "serviceType")
}

const CANCELLATION_REASON: &str = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason";

/// As the value sets `cancelled-by-patient` and `cancelled-by-provider` group the code system.
fn cancelled_by<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let visit = match settled(context.visits(watch).cancelled, watch, NO_CANCELLED) {
        Ok(visit) => visit,
        Err(finding) => return finding,
    };
    let of = |code: &str| match code {
        "pat" => "patient",
        "prov" | "maint" | "oth-room" | "oth-oerr" => "provider",
        code if code.starts_with("pat-") => "patient",
        code if code.starts_with("prov-") => "provider",
        _ => "other",
    };
    let told = visit.facts.cancel_reasons.iter().find(|c| c.system.as_deref() == Some(CANCELLATION_REASON));
    match told {
        Some(coding) => Finding::known(Value::Text(of(&coding.code)), visit, "cancelationReason"),
        None => Finding::unknown(Why::Missing("Appointment.cancelationReason of R4's code system")).at(visit, "cancelationReason"),
    }
}
