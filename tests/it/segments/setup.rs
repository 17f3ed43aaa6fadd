//! Persons of whom an age is known, definitions, and the stage run by hand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use domain::clock::ManualClock;
use domain::model::ResourceType;
use domain::rules::{Definition, Membership, Site, Truth};
use domain::{Clock as _, Timestamp};
use fhir_engage::segments::change::{self, Applied};
use fhir_engage::segments::task::{self, Report};
use fhir_engage::segments::{Definitions, Library};
use fhir_engage::store::definitions::{self, Rollout};
use fhir_engage::store::leases::{self, Fence, Term};
use fhir_engage::store::memberships::{self, State};
use fhir_engage::store::sync_state::{self, Counts, End};
use fhir_engage::store::{Store, StoreError, ehrs, people};

use crate::store::fixtures::{commit, ehr, incoming, read, write};
use crate::support::Database;

/// 2026-11-23T15:00:00Z.
pub const NOW: Timestamp = Timestamp::from_micros(1_795_446_000_000_000);

pub struct World {
    pub store: Store,
    pub clock: ManualClock,
    pub site: Site,
    pub fence: Fence,
}

impl World {
    /// Patient and Appointment are synced; CarePlan is not.
    pub fn new(db: &Database) -> Self {
        let store = db.store();
        write(&store, |c| ehrs::put(c, &ehr(), "{}", NOW));
        for kind in [ResourceType::Patient, ResourceType::Appointment] {
            write(&store, |c| {
                let run = sync_state::begin(c, &ehr(), kind, "cursor", "f", NOW)?;
                sync_state::advance(c, &ehr(), kind, run, Counts::default(), None)?;
                sync_state::end(c, &ehr(), kind, run, &End::Done { high_water: Some(NOW), as_of: Some(NOW) }, NOW)
            });
        }
        let fence = take_lease(&store);
        Self { store, clock: ManualClock::at(NOW), site: Site::new(chrono_tz::America::New_York, "en"), fence }
    }

    /// Patients `p0`, `p1`, ... of these ages.
    pub fn born(&self, first: usize, ages: &[i32]) {
        let page = ages.iter().enumerate().map(|(at, age)| {
            let id = format!("p{:05}", first + at);
            let facts = format!(r#"{{"birth_date":"{}-01-01"}}"#, 2026 - age);
            incoming(&self.store, ResourceType::Patient, &id, &format!("{id} {age}"), &facts, &[&id])
        });
        let page: Vec<_> = page.collect();
        commit(&self.store, ResourceType::Patient, page);
    }

    pub fn person(&self, id: &str) -> i64 {
        read(&self.store, |c| people::record(c, "north", id)).unwrap().person
    }

    /// Segments with these rules, as the only ones: at once where there were none yet.
    pub fn wants(&self, rules: &[(&str, &str)]) -> Applied {
        let library = library(rules);
        let now = self.clock.now();
        write(&self.store, |c| {
            if definitions::is_empty(c)? {
                Definitions::open(c, &library, now)?;
                return Ok(Applied::Nothing);
            }
            change::apply(c, &library, now)
        })
    }

    pub fn runs(&self) -> Report {
        self.runs_until(|_| false).unwrap()
    }

    /// Runs the stage until it has nothing to do, or until `enough` says so of the number of persons done.
    pub fn runs_until(&self, enough: impl Fn(u64) -> bool + Sync) -> Result<Report, StoreError> {
        let stop = AtomicBool::new(false);
        let term = Term(TimeDelta::seconds(60));
        let stage = task::Stage { store: &self.store, site: &self.site, clock: &self.clock, fence: &self.fence, term };
        task::run(&stage, &stop, &|n| {
            if enough(n) {
                stop.store(true, Ordering::Relaxed);
            }
        })
    }

    pub fn size(&self, id: &str) -> (i64, i64) {
        let all = read(&self.store, memberships::sizes);
        all.iter().find(|s| s.0 == id).map_or((0, 0), |s| (s.1, s.2))
    }

    pub fn rollout(&self) -> Rollout {
        read(&self.store, definitions::rollouts).remove(0)
    }

    /// What is stored is what evaluating everyone anew would give; each person's events are a chain that ends there; and nothing is left
    /// of versions that are not in force.
    pub fn is_in_order(&self) {
        let now = self.clock.now();
        let definitions = read(&self.store, Definitions::load);
        assert_eq!(definitions.staging(), None);
        let numbers: Vec<i64> = definitions.rows().iter().map(|r| r.number).collect();
        let names = read(&self.store, definitions::numbers);
        let mut after = i64::MIN;
        let mut unknown: BTreeMap<String, i64> = BTreeMap::new();
        loop {
            let (persons, _) = read(&self.store, |c| fhir_engage::store::steps::take(c, now, after, 1_000));
            let Some(last) = persons.last() else { break };
            after = *last;
            let facts = read(&self.store, |c| people::facts(c, &persons));
            let stored = read(&self.store, |c| memberships::assignments(c, &persons));
            for person in &persons {
                let answers = definitions.rules().evaluate(&facts[person].facts, &self.site, now);
                let stored = &stored[person];
                assert!(stored.memberships.keys().all(|n| numbers.contains(n)), "left over: {:?}", stored.memberships);
                let events = read(&self.store, |c| memberships::events(c, *person));
                assert_eq!(events.iter().map(|e| e.number).collect::<Vec<_>>(), (1..=stored.events).collect::<Vec<_>>());
                let mut told: BTreeMap<&str, Option<String>> = BTreeMap::new();
                for event in &events {
                    let (id, _) = names.iter().find(|(_, all)| all.contains(&event.segment)).unwrap();
                    let before = told.insert(id, event.after.clone()).flatten();
                    assert_eq!(before, event.before, "the chain of {id}: {events:?}");
                }
                for answer in &answers {
                    let row = definitions.row(answer.segment).unwrap();
                    let is_unknown = answer.truth == Truth::Unknown;
                    assert_eq!(stored.unknown.contains(usize::try_from(row.number).unwrap()), is_unknown, "{} of person {person}", row.id);
                    *unknown.entry(row.id.clone()).or_default() += i64::from(is_unknown);
                    let wanted = match answer.membership {
                        Membership::In => Some(State::In),
                        Membership::Held => Some(State::Held),
                        Membership::Out => None,
                    };
                    let kept = stored.memberships.get(&row.number);
                    assert_eq!(kept.map(|m| m.state), wanted, "{} of person {person}", row.id);
                    let last = told.get(row.id.as_str()).cloned().flatten();
                    assert_eq!(last.as_deref(), wanted.map(State::as_str), "history of {} of person {person}", row.id);
                    assert!(kept.is_none_or(|m| m.since <= now), "{kept:?}");
                    assert!(kept.is_none_or(|m| m.state == State::Held || m.entry > 0), "{kept:?}");
                }
            }
        }
        for size in read(&self.store, memberships::counted) {
            assert_eq!(size.unknown, unknown.get(&size.id).copied().unwrap_or(0), "{size:?}");
        }
    }
}

pub fn take_lease(store: &Store) -> Fence {
    write(store, |c| leases::acquire(c, task::LEASE, "worker", NOW, Term(TimeDelta::seconds(60)), |_| true)).unwrap()
}

pub fn definition(id: &str, rule: &str) -> Definition {
    let (unknown, rule) = rule.strip_prefix("held: ").map_or(("out", rule), |rule| ("held", rule));
    let file = format!("id = '{id}'\ntitle = 't'\nstage = 'retention'\ndescription = 'd'\nunknown = '{unknown}'\nrule = '''{rule}'''");
    Definition::parse(&file).unwrap()
}

pub fn library(rules: &[(&str, &str)]) -> Library {
    Library::of(&rules.iter().map(|(id, rule)| definition(id, rule)).collect::<Vec<_>>(), []).unwrap()
}
