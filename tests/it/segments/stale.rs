//! What is known too long ago is told where it is read, and wakes nobody.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use domain::Clock as _;
use domain::model::ResourceType::{Appointment, CarePlan, Encounter, Patient};
use fhir_engage::segments::Definitions;
use fhir_engage::segments::explain::explain;
use fhir_engage::store::freshness::Freshness;
use fhir_engage::store::sync_state::{self, Counts, End};
use fhir_engage::store::{pending, people};

use super::setup::{NOW, World};
use crate::store::fixtures::{ehr, read, write};
use crate::support::on_both;

fn synced(w: &World, kind: domain::model::ResourceType) {
    let now = w.clock.now();
    write(&w.store, |c| {
        let run = sync_state::begin(c, &ehr(), kind, "cursor", "f", now)?;
        sync_state::advance(c, &ehr(), kind, run, Counts::default(), None)?;
        sync_state::end(c, &ehr(), kind, run, &End::Done { high_water: Some(now), as_of: Some(now) }, now)
    });
}

on_both! {
    fn what_is_stale_is_a_fact_of_an_ehr_and_a_type(db) {
        let w = World::new(&db);
        w.born(0, &[70, 30]);
        w.wants(&[("seniors", "age >= 65"), ("booked", "exists next_appointment.start"), ("both", "segment(seniors) and segment(booked)")]);
        w.runs();
        let max_age = TimeDelta::hours(24);
        let told = |w: &World, id: &str| -> Vec<(String, String)> {
            let now = w.clock.now();
            let fresh = read(&w.store, |c| Freshness::read(c, max_age, now));
            let definitions = read(&w.store, Definitions::load);
            let found = read(&w.store, |c| explain(c, &definitions, &w.site, ("north", "p00000"), Some(id), (&fresh, now))).unwrap();
            let place = definitions.rules().place(id).unwrap();
            let of_segment = fresh.stale(i64::from(definitions.rules().reads(place).unwrap().mask()));
            assert_eq!(found.segments[0].stale, of_segment, "one EHR: what is stale for the segment is for the person");
            found.segments[0].stale.iter().map(|s| (s.ehr.clone(), s.rtype.to_string())).collect()
        };
        let stale = |kinds: &[&str]| kinds.iter().map(|k| ("north".to_owned(), (*k).to_owned())).collect::<Vec<_>>();
        assert_eq!(told(&w, "both"), []);
        w.clock.advance(TimeDelta::hours(25));
        synced(&w, Appointment);
        assert_eq!((told(&w, "seniors"), told(&w, "booked"), told(&w, "both")), (stale(&["Patient"]), vec![], stale(&["Patient"])));
        w.clock.advance(TimeDelta::hours(25));
        assert_eq!(told(&w, "both"), stale(&["Patient", "Appointment"]));
        assert_eq!(read(&w.store, pending::counts).0, 0, "nobody is evaluated anew because something grew old");
        assert_eq!(w.runs().persons, 0);
        synced(&w, Patient);
        assert_eq!((told(&w, "both"), w.runs().persons), (stale(&["Appointment"]), 0));
    }

    fn a_message_is_judged_by_the_types_that_its_segment_reads(db) {
        let w = World::new(&db);
        w.born(0, &[70]);
        synced(&w, CarePlan);
        synced(&w, Encounter);
        let person = w.person("p00000");
        let known = |w: &World| read(&w.store, |c| people::facts(c, &[person])).remove(&person).unwrap();
        w.clock.advance(TimeDelta::hours(30));
        for kind in [Patient, Appointment, CarePlan] {
            synced(&w, kind);
        }
        let (now, encounter) = (w.clock.now(), i64::from(Encounter.bit()));
        assert_eq!(known(&w).as_of, Some(now));
        assert_eq!(known(&w).as_of_types(i64::from(Patient.bit())), Some(now));
        assert_eq!(known(&w).as_of_types(encounter), Some(NOW), "as old as what it hangs on");
        // A type that was never synced is not known, which is not old.
        let condition = i64::from(domain::model::ResourceType::Condition.bit());
        assert_eq!(known(&w).as_of_types(condition), Some(now));
        synced(&w, Encounter);
        assert_eq!(known(&w).as_of_types(encounter), Some(now));
        let kinds: BTreeSet<_> = known(&w).up_to.keys().copied().collect();
        assert_eq!(kinds, BTreeSet::from([Patient, Appointment, CarePlan, Encounter]));
    }
}
