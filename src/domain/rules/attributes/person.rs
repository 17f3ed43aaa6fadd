//! Attributes of the person, from the Patient records. The record that outreach goes by comes first; a later one is asked only where the
//! first is silent, or where a single record suffices (deceased in one is deceased).

use chrono::{Datelike, NaiveDate};
use chrono_tz::Tz;

use crate::model::facts::{Address, ContactPoint, PatientFacts, Period};
use crate::model::person::Sourced;
use crate::model::time::FhirTime;
use crate::rules::catalogue::Attribute;
use crate::rules::site::primary_language;
use crate::rules::value::{Finding, Items, Set, Type, Value, Why};
use crate::rules::watch::Watch;

use super::{Context, PATIENT, row};

/// The longest life on record is 122 years: a birth date further back is a placeholder or a slip.
const OLDEST: i64 = 122;

pub(super) const ROWS: &[Attribute] = &[
    row(
        "age",
        Type::Integer,
        PATIENT,
        "Completed years since birth, by the site's calendar; a partial birth date gives the range of years that it allows.",
        "no birth date, one in the future, or one more than 122 years back",
        "age >= 65",
        age,
    )
    .in_unit("years"),
    row("gender", Type::Text, PATIENT, "Administrative gender.", "not sent, or sent as `unknown`", "gender = \"female\"", gender)
        .one_of(&["male", "female", "other"]),
    row(
        "language",
        Type::Text,
        PATIENT,
        "The language to address the person in: the preferred one, or the only one; without region (`es` of `es-MX`).",
        "no language sent, or several and none preferred",
        "language != site.language",
        language,
    ),
    row(
        "active",
        Type::Bool,
        PATIENT,
        "A record of the person is in use (R4: a record that does not say is in use).",
        "",
        "active",
        active,
    ),
    row(
        "deceased",
        Type::Bool,
        PATIENT,
        "Some record says that the person has died, with or without a date.",
        "",
        "not deceased",
        deceased,
    ),
    row(
        "interpreter_needed",
        Type::Bool,
        PATIENT,
        "The person needs an interpreter (US Core extension).",
        "not sent",
        "interpreter_needed",
        interpreter_needed,
    ),
    row(
        "confidential",
        Type::Bool,
        PATIENT,
        "Some record is labelled restricted or very restricted (v3 Confidentiality R, V).",
        "",
        "not confidential",
        confidential,
    ),
    row("has_phone", Type::Bool, PATIENT, "A telephone number is in use now.", "", "has_phone", |c, w| has(c, w, is_phone)),
    row(
        "has_mobile",
        Type::Bool,
        PATIENT,
        "A mobile number is in use now (use `mobile`, or system `sms`).",
        "",
        "has_mobile or has_email",
        |c, w| has(c, w, is_mobile),
    ),
    row("has_email", Type::Bool, PATIENT, "An e-mail address is in use now.", "", "has_email", |c, w| has(c, w, is_email)),
    row("has_postal_address", Type::Bool, PATIENT, "An address with a postal code is in use now.", "", "has_postal_address", |c, w| {
        in_use(c, w).map_or_else(|none| none, |(a, r)| Finding::known(Value::Bool(a.postal_code.is_some()), r, "address"))
    }),
    row(
        "address.state",
        Type::Text,
        PATIENT,
        "State or province of the address in use now, as sent; home before others.",
        "the address does not say",
        "address.state = \"NY\"",
        |c, w| area(c, w, "address.state", |a| a.state.as_ref().map(|s| s.expose().as_str())),
    ),
    row(
        "address.postal_code",
        Type::Text,
        PATIENT,
        "Postal code of the address in use now, as sent; home before others.",
        "the address does not say",
        "address.postal_code in (\"10001\", \"10002\")",
        |c, w| area(c, w, "address.postalCode", |a| a.postal_code.as_ref().map(|s| s.expose().as_str())),
    ),
    row(
        "address.country",
        Type::Text,
        PATIENT,
        "Country of the address in use now, as sent; home before others.",
        "the address does not say",
        "address.country = \"US\"",
        |c, w| area(c, w, "address.country", |a| a.country.as_deref()),
    ),
    row(
        "address.time_zone",
        Type::Text,
        PATIENT,
        "IANA zone of the address in use now, by the standard `timezone` extension.",
        "the address does not say",
        "address.time_zone = \"America/Chicago\"",
        |c, w| area(c, w, "address.extension", |a| a.zone.as_deref()),
    ),
    row(
        "general_practitioner",
        Type::Set,
        PATIENT,
        "References of the person's general practitioners, as sent.",
        "",
        "exists general_practitioner",
        general_practitioner,
    ),
];

const NO_RECORD: Why = Why::Missing("Patient");

/// What the first record that has something to say, says.
fn first<'a, T>(context: &Context<'a>, read: impl Fn(&'a PatientFacts) -> Option<T>) -> Option<(T, &'a Sourced<PatientFacts>)> {
    context.person.patients.iter().find_map(|record| read(&record.facts).map(|value| (value, record)))
}

/// Whether some record says so; where none does, the first record is where one would have stood.
fn some_record<'a>(context: &Context<'a>, field: &'static str, says: impl Fn(&PatientFacts) -> bool) -> Finding<'a> {
    let records = &context.person.patients;
    match (records.iter().find(|r| says(&r.facts)), records.first()) {
        (Some(record), _) => Finding::known(Value::Bool(true), record, field),
        (None, Some(record)) => Finding::known(Value::Bool(false), record, field),
        (None, None) => Finding::unknown(NO_RECORD),
    }
}

fn age<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let zone = context.site.zone;
    let Some((birth, record)) = first(context, |p| p.birth_date) else {
        return Finding::unknown(Why::Missing("Patient.birthDate"));
    };
    let Some((earliest, latest)) = days(birth, zone) else {
        return Finding::unknown(Why::Doubtful("the birth date is outside the calendar")).at(record, "birthDate");
    };
    let Some(most) = watch.years_since(earliest, zone) else {
        return Finding::unknown(Why::Doubtful("the birth date is in the future")).at(record, "birthDate");
    };
    let least = if earliest == latest { most } else { watch.years_since(latest, zone).unwrap_or(0) };
    if least > OLDEST {
        return Finding::unknown(Why::Doubtful("the birth date is more than 122 years back")).at(record, "birthDate");
    }
    let rough = (least < most).then_some(Why::Doubtful("the birth date is not given to the day"));
    Finding::known(Value::Integer(least, most), record, "birthDate").because(rough)
}

/// The first and the last civil day that a date may mean.
fn days(time: FhirTime, zone: Tz) -> Option<(NaiveDate, NaiveDate)> {
    match time {
        FhirTime::Day(day) => Some((day, day)),
        FhirTime::Month(year, month) => {
            let first = NaiveDate::from_ymd_opt(year, month, 1)?;
            Some((first, first.checked_add_months(chrono::Months::new(1))?.pred_opt()?))
        }
        FhirTime::Year(year) => Some((NaiveDate::from_ymd_opt(year, 1, 1)?, NaiveDate::from_ymd_opt(year, 12, 31)?)),
        FhirTime::Instant(t) => {
            let utc = t.to_utc();
            let day = (1..=9998).contains(&utc.year()).then(|| utc.with_timezone(&zone).date_naive())?;
            Some((day, day))
        }
    }
}

fn gender<'a>(context: &Context<'a>, _: &mut Watch) -> Finding<'a> {
    let told = |p: &'a PatientFacts| p.gender.as_deref().filter(|g| matches!(*g, "male" | "female" | "other"));
    match first(context, told) {
        Some((code, record)) => Finding::known(Value::Text(code), record, "gender"),
        None => Finding::unknown(Why::Missing("Patient.gender that tells one")),
    }
}

fn language<'a>(context: &Context<'a>, _: &mut Watch) -> Finding<'a> {
    let Some((languages, record)) = first(context, |p| Some(p.languages.as_slice()).filter(|l| !l.is_empty())) else {
        return Finding::unknown(Why::Missing("Patient.communication.language"));
    };
    let tags = || languages.iter().filter(|l| l.preferred).chain(languages).map(|l| primary_language(&l.tag));
    let preferred = languages.iter().any(|l| l.preferred);
    match tags().next() {
        // Codes of ISO 639 for "none" and "not determined".
        Some("und" | "zxx" | "mis" | "mul" | "") | None => Finding::unknown(Why::Missing("Patient.communication.language that names one")),
        Some(one) if preferred || tags().all(|other| other == one) => Finding::known(Value::Text(one), record, "communication.language"),
        Some(_) => Finding::unknown(Why::Doubtful("several languages are recorded and none is preferred")).at(record, "communication"),
    }
}

fn active<'a>(context: &Context<'a>, _: &mut Watch) -> Finding<'a> {
    some_record(context, "active", |p| p.active != Some(false))
}

fn deceased<'a>(context: &Context<'a>, _: &mut Watch) -> Finding<'a> {
    some_record(context, "deceased", |p| p.deceased)
}

fn confidential<'a>(context: &Context<'a>, _: &mut Watch) -> Finding<'a> {
    some_record(context, "meta.security", |p| p.security.iter().any(|code| matches!(code.as_str(), "R" | "V")))
}

fn interpreter_needed<'a>(context: &Context<'a>, _: &mut Watch) -> Finding<'a> {
    match first(context, |p| p.interpreter_needed) {
        Some((needed, record)) => Finding::known(Value::Bool(needed), record, "extension"),
        None => Finding::unknown(Why::Missing("interpreter-needed extension")),
    }
}

fn general_practitioner<'a>(context: &Context<'a>, _: &mut Watch) -> Finding<'a> {
    match first(context, |p| Some(p.general_practitioner.as_slice()).filter(|g| !g.is_empty())) {
        Some((references, record)) => {
            Finding::known(Value::Set(Set { items: Items::Texts(references), open: false }), record, "generalPractitioner")
        }
        None => Finding::absent("there is no general practitioner on record"),
    }
}

fn has<'a>(context: &Context<'a>, watch: &mut Watch, usable: fn(&ContactPoint) -> bool) -> Finding<'a> {
    let zone = context.site.zone;
    let mut found = None;
    for record in &context.person.patients {
        // Every period is looked at, in order that the answer's end is known even where a later one takes over.
        let in_use = record.facts.telecom.iter().filter(|t| usable(t)).filter(|t| covers(&t.period, zone, watch)).count() > 0;
        found = found.or_else(|| in_use.then_some(record));
    }
    match (found, context.person.patients.first()) {
        (Some(record), _) => Finding::known(Value::Bool(true), record, "telecom"),
        (None, Some(record)) => Finding::known(Value::Bool(false), record, "telecom"),
        (None, None) => Finding::unknown(NO_RECORD),
    }
}

/// The address in use now: home before others, a bill's never.
fn in_use<'a>(context: &Context<'a>, watch: &mut Watch) -> Result<(&'a Address, &'a Sourced<PatientFacts>), Finding<'a>> {
    let zone = context.site.zone;
    let mut best: Option<(u8, &'a Address, &'a Sourced<PatientFacts>)> = None;
    for record in &context.person.patients {
        for address in &record.facts.addresses {
            let rank = match address.usage.as_deref() {
                Some("old" | "billing") => continue,
                Some("home") => 0,
                None => 1,
                Some(_) => 2,
            };
            // Every period is looked at, in order that the answer's end is known.
            if covers(&address.period, zone, watch) && best.is_none_or(|(before, ..)| rank < before) {
                best = Some((rank, address, record));
            }
        }
    }
    match (best, context.person.patients.first()) {
        (Some((_, address, record)), _) => Ok((address, record)),
        (None, Some(record)) => Err(Finding::known(Value::Bool(false), record, "address")),
        (None, None) => Err(Finding::unknown(NO_RECORD)),
    }
}

fn area<'a>(context: &Context<'a>, watch: &mut Watch, field: &'static str, read: impl Fn(&'a Address) -> Option<&'a str>) -> Finding<'a> {
    match in_use(context, watch) {
        Ok((address, record)) => match read(address).filter(|text| !text.is_empty()) {
            Some(text) => Finding::known(Value::Text(text), record, field),
            None => Finding::unknown(Why::Missing("Patient.address that says so")).at(record, field),
        },
        Err(Finding { outcome: crate::rules::value::Outcome::Known(_), source, .. }) => {
            Finding { source, ..Finding::absent("there is no address in use") }
        }
        Err(unknown) => unknown,
    }
}

/// Whether the period has begun and not ended. The end is included (R4 Period), an open end never comes.
pub(super) fn covers(period: &Period, zone: Tz, watch: &mut Watch) -> bool {
    period.start.is_none_or(|start| watch.reached(start.earliest(zone))) && !period.end.is_some_and(|end| watch.reached(end.span(zone).1))
}

fn has_value(point: &ContactPoint) -> bool {
    !point.value.expose().trim().is_empty() && point.usage.as_deref() != Some("old")
}

fn is_phone(point: &ContactPoint) -> bool {
    has_value(point) && matches!(point.system.as_str(), "phone" | "sms")
}

fn is_mobile(point: &ContactPoint) -> bool {
    has_value(point) && (point.system == "sms" || (point.system == "phone" && point.usage.as_deref() == Some("mobile")))
}

fn is_email(point: &ContactPoint) -> bool {
    has_value(point) && point.system == "email" && point.value.expose().contains('@')
}
