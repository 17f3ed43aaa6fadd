//! The blind-spot report: which segments and programs cannot work, or work less well, on one EHR, and why. From what each rule reads, how each
//! type is read there, which elements do not come, and what charts take. Told before the first patient is written to.

mod words;

use std::collections::BTreeMap;

use domain::Timestamp;
use domain::model::ResourceType;
use domain::rules::syntax::Test;
use domain::rules::{Attribute, OwnAttribute, Reach, RuleSet, Unknown, attribute, reading};
use serde::Serialize;

use super::charts::{Outlook, Shown};
use crate::ehr::auth::{Granted, Need};
use crate::ehr::plan::TypePlan;
use crate::ehr::profile::{Auth, Strategy};
use crate::ehr::vendor::Sent;
use crate::ehr::{Plan, Profile};
use crate::outreach::channel::ChannelKind;
use crate::outreach::program::{Action, Anchor, Library, Program};
use crate::writeback::contract::Carrier;

/// How well something works on an EHR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As meant.
    Works,
    /// It works, and misses something.
    Degraded,
    /// Nothing comes of it.
    Cannot,
}

impl State {
    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Degraded => "degraded",
            Self::Cannot => "cannot",
        }
    }
}

/// Why something does not work as meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What kind of reason: stable, for programs. `type-not-read`, `unseen`, ...
    pub code: &'static str,
    /// In one sentence.
    pub says: String,
    /// What can be done, where something can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Where it is written, where it is a fact about the vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// What is told of one segment or program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub title: String,
    /// How well it works.
    pub state: State,
    /// What comes of that, where it cannot work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub so: Option<&'static str>,
    /// Why, as places in [`BlindSpots::reasons`].
    pub because: Vec<usize>,
}

/// The report on one EHR.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlindSpots {
    /// Each segment in force.
    pub segments: Vec<Verdict>,
    /// Each program in force.
    pub programs: Vec<Verdict>,
    /// The reasons, each once.
    pub reasons: Vec<Reason>,
}

/// What the report is made from.
pub struct Given<'a> {
    /// The connector profile.
    pub profile: &'a Profile,
    /// How each type is read.
    pub plan: &'a Plan,
    /// What charts will show.
    pub outlook: &'a Outlook,
    /// The segments in force.
    pub rules: &'a RuleSet,
    /// The programs in force.
    pub programs: &'a Library,
    /// What the installation can send by.
    pub channels: &'a [ChannelKind],
    /// Types of this EHR that came as files.
    pub by_file: &'a [ResourceType],
    /// Types that may not be read, and why.
    pub refused: &'a BTreeMap<ResourceType, Reason>,
}

/// The types that a client may not read: by its token where one was given, else by what is known of the vendor.
#[must_use]
pub fn refused(profile: &Profile, granted: Option<&Granted>) -> BTreeMap<ResourceType, Reason> {
    let nothing = |kind: ResourceType, says: String, source: Option<String>| {
        let remedy = "have the scope added, let a user grant it, or let the site deliver the type as files".to_owned();
        (kind, Reason { code: "type-not-granted", says, remedy: Some(remedy), source })
    };
    if let Some(granted) = granted {
        let missing = |kind: &ResourceType| !granted.missing(&[Need::read(kind.as_str())]).is_empty();
        let told = |kind: ResourceType| nothing(kind, format!("{kind} is not granted to this client"), None);
        return ResourceType::ALL.into_iter().filter(missing).map(told).collect();
    }
    if !matches!(profile.auth, Auth::BackendServices(_)) {
        return BTreeMap::new();
    }
    let types = profile.preset().map(|p| p.register.no_system_scope.as_slice()).unwrap_or_default();
    let told = |kind: &ResourceType| {
        let says = format!("{kind} is granted to users only at {}: there is no system scope for it", title(profile));
        nothing(*kind, says, Some("standards.md A.7".to_owned()))
    };
    // A type with a credential of its own is not asked for by the gateway itself.
    let apart = |kind: &&ResourceType| profile.credentials.values().any(|c| c.types.iter().any(|t| t == kind.as_str()));
    types.iter().filter(|kind| !apart(kind)).map(told).collect()
}

fn title(profile: &Profile) -> &str {
    profile.preset().map_or("this vendor", |p| p.title.as_str())
}

/// Tells how well everything in force works.
#[must_use]
pub fn blind_spots(given: &Given<'_>) -> BlindSpots {
    let mut report = BlindSpots::default();
    for (place, segment) in given.rules.segments().iter().enumerate() {
        let of = segment.definition();
        let (state, so, reasons) = given.segment(place, of.unknown);
        let because = reasons.into_iter().map(|r| report.number(r)).collect();
        report.segments.push(Verdict { id: of.id.clone(), title: of.title.clone(), state, so, because });
    }
    for program in &given.programs.programs {
        let (state, so, reasons) = given.program(program);
        let because = reasons.into_iter().map(|r| report.number(r)).collect();
        report.programs.push(Verdict { id: program.id.clone(), title: program.title.clone(), state, so, because });
    }
    report
}

impl BlindSpots {
    /// Whether everything works as meant.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.reasons.is_empty()
    }

    fn number(&mut self, reason: Reason) -> usize {
        self.reasons.iter().position(|r| *r == reason).unwrap_or_else(|| {
            self.reasons.push(reason);
            self.reasons.len() - 1
        })
    }
}

/// Reasons, each once, in the order in which they were found.
#[derive(Default)]
struct Found(Vec<Reason>);

impl Found {
    fn add(&mut self, code: &'static str, says: impl Into<String>, remedy: Option<&str>) {
        self.push(Reason { code, says: says.into(), remedy: remedy.map(str::to_owned), source: None });
    }

    fn push(&mut self, reason: Reason) {
        if !self.0.contains(&reason) {
            self.0.push(reason);
        }
    }
}

/// Where a type comes from.
enum Source<'a> {
    Read(&'a TypePlan),
    Files,
    Nowhere(Reason),
}

const ROSTER: &str = "patients who are not on the roster";
const DAYS: &str = "appointments before and after the span of days";

impl Given<'_> {
    fn source(&self, kind: ResourceType) -> Source<'_> {
        let off = match self.plan.of_type(kind) {
            _ if self.profile.files_only => return Source::Files,
            Some(of) if of.strategy != Strategy::Off => match self.refused.get(&kind) {
                Some(reason) => reason.clone(),
                None => return Source::Read(of),
            },
            Some(of) if of.is_switched_off => not_read(kind, "the operator switched it off", "switch it on again with --strategy"),
            Some(of) => match &of.lacks {
                Some(lacks) => not_read(kind, lacks, "register the EHR again with it (`ehr add`)"),
                None => not_read(kind, &of.why, "`fhir-engage import` takes such files"),
            },
            None => not_read(kind, "it is not among the types that are read of this EHR", "name it with --types"),
        };
        if self.by_file.contains(&kind) { Source::Files } else { Source::Nowhere(off) }
    }

    fn sent(&self, element: &str) -> Option<Sent> {
        self.profile.preset()?.elements.iter().find(|e| e.element == element).map(|e| e.sent)
    }

    /// Whether a test is ever answered.
    fn is_answered(&self, test: &Test) -> bool {
        let Some(attribute) = attribute(&test.attribute.text) else {
            let own = self.rules.own(&test.attribute.text).map(OwnAttribute::resource_type);
            return own.is_none_or(|kind| !matches!(self.source(kind), Source::Nowhere(_)));
        };
        let known = attribute.needs.iter().all(|kind| !matches!(self.source(*kind), Source::Nowhere(_)));
        let elements = reading(attribute.name).map_or(&[][..], |r| r.elements);
        known && elements.iter().all(|e| self.sent(e) != Some(Sent::Never) || self.comes_by_file(e))
    }

    /// What a vendor's API leaves out may be in its files.
    fn comes_by_file(&self, element: &str) -> bool {
        let kind = element.split('.').next().and_then(ResourceType::parse);
        kind.is_some_and(|kind| matches!(self.source(kind), Source::Files))
    }

    fn segment(&self, place: usize, unknown: Unknown) -> (State, Option<&'static str>, Vec<Reason>) {
        let mut found = Found::default();
        for test in self.rules.tests_of(place) {
            if let Some(attribute) = attribute(&test.attribute.text) {
                self.look(test, attribute, &mut found);
            } else if let Some(own) = self.rules.own(&test.attribute.text) {
                self.look_at(test, own.resource_type(), &mut found);
            }
        }
        let prospect = self.rules.prospect(place, &|test| self.is_answered(test));
        let (state, so) = match (prospect.can_hold, unknown) {
            (true, _) if found.0.is_empty() => (State::Works, None),
            (true, _) => (State::Degraded, None),
            (false, Unknown::Out) => (State::Cannot, Some("nobody is ever in it")),
            (false, Unknown::Held) => (State::Cannot, Some("nobody is ever in it; whoever may belong is held for staff to see")),
            (false, Unknown::In) => (State::Degraded, Some("everyone of whom it is not known counts as in it")),
        };
        (state, so, found.0)
    }

    fn look(&self, test: &Test, attribute: &Attribute, found: &mut Found) {
        attribute.reads().for_each(|kind| self.look_at(test, kind, found));
        for element in reading(attribute.name).map_or(&[][..], |r| r.elements) {
            self.look_at_element(element, found);
        }
    }

    fn look_at(&self, test: &Test, kind: ResourceType, found: &mut Found) {
        match self.source(kind) {
            Source::Files => {}
            Source::Nowhere(reason) => found.push(reason),
            Source::Read(of) => self.look_at_type(test, of, found),
        }
    }

    fn look_at_type(&self, test: &Test, of: &TypePlan, found: &mut Found) {
        for unseen in &of.blind {
            match *unseen {
                ROSTER => found.add("unseen-patients", format!("not seen: {ROSTER}"), Some("give a list or Group with everyone in it")),
                days if days.starts_with(DAYS) => self.look_at_days(test, found),
                other => found.add("unseen", format!("{}: not seen: {other}", of.kind), None),
            }
        }
        // What the plan warns of is told for the type; it holds for all that is made from it.
        for warning in of.warnings.iter().filter(|w| !w.contains("roster")) {
            found.add("limited", format!("{}: {warning}", of.kind), None);
        }
    }

    /// A span of days answers what lies in it.
    fn look_at_days(&self, test: &Test, found: &mut Found) {
        let (horizon, window) = (test.horizon(), &self.plan.window);
        let beyond = |reach: Option<Reach>, days: u16| match reach {
            None => false,
            Some(Reach::Whole) => true,
            Some(Reach::For(length)) => {
                let now = Timestamp::from_micros(0);
                let span = chrono::TimeDelta::days(i64::from(days));
                length.after(now, chrono_tz::Tz::UTC) > now.plus(span)
            }
        };
        if beyond(horizon.back, window.back_days) {
            let says = format!(
                "visits are read {} days back only: what was before the first sync is not known, nor what the EHR changes later than that",
                window.back_days
            );
            found.add("days-back", says, Some("read further with --days-back, or import the past from files"));
        }
        if beyond(horizon.ahead, window.ahead_days) {
            let says = format!("visits are read {} days ahead only: who is booked for later counts as not booked", window.ahead_days);
            found.add("days-ahead", says, Some("read further with --days-ahead"));
        }
    }

    fn look_at_element(&self, element: &str, found: &mut Found) {
        if self.comes_by_file(element) {
            return;
        }
        let notes = self.profile.preset().map(|p| p.elements.as_slice()).unwrap_or_default();
        let Some(note) = notes.iter().find(|e| e.element == element) else { return };
        let (code, what) = match note.sent {
            Sent::Never => ("element-never", "never comes"),
            Sent::Seldom => ("element-seldom", "seldom comes"),
            Sent::Unproven => ("element-unproven", "may not tell what it is taken for"),
        };
        let says = format!("{element} {what}: {}", note.says);
        found.push(Reason { code, says, remedy: None, source: Some(note.source.clone()) });
    }

    fn program(&self, program: &Program) -> (State, Option<&'static str>, Vec<Reason>) {
        let mut found = Found::default();
        let (mut state, mut so) = (State::Works, None);
        match self.rules.place(&program.segment) {
            Some(place) => {
                let unknown = self.rules.segments().get(place).map_or(Unknown::Out, |s| s.definition().unknown);
                let (of_segment, _, reasons) = self.segment(place, unknown);
                reasons.into_iter().for_each(|reason| found.push(reason));
                if of_segment == State::Cannot {
                    (state, so) = (State::Cannot, Some("nobody is ever in its segment"));
                }
            }
            None => found.add("no-segment", format!("there is no segment {}", program.segment), None),
        }
        if let Source::Nowhere(reason) = self.source(ResourceType::Patient) {
            found.push(reason);
            (state, so) = (State::Cannot, Some("nobody's name and address are known"));
        }
        let anchored = program.steps.iter().any(|s| s.anchor == Anchor::AppointmentStart);
        if anchored && let Source::Nowhere(reason) = self.source(ResourceType::Appointment) {
            found.push(reason);
            (state, so) = (State::Cannot, so.or(Some("its messages go by the time of a visit, and none is known")));
        }
        if !program.steps.iter().flat_map(|s| &s.channels).any(|c| self.channels.contains(c)) {
            found.add("no-channel", "none of its channels is set up here", Some("name another in [outreach] channels, or set [smtp]"));
            (state, so) = (State::Cannot, so.or(Some("nothing can be sent")));
        }
        self.look_at_charts(program, &mut found);
        if state == State::Works && !found.0.is_empty() {
            state = State::Degraded;
        }
        (state, so, found.0)
    }

    /// What charts will not show of a program.
    fn look_at_charts(&self, program: &Program, found: &mut Found) {
        let outlook = self.outlook;
        if !outlook.missing.is_empty() {
            let says = format!("without {} nothing can be written into charts", outlook.missing.join(" and "));
            found.add("write-back-setting", says, Some("name them in the write-back settings (`ehr add --write-back FILE`)"));
            return;
        }
        let case = |name: &str| outlook.shown.iter().find(|s| s.case == name);
        match (outlook.writes.sent, outlook.writes.daily_note) {
            (true, _) => {
                if let Some(shown) = case("delivered") {
                    tell_shown("what was sent", shown, found);
                }
            }
            (false, true) => found.add("write-back-less", "what was sent is told in a note a day, not message by message", None),
            (false, false) => found.add("write-back-none", "charts do not show what was sent", None),
        }
        let asks = program.steps.iter().any(|s| s.action == Action::Confirm);
        if asks && (!outlook.writes.answered || outlook.writes.only_answers_that_need_action) {
            found.add(
                "write-back-answers",
                "charts do not show that a patient confirmed: only answers that somebody must act on are written",
                None,
            );
        } else if asks && let Some(shown) = case("confirms") {
            tell_shown("an answer", shown, found);
        }
        for lost in outlook.found_again.iter().filter(|f| f.search.is_none()) {
            let says = format!("a {} whose answer is lost cannot be found again here: it waits for a person", lost.carrier.as_str());
            found.add("write-back-unclear", says, None);
        }
    }
}

fn not_read(kind: ResourceType, why: &str, remedy: &str) -> Reason {
    Reason { code: "type-not-read", says: format!("{kind} is not read: {why}"), remedy: Some(remedy.to_owned()), source: None }
}

/// What a chart will not show of one case.
fn tell_shown(what: &str, shown: &Shown, found: &mut Found) {
    match shown.carrier {
        None => {
            let why = shown.why_not.as_deref().unwrap_or("nothing here can carry it");
            found.add("write-back-none", format!("{what} cannot be written into charts: {why}"), None);
        }
        Some(Carrier::Export) => {
            let remedy = Some("take the files away regularly, or declare a route of the site's in the write-back settings");
            found.add("write-back-file", format!("{what} goes into files, not into charts"), remedy);
        }
        Some(Carrier::Ledger) => found.add("write-back-none", format!("{what} stays in the gateway's ledger"), None),
        Some(Carrier::DocumentReference) => {
            found.add("write-back-note", format!("{what} is told in charts as a note (DocumentReference), not as a Communication"), None);
        }
        Some(carrier) if !shown.losses.is_empty() => {
            let lost: Vec<&str> = shown.losses.iter().map(|l| l.element.as_str()).collect();
            let says = format!("charts do not show all of {what}: its {} is without {}", carrier.as_str(), lost.join(", "));
            found.add("write-back-loss", says, None);
        }
        Some(_) => {}
    }
}
