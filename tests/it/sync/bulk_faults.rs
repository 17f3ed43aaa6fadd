//! What servers do wrong with exports, planted by name: each is survived, or told in words.

use domain::model::ResourceType::{self, CarePlan, Patient};
use fhir_engage::store::{exports, quarantine};
use fhir_engage::sync::task::Ended;
use sandbox::{Fault, FaultKind};

use super::bulk::{asked, exported};
use super::setup::{as_of, bodies, ehr, latest_run, state};
use crate::support::on_both;

fn forever(kind: FaultKind) -> Fault {
    Fault::new(kind).times(u32::MAX)
}

fn retry(value: &str) -> FaultKind {
    FaultKind::ExportWaits { retry_after: Some(value.to_owned()) }
}

on_both! {
    async fn what_is_survived_without_a_word(db) {
        let text = |t: &str| Some(t.to_owned());
        let cases: Vec<(&str, Vec<Fault>)> = vec![
            ("Retry-After missing", vec![Fault::new(FaultKind::ExportWaits { retry_after: None }).times(2)]),
            ("Retry-After in seconds", vec![Fault::new(retry("1"))]),
            ("two hours for a job of a second", vec![Fault::new(retry("7200")).times(2)]),
            ("an HTTP date", vec![Fault::new(retry("Mon, 23 Nov 2026 16:00:00 GMT"))]),
            ("an instant in milliseconds", vec![Fault::new(retry("1795449600000"))]),
            ("nonsense", vec![Fault::new(retry("soon"))]),
            ("poll 500 transient", vec![Fault::new(FaultKind::ServerError { status: 500 }).on("GET", "/fhir/export-status").times(3)]),
            ("poll 503", vec![Fault::new(FaultKind::ServerError { status: 503 }).on("GET", "/fhir/export-status").times(2)]),
            ("poll 429 in plain text", vec![
                Fault::new(FaultKind::TooManyRequests { retry_after: text("1") }).on("GET", "/fhir/export-status"),
            ]),
            ("file 429", vec![Fault::new(FaultKind::TooManyRequests { retry_after: text("1") }).on("GET", "/fhir/export-files")]),
            ("file 500", vec![Fault::new(FaultKind::ServerError { status: 500 }).on("GET", "/fhir/export-files").times(2)]),
            ("no counts", vec![forever(FaultKind::ExportCounts { by: None })]),
            ("more resources than counted", vec![forever(FaultKind::ExportCounts { by: Some(-2) })]),
            ("signed addresses, no token", vec![forever(FaultKind::ExportOpenFiles { origin: None })]),
            ("gzip that no header tells", vec![forever(FaultKind::ExportPacked)]),
            ("remarks among the errors", vec![Fault::new(FaultKind::ExportErrors { severity: "warning".to_owned() })]),
            ("nanoseconds", vec![forever(FaultKind::ExportTime { value: text("2026-11-23T15:00:00.123456789Z") })]),
            ("version 1", vec![forever(FaultKind::ExportVersion { version: 1 })]),
            ("version 3", vec![forever(FaultKind::ExportVersion { version: 3 })]),
            ("version 4", vec![forever(FaultKind::ExportVersion { version: 4 }), Fault::new(FaultKind::ExportPostOnly).times(2)]),
            ("a manifest in pages", vec![forever(FaultKind::ExportPages)]),
            ("an address that ends", vec![Fault::new(FaultKind::ExportFileGone { status: 410 }).after(1)]),
            ("a signature that ends", vec![Fault::new(FaultKind::ExportFileGone { status: 403 })]),
            ("the token ends between files", vec![Fault::new(FaultKind::ExportTokenEnds).after(1)]),
            ("a file breaks off", vec![Fault::new(FaultKind::ResetMidBody).on("GET", "/fhir/export-files").after(1).times(2)]),
            ("the job is forgotten", vec![Fault::new(FaultKind::ExportForgotten { status: 404 })]),
            ("the job is forgotten for good", vec![Fault::new(FaultKind::ExportForgotten { status: 410 }).after(1)]),
            ("values are repeated", vec![forever(FaultKind::ExportLists { comma: false })]),
            ("values are joined", vec![forever(FaultKind::ExportLists { comma: true })]),
            ("a delete in plain text", vec![Fault::new(FaultKind::ExportDeleteText)]),
        ];
        for (what, faults) in cases {
            let store = db.store();
            let north = exported(&store).await;
            for table in ["resource", "fact", "sync_state", "sync_run", "export_job", "export_seen", "missing"] {
                db.execute(&format!("DELETE FROM {table}"));
            }
            faults.into_iter().for_each(|f| north.world.ehr.plant(f));
            let reports = north.sync(&store, &ResourceType::CORE).await;
            for r in &reports {
                assert_eq!((&r.ended, r.partial), (&Ended::Done, false), "{what}: {r:?}");
                assert!(r.found > 0 && as_of(&store, r.kind).is_some(), "{what}: {r:?}");
            }
            ResourceType::CORE.iter().for_each(|kind| north.assert_same(&store, *kind));
            assert_eq!(north.world.ehr.open_exports(), 0, "{what}");
            assert_eq!(store.read_blocking(|conn| exports::of_ehr(conn, &ehr())).unwrap(), [], "{what}");
            assert_eq!(north.world.ehr.unused_faults(), [], "{what}");
        }
    }

    async fn a_refusal_falls_back_to_search_and_says_so(db) {
        for (kind, says, deleted) in [
            (FaultKind::ExportRefused { status: 403 }, "HTTP status 403", 0),
            (FaultKind::ExportRefused { status: 404 }, "HTTP status 404", 0),
            (FaultKind::ExportRefusedAtStatus { status: 403 }, "accepts the export and then refuses it (HTTP status 403", 1),
            (FaultKind::ExportStatusElsewhere { origin: "http://127.0.0.1:9".to_owned() }, "http://127.0.0.1:9", 0),
        ] {
            let store = db.store();
            let north = exported(&store).await;
            for table in ["resource", "fact", "sync_state", "sync_run"] {
                db.execute(&format!("DELETE FROM {table}"));
            }
            north.world.ehr.plant(Fault::new(kind.clone()));
            let reports = north.sync(&store, &ResourceType::CORE).await;
            for r in &reports {
                assert_eq!((&r.ended, r.strategy), (&Ended::Done, "cursor"), "{kind:?}: {r:?}");
                assert!(r.notes.iter().any(|n| n.contains(says) && n.contains("search instead")), "{:?}", r.notes);
                assert!(latest_run(&store, r.kind).unwrap().note.unwrap().contains(says), "the run says so too");
            }
            ResourceType::CORE.iter().for_each(|kind| north.assert_same(&store, *kind));
            assert_eq!(asked(&north, "DELETE", "/fhir/export-status").len(), deleted, "{kind:?}");
            // Open again: the next run exports, in full.
            let reports = north.sync(&store, &ResourceType::CORE).await;
            assert!(reports.iter().all(|r| r.strategy == "bulk" && r.ended == Ended::Done && r.unchanged == r.found), "{reports:?}");
        }
    }

    async fn what_is_missing_moves_no_mark_and_nothing_counts_as_gone(db) {
        for (fault, says) in [
            (forever(FaultKind::ExportCounts { by: Some(1) }), "the manifest says"),
            (Fault::new(FaultKind::ExportErrors { severity: "error".to_owned() }), "could not export everything (processing: 1)"),
            (forever(FaultKind::ExportOpenFiles { origin: Some("http://127.0.0.1:9".to_owned()) }), "--download-host http://127.0.0.1:9"),
        ] {
            let store = db.store();
            let north = exported(&store).await;
            for table in ["resource", "fact", "sync_state", "sync_run"] {
                db.execute(&format!("DELETE FROM {table}"));
            }
            north.world.ehr.plant(fault);
            let report = north.sync_one(&store, Patient).await;
            assert!(report.ended == Ended::Done && report.partial && report.is_problem(), "{report:?}");
            assert!(report.notes.iter().any(|n| n.contains(says)), "{says}: {:?}", report.notes);
            assert_eq!((as_of(&store, Patient), state(&store, Patient).high_water), (None, None));
            assert_eq!(db.lines("SELECT fhir_id AS line FROM missing"), Vec::<String>::new());
            assert_eq!(north.world.ehr.open_exports(), 0, "the job is deleted all the same");
        }
    }

    async fn files_on_another_host_come_where_the_host_is_named_and_without_our_token(db) {
        for redirect in [false, true] {
            let store = db.store();
            let mut north = exported(&store).await;
            for table in ["resource", "fact", "sync_state", "sync_run"] {
                db.execute(&format!("DELETE FROM {table}"));
            }
            let origin = format!("http://localhost:{}", north.world.ehr.address().port());
            north.world.profile.bulk.download_hosts = vec![origin.clone()];
            north.connection = fhir_engage::ehr::Connection::open(&north.world.profile, &north.world.parts).await.unwrap();
            // That server refuses a token beside the signature.
            let kind = if redirect { FaultKind::ExportRedirects { origin } } else { FaultKind::ExportOpenFiles { origin: Some(origin) } };
            north.world.ehr.plant(Fault::new(kind).times(if redirect { 3 } else { u32::MAX }));
            let reports = north.sync(&store, &ResourceType::CORE).await;
            assert!(reports.iter().all(|r| r.ended == Ended::Done && !r.partial), "{reports:?}");
            ResourceType::CORE.iter().for_each(|kind| north.assert_same(&store, *kind));
        }
    }

    async fn a_bad_line_is_put_aside_and_the_file_goes_on(db) {
        let store = db.store();
        let north = exported(&store).await;
        north.world.ehr.plant(Fault::new(FaultKind::ExportBadLine));
        let report = north.sync_one(&store, Patient).await;
        assert_eq!((&report.ended, report.found, report.quarantined), (&Ended::Done, 31, 1), "{report:?}");
        let rows = store.read_blocking(|conn| quarantine::list(conn, Some("north"), 9)).unwrap();
        assert!(rows.len() == 1 && rows[0].origin == "export, file 1 (Patient):2", "{rows:?}");
        north.assert_same(&store, Patient);
    }

    async fn a_type_that_the_server_has_not_is_no_other_types_refusal(db) {
        // As SMART's reference server for exports answers (github.com/smart-on-fhir/bulk-data-server, ExportManager.ts).
        let store = db.store();
        let north = exported(&store).await;
        north.world.ehr.plant(forever(FaultKind::ExportWithout { resource_type: "Appointment".to_owned() }));
        let reports = north.sync(&store, &ResourceType::CORE).await;
        let ways: Vec<(ResourceType, &str)> = reports.iter().map(|r| (r.kind, r.strategy)).collect();
        assert!(ways.contains(&(ResourceType::Patient, "bulk")) && ways.contains(&(ResourceType::CarePlan, "bulk")), "{ways:?}");
        assert!(ways.iter().any(|(kind, way)| *kind == ResourceType::Appointment && *way != "bulk"), "{ways:?}");
        for r in &reports {
            assert_eq!((&r.ended, r.partial), (&Ended::Done, false), "{r:?}");
        }
        ResourceType::CORE.iter().for_each(|kind| north.assert_same(&store, *kind));
        assert_eq!(north.world.ehr.open_exports(), 0);
    }

    async fn too_large_a_group_is_exported_type_by_type(db) {
        let store = db.store();
        let north = exported(&store).await;
        north.world.ehr.plant(Fault::new(FaultKind::ExportTooLarge).times(2));
        let reports = north.sync(&store, &ResourceType::CORE).await;
        assert!(reports.iter().all(|r| r.ended == Ended::Done && r.strategy == "bulk"), "{reports:?}");
        ResourceType::CORE.iter().for_each(|kind| north.assert_same(&store, *kind));
        assert_eq!(asked(&north, "DELETE", "/fhir/export-status").len(), 3);
    }

    async fn a_job_that_could_not_be_deleted_is_deleted_before_the_next_is_asked_for(db) {
        let store = db.store();
        let north = exported(&store).await;
        north.world.ehr.plant(forever(FaultKind::ExportOneAtATime));
        north.world.ehr.plant(Fault::new(FaultKind::ExportDeleteRefused { status: 500 }));
        assert_eq!(north.sync_one(&store, CarePlan).await.ended, Ended::Done);
        assert_eq!(north.world.ehr.open_exports(), 1);
        // One at a time: the next kick-off would be refused with 429 for ever.
        assert_eq!(north.sync_one(&store, CarePlan).await.ended, Ended::Done);
        assert_eq!((north.world.ehr.open_exports(), store.read_blocking(|conn| exports::of_ehr(conn, &ehr())).unwrap().len()), (0, 0));
        assert_eq!(asked(&north, "GET", "/fhir/Patient/$export").len(), 2);
    }

    async fn a_second_export_is_not_the_cached_first(db) {
        let store = db.store();
        let north = exported(&store).await;
        north.sync_one(&store, Patient).await;
        north.world.ehr.plant(forever(FaultKind::ExportIgnoresSince));
        let second = north.sync_one(&store, Patient).await;
        assert_eq!((second.unchanged, second.stored), (30, 0), "a server that forgets _since costs time and nothing else: {second:?}");
    }

    async fn a_time_that_is_not_told_is_made_up_for(db) {
        for value in [None, Some("yesterday".to_owned())] {
            let store = db.store();
            let north = exported(&store).await;
            north.world.ehr.plant(forever(FaultKind::ExportTime { value }));
            let report = north.sync_one(&store, Patient).await;
            assert!(report.ended == Ended::Done && report.notes.iter().any(|n| n.contains("up to when")), "{report:?}");
            let mark = state(&store, Patient).high_water.unwrap();
            assert_eq!(mark, domain::Clock::now(&*north.world.clock).micros() - 300_000_000, "five minutes before it was asked for");
            db.execute("DELETE FROM sync_state");
        }
    }

    async fn a_server_that_fails_for_good_is_given_up(db) {
        let store = db.store();
        let north = exported(&store).await;
        north.world.ehr.plant(forever(FaultKind::ServerError { status: 500 }).on("GET", "/fhir/export-status"));
        let mut ended = Vec::new();
        while bodies(&store, Patient).is_empty() && ended.len() < 12 {
            ended.push(north.sync_one(&store, Patient).await);
            if ended.last().unwrap().failure().is_some_and(|why| why.contains("given up")) {
                break;
            }
        }
        let last = ended.last().unwrap();
        assert!(last.failure().is_some_and(|why| why.contains("given up") && why.contains("500")), "{last:?}");
        assert_eq!((north.world.ehr.open_exports(), asked(&north, "GET", "/fhir/Patient/$export").len()), (0, 1), "it is deleted, and asked for once");
    }
}
