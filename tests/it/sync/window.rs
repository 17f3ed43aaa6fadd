//! Appointments by the span of days: what is read, what changed, and what is out of it.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use domain::Timestamp;
use domain::clock::Clock as _;
use domain::model::ResourceType::Appointment;
use fhir_engage::ehr::profile::Strategy;
use fhir_engage::store::Store;
use fhir_engage::sync::pass::span;
use fhir_engage::sync::task::Ended;
use sandbox::{Fault, FaultKind, Flavour};
use serde_json::{Value, json};

use super::setup::{HOLDER, Synced, as_of, bodies, latest_run, values};
use crate::ehr::support::World;
use crate::support::on_both;

/// The appointments that the EHR has in the span, by id.
fn within(north: &Synced) -> Vec<(String, Value)> {
    let (from, until) = span(north.world.clock.now(), north.world.profile.window.back_days, north.world.profile.window.ahead_days);
    let starts = |a: &Value| a["start"].as_str().and_then(Timestamp::parse).is_some_and(|at| from <= at && at < until);
    let all = north.world.ehr.resources("Appointment").into_iter().filter(starts);
    let mut all: Vec<(String, Value)> = all.map(|a| (a["id"].as_str().unwrap().to_owned(), a)).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[track_caller]
fn assert_same(store: &Store, north: &Synced) {
    let mut found = values(store, Appointment);
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = within(north);
    assert!(expected.len() > 10, "there is something to compare");
    assert!(found == expected, "the store differs from the EHR: {} {}", found.len(), expected.len());
}

/// The ways in which a span of days is asked for: alone, by location, by practitioner, by patient.
async fn ways(store: &Store) -> Vec<Synced> {
    let mut all = Vec::new();
    let ids =
        |world: &World, kind: &str| world.ehr.resources(kind).iter().map(|l| l["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let mut alone = Synced::start(store).await;
    alone.strategies = [(Appointment, Strategy::Window)].into();
    all.push(alone);
    let mut world = World::speaking(Flavour::Oracle).await;
    world.profile.window.locations = ids(&world, "Location");
    all.push(Synced::of(store, world).await);
    let mut world = World::speaking(Flavour::Meditech).await;
    world.profile.window.practitioners = ids(&world, "Practitioner");
    all.push(Synced::of(store, world).await);
    all.push(Synced::at(store, Flavour::Epic).await);
    all
}

on_both! {
    async fn whatever_the_ehr_wants_beside_the_days_the_span_is_read_whole(db) {
        let store = db.store();
        for north in ways(&store).await {
            for table in ["coverage_hole", "roster", "visit", "missing", "fact", "resource", "sync_state"] {
                db.execute(&format!("DELETE FROM {table}"));
            }
            let report = north.sync_one(&store, Appointment).await;
            assert_eq!((report.ended.clone(), report.strategy, report.partial, report.holes), (Ended::Done, "window", false, 0), "{report:?}");
            assert!(report.notes.is_empty(), "{report:?}");
            assert_same(&store, &north);
            assert_eq!(as_of(&store, Appointment), Some(north.world.clock.now().micros()));
            // What changed shows in the content, whatever its date of change; a cancelled visit with a new one in its place too.
            let id = within(&north)[3].0.clone();
            north.world.ehr.edit("Appointment", &id, |a| a["status"] = json!("cancelled")).unwrap();
            let mut new = north.world.ehr.resource("Appointment", &id).unwrap();
            (new["id"], new["status"]) = (json!("moved-1"), json!("booked"));
            north.world.ehr.load([new.to_string()]).unwrap();
            let second = north.sync_one(&store, Appointment).await;
            assert_eq!((second.stored, second.unchanged, second.gone), (2, second.found - 2, 0), "{second:?}");
            assert_same(&store, &north);
        }
    }

    async fn a_visit_that_is_put_off_to_beyond_the_span_is_no_visit_of_it(db) {
        let store = db.store();
        for north in ways(&store).await {
            for table in ["coverage_hole", "roster", "visit", "missing", "fact", "resource", "sync_state"] {
                db.execute(&format!("DELETE FROM {table}"));
            }
            let _ = north.sync_one(&store, Appointment).await;
            let id = within(&north)[1].0.clone();
            let (start, end) = ("2027-10-04T09:00:00-04:00", "2027-10-04T09:30:00-04:00");
            north.world.ehr.edit("Appointment", &id, |a| (a["start"], a["end"]) = (json!(start), json!(end))).unwrap();
            let report = north.sync_one(&store, Appointment).await;
            assert_eq!((report.ended.clone(), report.gone), (Ended::Done, 0), "{report:?}");
            let stored = values(&store, Appointment).into_iter().find(|(i, _)| *i == id).unwrap().1;
            assert_eq!(stored["start"], start, "it was missed, read, and found elsewhere");
            assert_eq!(db.lines("SELECT fhir_id AS line FROM missing"), Vec::<String>::new());
        }
    }

    async fn a_rescan_that_is_cut_off_goes_on_with_the_week_it_was_in(db) {
        let store = db.store();
        let mut north = Synced::start(&store).await;
        north.strategies = [(Appointment, Strategy::Window)].into();
        let (stop, began) = (AtomicBool::new(false), north.world.clock.now().micros());
        // In the third week.
        let cut = |_, counts: fhir_engage::store::sync_state::Counts| stop.store(counts.pages >= 4, Ordering::Relaxed);
        let reports = north.sync_with(&store, &[Appointment], HOLDER, &stop, &cut).await;
        assert_eq!(reports[0].ended, Ended::Interrupted);
        let done = latest_run(&store, Appointment).unwrap().units_done.unwrap();
        assert!((1..10).contains(&done), "{done}");
        north.world.clock.advance(TimeDelta::minutes(5));
        let asked = north.searches(Appointment).len();
        let report = north.sync_one(&store, Appointment).await;
        assert_eq!((report.ended.clone(), report.units), (Ended::Done, Some((15, 15))), "{report:?}");
        let weeks = north.searches(Appointment).iter().skip(asked).filter(|path| !path.contains("_cursor")).count();
        assert_eq!(i64::try_from(weeks).unwrap(), 15 - done, "the weeks that were done are not read again");
        assert_eq!(as_of(&store, Appointment), Some(began));
        assert_same(&store, &north);
    }

    async fn a_location_that_is_refused_is_named_and_the_type_is_not_taken_as_known(db) {
        let store = db.store();
        let mut world = World::speaking(Flavour::Oracle).await;
        let mut locations: Vec<String> = world.ehr.resources("Location").iter().map(|l| l["id"].as_str().unwrap().to_owned()).collect();
        locations.insert(0, "closed".to_owned());
        world.profile.window.locations = locations;
        let north = Synced::of(&store, world).await;
        north.world.ehr.plant(Fault::new(FaultKind::RefuseType).on("GET", "/fhir/Appointment"));
        // The first search is the first location's.
        let report = north.sync_one(&store, Appointment).await;
        assert_eq!((report.ended.clone(), report.partial), (Ended::Done, true), "{report:?}");
        assert!(report.notes.iter().any(|n| n.contains("location closed") && n.contains("403")), "{:?}", report.notes);
        assert_eq!(as_of(&store, Appointment), None);
        assert!(!bodies(&store, Appointment).is_empty());
        let whole = north.sync_one(&store, Appointment).await;
        assert_eq!((whole.ended.clone(), whole.partial), (Ended::Done, false));
        assert!(as_of(&store, Appointment).is_some());
    }
}
