//! Visits around the population's instant: finished, missed, cancelled, booked, asked for. Owns when they are and how they went.
//! Keeps the invariants app-1 to app-4 of R4 (app-4 names a status `no-show` that the value set does not have, so only cancelled visits
//! carry a reason).

use chrono::{DateTime, Days, TimeDelta};
use chrono_tz::Tz;

use super::patient::Name;
use super::random::Random;
use super::tables::{CANCELLATIONS, CLINICIANS, PLACES, VISITS};
use super::{Kind, Population, concept, office_time, patient_id, reference, staff, weekday, write_meta, zoned};
use crate::instant::{DAY, SECOND, format_instant, utc};
use crate::json::Writer;

/// Visits of two neighbours together.
const PER_PAIR: i64 = 6;
const COUNTS: &[(i64, i64)] = &[(50, 0), (120, 1), (200, 2), (260, 3), (200, 4), (120, 5), (50, 6)];

/// How often a patient comes, which decides what the segments will say of them.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    /// Visits before and after the instant.
    Regular,
    /// Nothing within the last 13 months, nothing booked.
    Lapsed,
    /// Nothing yet but what is to come.
    New,
}

struct Visit {
    status: &'static str,
    /// Absent for what was asked for without a time.
    start: Option<DateTime<Tz>>,
    patient_answer: &'static str,
}

pub(super) fn write_all(population: &Population, index: u32) -> Vec<String> {
    let count = population.share_of_pair(Kind::AppointmentCount, index, PER_PAIR, |random| *random.weighted(COUNTS));
    let random = &mut population.random(Kind::Appointment, index);
    let habit = match random.below(100) {
        0..=11 => Habit::Lapsed,
        12..=21 => Habit::New,
        _ => Habit::Regular,
    };
    let name = Name::of(population, index);
    (1..=count)
        .map(|nth| {
            let visit = draw_visit(population, habit, random);
            write(population, index, nth, &name, &visit, random)
        })
        .collect()
}

fn draw_visit(population: &Population, habit: Habit, random: &mut Random) -> Visit {
    let past = match habit {
        Habit::Lapsed => true,
        Habit::New => false,
        Habit::Regular => random.chance(620),
    };
    if past { draw_past(population, habit, random) } else { draw_future(population, random) }
}

fn draw_past(population: &Population, habit: Habit, random: &mut Random) -> Visit {
    let days_ago = match (habit, random.below(100)) {
        (Habit::Lapsed, _) => random.between(400, 1100),
        (_, 0..=17) => random.between(1, 7),
        (_, 18..=44) => random.between(8, 90),
        (_, 45..=79) => random.between(91, 365),
        _ => random.between(366, 1095),
    };
    let day = population.today().checked_sub_days(Days::new(days_ago.unsigned_abs())).unwrap_or_default();
    let start = population.local(weekday(day, false).and_time(office_time(random)));
    let status = *random.weighted(&[(700, "fulfilled"), (120, "noshow"), (165, "cancelled"), (10, "booked"), (5, "entered-in-error")]);
    let patient_answer = match status {
        "fulfilled" => "accepted",
        "cancelled" => random.word(&["declined", "accepted", "needs-action"]),
        _ => random.word(&["accepted", "needs-action"]),
    };
    Visit { status, start: Some(start), patient_answer }
}

fn draw_future(population: &Population, random: &mut Random) -> Visit {
    let status = *random.weighted(&[(780, "booked"), (80, "cancelled"), (80, "proposed"), (40, "pending"), (20, "waitlist")]);
    let without_time = (status == "proposed" && random.chance(700)) || status == "waitlist";
    let days_ahead = match random.below(100) {
        0..=29 => random.between(0, 3),
        30..=69 => random.between(4, 30),
        _ => random.between(31, 180),
    };
    let day = population.today().checked_add_days(Days::new(days_ahead.unsigned_abs())).unwrap_or_default();
    let time = office_time(random);
    let mut start = population.local(weekday(day, true).and_time(time));
    if start.timestamp_micros() <= population.as_of_micros {
        let next = population.today().succ_opt().unwrap_or_default();
        start = population.local(weekday(next, true).and_time(time));
    }
    let patient_answer = match status {
        "booked" => *random.weighted(&[(45, "accepted"), (45, "needs-action"), (10, "tentative")]),
        "cancelled" => "declined",
        _ => "needs-action",
    };
    Visit { status, start: (!without_time).then_some(start), patient_answer }
}

fn write(population: &Population, index: u32, nth: i64, name: &Name, visit: &Visit, random: &mut Random) -> String {
    let &(description, minutes, service, service_display, kind) = random.pick(VISITS);
    let updated = last_updated(population, visit, random);
    let created = updated - random.between(0, 60) * DAY - random.below(DAY);
    let mut writer = Writer::resource("Appointment", 1800);
    writer.text("id", &format!("apt-{:06}-{nth}", u64::from(index) + 1));
    write_meta(&mut writer, updated, false);
    writer.array("identifier", |w| {
        w.item(|w| {
            w.text("system", "https://ehr.example.org/appointment");
            w.text("value", &format!("A{:07}-{nth}", u64::from(index) + 1));
        });
    });
    writer.text("status", visit.status);
    if visit.status == "cancelled" && !random.chance(100) {
        let (code, display) = *random.weighted(CANCELLATIONS);
        writer.object("cancelationReason", |w| {
            concept(w, "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason", code, display);
        });
    }
    writer.array("serviceType", |w| {
        w.item(|w| concept(w, "http://terminology.hl7.org/CodeSystem/service-type", service, service_display));
    });
    writer.object("appointmentType", |w| concept(w, "http://terminology.hl7.org/CodeSystem/v2-0276", kind, kind_display(kind)));
    writer.text("description", description);
    if let Some(start) = visit.start {
        write_times(&mut writer, start, minutes, random);
    }
    writer.text("created", &zoned(utc(created).with_timezone(&population.zone)));
    write_participants(&mut writer, index, name, visit, random);
    writer.finish()
}

fn kind_display(kind: &str) -> &'static str {
    match kind {
        "CHECKUP" => "A routine check-up, such as an annual physical",
        "FOLLOWUP" => "A follow up visit from a previous appointment",
        _ => "Routine appointment - default if not valued",
    }
}

// Half with the clinic's offset, half in UTC, as EHRs differ.
fn write_times(writer: &mut Writer, start: DateTime<Tz>, minutes: i64, random: &mut Random) {
    let end = start + TimeDelta::minutes(minutes);
    if random.chance(500) {
        writer.text("start", &zoned(start));
        writer.text("end", &zoned(end));
    } else {
        writer.text("start", &format_instant(start.timestamp_micros()));
        writer.text("end", &format_instant(end.timestamp_micros()));
    }
    writer.number("minutesDuration", minutes);
}

// What is over was closed within two days after it; what is to come was touched within the last two months.
fn last_updated(population: &Population, visit: &Visit, random: &mut Random) -> i64 {
    let latest = population.as_of_micros - 60 * SECOND;
    match visit.start.map(|start| start.timestamp_micros()) {
        Some(start) if start < latest && visit.status != "booked" => {
            (start + 3600 * SECOND + random.below(2 * DAY)).min(latest - random.below(3600 * SECOND))
        }
        Some(start) if start < latest => start - random.between(1, 30) * DAY,
        _ => latest - random.below(60 * DAY),
    }
}

fn write_participants(writer: &mut Writer, index: u32, name: &Name, visit: &Visit, random: &mut Random) {
    let clinician = index as usize % CLINICIANS.len();
    let (given, family) = CLINICIANS.get(clinician).copied().unwrap_or_default();
    let place = usize::try_from(random.below(4)).unwrap_or(0);
    let others = if visit.status == "proposed" { "needs-action" } else { "accepted" };
    writer.array("participant", |w| {
        w.item(|w| {
            reference(w, "actor", &format!("Patient/{}", patient_id(index)), &name.display());
            w.text("required", "required");
            w.text("status", visit.patient_answer);
        });
        w.item(|w| {
            w.array("type", |w| {
                w.item(|w| concept(w, "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "PPRF", "primary performer"));
            });
            reference(w, "actor", &staff::practitioner(clinician), &format!("Dr. {given} {family}"));
            w.text("required", "required");
            w.text("status", others);
        });
        w.item(|w| {
            reference(w, "actor", &staff::location(place), PLACES.get(place).copied().unwrap_or_default());
            w.text("status", others);
        });
    });
}
