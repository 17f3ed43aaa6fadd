//! The searches that find again what was written: which parameters each finder asks for, and over which time.
//!
//! The time is wide: from before the first try to now, since a server may put its own time in place of ours. That costs nothing but
//! matches, of which only those that carry our key count.

use chrono::{SecondsFormat, TimeDelta};
use domain::Timestamp;
use serde_json::Value;

use super::contract::Finder;

/// How much earlier than it should be a time may stand in the EHR: for clocks that differ, ours from one day to the next among them, and
/// servers that round.
const MARGIN: TimeDelta = TimeDelta::days(1);

/// The states of a message's e-mail that are documented for inboxes whose search asks for one
/// (docs.oracle.com, Millennium Platform APIs, Communication: "received, in-progress, or completed"). Whether each message has one is not.
pub(super) const EMAIL_STATUSES: [&str; 3] = ["received", "in-progress", "completed"];

/// The parameter for one of them.
pub(super) fn email_status(status: &str) -> (&'static str, String) {
    ("-email-status", token("http://hl7.org/fhir/task-status", status))
}

/// What is looked for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Our identifier's namespace.
    pub system: &'a str,
    /// Our key.
    pub key: &'a str,
    /// The patient's logical id.
    pub patient: &'a str,
    /// When the message was sent, where it was.
    pub sent: Option<Timestamp>,
    /// No try was made before this instant.
    pub since: Timestamp,
    /// Now. Where that is earlier, our clock was put back since.
    pub now: Timestamp,
    /// How far the EHR's clock is ahead of ours.
    pub ahead: TimeDelta,
    /// What was sent to the EHR, where it is a resource.
    pub resource: Option<&'a Value>,
}

/// The parameters of a search; `None` where what was sent does not tell them.
pub(super) fn query(finder: Finder, wanted: &Wanted<'_>) -> Option<Vec<(&'static str, String)>> {
    let patient = ("patient", format!("Patient/{}", wanted.patient));
    let ours = ("identifier", token(wanted.system, wanted.key));
    Some(match finder {
        Finder::Identifier => vec![ours],
        Finder::PatientIdentifier => vec![patient, ours],
        Finder::Patient => vec![patient],
        Finder::PatientSent => vec![patient, ("sent", from(wanted.earliest()))],
        Finder::PatientDate => vec![patient, ("date", from(wanted.earliest()))],
        Finder::Target => vec![("target", target(wanted.resource?)?)],
        Finder::InboxReceived => {
            let (category, recipient) = inbox(wanted.resource?)?;
            vec![("category", category), ("recipient", recipient), ("received", from(wanted.arrived()))]
        }
    })
}

impl Wanted<'_> {
    /// The earliest time that a server may have put on its arrival, by the server's clock.
    fn arrived(&self) -> Timestamp {
        self.since.min(self.now).plus(self.ahead.min(TimeDelta::zero()) - MARGIN)
    }

    /// The same, where the server may also have kept the time of sending that we wrote.
    fn earliest(&self) -> Timestamp {
        self.sent.map_or_else(|| self.arrived(), |sent| self.arrived().min(sent.plus(-MARGIN)))
    }
}

/// With a time and without an end: a clock that is ahead of ours must not put it out of sight.
fn from(earliest: Timestamp) -> String {
    format!("ge{}", earliest.to_utc().to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// The inbox that a message was put into: its category and its first recipient.
pub(super) fn inbox(resource: &Value) -> Option<(String, String)> {
    let coding = resource.get("category")?.get(0)?.get("coding")?.get(0)?;
    let code = coding.get("code")?.as_str()?;
    let category = coding.get("system").and_then(Value::as_str).map_or_else(|| escaped(code), |system| token(system, code));
    Some((category, resource.get("recipient")?.get(0)?.get("reference")?.as_str()?.to_owned()))
}

/// What a Provenance is of, whatever its version: not every server finds by one.
fn target(resource: &Value) -> Option<String> {
    let reference = resource.get("target")?.get(0)?.get("reference")?.as_str()?;
    Some(reference.split_once("/_history/").map_or(reference, |(unversioned, _)| unversioned).to_owned())
}

/// The query of `If-None-Exist`.
pub(super) fn condition(system: &str, key: &str) -> String {
    format!("identifier={}", percent_encoded(&token(system, key)))
}

/// A token search value.
pub(super) fn token(system: &str, value: &str) -> String {
    format!("{}|{}", escaped(system), escaped(value))
}

/// `\`, `|`, `,` and `$` are escaped (R4 search, 3.1.1.4.0.2).
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if matches!(c, '\\' | '|' | ',' | '$') {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

/// For a header that holds a query: `:`, `/` and `|` stay as the specification's own example has them, since not every server decodes
/// them; what would end or change the query does not.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-._~:/|\\".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(finder: Finder, sent: Option<&str>, ahead: i64, resource: Option<&Value>) -> Option<String> {
        asked_at("2026-11-23T11:00:00Z", finder, sent, ahead, resource)
    }

    fn asked_at(now: &str, finder: Finder, sent: Option<&str>, ahead: i64, resource: Option<&Value>) -> Option<String> {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let wanted = Wanted {
            system: "urn:s",
            key: "a1",
            patient: "p1",
            sent: sent.map(at),
            since: at("2026-11-23T10:00:00Z"),
            now: at(now),
            ahead: TimeDelta::seconds(ahead),
            resource,
        };
        Some(query(finder, &wanted)?.into_iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&"))
    }

    #[test]
    fn each_finder_asks_for_what_it_can_and_over_a_time_that_covers_clocks_that_differ() {
        let inbox = json!({
            "category": [{ "coding": [{ "system": "urn:c", "code": "notification" }] }],
            "recipient": [{ "reference": "Group/7" }],
        });
        let of = |target: &str| json!({ "target": [{ "reference": target }] });
        for (finder, sent, ahead, resource, wanted) in [
            (Finder::Identifier, None, 0, None, Some("identifier=urn:s|a1")),
            (Finder::PatientIdentifier, None, 0, None, Some("patient=Patient/p1&identifier=urn:s|a1")),
            (Finder::Patient, None, 0, None, Some("patient=Patient/p1")),
            (Finder::PatientSent, Some("2026-11-23T09:00:00Z"), 0, None, Some("patient=Patient/p1&sent=ge2026-11-22T09:00:00Z")),
            // Never sent: the server's own time, or none.
            (Finder::PatientSent, None, 0, None, Some("patient=Patient/p1&sent=ge2026-11-22T10:00:00Z")),
            (Finder::PatientDate, None, -600, None, Some("patient=Patient/p1&date=ge2026-11-22T09:50:00Z")),
            (Finder::PatientDate, None, 600, None, Some("patient=Patient/p1&date=ge2026-11-22T10:00:00Z")),
            (
                Finder::InboxReceived,
                Some("2026-11-20T09:00:00Z"),
                0,
                Some(&inbox),
                Some("category=urn:c|notification&recipient=Group/7&received=ge2026-11-22T10:00:00Z"),
            ),
            (Finder::Target, None, 0, Some(&of("Communication/c1/_history/3")), Some("target=Communication/c1")),
            (Finder::Target, None, 0, Some(&of("Communication/c1")), Some("target=Communication/c1")),
            (Finder::Target, None, 0, Some(&json!({})), None),
            (Finder::InboxReceived, None, 0, None, None),
            (Finder::InboxReceived, None, 0, Some(&json!({})), None),
        ] {
            assert_eq!(asked(finder, sent, ahead, resource).as_deref(), wanted, "{finder:?}");
        }
    }

    #[test]
    fn a_clock_that_was_put_back_hides_no_arrival() {
        // It was owed by a clock that was five days ahead.
        let asked = asked_at("2026-11-18T10:00:30Z", Finder::PatientSent, Some("2026-11-23T09:59:00Z"), 0, None);
        assert_eq!(asked.as_deref(), Some("patient=Patient/p1&sent=ge2026-11-17T10:00:30Z"));
    }
}
