//! Syncing from an EHR: what is stored, where the next run begins, and runs that are cut off.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use domain::clock::Clock as _;
use domain::model::ResourceType::{self, Appointment, CarePlan, Patient};
use fhir_engage::ehr::profile::Strategy;
use fhir_engage::store::leases::Term;
use fhir_engage::store::{Lane, leases};
use fhir_engage::sync::task::Ended;
use fhir_engage::sync::{Holder, lease_name};
use sandbox::{Fault, FaultKind};
use serde_json::json;

use super::setup::{HOLDER, PAGE, Synced, bodies, ehr, latest_run, state};
use crate::support::on_both;

on_both! {
    async fn all_types_are_stored_as_the_ehr_has_them(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        for report in north.sync(&store, &ResourceType::CORE).await {
            assert_eq!((report.ended.clone(), report.strategy), (Ended::Done, "cursor"), "{report:?}");
            assert_eq!((report.stored, report.quarantined, report.partial), (report.found, 0, false));
            assert!(report.notes.is_empty(), "{:?}", report.notes);
            north.assert_same(&store, report.kind);
            let state = state(&store, report.kind);
            assert_eq!((state.as_of, state.resume), (Some(north.world.clock.now().micros()), None));
            assert!(state.high_water.unwrap() <= north.world.clock.now().micros());
        }
    }

    async fn a_full_sync_stores_the_same_and_compares_content(db) {
        let store = db.store();
        let north = Synced::start(&store).await.with(Strategy::Full);
        let first = north.sync_one(&store, Appointment).await;
        assert_eq!((first.ended, first.strategy, first.stored), (Ended::Done, "full", first.found));
        north.world.ehr.edit("Appointment", &bodies(&store, Appointment)[0].0, |a| a["comment"] = json!("changed")).unwrap();
        let second = north.sync_one(&store, Appointment).await;
        assert_eq!((second.stored, second.unchanged), (1, first.found - 1));
        assert_eq!(state(&store, Appointment).high_water, None);
        assert!(north.searches(Appointment).iter().all(|path| !path.contains("_lastUpdated")));
        north.assert_same(&store, Appointment);
    }

    async fn the_next_run_asks_from_the_mark_less_the_overlap(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        north.sync_one(&store, Patient).await;
        let changed = bodies(&store, Patient)[3].0.clone();
        north.world.clock.advance(TimeDelta::hours(1));
        north.world.ehr.edit("Patient", &changed, |p| p["active"] = json!(false)).unwrap();
        let mark = state(&store, Patient).high_water.unwrap();
        let asked_before = north.searches(Patient).len();
        let second = north.sync_one(&store, Patient).await;
        assert_eq!(second.stored, 1, "{second:?}");
        let overlapped = domain::Timestamp::from_micros(mark - 5 * 60 * 1_000_000);
        assert!(north.searches(Patient)[asked_before].contains(&format!("_lastUpdated=ge{overlapped}")), "{:?}", north.searches(Patient));
        north.assert_same(&store, Patient);
        // Again, with nothing changed: what lies in the overlap is read and found unchanged.
        let third = north.sync_one(&store, Patient).await;
        assert_eq!((third.stored, third.unchanged), (0, third.found));
        assert!(third.found >= 1, "the overlap holds the latest change");
    }

    async fn a_run_cut_off_at_any_page_goes_on_and_misses_nothing(db) {
        for strategy in [Strategy::Cursor, Strategy::Full] {
            let store = db.store();
            let north = Synced::start(&store).await.with(strategy);
            let pages = u32::try_from(north.world.ehr.count("Appointment").div_ceil(PAGE)).unwrap();
            db.execute("DELETE FROM resource");
            db.execute("DELETE FROM sync_state");
            for page in 0..pages.min(6) {
                // Each run gets one page further into what is left, then the EHR fails until the client gives up.
                let fault = FaultKind::ServerError { status: 503 };
                north.world.ehr.plant(Fault::new(fault).on("GET", "/fhir/Appointment").after(page.min(2)).times(4));
                let report = north.sync_one(&store, Appointment).await;
                assert!(matches!(&report.ended, Ended::Failed(why) if why.contains("503")), "{report:?}");
                assert_eq!(report.pages, i64::from(page.min(2)));
                let run = latest_run(&store, Appointment).unwrap();
                assert_eq!((run.state.as_str(), run.pages, run.found), ("failed", report.pages, report.found), "{run:?}");
                let state = state(&store, Appointment);
                assert_eq!(state.as_of, None, "a run that failed makes no type known");
                assert_eq!(state.high_water, None, "the mark moves after the last page only");
                assert_eq!(state.resume.is_some(), strategy == Strategy::Cursor && page > 0, "{state:?}");
            }
            let last = north.sync_one(&store, Appointment).await;
            assert_eq!(last.ended, Ended::Done);
            if strategy == Strategy::Cursor {
                assert!(last.found < i64::try_from(north.world.ehr.count("Appointment")).unwrap(), "it went on from where the others ended");
            }
            north.assert_same(&store, Appointment);
        }
    }

    async fn a_stopped_run_keeps_its_pages_and_its_resume_point(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        let stop = AtomicBool::new(false);
        let reports = north.sync_with(&store, &[Appointment, CarePlan], HOLDER, &stop, &|_, _| stop.store(true, Ordering::Relaxed)).await;
        assert_eq!((&reports[0].ended, reports[0].pages), (&Ended::Interrupted, 1));
        assert_eq!((&reports[1].ended, reports[1].pages), (&Ended::Interrupted, 0));
        assert_eq!(bodies(&store, Appointment).len(), PAGE);
        assert!(state(&store, Appointment).resume.is_some());
        assert_eq!(north.sync_one(&store, Appointment).await.ended, Ended::Done);
        north.assert_same(&store, Appointment);
    }

    async fn a_worker_that_lost_its_lease_cannot_write(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        let steal = |kind: ResourceType, counts: fhir_engage::store::sync_state::Counts| {
            if counts.pages == 2 {
                let (name, now) = (lease_name(&ehr(), kind), north.world.clock.now());
                let rival = store.write_blocking(Lane::Bulk, "test", |conn| leases::acquire(conn, &name, "rival", now, HOLDER.term, |_| true));
                assert!(rival.unwrap().is_some());
            }
        };
        let reports = north.sync_with(&store, &[Appointment], HOLDER, &AtomicBool::new(false), &steal).await;
        assert!(matches!(&reports[0].ended, Ended::Failed(why) if why.contains("lease")), "{:?}", reports[0]);
        assert_eq!(bodies(&store, Appointment).len(), 2 * PAGE, "nothing was written after the lease was lost");
        assert_eq!(latest_run(&store, Appointment).unwrap().state, "running", "the end of the run is the rival's to tell");
        // The rival still holds it.
        assert_eq!(north.sync_one(&store, Appointment).await.ended, Ended::Held);
    }

    async fn a_slow_page_does_not_cost_the_lease(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        north.world.ehr.plant(Fault::new(FaultKind::PageTimeout { millis: 2_500 }).on("GET", "/fhir/Patient"));
        let holder = Holder { term: Term(TimeDelta::milliseconds(900)), ..HOLDER };
        let rival = async {
            for _ in 0..4 {
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                let (name, now) = (lease_name(&ehr(), Patient), north.world.clock.now());
                let taken = store.write("test", move |conn| leases::acquire(conn, &name, "rival", now, holder.term, |_| false)).await.unwrap();
                assert_eq!(taken, None, "the lease ran out while a page was fetched");
                north.world.clock.advance(TimeDelta::milliseconds(500));
            }
        };
        let stop = AtomicBool::new(false);
        let (reports, ()) = tokio::join!(north.sync_with(&store, &[Patient], holder, &stop, &|_, _| {}), rival);
        assert_eq!(reports[0].ended, Ended::Done, "{reports:?}");
    }

    async fn another_strategy_voids_the_mark(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        north.sync_one(&store, Patient).await;
        assert!(state(&store, Patient).high_water.is_some());
        let north = north.with(Strategy::Full);
        let full = north.sync_one(&store, Patient).await;
        assert_eq!((full.stored, full.unchanged), (0, full.found));
        assert_eq!(state(&store, Patient).high_water, None);
        let north = north.with(Strategy::Off);
        assert_eq!(north.sync_one(&store, Patient).await.ended, Ended::Off);
    }

    async fn what_changes_while_it_is_read_is_found(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        let victim = north.world.ehr.resources("Appointment")[0]["id"].as_str().unwrap().to_owned();
        let edited = AtomicBool::new(false);
        let change = |_: ResourceType, counts: fhir_engage::store::sync_state::Counts| {
            if counts.pages == 2 && !edited.swap(true, Ordering::SeqCst) {
                north.world.clock.advance(TimeDelta::seconds(30));
                north.world.ehr.edit("Appointment", &victim, |a| a["comment"] = json!("moved")).unwrap();
            }
        };
        let started = north.world.clock.now();
        let reports = north.sync_with(&store, &[Appointment], HOLDER, &AtomicBool::new(false), &change).await;
        assert_eq!(reports[0].ended, Ended::Done);
        assert!(state(&store, Appointment).high_water.unwrap() <= started.micros(), "never past the start of the run");
        // Where it stood then was read before or is behind what was read; where it stands now is found by the next run at the latest.
        assert_eq!(north.sync_one(&store, Appointment).await.ended, Ended::Done);
        north.assert_same(&store, Appointment);
    }
}
