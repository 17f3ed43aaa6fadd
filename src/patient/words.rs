//! Codes in plain words, as staff reads them.

use chrono::DateTime;
use chrono_tz::Tz;
use domain::Timestamp;
use domain::model::Phi;
use domain::rules::{self, ReadIn};

use super::page::{Mark, Reason};
use crate::outreach::gate::{Effect, ReasonCode};
use crate::outreach::ledger::KeptReason;
use crate::store::writebacks::Writeback;

/// What a message asks for.
#[must_use]
pub fn asked(action: &str) -> &'static str {
    match action {
        "confirm" => "Confirm a visit",
        "complete-form" => "Fill in a form",
        "call" => "Call the practice",
        "review-instructions" => "Read the instructions after a visit",
        "schedule" => "Book a visit",
        "refill" => "Ask for a refill",
        "join-telehealth" => "Join a video visit",
        "check-in" => "Say how things are going",
        "spoke-by-phone" => "Phone call: spoke with the patient",
        "left-message" => "Phone call: left a message",
        "called" => "Phone call: not reached",
        "met" => "Spoke with the patient in person",
        _ => "Read a message",
    }
}

/// A channel.
pub(super) fn channel(name: &str) -> &'static str {
    match name {
        "email" => "e-mail",
        "sms" => "text message",
        "app" => "app message",
        "call" => "phone call",
        "automated-call" => "automated phone call",
        "portal" => "portal message",
        "letter" => "letter",
        "visit" => "in person",
        "recorded" => "the record only (nothing is sent)",
        _ => "another way",
    }
}

/// Why a planned step was given up.
pub(super) fn given_up(code: &str) -> String {
    match code {
        "expired" => "its time had passed".to_owned(),
        "left-segment" => "its reason went away: the patient is no longer in the segment".to_owned(),
        "answered" => "the patient had answered before".to_owned(),
        "overtaken" => "a later step asks for the same".to_owned(),
        "exhausted" => "no way to reach the patient was left".to_owned(),
        "no-anchor" => "there is no visit any more that it is about".to_owned(),
        "moved" => "the visit was moved; it is planned anew".to_owned(),
        "moved-on" => "it was about an earlier visit".to_owned(),
        "merged" => "the patient has had it by another record".to_owned(),
        "no-record" => "the patient's record is not in use".to_owned(),
        "stopped-by-staff" => "staff stopped it".to_owned(),
        other => format!("given up ({other})"),
    }
}

/// What a patient meant.
pub(super) fn meant(meaning: &str, about_visit: bool) -> &'static str {
    match meaning {
        "confirm" if about_visit => "Confirms the visit",
        "confirm" => "Agrees",
        "cancel-visit" => "Wants the visit cancelled",
        "stop" => "Wants no more messages",
        "start" => "Wants messages again",
        "help" => "Asks what the messages are",
        _ => "Answered in own words",
    }
}

/// A barrier.
pub(super) fn barrier(code: &str) -> &'static str {
    match code {
        "transport" => "No way to get there",
        "time-off-work" => "Cannot leave work",
        "family-care" => "Has to care for somebody",
        "cost" => "The cost",
        "literacy" => "Cannot read or understand what is sent",
        "fear" => "Is afraid of it",
        "side-effect" => "Side effects",
        "language" => "Needs another language",
        _ => "Something else",
    }
}

/// Who made a choice.
pub(super) fn said_by(source: &str) -> &'static str {
    match source {
        "reply" => "the patient, in a reply",
        "staff" => "staff, for the patient",
        "import" => "an import",
        "ehr" => "the EHR",
        _ => "another system",
    }
}

/// The status of an appointment.
pub(super) fn visit_status(status: &str) -> &'static str {
    match status {
        "booked" => "booked",
        "pending" => "waiting for somebody's acceptance",
        "arrived" => "arrived",
        "checked-in" => "checked in",
        _ => "with a status that is not known here",
    }
}

/// What became of something in the chart.
pub(super) fn chart(row: &Writeback) -> (Mark, String) {
    let what = match row.kind.as_str() {
        "answer" => "The answer",
        "correction" => "A correction",
        "note" => "A line in the day's note",
        "status-change" => "The visit's new status",
        "provenance" => "Its provenance",
        _ => "It",
    };
    match row.state.as_str() {
        "written" => (Mark::Good, format!("{what} is in the EHR's chart")),
        "exported" => (Mark::Good, format!("{what} is in an export file for the chart")),
        "kept" => (Mark::Good, format!("{what} is kept here; this EHR's chart does not take it")),
        "refused" => (Mark::Bad, format!("{what} was refused by the EHR")),
        "unknown" => (Mark::Open, format!("{what} may be in the EHR's chart; it is looked for")),
        _ => (Mark::Open, format!("{what} waits to be written into the EHR's chart")),
    }
}

/// Reasons of a verdict, without what is only worth knowing.
pub(super) fn verdict(reasons: &[KeptReason], zone: Tz) -> Vec<Reason> {
    let note = |r: &&KeptReason| ReasonCode::ALL.iter().any(|c| c.as_str() == r.code && c.effect() == Effect::Note);
    let told = |r: &KeptReason| Reason { words: Phi::new(told_times(&r.detail, zone)), sources: r.source.iter().cloned().collect() };
    reasons.iter().filter(|r| !note(r)).map(told).collect()
}

/// Where something was read: `main Appointment/12 version 3, start`.
pub(super) fn place(read: &ReadIn) -> Phi<String> {
    Phi::new(match (&read.ehr, &read.resource_type, &read.id) {
        (Some(ehr), Some(kind), Some(id)) => {
            let version = read.version.as_ref().map_or_else(String::new, |v| format!(", version {v}"));
            format!("{kind}.{} in {ehr} ({kind}/{id}{version})", read.field)
        }
        _ => format!("{} of the contact ledger", read.field),
    })
}

/// A reason of a segment in plain words: what the attribute means, and what was found.
pub(super) fn reason(r: &rules::Reason, zone: Tz) -> Reason {
    let test = ["not ", "has ", "known ", "exists "]
        .into_iter()
        .fold(r.test.as_str(), |test, word| test.trim_start_matches('(').trim_start_matches(word));
    let name = test.split(|c: char| c.is_whitespace() || c == ')').next().unwrap_or_default();
    let sources: Vec<_> = r.sources.iter().map(place).collect();
    let words = match (rules::attribute(name), &r.value) {
        (Some(attribute), Some(value)) => {
            let period = test.split_once(" in last ").map(|(_, rest)| rest.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
            let period = period.map(|p| format!(", in the last {p}")).unwrap_or_default();
            format!("{}{period}: {}", attribute.meaning.trim_end_matches('.').replace('`', ""), shown(value.expose(), zone))
        }
        // A reference to another segment, an attribute of the site's own, nothing found, or it cannot be told: the sentence says so.
        _ => r.sentence.expose().split_once(": ").map_or_else(|| r.sentence.expose().clone(), |(_, fact)| sentence(fact)),
    };
    let mut sources = sources;
    sources.extend(r.because.iter().flat_map(|b| b.sources.iter().map(place)));
    Reason { words: Phi::new(words), sources }
}

/// A sentence with its instants as people read them.
pub fn told_times(text: &str, zone: Tz) -> String {
    text.split(' ').map(|word| shown(word, zone)).collect::<Vec<_>>().join(" ")
}

/// Instants of the rules' values, as people read them.
fn shown(value: &str, zone: Tz) -> String {
    match DateTime::parse_from_rfc3339(value) {
        Ok(at) => moment(Timestamp::from_micros(at.timestamp_micros()), zone),
        Err(_) => value.to_owned(),
    }
}

/// `Fri 27 Nov 2026, 10:00`, by the site's clock.
pub(super) fn moment(at: Timestamp, zone: Tz) -> String {
    at.to_utc().with_timezone(&zone).format("%a %-d %b %Y, %H:%M").to_string()
}

/// With a capital, and without the places in brackets at its end.
fn sentence(fact: &str) -> String {
    let fact = fact.rsplit_once(" [").filter(|_| fact.ends_with(']')).map_or(fact, |(words, _)| words);
    let mut letters = fact.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
