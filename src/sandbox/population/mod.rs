//! A synthetic population: patients with their appointments and care plans around one instant, as FHIR R4 JSON.
//! Owns what the made-up people look like. The same four values give the same bytes on every machine; any patient can be made alone, so
//! a file of any size is written without holding it. It must not know of the server that may serve it, and never reads a clock.
//!
//! It holds on purpose what real data holds: partial birth dates, patients without a contact point, old numbers, dead patients with booked
//! visits, inactive records, restricted records, visits without a start. Everything is valid R4 (4.0.1), invariants included.

mod appointment;
mod care_plan;
mod patient;
mod random;
mod staff;
mod tables;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeZone, Weekday};
use chrono_tz::Tz;

use crate::instant::{format_instant, utc};
use crate::json::Writer;
use random::Random;

/// What the population is made from. Two populations with equal values are equal byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Population {
    /// How many patients.
    pub patients: u32,
    /// Chooses among populations.
    pub seed: u64,
    /// The instant that visits and plans lie around, microseconds since the epoch.
    pub as_of_micros: i64,
    /// Where the clinics are: visits keep office hours there, and most patients live in its time zone.
    pub zone: Tz,
}

impl Population {
    /// One patient; `index` counts from 0.
    pub fn patient(&self, index: u32) -> String {
        patient::write(self, index)
    }

    /// The visits of one patient: none to six, three on average (exactly three over every two neighbours).
    pub fn appointments_of(&self, index: u32) -> Vec<String> {
        appointment::write_all(self, index)
    }

    /// The care plans of one patient: none to two, one on average (exactly one over every two neighbours).
    pub fn care_plans_of(&self, index: u32) -> Vec<String> {
        care_plan::write_all(self, index)
    }

    /// Every patient.
    pub fn patients(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.patients).map(|index| self.patient(index))
    }

    /// Every visit, patient by patient.
    pub fn appointments(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.patients).flat_map(|index| self.appointments_of(index))
    }

    /// Every care plan, patient by patient.
    pub fn care_plans(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.patients).flat_map(|index| self.care_plans_of(index))
    }

    /// The clinicians, clinics and the organization that the others refer to.
    pub fn staff(&self) -> impl Iterator<Item = String> + '_ {
        staff::write_all(self)
    }

    /// All of it, in the order an EHR would have to know it: staff, then each patient with visits and plans.
    pub fn resources(&self) -> impl Iterator<Item = String> + '_ {
        self.staff().chain(
            (0..self.patients)
                .flat_map(|index| std::iter::once(self.patient(index)).chain(self.appointments_of(index)).chain(self.care_plans_of(index))),
        )
    }

    fn random(&self, kind: Kind, index: u32) -> Random {
        Random::new(self.seed, kind as u64, u64::from(index))
    }

    /// How many of something a patient has: `draw` says it for the first of two neighbours, the second has the rest of `pair`.
    fn share_of_pair(&self, kind: Kind, index: u32, pair: i64, draw: impl FnOnce(&mut Random) -> i64) -> i64 {
        let drawn = draw(&mut self.random(kind, index / 2));
        if index.is_multiple_of(2) { drawn } else { pair - drawn }
    }

    /// The local date at the clinics.
    fn today(&self) -> NaiveDate {
        utc(self.as_of_micros).with_timezone(&self.zone).date_naive()
    }

    /// The instant of a local time at the clinics. Office hours never fall into the hour that daylight saving time skips in any zone
    /// of the United States; elsewhere the time is read as UTC rather than lost.
    fn local(&self, at: NaiveDateTime) -> DateTime<Tz> {
        self.zone.from_local_datetime(&at).earliest().unwrap_or_else(|| self.zone.from_utc_datetime(&at))
    }
}

/// Keeps the random streams apart, so that a change in how visits are drawn does not change who the patients are.
#[derive(Clone, Copy)]
enum Kind {
    Name = 1,
    Patient,
    AppointmentCount,
    Appointment,
    CarePlanCount,
    CarePlan,
}

fn patient_id(index: u32) -> String {
    format!("pat-{:06}", u64::from(index) + 1)
}

fn zoned(at: DateTime<Tz>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, false)
}

fn write_meta(writer: &mut Writer, last_updated: i64, restricted: bool) {
    writer.object("meta", |w| {
        w.text("versionId", "1");
        w.text("lastUpdated", &format_instant(last_updated));
        if restricted {
            w.array("security", |w| w.item(|w| coding(w, "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "R", "restricted")));
        }
    });
}

fn coding(writer: &mut Writer, system: &str, code: &str, display: &str) {
    writer.text("system", system);
    writer.text("code", code);
    writer.text("display", display);
}

fn concept(writer: &mut Writer, system: &str, code: &str, display: &str) {
    writer.array("coding", |w| w.item(|w| coding(w, system, code, display)));
    writer.text("text", display);
}

fn reference(writer: &mut Writer, name: &str, target: &str, display: &str) {
    writer.object(name, |w| {
        w.text("reference", target);
        w.text("display", display);
    });
}

/// The nearest weekday, looking forward or back.
fn weekday(day: NaiveDate, forward: bool) -> NaiveDate {
    let (saturday, sunday) = if forward { (2, 1) } else { (1, 2) };
    let step = |days: u64| {
        if forward { day.checked_add_days(Days::new(days)) } else { day.checked_sub_days(Days::new(days)) }
    };
    match day.weekday() {
        Weekday::Sat => step(saturday).unwrap_or(day),
        Weekday::Sun => step(sunday).unwrap_or(day),
        _ => day,
    }
}

/// One of the quarter hours from 08:00 to 16:45.
fn office_time(random: &mut Random) -> NaiveTime {
    let quarter = u32::try_from(random.below(36)).unwrap_or(0);
    NaiveTime::from_hms_opt(8 + quarter / 4, quarter % 4 * 15, 0).unwrap_or_default()
}
