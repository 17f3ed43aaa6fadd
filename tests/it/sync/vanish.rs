//! What is no longer shown: gone only where two reads apart in time say so, and never much at once.

use chrono::TimeDelta;
use domain::Clock as _;
use domain::model::ResourceType::{self, Appointment, CarePlan, Patient};
use fhir_engage::ehr::profile::Strategy;
use fhir_engage::store::{Store, people};
use fhir_engage::sync::task::Ended;
use fhir_engage::sync::vanish::APART;
use sandbox::{Fault, FaultKind, Flavour};

use super::setup::{Synced, as_of, bodies, ehr, latest_run, state};
use crate::support::{Database, on_both};

/// The ids that are marked as gone.
fn gone(db: &Database) -> Vec<String> {
    db.lines("SELECT fhir_id AS line FROM resource WHERE gone_at IS NOT NULL ORDER BY fhir_id")
}

fn missing(db: &Database) -> Vec<String> {
    db.lines("SELECT fhir_id AS line FROM missing ORDER BY fhir_id")
}

fn facts_of(db: &Database, id: &str) -> usize {
    db.lines(&format!("SELECT fhir_id AS line FROM fact WHERE fhir_id = '{id}'")).len()
}

/// An EHR whose appointments are read by days alone, read once.
async fn by_days(store: &Store) -> Synced {
    let mut north = Synced::start(store).await;
    north.strategies = [(Appointment, Strategy::Window)].into();
    assert_eq!(north.sync_one(store, Appointment).await.ended, Ended::Done);
    north
}

/// Ids of appointments that are in the span.
fn some(db: &Database, n: usize) -> Vec<String> {
    db.lines(&format!("SELECT fhir_id AS line FROM visit ORDER BY fhir_id LIMIT {n}"))
}

on_both! {
    async fn a_visit_is_gone_after_two_reads_apart_in_time(db) {
        let store = db.store();
        let north = by_days(&store).await;
        let id = some(&db, 1).remove(0);
        north.world.ehr.delete("Appointment", &id).unwrap();
        // Missed and read once; again too soon; then a second time.
        for (wait, wanted) in [(TimeDelta::zero(), 0), (APART - TimeDelta::seconds(1), 0), (TimeDelta::seconds(1), 1)] {
            north.world.clock.advance(wait);
            let report = north.sync_one(&store, Appointment).await;
            assert_eq!((report.ended.clone(), report.gone), (Ended::Done, wanted), "{report:?}");
            assert_eq!(facts_of(&db, &id), usize::from(wanted == 0), "its facts count until it is known to be gone");
        }
        assert_eq!((gone(&db), missing(&db)), (vec![id.clone()], vec![]));
        assert_eq!(db.lines("SELECT gone_why AS line FROM resource WHERE gone_at IS NOT NULL")[0], "no search shows it, and two reads apart in time found it gone");
        assert_eq!(north.sync_one(&store, Appointment).await.gone, 0);
    }

    async fn one_that_the_search_forgot_is_there(db) {
        let store = db.store();
        let north = by_days(&store).await;
        let id = some(&db, 1).remove(0);
        db.execute(&format!("INSERT INTO missing (ehr, rtype, fhir_id, missed_at, read_at) VALUES ('north', 'Appointment', '{id}', 1, 1)"));
        north.world.clock.advance(TimeDelta::days(1));
        let report = north.sync_one(&store, Appointment).await;
        assert_eq!((report.ended.clone(), report.gone, missing(&db)), (Ended::Done, 0, vec![]), "{report:?}");
    }

    async fn a_full_search_finds_what_was_deleted_by_two_reads_apart_in_time(db) {
        let store = db.store();
        let north = Synced::start(&store).await.with(Strategy::Full);
        assert_eq!(north.sync_one(&store, CarePlan).await.ended, Ended::Done);
        let id = bodies(&store, CarePlan)[3].0.clone();
        north.world.ehr.delete("CarePlan", &id).unwrap();
        // An answer that is not complete says nothing of what is not in it.
        north.world.clock.advance(TimeDelta::hours(2));
        let warned = FaultKind::OutcomeInBundle { severity: "warning".to_owned() };
        north.world.ehr.plant(Fault::new(warned).on("GET", "/fhir/CarePlan"));
        let report = north.sync_one(&store, CarePlan).await;
        assert!(report.partial && report.notes.iter().any(|n| n.contains("no CarePlan was taken as gone")), "{report:?}");
        assert_eq!(missing(&db), Vec::<String>::new());
        for (wait, wanted) in [(TimeDelta::zero(), 0), (APART - TimeDelta::seconds(1), 0), (TimeDelta::seconds(1), 1)] {
            north.world.clock.advance(wait);
            let report = north.sync_one(&store, CarePlan).await;
            assert_eq!((report.ended.clone(), report.gone), (Ended::Done, wanted), "{report:?}");
            assert_eq!(facts_of(&db, &id), usize::from(wanted == 0));
        }
        assert_eq!((gone(&db), missing(&db)), (vec![id], vec![]));
        let run = latest_run(&store, CarePlan).unwrap();
        assert_eq!((run.gone, run.units_of), (Some(1), None), "it goes by no patients or weeks");
        assert_eq!(state(&store, CarePlan).reconciled_at, Some(north.world.clock.now().micros()));
    }

    async fn much_that_a_full_search_no_longer_shows_stops_it_before_anything_is_gone(db) {
        let store = db.store();
        let mut north = Synced::start(&store).await.with(Strategy::Full);
        north.sync_one(&store, Appointment).await;
        let ids: Vec<String> = bodies(&store, Appointment).into_iter().map(|(id, _)| id).collect();
        let lost = &ids[..ids.len() / 3];
        assert!(lost.len() > 20);
        for id in lost {
            north.world.ehr.delete("Appointment", id).unwrap();
        }
        north.world.clock.advance(TimeDelta::hours(2));
        let report = north.sync_one(&store, Appointment).await;
        let says = format!("{} of {} stored Appointments", lost.len(), ids.len());
        assert!(matches!(&report.ended, Ended::Failed(why) if why.contains(&says)), "{report:?}");
        assert_eq!((gone(&db), missing(&db)), (vec![], vec![]));
        north.accept_vanished = true;
        assert_eq!(north.sync_one(&store, Appointment).await.ended, Ended::Done);
        north.world.clock.advance(TimeDelta::hours(2));
        north.accept_vanished = false;
        assert_eq!(north.sync_one(&store, Appointment).await.gone, i64::try_from(lost.len()).unwrap());
        assert_eq!(gone(&db), lost);
    }

    async fn mass_disappearance_stops_before_anything_is_marked_and_asks(db) {
        let store = db.store();
        let mut north = by_days(&store).await;
        let all = some(&db, 10_000);
        let lost = &all[..all.len().min(40)];
        assert!(lost.len() > 20 && lost.len() * 100 > all.len() * 20, "{} of {}", lost.len(), all.len());
        for id in lost {
            north.world.ehr.delete("Appointment", id).unwrap();
        }
        let before = as_of(&store, Appointment);
        for _ in 0..2 {
            north.world.clock.advance(TimeDelta::hours(2));
            let report = north.sync_one(&store, Appointment).await;
            let says = format!("{} of {} stored Appointments", lost.len(), all.len());
            assert!(matches!(&report.ended, Ended::Failed(why) if why.contains(&says) && why.contains("--accept-vanished")), "{report:?}");
            assert_eq!((gone(&db), missing(&db), as_of(&store, Appointment)), (vec![], vec![], before));
        }
        // A person says that it is right: then two reads apart in time, as for one. The second run needs no word any more.
        north.accept_vanished = true;
        assert_eq!(north.sync_one(&store, Appointment).await.ended, Ended::Done);
        assert_eq!(gone(&db), Vec::<String>::new());
        north.accept_vanished = false;
        north.world.clock.advance(TimeDelta::hours(2));
        let report = north.sync_one(&store, Appointment).await;
        assert_eq!((report.ended.clone(), report.gone), (Ended::Done, i64::try_from(lost.len()).unwrap()), "{report:?}");
        assert_eq!(gone(&db), lost);
    }

    async fn a_run_with_an_incomplete_answer_marks_nothing(db) {
        let store = db.store();
        let north = by_days(&store).await;
        let id = some(&db, 1).remove(0);
        north.world.ehr.delete("Appointment", &id).unwrap();
        assert_eq!(north.sync_one(&store, Appointment).await.gone, 0);
        north.world.clock.advance(TimeDelta::hours(5));
        let warned = FaultKind::OutcomeInBundle { severity: "warning".to_owned() };
        north.world.ehr.plant(Fault::new(warned).on("GET", "/fhir/Appointment").after(3));
        let report = north.sync_one(&store, Appointment).await;
        assert!(report.partial && report.gone == 0, "{report:?}");
        assert!(report.notes.iter().any(|n| n.contains("no Appointment was taken as gone")), "{:?}", report.notes);
        assert_eq!((gone(&db), missing(&db)), (vec![], vec![id.clone()]));
        assert_eq!(north.sync_one(&store, Appointment).await.gone, 1);
    }

    async fn by_patient_visits_plans_and_patients_vanish_in_the_same_way(db) {
        let store = db.store();
        let north = Synced::at(&store, Flavour::Epic).await;
        let _ = north.sync(&store, &ResourceType::CORE).await;
        let plan = north.world.ehr.resources("CarePlan")[0]["id"].as_str().unwrap().to_owned();
        let visit = some(&db, 1).remove(0);
        for (kind, id) in [(Appointment, visit.as_str()), (CarePlan, plan.as_str()), (Patient, "pat-000004")] {
            north.world.ehr.delete(kind.as_str(), id).unwrap();
        }
        for (round, wanted) in [(1, 0), (2, 1)] {
            let reports = north.sync(&store, &ResourceType::CORE).await;
            assert!(reports.iter().all(|r| r.ended == Ended::Done && r.gone == wanted), "round {round}: {reports:?}");
            north.world.clock.advance(TimeDelta::hours(2));
        }
        let mut expected = vec![visit, plan, "pat-000004".to_owned()];
        expected.sort();
        assert_eq!(gone(&db), expected);
        let record = store.read_blocking(|conn| people::record(conn, ehr().as_str(), "pat-000004")).unwrap().unwrap();
        assert_eq!(record.state, "gone");
    }
}
