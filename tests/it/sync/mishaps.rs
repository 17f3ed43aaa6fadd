//! What is not as it should be and is no failure either: told in words, by an exit code, and by a way to look at it.

use std::time::Duration;

use chrono::TimeDelta;
use domain::clock::Clock as _;
use domain::model::ResourceType::{self, CarePlan, Patient};
use fhir_engage::ehr::Connection;
use fhir_engage::ehr::profile::Strategy;
use fhir_engage::store::exports::{self, Wanted};
use fhir_engage::store::quarantine::{self, QuarantineRow, UNREAD};
use fhir_engage::store::view::overview;
use fhir_engage::store::{Lane, Store};
use fhir_engage::sync::task::Ended;
use sandbox::{Fault, FaultKind};
use serde_json::json;

use super::bulk::{asked, exported};
use super::setup::{HOLDER, Synced, as_of, bodies, ehr};
use crate::support::on_both;

fn aside(store: &Store) -> Vec<QuarantineRow> {
    store.read_blocking(|conn| quarantine::list(conn, None, 1_000)).unwrap()
}

fn jobs(store: &Store) -> Vec<exports::Job> {
    store.read_blocking(|conn| exports::of_ehr(conn, &ehr())).unwrap()
}

on_both! {
    async fn a_date_that_cannot_be_read_is_told_and_the_rest_is_stored(db) {
        for strategy in [Strategy::Full, Strategy::Bulk] {
            let store = db.store();
            let north = Synced::start(&store).await.with(strategy);
            for table in ["resource", "fact", "sync_state", "sync_run", "quarantine"] {
                db.execute(&format!("DELETE FROM {table}"));
            }
            let id = north.world.ehr.resources("CarePlan")[3]["id"].as_str().unwrap().to_owned();
            north.world.ehr.edit("CarePlan", &id, |plan| plan["period"] = json!({ "start": "2026-13-45", "end": "2027-01-01" })).unwrap();
            let report = north.sync_one(&store, CarePlan).await;
            assert_eq!((&report.ended, report.stored, report.quarantined), (&Ended::Done, report.found, 0), "{strategy:?}: {report:?}");
            north.assert_same(&store, CarePlan);
            let rows = aside(&store);
            assert_eq!(rows.len(), 1, "{rows:?}");
            assert_eq!((rows[0].code.as_str(), rows[0].fhir_id.as_deref()), (UNREAD, Some(id.as_str())));
            assert!(rows[0].reason.starts_with("period.start: no date or time that can be read"), "{}", rows[0].reason);
            assert!(!rows[0].reason.contains("13-45"), "no value is told");

            // Read again as it is stored, or tried again, it is no better.
            north.world.clock.advance(TimeDelta::days(8));
            let again = north.sync_one(&store, CarePlan).await;
            assert_eq!((again.unchanged, aside(&store).len()), (again.found, 1), "{again:?}");
            let tried = fhir_engage::sync::quarantine::replay(&store, &*north.world.clock, HOLDER, &ehr(), fhir_engage::sync::quarantine::Which::All).unwrap();
            assert_eq!((tried.stored, tried.still_bad.len(), aside(&store).len()), (0, 1, 1), "{tried:?}");

            north.world.ehr.edit("CarePlan", &id, |plan| plan["period"]["start"] = json!("2026-12-01")).unwrap();
            north.world.clock.advance(TimeDelta::days(8));
            north.sync_one(&store, CarePlan).await;
            assert_eq!(aside(&store).len(), 0, "the EHR has put it right");
        }
    }

    async fn a_line_that_cannot_be_read_counts_for_the_type_of_its_file(db) {
        let store = db.store();
        let north = exported(&store).await;
        north.world.ehr.plant(Fault::new(FaultKind::ExportBadLine));
        let report = north.sync_one(&store, Patient).await;
        assert_eq!((&report.ended, report.quarantined), (&Ended::Done, 1), "{report:?}");
        assert!(report.is_problem() && report.result() == "done, but 1 resource put aside (`sync quarantine list`)", "{}", report.result());
        assert_eq!(aside(&store)[0].rtype.as_deref(), Some("Patient"));
    }

    async fn what_is_missing_of_one_file_is_told_of_its_type_only(db) {
        let store = db.store();
        let north = exported(&store).await;
        // The second file is asked for three times ahead, while the first is read, and three times when it is wanted.
        north.world.ehr.plant(Fault::new(FaultKind::ExportFileGone { status: 404 }).on("GET", "/fhir/export-files/1/").after(1).times(6));
        let reports = north.sync(&store, &ResourceType::CORE).await;
        let short: Vec<_> = reports.iter().filter(|r| r.partial).collect();
        assert!(!short.is_empty() && short.len() < reports.len(), "{reports:?}");
        for report in &reports {
            assert_eq!(report.notes.iter().any(|n| n.contains("is not complete")), report.partial, "{report:?}");
            assert_eq!((report.is_problem(), report.result() == "done"), (report.partial, !report.partial), "{report:?}");
            assert_eq!(as_of(&store, report.kind).is_none(), report.partial);
        }
    }

    async fn a_page_of_a_proxy_in_place_of_a_file_or_a_manifest_is_asked_past(db) {
        let store = db.store();
        let north = exported(&store).await;
        north.world.ehr.plant(Fault::new(FaultKind::NotJson).on("GET", "/fhir/export-files"));
        north.world.ehr.plant(Fault::new(FaultKind::NotJson).on("GET", "/fhir/export-status").after(1).times(2));
        let reports = north.sync(&store, &ResourceType::CORE).await;
        assert!(reports.iter().all(|r| r.ended == Ended::Done && r.result() == "done"), "{reports:?}");
        ResourceType::CORE.iter().for_each(|kind| north.assert_same(&store, *kind));
        assert_eq!((aside(&store).len(), asked(&north, "GET", "/fhir/Patient/$export").len()), (0, 1), "the export is not thrown away");
        assert_eq!(north.world.ehr.unused_faults(), []);

        // Where it stays so the run fails, keeps the export, and no mark is moved.
        north.world.clock.advance(TimeDelta::days(8));
        let known = as_of(&store, Patient);
        north.world.ehr.plant(Fault::new(FaultKind::NotJson).on("GET", "/fhir/export-files").times(u32::MAX));
        let report = north.sync_one(&store, Patient).await;
        assert!(matches!(&report.ended, Ended::Failed(why) if why.contains("a page in HTML or XML came in its place")), "{report:?}");
        assert_eq!((as_of(&store, Patient), jobs(&store).len(), aside(&store).len()), (known, 1, 0));
    }

    async fn an_export_whose_acceptance_was_lost_is_told_until_a_later_one_was_read(db) {
        let store = db.store();
        let mut north = exported(&store).await;
        north.world.profile.timeout_secs = Some(1);
        north.connection = Connection::open(&north.world.profile, &north.world.parts).await.unwrap();
        // Accepted, and the answer comes too late.
        north.world.ehr.plant(Fault::new(FaultKind::PageTimeout { millis: 1_500 }).on("GET", "/fhir/Patient/$export"));
        let reports = north.sync(&store, &ResourceType::CORE).await;
        assert!(reports.iter().all(|r| matches!(r.ended, Ended::Failed(_))), "{reports:?}");
        assert!(jobs(&store).len() == 1 && jobs(&store)[0].is_unknown(), "{:?}", jobs(&store));
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(north.world.ehr.open_exports(), 1, "it runs there");
        let told = store.read_blocking(overview::in_hand).unwrap();
        assert!(told.len() == 1 && !told[0].waits && told[0].says.contains("may run at the EHR"), "{told:?}");

        // An EHR that prepares one at a time refuses the next: why is told with it.
        north.world.ehr.plant(Fault::new(FaultKind::ExportOneAtATime));
        north.export_wait = Duration::ZERO;
        let reports = north.sync(&store, &ResourceType::CORE).await;
        let says = |r: &fhir_engage::sync::task::TypeReport| r.failure().is_some_and(|why| why.contains("another export in hand") && why.contains("may run at the EHR"));
        assert!(reports.iter().all(says), "{reports:?}");

        north.export_wait = Duration::from_secs(20);
        let reports = north.sync(&store, &ResourceType::CORE).await;
        assert!(reports.iter().all(|r| r.ended == Ended::Done), "{reports:?}");
        assert_eq!(jobs(&store), [], "a later one was read: nothing is in its way");
    }

    async fn whoever_is_killed_between_the_acceptance_and_its_commit_leaves_a_trace(db) {
        let store = db.store();
        let mut north = exported(&store).await;
        let wanted = Wanted { types: vec![Patient], request: "as asked".to_owned(), since: None, started: north.world.clock.now() };
        store.write_blocking(Lane::Bulk, "test", |conn| exports::intend(conn, &ehr(), &wanted)).unwrap();
        north.export_wait = Duration::ZERO;
        let report = north.sync_one(&store, Patient).await;
        assert!(matches!(report.ended, Ended::Waiting(_)), "another one is asked for: {report:?}");
        assert_eq!(jobs(&store).iter().map(exports::Job::is_unknown).collect::<Vec<_>>(), [true, false]);
        // It cannot run for ever.
        north.world.clock.advance(TimeDelta::days(8));
        north.sync_one(&store, Patient).await;
        assert!(jobs(&store).iter().all(|job| !job.is_unknown()), "{:?}", jobs(&store));
        north.export_wait = Duration::from_secs(20);
        assert_eq!(north.sync_one(&store, Patient).await.ended, Ended::Done);
        assert!(!bodies(&store, Patient).is_empty() && jobs(&store).is_empty());
    }

    async fn a_refused_kick_off_leaves_no_trace(db) {
        let store = db.store();
        let north = exported(&store).await;
        north.world.ehr.plant(Fault::new(FaultKind::ExportRefused { status: 403 }));
        let report = north.sync_one(&store, Patient).await;
        assert_eq!((&report.ended, report.strategy), (&Ended::Done, "cursor"), "{report:?}");
        assert_eq!(jobs(&store), []);
    }
}
