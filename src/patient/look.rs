//! Reading a patient's page from the store, in one snapshot. Nothing is asked of an EHR: the page says how old each part is.

use domain::Timestamp;
use domain::fhir;
use domain::model::person::{Origin, Sourced};
use domain::model::{AppointmentFacts, CarePlanFacts, EhrId, PersonFacts, Phi, ResourceType};
use domain::rules::{Site, next_visit};

use super::page::{self, Age, Page, Reading, Standing};
use super::{Reach, Subject, journey, words};
use crate::outreach::by_hand::Preview;
use crate::outreach::channel::ChannelKind;
use crate::outreach::program::Library;
use crate::outreach::{gate, named};
use crate::segments::Definitions;
use crate::store::codec::Codec;
use crate::store::memberships::{self, State};
use crate::store::people::{self, Record};
use crate::store::preferences::{self, Preference};
use crate::store::{Conn, StoreError, attempts, coverage, patient_reads, resources, sync_state};

/// What reading needs beside the store.
#[derive(Clone, Copy)]
pub struct Eyes<'a> {
    /// For bodies.
    pub codec: &'a Codec,
    /// The segments in force.
    pub definitions: &'a Definitions,
    /// The site as rules see it.
    pub site: &'a Site,
    /// Programs and templates in force.
    pub library: &'a Library,
}

/// The page, and the record that acts are about where there is one. To be called in a snapshot.
///
/// # Errors
/// The engine's refusal, or stored data that cannot be read.
pub fn look(conn: &mut Conn, eyes: &Eyes<'_>, subject: &Subject, now: Timestamp) -> Result<Page, StoreError> {
    let (ehr, id) = (subject.ehr.as_str(), subject.id.expose().as_str());
    let asked = patient_reads::of(conn, ehr, id)?;
    let reading = asked.as_ref().map_or(Reading::None, reading);
    let Some(record) = people::record(conn, ehr, id)? else { return Ok(Page { reading, ..Page::default() }) };
    let seen = Seen::of(conn, subject, &record)?;
    let Some(known) = seen.known(conn, &record)? else { return Ok(Page { reading, ..Page::default() }) };
    let facts = known.facts;
    let who = who(conn, eyes, subject, &facts)?;
    let standing = match record.state.as_str() {
        "merged" => Standing::Merged,
        "gone" => Standing::Gone,
        _ if who.is_none() => Standing::NotRead,
        _ => Standing::Known,
    };
    let mut made = attempts::of_person(conn, record.person)?;
    made.retain(|a| seen.outreach(a.patient));
    let (mut steps, mut next) = journey::of(conn, eyes.codec, (eyes.library, eyes.site.zone), made)?;
    let reasons = steps.iter_mut().map(|s| &mut s.why).chain(next.iter_mut().map(|n| &mut n.why));
    reasons.flatten().for_each(|reason| reason.sources.retain(|source| seen.source(source)));
    let mut said = preferences::of(conn, record.person)?;
    // That somebody had to do with a program tells what for: unlike that they want no messages, it is of the record that it was said by.
    said.retain(|p| p.scope != "program" || seen.home(p.person));
    Ok(Page {
        standing,
        ages: ages(conn, &record, reading)?,
        reading,
        visit: match next_visit(&facts, now) {
            Some(next) => Some(visit(conn, eyes, next)?),
            None => None,
        },
        plans: facts.care_plans.iter().filter(|p| p.facts.status == "active").map(|p| plan(conn, eyes, p)).collect::<Result<_, _>>()?,
        segments: segments(conn, eyes, (&record, seen.records.is_some()), (&facts, false), now)?,
        is_part: subject.reach != Reach::Person,
        journey: steps,
        next,
        choices: choices(&said, &facts, eyes.library),
        programs: eyes.library.programs.iter().map(|p| (p.id.clone(), p.title.clone())).collect(),
        channels: channels(eyes.library),
        points: points(conn, subject, &facts)?,
        languages: patient(subject, &facts).map(|p| p.facts.languages.iter().map(|l| l.tag.clone()).collect()).unwrap_or_default(),
        consents: facts.supporting.consents.iter().map(consent).collect(),
        barriers: barriers(&facts),
        templates: eyes.library.templates.iter().map(|t| (t.id.clone(), words::asked(t.action.as_str()).to_owned())).collect(),
        who,
    })
}

/// What of a person is shown, by the reach of what was opened.
pub struct Seen {
    ehr: String,
    id: Phi<String>,
    /// The records whose facts are shown; `None` for all.
    records: Option<Vec<i64>>,
    /// Whether what was sent by other records is shown.
    outreach: bool,
    homes: Vec<i64>,
}

impl Seen {
    /// That of a record. To be called in the snapshot, or the transaction, that uses it.
    ///
    /// # Errors
    /// The engine's refusal.
    pub fn of(conn: &mut Conn, subject: &Subject, record: &Record) -> Result<Self, StoreError> {
        let all = if subject.reach == Reach::Person { Vec::new() } else { people::records(conn, record.person)? };
        let chart = if all.len() > 1 { people::one_chart(conn, record)? } else { Vec::new() };
        let homes = all.iter().filter(|r| chart.contains(&r.pk)).map(Record::home).collect();
        let records = (all.len() > 1 && chart.len() < all.len()).then_some(chart);
        let outreach = subject.reach != Reach::Record;
        Ok(Self { ehr: subject.ehr.clone(), id: subject.id.clone(), records, outreach, homes })
    }

    /// What is known of the record's person, as far as it is shown.
    fn known(&self, conn: &mut Conn, record: &Record) -> Result<Option<people::Known>, StoreError> {
        match &self.records {
            None => Ok(people::facts(conn, &[record.person])?.remove(&record.person)),
            Some(only) => people::facts_of_records(conn, record.person, only),
        }
    }

    /// A preview, with what may be told of it.
    #[must_use]
    pub fn of_preview(&self, mut preview: Preview) -> Preview {
        for reason in &mut preview.reasons {
            reason.source = reason.source.take().filter(|source| self.source(source));
        }
        preview
    }

    /// Whether what was sent, or is planned, by a record is shown.
    pub(super) fn outreach(&self, record: i64) -> bool {
        self.outreach || self.records.as_ref().is_none_or(|only| only.contains(&record))
    }

    fn home(&self, home: i64) -> bool {
        self.outreach || self.records.is_none() || self.homes.contains(&home)
    }

    /// Whether it is told where a reason was read (`north Patient/7 version 3, Patient.active`): not at another EHR, nor in another record.
    pub(super) fn source(&self, source: &Phi<String>) -> bool {
        if self.records.is_none() {
            return true;
        }
        let Some(read) = source.expose().strip_prefix(self.ehr.as_str()).and_then(|rest| rest.strip_prefix(' ')) else { return false };
        let reference = read.split([' ', ',']).next().unwrap_or_default();
        reference.strip_prefix("Patient/").is_none_or(|id| id == self.id.expose())
    }
}

/// The channels that messages leave by, where there are any; else the recorded one.
fn channels(library: &Library) -> Vec<(String, String)> {
    let kinds = library.by_hand.steps.first().map_or(&[][..], |s| s.channels.as_slice());
    kinds.iter().map(|k: &ChannelKind| (k.as_str().to_owned(), words::channel(k.as_str()).to_owned())).collect()
}

fn reading(asked: &patient_reads::Request) -> Reading {
    let at = asked.answered_at.map(Timestamp::from_micros);
    match (asked.outcome.as_deref(), at) {
        (Some("read"), Some(at)) => Reading::Done(at),
        (Some("gone"), Some(at)) => Reading::Gone(at),
        (_, Some(at)) => Reading::Failed(at),
        (_, None) => Reading::UnderWay,
    }
}

/// The patient of the record that was opened; else the first.
fn patient<'a>(subject: &Subject, facts: &'a PersonFacts) -> Option<&'a Sourced<domain::model::PatientFacts>> {
    let this = |o: &Origin| o.ehr.as_str() == subject.ehr && o.id == *subject.id.expose();
    facts.patients.iter().find(|p| this(&p.origin)).or_else(|| facts.patients.first())
}

fn body(conn: &mut Conn, codec: &Codec, origin: &Origin) -> Result<Option<Vec<u8>>, StoreError> {
    let stored = resources::get(conn, &origin.ehr, origin.resource_type, &origin.id)?;
    stored.map(|s| s.body(codec)).transpose()
}

/// Where something was read, for people.
fn source(origin: &Origin) -> Phi<String> {
    let version = origin.version.as_ref().map_or_else(String::new, |v| format!(", version {v}"));
    Phi::new(format!("{} in {}{version}", origin.reference(), origin.ehr))
}

fn who(conn: &mut Conn, eyes: &Eyes<'_>, subject: &Subject, facts: &PersonFacts) -> Result<Option<page::Who>, StoreError> {
    let Some(patient) = patient(subject, facts) else { return Ok(None) };
    let f = &patient.facts;
    let parts = [&f.name.given, &f.name.family].into_iter().flatten().map(|p| p.expose().as_str());
    let name = parts.collect::<Vec<_>>().join(" ");
    let stored = body(conn, eyes.codec, &patient.origin)?;
    Ok(Some(page::Who {
        name: Phi::new(if name.trim().is_empty() { "No name known".to_owned() } else { name }),
        born: f.birth_date.map(Phi::new),
        number: stored.and_then(|b| fhir::record_number(&b).ok().flatten()),
        gender: f.gender.clone(),
        deceased: f.deceased,
        interpreter: f.interpreter_needed == Some(true),
    }))
}

fn ages(conn: &mut Conn, record: &Record, reading: Reading) -> Result<Vec<Age>, StoreError> {
    let Ok(ehr) = EhrId::parse(&record.ehr) else { return Ok(Vec::new()) };
    let read = if let Reading::Done(at) = reading { Some(at) } else { None };
    let parts = [(ResourceType::Patient, "Person"), (ResourceType::Appointment, "Visits"), (ResourceType::CarePlan, "Care plans")];
    parts
        .into_iter()
        .map(|(kind, title)| {
            let synced = sync_state::get(conn, &ehr, kind)?.and_then(|s| s.as_of);
            let known = match coverage::hole(conn, &ehr, kind, &record.fhir_id)? {
                Some(known_up_to) => known_up_to,
                None => synced,
            };
            Ok(Age { part: kind.as_str(), title, at: known.map(Timestamp::from_micros).max(read) })
        })
        .collect()
}

fn visit(conn: &mut Conn, eyes: &Eyes<'_>, found: &Sourced<AppointmentFacts>) -> Result<page::Visit, StoreError> {
    let named = named::of(conn, eyes.codec, found)?;
    let title = body(conn, eyes.codec, &found.origin)?.and_then(|b| fhir::caption(&b).ok().flatten());
    let confirmed = match found.facts.patient_status.as_deref() {
        _ if matches!(found.facts.status.as_str(), "arrived" | "checked-in") => Some(true),
        Some("accepted") => Some(true),
        Some("declined" | "tentative" | "needs-action") => Some(false),
        _ => None,
    };
    Ok(page::Visit {
        start: found.facts.start.unwrap_or_default(),
        title,
        status: words::visit_status(&found.facts.status).to_owned(),
        confirmed,
        with: named.with,
        place: named.place,
        source: source(&found.origin),
    })
}

fn plan(conn: &mut Conn, eyes: &Eyes<'_>, found: &Sourced<CarePlanFacts>) -> Result<page::Plan, StoreError> {
    let over = |status: Option<&str>| matches!(status, Some("completed" | "cancelled" | "stopped" | "entered-in-error"));
    Ok(page::Plan {
        title: body(conn, eyes.codec, &found.origin)?.and_then(|b| fhir::caption(&b).ok().flatten()),
        until: found.facts.period.end,
        open: found.facts.activities.iter().filter(|a| !over(a.status.as_deref())).count(),
        source: source(&found.origin),
    })
}

/// Every segment in force with what decides, also those that the patient is not in. `None` where there is no such patient. To be called in a snapshot.
///
/// # Errors
/// As [`look`].
pub fn every_segment(
    conn: &mut Conn,
    eyes: &Eyes<'_>,
    subject: &Subject,
    now: Timestamp,
) -> Result<Option<Vec<page::Segment>>, StoreError> {
    let Some(record) = people::record(conn, &subject.ehr, subject.id.expose())? else { return Ok(None) };
    let seen = Seen::of(conn, subject, &record)?;
    let Some(known) = seen.known(conn, &record)? else { return Ok(None) };
    segments(conn, eyes, (&record, seen.records.is_some()), (&known.facts, true), now).map(Some)
}

/// The segments that the patient is in or held out of; with `all` those too that the patient is not in.
fn segments(
    conn: &mut Conn,
    eyes: &Eyes<'_>,
    (record, is_part): (&Record, bool),
    (facts, all_of_them): (&PersonFacts, bool),
    now: Timestamp,
) -> Result<Vec<page::Segment>, StoreError> {
    let stored = memberships::assignments(conn, &[record.person])?.remove(&record.person);
    // Who was not judged yet is in nothing, and out of nothing.
    let Some(stored) = stored else { return Ok(Vec::new()) };
    let rules = eyes.definitions.rules();
    let mut all = Vec::new();
    for (place, segment) in rules.segments().iter().enumerate() {
        let Some(row) = eyes.definitions.row(place) else { continue };
        let membership = stored.memberships.get(&row.number);
        if membership.is_none() && !all_of_them {
            continue;
        }
        let explained = rules.explain(place, facts, eyes.site, now);
        // What only the records together say would tell of those that are not shown.
        let kept = membership.map_or("out", |m| m.state.as_str());
        if is_part && explained.as_ref().is_none_or(|e| e.answer.membership.as_str() != kept) {
            continue;
        }
        // That somebody lives decides in every segment, and tells nobody why.
        let deciding = explained
            .iter()
            .flat_map(|e| e.reasons.iter().filter(|r| r.decides && !matches!(r.test.as_str(), "deceased" | "not deceased")));
        all.push(page::Segment {
            title: segment.definition().title.clone(),
            is_in: membership.is_some_and(|m| m.state == State::In),
            since: membership.map(|m| m.since),
            clinical: segment.reads().types.iter().any(|t| is_clinical(*t)),
            reasons: deciding.map(|r| words::reason(r, eyes.site.zone)).collect(),
        });
    }
    Ok(all)
}

/// Whether a type tells of somebody's health.
const fn is_clinical(kind: ResourceType) -> bool {
    !matches!(kind, ResourceType::Patient | ResourceType::Appointment | ResourceType::Coverage | ResourceType::Consent)
}

/// The last entry of each scope, by whom it was said.
fn choices(said: &[Preference], facts: &PersonFacts, library: &Library) -> Vec<page::Choice> {
    let keys = gate::keys(facts);
    let point = |value: &str| keys.iter().find(|k| preferences::point_name(&k.hash()) == value).map(|k| k.value().clone());
    let same = |a: &Preference, b: &Preference| (a.person, &a.scope, &a.value) == (b.person, &b.scope, &b.value);
    let in_force = said.iter().enumerate().filter(|(n, p)| !said.iter().skip(n + 1).any(|later| same(later, p))).map(|(_, p)| p);
    let mut all: Vec<page::Choice> = in_force
        .map(|p| {
            let (about, scope) = match p.scope.as_str() {
                "all" => (Phi::new("All messages".to_owned()), Some(("all", String::new()))),
                "channel" => (Phi::new(format!("Messages by {}", words::channel(&p.value))), Some(("channel", p.value.clone()))),
                "program" => {
                    let title = library.program(&p.value).map_or(p.value.as_str(), |program| program.title.as_str());
                    (Phi::new(format!("“{title}”")), Some(("program", p.value.clone())))
                }
                _ => (point(&p.value).unwrap_or_else(|| Phi::new("One contact point".to_owned())), None),
            };
            page::Choice { about, allowed: p.allowed, source: words::said_by(&p.source), at: Timestamp::from_micros(p.recorded_at), scope }
        })
        .collect();
    // Each record of a person says the same where a choice was made for the person.
    all.dedup_by(|a, b| (a.about.expose(), a.allowed, a.at) == (b.about.expose(), b.allowed, b.at));
    all
}

fn points(conn: &mut Conn, subject: &Subject, facts: &PersonFacts) -> Result<Vec<page::Point>, StoreError> {
    let Some(patient) = patient(subject, facts) else { return Ok(Vec::new()) };
    let key = |p: &domain::model::facts::ContactPoint| match p.system.as_str() {
        "email" => gate::PointKey::email(p.value.expose()),
        _ => gate::PointKey::phone(p.value.expose()),
    };
    let names: Vec<String> = patient.facts.telecom.iter().filter_map(key).map(|k| preferences::point_name(&k.hash())).collect();
    let said = preferences::of_points(conn, &names)?;
    let out =
        |p| key(p).is_some_and(|k| said.iter().rev().find(|s| s.value == preferences::point_name(&k.hash())).is_some_and(|s| !s.allowed));
    Ok(patient
        .facts
        .telecom
        .iter()
        .map(|p| page::Point { system: p.system.clone(), value: p.value.clone(), usage: p.usage.clone(), out: out(p) })
        .collect())
}

fn consent(found: &Sourced<domain::model::supporting::ConsentFacts>) -> page::Consent {
    let f = &found.facts;
    let rule = match f.provision.as_deref() {
        Some("permit") => "permits",
        Some("deny") => "denies",
        _ => "says nothing by a rule",
    };
    let about: Vec<&str> = f.scopes.iter().chain(&f.categories).map(|c| c.code.as_str()).collect();
    let given = f.given.map(|g| format!(", given {g}")).unwrap_or_default();
    let status = f.status.as_deref().unwrap_or("without a status");
    page::Consent { words: format!("{} ({status}): {rule}{given}", about.join(", ")), source: source(&found.origin) }
}

/// Each barrier once, with when it was named last.
fn barriers(facts: &PersonFacts) -> Vec<page::Barrier> {
    let mut all: Vec<page::Barrier> = Vec::new();
    for (code, at) in facts.contact.barriers.iter().rev() {
        let words = words::barrier(code);
        if !all.iter().any(|b| b.words == words) {
            all.push(page::Barrier { words, at: *at });
        }
    }
    all
}
