//! The dry run of definitions: who would enter, who would leave, with examples and their reasons, and how many would be in, out and
//! unknown. Reads only; nothing is written, and nobody is held up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use domain::model::own::OwnFacts;
use domain::model::person::{Origin, Sourced};
use domain::model::{EhrId, Phi, ResourceType};
use domain::rules::{Answer, Membership, OwnAttribute, Site, Truth};
use domain::{Clock, model::PersonFacts};
use serde::Serialize;

use super::change::{How, differences};
use super::definitions::Definitions;
use super::library::Library;
use crate::store::definitions::Kind;
use crate::store::memberships::{self, Assignment, State};
use crate::store::{Conn, Store, StoreError, own, people, steps};

/// Persons of one chunk.
const CHUNK: i64 = 1_000;

/// What definitions would change.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// Each segment that differs, or all that were asked for.
    pub segments: Vec<Planned>,
    /// Value sets that differ, with how.
    pub value_sets: BTreeMap<String, How>,
    /// Attributes that differ, with how.
    pub attributes: BTreeMap<String, How>,
    /// Persons evaluated.
    pub persons: u64,
    /// Persons left out, since an EHR of theirs is known by half now.
    pub left_out: u64,
}

/// What would become of one segment.
#[derive(Clone, Debug, Serialize)]
pub struct Planned {
    /// Its id.
    pub id: String,
    /// Its name for people; empty where it ends.
    pub title: String,
    /// How it differs; absent where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<How>,
    /// What unknown counts as.
    pub unknown_counts_as: &'static str,
    /// Members now.
    pub members_now: u64,
    /// Persons whose rule would hold.
    pub holds: u64,
    /// Persons whose rule would not hold.
    pub does_not_hold: u64,
    /// Persons of whom it would not be known.
    pub unknown: u64,
    /// Who would become a member.
    pub entering: u64,
    /// Who would be a member no more.
    pub leaving: u64,
    /// Some of those who would enter.
    pub examples_entering: Vec<Example>,
    /// Some of those who would leave.
    pub examples_leaving: Vec<Example>,
}

/// A person as an example.
#[derive(Clone, Debug, Serialize)]
pub struct Example {
    /// A record of the person.
    pub patient: Phi<String>,
    /// The tests that decide, in words.
    pub because: Vec<Phi<String>>,
}

/// What a plan is made of.
pub struct Dry<'a> {
    /// The store.
    pub store: &'a Store,
    /// The site.
    pub site: &'a Site,
    /// Time.
    pub clock: &'a dyn Clock,
    /// The definitions in force.
    pub live: &'a Definitions,
    /// The definitions that are wanted.
    pub wanted: &'a Library,
    /// Look at segments that do not differ too.
    pub all: bool,
    /// At most so many examples each.
    pub examples: usize,
}

/// Works a plan out. Blocks; `progress` is told how many persons were evaluated.
///
/// # Errors
/// The engine's refusal.
pub fn plan(dry: &Dry<'_>, stop: &AtomicBool, progress: &dyn Fn(u64)) -> Result<Plan, StoreError> {
    let differences = differences(dry.live, dry.wanted);
    let how = |kind: Kind, id: &str| differences.iter().find(|d| d.kind == kind && d.id == id).map(|d| d.how);
    let rules = dry.wanted.rules();
    let mut plan = Plan::default();
    let mut places = Vec::new();
    for (place, segment) in rules.segments().iter().enumerate() {
        let definition = segment.definition();
        let change = how(Kind::Segment, &definition.id);
        if change.is_some() || dry.all {
            places.push(place);
            plan.segments.push(Planned::of(&definition.id, &definition.title, change, definition.unknown.as_str()));
        }
    }
    let of_kind = |kind: Kind| differences.iter().filter(|d| d.kind == kind).map(|d| (d.id.clone(), d.how)).collect();
    (plan.value_sets, plan.attributes) = (of_kind(Kind::ValueSet), of_kind(Kind::Attribute));
    let ends: Vec<&str> = differences.iter().filter(|d| d.kind == Kind::Segment && d.how == How::Ends).map(|d| d.id.as_str()).collect();
    plan.segments.extend(ends.iter().map(|id| Planned::of(id, "", Some(How::Ends), "out")));
    if plan.segments.is_empty() {
        return Ok(plan);
    }
    let mut after = i64::MIN;
    while !stop.load(Ordering::Relaxed) {
        let last = dry.store.snapshot_blocking(|conn| chunk(conn, dry, &places, after, &mut plan))?;
        match last {
            Some(last) => after = last,
            None => break,
        }
        progress(plan.persons);
    }
    Ok(plan)
}

fn chunk(conn: &mut Conn, dry: &Dry<'_>, places: &[usize], after: i64, plan: &mut Plan) -> Result<Option<i64>, StoreError> {
    let now = dry.clock.now();
    let (persons, left) = steps::take(conn, now, after, CHUNK)?;
    let judged: Vec<i64> = persons.iter().copied().filter(|p| !left.contains(p)).collect();
    let mut facts = people::facts(conn, &judged)?;
    read_on_trial(conn, dry, &judged, &mut facts)?;
    let stored = memberships::assignments(conn, &judged)?;
    let empty = Assignment::default();
    plan.left_out += u64::try_from(left.len()).unwrap_or(0);
    for person in &judged {
        let Some(known) = facts.get(person).filter(|known| known.has_record) else { continue };
        let stored = stored.get(person).unwrap_or(&empty);
        let answers = dry.wanted.rules().evaluate_only(places, &known.facts, dry.site, now);
        plan.persons += 1;
        for (place, planned) in plan.segments.iter_mut().enumerate() {
            let now_in =
                dry.live.by_id(&planned.id).and_then(|row| stored.memberships.get(&row.number)).is_some_and(|m| m.state == State::In);
            planned.count(answers.get(place), now_in);
            let would = answers.get(place).is_some_and(|a| a.membership == Membership::In);
            let examples = match (now_in, would) {
                (false, true) => &mut planned.examples_entering,
                (true, false) => &mut planned.examples_leaving,
                _ => continue,
            };
            if examples.len() < dry.examples
                && let Some(example) = example(conn, dry, *person, &known.facts, answers.get(place))?
            {
                examples.push(example);
            }
        }
    }
    Ok(persons.last().copied())
}

/// Reads the wanted attributes that are not in force out of the bodies of these persons; nothing is kept of it.
fn read_on_trial(conn: &mut Conn, dry: &Dry<'_>, persons: &[i64], facts: &mut BTreeMap<i64, people::Known>) -> Result<(), StoreError> {
    let live: Vec<&str> = dry.live.library().own().iter().map(OwnAttribute::key).collect();
    let new: Vec<&OwnAttribute> = dry.wanted.own().iter().filter(|a| !live.contains(&a.key())).collect();
    let kinds: BTreeSet<ResourceType> = new.iter().map(|a| a.resource_type()).collect();
    for kind in kinds {
        for found in own::of_persons(conn, kind, persons)? {
            let Some(known) = facts.get_mut(&found.person) else { continue };
            let bytes = found.bytes(dry.store.codec())?;
            let ehr = EhrId::parse(&found.ehr).map_err(|_| StoreError::Damaged("an EHR's name"))?;
            let origin = Origin { ehr, resource_type: kind, id: found.fhir_id, version: None };
            let is_same = |o: &Origin| o.ehr == origin.ehr && o.resource_type == kind && o.id == origin.id;
            let read = new.iter().filter(|a| a.resource_type() == kind).map(|a| (a.key().to_owned(), a.read(&bytes)));
            match known.facts.own.iter_mut().find(|o| is_same(&o.origin)) {
                Some(own) => own.facts.0.extend(read),
                None => {
                    let version = known.facts.patients.iter().find(|p| is_same(&p.origin)).and_then(|p| p.origin.version.clone());
                    known.facts.own.push(Sourced { origin: Origin { version, ..origin }, facts: OwnFacts(read.collect()) });
                }
            }
        }
    }
    Ok(())
}

fn example(
    conn: &mut Conn,
    dry: &Dry<'_>,
    person: i64,
    facts: &PersonFacts,
    answer: Option<&Answer>,
) -> Result<Option<Example>, StoreError> {
    let Some(record) = people::records(conn, person)?.into_iter().next() else { return Ok(None) };
    let reasons = answer.map(|a| dry.wanted.rules().reasons(a, facts, dry.site, dry.clock.now())).unwrap_or_default();
    let because = reasons.into_iter().map(|r| r.sentence).collect();
    Ok(Some(Example { patient: Phi::new(format!("{}/{}", record.ehr, record.fhir_id)), because }))
}

impl Planned {
    fn of(id: &str, title: &str, change: Option<How>, unknown_counts_as: &'static str) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            change,
            unknown_counts_as,
            members_now: 0,
            holds: 0,
            does_not_hold: 0,
            unknown: 0,
            entering: 0,
            leaving: 0,
            examples_entering: Vec::new(),
            examples_leaving: Vec::new(),
        }
    }

    fn count(&mut self, answer: Option<&Answer>, now_in: bool) {
        let would = answer.is_some_and(|a| a.membership == Membership::In);
        self.members_now += u64::from(now_in);
        self.entering += u64::from(would && !now_in);
        self.leaving += u64::from(now_in && !would);
        match answer.map(|a| a.truth) {
            Some(Truth::True) => self.holds += 1,
            Some(Truth::False) => self.does_not_hold += 1,
            Some(Truth::Unknown) => self.unknown += 1,
            None => {}
        }
    }
}
