//! What is known too long ago is told where it is read, and wakes nobody.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use domain::Clock as _;
use domain::model::ResourceType::{Appointment, CarePlan, Encounter, Patient};
use fhir_engage::segments::Definitions;
use fhir_engage::segments::explain::explain;
use fhir_engage::store::freshness::Freshness;
use fhir_engage::store::sync_state::{self, Counts, End};
use fhir_engage::store::{attempts, pending, people};
use sandbox::{Fault, FaultKind};

use super::setup::{NOW, World};
use crate::journeys::Journey;
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

    async fn a_type_that_grows_old_holds_a_message_and_evaluates_nobody(db) {
        let j = Journey::begin(db).await;
        j.admit("ada");
        j.book("visit", "ada", TimeDelta::hours(71));
        j.goes_on(TimeDelta::minutes(1)).await;
        assert_eq!(j.in_state("ada", "planned").await, ["visit-confirm/day-before"]);
        let told = async || -> Vec<String> {
            let (max_age, now, site) = (j.app.config.outreach.max_staleness, j.clock.now(), j.app.site.clone());
            let read = move |c: &mut _| {
                let (fresh, definitions) = (Freshness::read(c, max_age, now)?, Definitions::load(c)?);
                explain(c, &definitions, &site, ("north", "ada"), Some("visit-unconfirmed"), (&fresh, now))
            };
            let found = j.app.store.snapshot(read).await.unwrap().unwrap().segments.remove(0);
            assert_eq!((found.now, found.stored), ("in", None));
            found.stale.iter().map(|s| format!("{}/{}", s.ehr, s.rtype)).collect()
        };
        // From here on the EHR gives no appointments any more; it gives all else.
        j.ehr.plant(Fault::new(FaultKind::RefuseType).on("GET", "/fhir/Appointment").times(10_000));
        j.tries_to(TimeDelta::hours(25)).await;
        let evaluated = "SELECT p.fhir_id || ' ' || a.evaluated_at AS line FROM assignment a JOIN patient p ON p.person = a.person";
        let before = j.lines(evaluated);
        assert_eq!((told().await, j.segments("ada").await.contains(&"visit-unconfirmed".to_owned())), (vec![], true));
        // Older than 26 hours: told where it is read, and nobody is evaluated because of it.
        let report = j.tries_to(TimeDelta::hours(2)).await;
        assert_eq!((report.segments.persons, report.segments.pairs, report.segments.early), (0, 0, 0), "{report:?}");
        assert_eq!((told().await, j.lines(evaluated)), (vec!["north/Appointment".to_owned()], before));
        // A message that comes due is held for that reason, which the verdict keeps.
        j.tries_to(TimeDelta::hours(20) + TimeDelta::minutes(10)).await;
        let attempt = j.attempts("ada").await.into_iter().find(|a| a.program == "visit-confirm" && a.step == "day-before").unwrap();
        assert_eq!(attempt.state, "held");
        let verdict = j.app.store.read(move |c| attempts::verdicts(c, &attempt.id)).await.unwrap().pop().unwrap();
        let reasons: serde_json::Value = serde_json::from_slice(&verdict.reasons).unwrap();
        assert_eq!(verdict.outcome, "hold");
        assert!(reasons.as_array().unwrap().iter().any(|r| r["code"] == "stale-facts"), "{reasons}");
        let sent = j.in_chart("ada");
        // The EHR answers again: it is no longer old, nobody whose facts are the same is evaluated, and the message goes.
        j.ehr.clear_faults();
        let report = j.goes_on(TimeDelta::minutes(1)).await;
        assert_eq!((told().await, report.segments.persons), (vec![], 0), "{report:?}");
        // Three hours on, since another message left less than a day ago.
        j.goes_on(TimeDelta::hours(3)).await;
        assert!(!j.in_state("ada", "held").await.contains(&"visit-confirm/day-before".to_owned()));
        assert_eq!(j.in_chart("ada"), sent + 1);
    }
}
