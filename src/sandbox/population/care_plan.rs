//! Care plans: long-running and ended ones, with activities that are due, overdue, done or absent. Owns their shares.
//! Keeps the invariant cpl-3 of R4: an activity has a detail or a reference, never both.

use chrono::{Days, NaiveDate};

use super::patient::Name;
use super::random::Random;
use super::tables::{CLINICIANS, PLANS, PlanKind};
use super::{Kind, Population, concept, patient_id, reference, staff, write_meta};
use crate::instant::{DAY, SECOND};
use crate::json::Writer;

/// Plans of two neighbours together.
const PER_PAIR: i64 = 2;

pub(super) fn write_all(population: &Population, index: u32) -> Vec<String> {
    let count = population.share_of_pair(Kind::CarePlanCount, index, PER_PAIR, |random| *random.weighted(&[(30, 0), (40, 1), (30, 2)]));
    let random = &mut population.random(Kind::CarePlan, index);
    (1..=count).map(|nth| write(population, index, nth, random)).collect()
}

fn write(population: &Population, index: u32, nth: i64, random: &mut Random) -> String {
    let today = population.today();
    let plan @ &(title, code, condition, _) = random.pick(PLANS);
    let status = *random.weighted(&[(680, "active"), (200, "completed"), (50, "revoked"), (40, "on-hold"), (30, "draft")]);
    let age = random.between(5, 900);
    let began = back(today, age);
    let ended = match status {
        "completed" | "revoked" => Some(back(today, random.below(age))),
        // Active by its status, over by its period: plans are seldom closed when they end.
        "active" if random.chance(60) => Some(back(today, random.between(1, 200).min(age))),
        "active" if random.chance(200) => Some(forward(today, random.between(1, 300))),
        _ => None,
    };
    let updated = population.as_of_micros - 60 * SECOND - random.below((age * DAY).min(365 * DAY));
    let mut writer = Writer::resource("CarePlan", 2400);
    writer.text("id", &format!("cpl-{:06}-{nth}", u64::from(index) + 1));
    write_meta(&mut writer, updated, random.chance(10));
    if random.chance(600) {
        writer.object("text", |w| {
            w.text("status", "generated");
            w.text("div", &format!("<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>{title}</p></div>"));
        });
    }
    writer.text("status", status);
    writer.text("intent", "plan");
    writer.array("category", |w| {
        w.item(|w| {
            concept(w, "http://hl7.org/fhir/us/core/CodeSystem/careplan-category", "assess-plan", "Assessment and Plan of Treatment")
        });
    });
    writer.text("title", title);
    reference(&mut writer, "subject", &format!("Patient/{}", patient_id(index)), &Name::of(population, index).display());
    writer.object("period", |w| {
        w.text("start", &began.to_string());
        if let Some(ended) = ended {
            w.text("end", &ended.to_string());
        }
    });
    writer.text("created", &began.to_string());
    let clinician = index as usize % CLINICIANS.len();
    let (given, family) = CLINICIANS.get(clinician).copied().unwrap_or_default();
    reference(&mut writer, "author", &staff::practitioner(clinician), &format!("Dr. {given} {family}"));
    writer.array("supportingInfo", |w| w.item(|w| w.text("display", &format!("{condition} ({code})"))));
    write_activities(&mut writer, today, status, plan, random);
    writer.finish()
}

fn write_activities(writer: &mut Writer, today: NaiveDate, status: &str, plan: &PlanKind, random: &mut Random) {
    if random.chance(150) {
        return;
    }
    let (_, _, _, activities) = plan;
    let over = matches!(status, "completed" | "revoked");
    writer.array("activity", |w| {
        for (nth, (code, display)) in activities.iter().enumerate() {
            // The first stands always: R4 has no empty arrays.
            if nth > 0 && random.chance(350) {
                continue;
            }
            w.item(|w| w.object("detail", |w| write_detail(w, today, over, code, display, random)));
        }
    });
}

fn write_detail(writer: &mut Writer, today: NaiveDate, over: bool, code: &str, display: &str, random: &mut Random) {
    let open = &[(350, "scheduled"), (250, "not-started"), (200, "in-progress"), (170, "completed"), (30, "cancelled")];
    let status = if over { *random.weighted(&[(800, "completed"), (200, "cancelled")]) } else { *random.weighted(open) };
    writer.object("code", |w| concept(w, "http://snomed.info/sct", code, display));
    writer.text("status", status);
    writer.flag("doNotPerform", false);
    if random.chance(150) {
        return;
    }
    let (start, end) = match (status, random.below(100)) {
        ("completed" | "cancelled", _) => (back(today, random.between(60, 300)), Some(back(today, random.between(1, 59)))),
        // Overdue, due now, to come.
        (_, 0..=24) => (back(today, random.between(40, 120)), Some(back(today, random.between(1, 39)))),
        (_, 25..=59) => (back(today, random.between(0, 14)), random.chance(700).then(|| forward(today, random.between(1, 30)))),
        _ => (forward(today, random.between(3, 60)), Some(forward(today, random.between(61, 150)))),
    };
    writer.object("scheduledPeriod", |w| {
        w.text("start", &start.to_string());
        if let Some(end) = end {
            w.text("end", &end.to_string());
        }
    });
}

fn back(day: NaiveDate, days: i64) -> NaiveDate {
    day.checked_sub_days(Days::new(days.unsigned_abs())).unwrap_or(day)
}

fn forward(day: NaiveDate, days: i64) -> NaiveDate {
    day.checked_add_days(Days::new(days.unsigned_abs())).unwrap_or(day)
}
