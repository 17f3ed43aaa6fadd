//! The policy gate: one pure function that judges every message before it leaves, and tells all its reasons. It allows, holds until an
//! instant, or refuses; the worst wins. Knows nothing of how a message is made, carried or stored. The rules and their sources are those
//! of US practice (TCPA, HIPAA, section 1557); a site sets its own numbers in [`SitePolicy`].

mod contact;
mod place;
mod reason;

pub use contact::{Point, PointKey, PointKind, Unusable, keys};
pub use place::{Candidate, Hours, Place, Told};
pub use reason::{Effect, Outcome, Reason, ReasonCode, Source, Verdict};

use chrono::{Months, TimeDelta};
use chrono_tz::Tz;
use domain::Timestamp;
use domain::model::facts::PatientFacts;
use domain::model::person::{PersonFacts, Sourced};

use super::channel::ChannelKind;
use super::program::MessageClass;
use super::template::PhiClass;

/// What a site has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SitePolicy {
    /// The site's zone.
    pub zone: Tz,
    /// Hours in which messages may come, where no state says less (47 CFR 64.1200(c)(1)).
    pub hours: Hours,
    /// Messages to one person in any 24 hours, over all programs and channels; at least 1. A rolling day, since with calendar days a
    /// message at 23:00 and one at 00:01 would both pass.
    pub per_day: u32,
    /// The same for any 7 days (47 CFR 64.1200(a)(9)(iv) has one a day and three a week); at least 1.
    pub per_week: u32,
    /// Whether minors are written to. Off by default: what concerns them goes to a proxy.
    pub minors: bool,
    /// `meta.security` codes that keep a person off automatic channels.
    pub sensitive: Vec<String>,
    /// Facts older than this hold a message.
    pub max_fact_age: TimeDelta,
    /// How soon a message held for old facts is looked at again.
    pub recheck: TimeDelta,
    /// The same template about the same occasion does not go to one contact point twice within this time.
    pub duplicate_window: TimeDelta,
}

impl SitePolicy {
    /// The defaults, for a site in `zone`.
    #[must_use]
    pub fn new(zone: Tz) -> Self {
        let hours = Hours { from: time(8), until: time(21), sunday_from: None };
        Self {
            zone,
            hours,
            per_day: 1,
            per_week: 3,
            minors: false,
            sensitive: ["R", "V", "CEL", "SDV", "TBOO"].map(str::to_owned).to_vec(),
            max_fact_age: TimeDelta::hours(26),
            recheck: TimeDelta::minutes(15),
            duplicate_window: TimeDelta::hours(36),
        }
    }
}

/// What is stopped and has no end is judged again after so long.
const STOPPED_FOR: TimeDelta = TimeDelta::days(30);

fn time(hour: u32) -> chrono::NaiveTime {
    chrono::NaiveTime::from_hms_opt(hour, 0, 0).unwrap_or_default()
}

/// What a choice of the patient is about; absent members mean "any".
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    /// One contact point.
    pub point: Option<PointKey>,
    /// One channel.
    pub channel: Option<ChannelKind>,
    /// One program.
    pub program: Option<String>,
}

/// A choice of the patient, from the ledger of choices, which only grows. A welcome takes back the refusal of the very same scope and of
/// no other: a START that answers a STOP to everything is written with the scope that the STOP had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    /// What it is about.
    pub scope: Scope,
    /// True: no messages. False: messages are welcome (for marketing: the authorisation).
    pub out: bool,
    /// Since when.
    pub at: Timestamp,
    /// As whom it was said: by each record before it was joined with others, by each who shares a contact point. What one says later takes back
    /// what that one said and nothing of another's, so that the most restrictive counts.
    pub by: i64,
}

/// A message that left, is leaving, or may have left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastSend {
    /// When.
    pub at: Timestamp,
    /// The template's id.
    pub template: String,
    /// What it was about; see [`Message::occasion`].
    pub occasion: String,
    /// Where it went.
    pub point: PointKey,
}

/// A message to a contact point that somebody else has too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherSend {
    /// When.
    pub at: Timestamp,
    /// Where it went.
    pub point: PointKey,
}

/// A contact point that is known to be wrong to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// Which.
    pub point: PointKey,
    /// Why: [`ReasonCode::SharedContactPoint`], [`ReasonCode::WrongPerson`] or [`ReasonCode::Bounced`].
    pub why: ReasonCode,
}

/// The message to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The program's id.
    pub program: &'a str,
    /// What it is for.
    pub class: MessageClass,
    /// The template's id.
    pub template: &'a str,
    /// What the template tells.
    pub phi: PhiClass,
    /// What it is about: the enrolment's anchor with its revision.
    pub occasion: &'a str,
    /// From when on it must not be sent.
    pub expires_at: Timestamp,
}

/// Whether anything may leave this installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// Switched to live on this very installation.
    pub live: bool,
    /// Stopped by a person: all sending, this program or this channel.
    pub killed: bool,
}

/// All that the gate looks at.
#[derive(Clone, Copy, Debug)]
pub struct GateInput<'a> {
    /// The person; the first patient record is the one that outreach goes by.
    pub person: &'a PersonFacts,
    /// The message.
    pub message: Message<'a>,
    /// The channel of the rung.
    pub channel: ChannelKind,
    /// The person's choices, in any order.
    pub preferences: &'a [Preference],
    /// What was sent to the person in at least the last 7 days, in any order.
    pub past: &'a [PastSend],
    /// What went to the person's contact points in at least the last 7 days and was meant for others who share them.
    pub others: &'a [OtherSend],
    /// Contact points not to be used.
    pub withheld: &'a [Withheld],
    /// As of when the person's facts are known to be right; absent where no sync has ended yet.
    pub facts_as_of: Option<Timestamp>,
    /// The switch.
    pub switch: Switch,
    /// The site's decisions.
    pub site: &'a SitePolicy,
}

/// Judges a message. Every reason is told, not only the first.
#[must_use]
pub fn judge(input: &GateInput, now: Timestamp) -> Verdict {
    let mut reasons = Vec::new();
    let Some(patient) = input.person.patients.first() else {
        let why = Reason::new(ReasonCode::NoPatientRecord, "no patient record is known for this person");
        return Verdict { outcome: Outcome::Refuse, reasons: vec![why], channel: input.channel, point: None };
    };
    person_rules(input, patient, now, &mut reasons);
    choice_rules(input, &mut reasons);
    let point = contact_rules(input, patient, now, &mut reasons);
    message_rules(input, point.as_ref(), now, &mut reasons);
    let mut until = time_rules(input, patient, point.as_ref(), now, &mut reasons);
    if input.switch.killed {
        until = stopped(input, now, &mut reasons).max(until);
    }
    let outcome = match until {
        _ if reasons.iter().any(Reason::refuses) => Outcome::Refuse,
        Some(until) => Outcome::HoldUntil(until),
        None => Outcome::Allow,
    };
    Verdict { outcome, reasons, channel: input.channel, point }
}

/// Who the person is: alive, with a record in use, of age, not marked as sensitive.
fn person_rules(input: &GateInput, patient: &Sourced<PatientFacts>, now: Timestamp, reasons: &mut Vec<Reason>) {
    for record in &input.person.patients {
        if record.facts.deceased {
            reasons.push(Reason::new(ReasonCode::Deceased, "the patient has died").at(record, "Patient.deceased[x]"));
        }
        if let Some(code) = record.facts.security.iter().find(|c| input.site.sensitive.contains(c)) {
            let detail = format!("the record is labelled {code}, which keeps it off automatic channels; staff may reach out");
            reasons.push(Reason::new(ReasonCode::Sensitive, detail).at(record, "Patient.meta.security"));
        }
    }
    if patient.facts.active == Some(false) {
        reasons.push(Reason::new(ReasonCode::Inactive, "the patient record is not in use").at(patient, "Patient.active"));
    }
    if patient.facts.links.iter().any(|l| l.kind == "replaced-by") {
        reasons.push(Reason::new(ReasonCode::Merged, "another record has replaced this one").at(patient, "Patient.link"));
    }
    match is_adult(&patient.facts, input.site.zone, now) {
        Some(true) => {}
        Some(false) if input.site.minors => {}
        Some(false) => {
            let detail = "the patient is, or may be, under 18: this goes to a proxy, or the site allows minors";
            reasons.push(Reason::new(ReasonCode::Minor, detail).at(patient, "Patient.birthDate"));
        }
        None => {
            reasons.push(Reason::new(ReasonCode::AgeUnknown, "no birth date is known; taken for an adult").at(patient, "Patient.birthDate"))
        }
    }
}

/// Whether the latest day on which the patient can have been born makes an adult today.
fn is_adult(patient: &PatientFacts, zone: Tz, now: Timestamp) -> Option<bool> {
    let last_instant = Timestamp::from_micros(patient.birth_date?.span(zone).1.micros().saturating_sub(1));
    let born = last_instant.to_utc().with_timezone(&zone).date_naive();
    let today = now.to_utc().with_timezone(&zone).date_naive();
    today.checked_sub_months(Months::new(18 * 12)).map(|limit| born <= limit)
}

/// What the person chose. A choice stands until the same scope is chosen anew; of all that stand, the most restrictive counts.
fn choice_rules(input: &GateInput, reasons: &mut Vec<Reason>) {
    for choice in input.preferences.iter().filter(|p| p.out && p.scope.point.is_none() && stands(p, input.preferences)) {
        if covers(&choice.scope, input) {
            let (code, what) = match (&choice.scope.channel, &choice.scope.program) {
                (Some(_), _) => (ReasonCode::OptedOutOfChannel, "the patient wants no messages on this channel"),
                (None, Some(_)) => (ReasonCode::OptedOut, "the patient wants no messages of this program"),
                (None, None) => (ReasonCode::OptedOut, "the patient wants no messages"),
            };
            reasons.push(Reason::new(code, format!("{what}, since {}", choice.at)));
        }
    }
    let authorised = input.preferences.iter().any(|p| !p.out && covers(&p.scope, input) && stands(p, input.preferences));
    if input.message.class == MessageClass::Marketing && !authorised {
        reasons.push(Reason::new(
            ReasonCode::NoAuthorisation,
            "marketing needs the patient's authorisation (45 CFR 164.508), and none is known",
        ));
    }
}

fn covers(scope: &Scope, input: &GateInput) -> bool {
    scope.channel.is_none_or(|c| c == input.channel) && scope.program.as_deref().is_none_or(|p| p == input.message.program)
}

/// Whether no later choice of the same scope, by the same, says otherwise; at the same instant, "no messages" wins.
fn stands(choice: &Preference, all: &[Preference]) -> bool {
    !all.iter()
        .any(|p| p.by == choice.by && p.scope == choice.scope && p.out != choice.out && (p.at > choice.at || (p.at == choice.at && p.out)))
}

/// The best contact point that may be used; where there is none, every reason why.
fn contact_rules(input: &GateInput, patient: &Sourced<PatientFacts>, now: Timestamp, reasons: &mut Vec<Reason>) -> Option<Point> {
    let (good, bad) = contact::candidates(&patient.facts, input.channel, input.site.zone, now);
    let field = |index: usize| format!("Patient.telecom[{index}]");
    let mut why_not = Vec::new();
    for (index, why) in bad {
        let (code, detail) = match why {
            Unusable::NotInUse => (ReasonCode::PointNotInUse, "this contact point is not in use any more, or not yet"),
            Unusable::Malformed => (ReasonCode::PointMalformed, "this is not an address or number that a message can be sent to"),
        };
        why_not.push(Reason::new(code, detail).at(patient, &field(index)));
    }
    let mut chosen = None;
    for point in good {
        let blocked = input.withheld.iter().find(|w| w.point == point.key);
        let out = input
            .preferences
            .iter()
            .any(|p| p.out && p.scope.point.as_ref() == Some(&point.key) && covers(&p.scope, input) && stands(p, input.preferences));
        match blocked {
            Some(w) => why_not.push(Reason::new(w.why, "this contact point is withheld").at(patient, &field(point.index))),
            None if out => {
                let detail = "the patient wants no messages at this contact point";
                why_not.push(Reason::new(ReasonCode::PointOptedOut, detail).at(patient, &field(point.index)));
            }
            None => {
                chosen = Some(point);
                break;
            }
        }
    }
    if chosen.is_none() {
        let what = match input.channel {
            ChannelKind::Email => "e-mail address",
            ChannelKind::Recorded => "phone number or address",
        };
        let detail = format!("no {what} can be used");
        reasons.push(Reason::new(ReasonCode::NoContactPoint, detail).at(patient, "Patient.telecom"));
    }
    reasons.extend(why_not);
    chosen
}

/// What the message says, where it goes and whether anything may go at all.
fn message_rules(input: &GateInput, point: Option<&Point>, now: Timestamp, reasons: &mut Vec<Reason>) {
    let message = &input.message;
    if now >= message.expires_at {
        reasons.push(Reason::new(ReasonCode::Expired, format!("it was worth sending until {}", message.expires_at)));
    }
    if message.phi > PhiClass::Limited && input.channel.is_open() {
        reasons.push(Reason::new(ReasonCode::PhiOnOpenChannel, "the template tells more than an open channel may carry"));
    }
    if input.channel.leaves() && !input.switch.live {
        reasons.push(Reason::new(ReasonCode::NotLive, "this installation is not switched to live: nothing leaves it"));
    }
    let horizon = now.plus(-input.site.duplicate_window);
    let same = |p: &&PastSend| p.template == message.template && p.occasion == message.occasion && p.at > horizon;
    if let Some(before) = input.past.iter().find(|p| same(p) && point.is_some_and(|c| c.key == p.point)) {
        reasons.push(Reason::new(ReasonCode::Duplicate, format!("the same message went to the same contact point at {}", before.at)));
    }
}

/// What is stopped waits as long as it is worth sending: whoever lets it go on has it judged anew at once. What is recorded in place of a send is told
/// to the chart as a send, so a stop holds for it, too.
fn stopped(input: &GateInput, now: Timestamp, reasons: &mut Vec<Reason>) -> Option<Timestamp> {
    reasons.push(Reason::new(ReasonCode::Killed, "staff stopped this program, this channel or all sending; it waits until that ends"));
    let last = input.message.expires_at.plus(-TimeDelta::microseconds(1)).min(now.plus(STOPPED_FOR));
    if last > now {
        return Some(last);
    }
    if now < input.message.expires_at {
        reasons.push(Reason::new(ReasonCode::ExpiresWhileHeld, "it stayed stopped until it was no longer worth sending"));
    }
    None
}

/// Caps, old facts and quiet hours: until when to hold, if at all. A hold that would outlast the message's worth is a refusal.
fn time_rules(
    input: &GateInput,
    patient: &Sourced<PatientFacts>,
    point: Option<&Point>,
    now: Timestamp,
    reasons: &mut Vec<Reason>,
) -> Option<Timestamp> {
    let (site, facts) = (input.site, &patient.facts);
    let caps = [
        (ReasonCode::DailyCap, site.per_day, TimeDelta::days(1), "in any 24 hours"),
        (ReasonCode::WeeklyCap, site.per_week, TimeDelta::days(7), "in any 7 days"),
    ];
    let mut free = now;
    let to_person = || input.past.iter().map(|p| p.at).collect::<Vec<_>>();
    for (code, cap, window, what) in caps {
        if let Some(at) = cap_ends(to_person(), cap.max(1), window).filter(|at| *at > now) {
            reasons.push(Reason::new(code, format!("at most {} {what}; the next may go at {at}", cap.max(1))));
            free = free.max(at);
        }
    }
    // Where others share the contact point, the same holds of the point: whoever has the phone gets no more than one person would.
    let others: Vec<Timestamp> = input.others.iter().filter(|o| point.is_some_and(|p| p.key == o.point)).map(|o| o.at).collect();
    for (_, cap, window, what) in caps.into_iter().filter(|_| !others.is_empty()) {
        let mine = input.past.iter().filter(|p| point.is_some_and(|to| to.key == p.point)).map(|p| p.at);
        if let Some(at) = cap_ends(others.iter().copied().chain(mine).collect(), cap.max(1), window).filter(|at| *at > now) {
            let detail = format!("others have this contact point too: at most {} {what} to it; the next may go at {at}", cap.max(1));
            reasons.push(Reason::new(ReasonCode::PointCap, detail));
            free = free.max(at);
        }
    }
    let place = Place::of(facts, site.zone, site.hours, now);
    let (field, told) = match place.told {
        Told::Extension => ("extension(timezone)", "the time zone of the address"),
        Told::State => ("state", "the state of the address"),
        Told::PostalCode => ("postalCode", "the postal code"),
        Told::Site => ("state", "the site's zone, since no address in use tells one"),
    };
    let source = format!("Patient.address[{}].{field}", place.address.unwrap_or(0));
    let Some(open) = place.next(free) else {
        let detail = "no hour of the day is allowed in all the places where the patient may be";
        reasons.push(Reason::new(ReasonCode::NoAllowedHour, detail).at(patient, &source));
        return None;
    };
    if place.next(now) != Some(now) {
        reasons.push(Reason::new(ReasonCode::QuietHours, format!("quiet hours, by {told}")).at(patient, &source));
    } else if place.told == Told::Site {
        reasons.push(Reason::new(ReasonCode::PlaceUnknown, format!("quiet hours are by {told}")).at(patient, &source));
    }
    if open > now && open >= input.message.expires_at {
        reasons.push(Reason::new(ReasonCode::ExpiresWhileHeld, format!("it could go at {open}, when it is no longer worth sending")));
    }
    let mut until = open;
    if input.facts_as_of.is_none_or(|as_of| now.since(as_of) > site.max_fact_age) {
        let since = input.facts_as_of.map_or_else(|| "no sync has ended yet".to_owned(), |at| format!("the facts are of {at}"));
        reasons.push(Reason::new(ReasonCode::StaleFacts, format!("{since}; a sync must come first")));
        until = place.next(open.max(now.plus(site.recheck)))?;
    }
    (until > now).then_some(until)
}

/// When the cap leaves room again: one window after the send that filled it.
fn cap_ends(mut times: Vec<Timestamp>, cap: u32, window: TimeDelta) -> Option<Timestamp> {
    times.sort_unstable_by(|a, b| b.cmp(a));
    let filled_by = usize::try_from(cap).ok().and_then(|cap| times.get(cap.saturating_sub(1)))?;
    Some(filled_by.plus(window))
}

#[cfg(test)]
mod tests;
