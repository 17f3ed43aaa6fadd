//! Exports: one job serves all types, its files go to the store, what it no longer shows is settled, and the EHR is told to delete it.

use std::time::Duration;

use chrono::TimeDelta;
use domain::clock::Clock as _;
use domain::model::ResourceType::{self, Appointment, CarePlan, Patient};
use fhir_engage::ehr::auth::Algorithm;
use fhir_engage::ehr::bulk::Level;
use fhir_engage::ehr::profile::Strategy;
use fhir_engage::store::{Store, coverage, exports};
use fhir_engage::sync::task::Ended;
use sandbox::{Fault, FaultKind, Flavour};
use serde_json::json;

use super::setup::{Synced, as_of, bodies, ehr, group, latest_run, state};
use crate::ehr::support::World;
use crate::support::on_both;

fn patient(n: usize) -> String {
    format!("pat-{n:06}")
}

/// A full R4 server whose types are all read by exports.
pub async fn exported(store: &Store) -> Synced {
    Synced::start(store).await.with(Strategy::Bulk)
}

/// The paths that were asked for, with their queries, that begin so.
pub fn asked(north: &Synced, method: &str, path: &str) -> Vec<String> {
    let log = north.world.ehr.request_log();
    log.into_iter().filter(|r| r.method == method && r.path.starts_with(path)).map(|r| r.path).collect()
}

fn jobs(store: &Store) -> Vec<exports::Job> {
    store.read_blocking(|conn| exports::of_ehr(conn, &ehr())).unwrap()
}

/// Marks of two reads apart in time.
async fn twice(north: &Synced, store: &Store, kind: ResourceType) -> i64 {
    let first = north.sync_one(store, kind).await;
    assert_eq!((&first.ended, first.gone), (&Ended::Done, 0), "one read proves nothing: {first:?}");
    north.world.clock.advance(TimeDelta::days(8));
    let second = north.sync(store, &[kind]).await;
    assert!(second.iter().all(|r| r.ended == Ended::Done), "{second:?}");
    second.iter().map(|r| r.gone).sum()
}

on_both! {
    async fn one_job_serves_all_types_and_is_deleted(db) {
        let store = db.store();
        let north = exported(&store).await;
        let started = north.world.clock.now();
        let reports = north.sync(&store, &ResourceType::CORE).await;
        assert!(reports.iter().all(|r| r.ended == Ended::Done && r.strategy == "bulk" && r.stored == r.found && r.found > 0), "{reports:?}");
        ResourceType::CORE.iter().for_each(|kind| north.assert_same(&store, *kind));
        assert_eq!(asked(&north, "GET", "/fhir/Patient/$export"), ["/fhir/Patient/$export?_type=Patient%2CAppointment%2CCarePlan"]);
        assert_eq!((asked(&north, "DELETE", "/fhir/export-status/").len(), north.world.ehr.open_exports(), jobs(&store).len()), (1, 0, 0));
        assert_eq!(ResourceType::CORE.map(|kind| north.searches(kind).iter().filter(|p| !p.contains("$export")).count()), [0, 0, 0]);
        for kind in ResourceType::CORE {
            assert_eq!((as_of(&store, kind), state(&store, kind).reconciled_at), (Some(started.micros()), Some(started.micros())), "{kind}");
            assert_eq!(state(&store, kind).high_water, Some(started.micros()), "the mark is the export's own time");
        }
    }

    async fn the_next_asks_for_what_changed_and_takes_what_was_deleted(db) {
        let store = db.store();
        let north = exported(&store).await;
        north.sync(&store, &ResourceType::CORE).await;
        north.world.clock.advance(TimeDelta::hours(2));
        let plan = bodies(&store, CarePlan)[3].0.clone();
        north.world.ehr.edit("Patient", &patient(4), |p| p["active"] = json!(false)).unwrap();
        north.world.ehr.delete("CarePlan", &plan).unwrap();
        let reports = north.sync(&store, &ResourceType::CORE).await;
        let told: Vec<(i64, i64)> = reports.iter().map(|r| (r.found, r.gone)).collect();
        assert_eq!(told, [(1, 0), (0, 0), (0, 1)], "{reports:?}");
        let kicked = asked(&north, "GET", "/fhir/Patient/$export");
        assert!(kicked[1].ends_with("&_since=2026-11-23T14%3A55%3A00Z"), "{kicked:?}");
        assert_eq!(latest_run(&store, CarePlan).unwrap().gone, Some(1));
        north.assert_same(&store, Patient);
    }

    async fn what_a_full_export_no_longer_shows_is_settled_by_reads(db) {
        let store = db.store();
        let north = exported(&store).await;
        north.sync(&store, &ResourceType::CORE).await;
        let gone = bodies(&store, Appointment)[7].0.clone();
        north.world.ehr.delete("Appointment", &gone).unwrap();
        // The next is a full one, a week later; the second read comes with the one after it.
        north.world.clock.advance(TimeDelta::days(8));
        assert_eq!(twice(&north, &store, Appointment).await, 1);
        assert_eq!(north.world.asked("GET", &format!("/fhir/Appointment/{gone}")), 2);
        assert!(asked(&north, "GET", "/fhir/Patient/$export").iter().all(|path| !path.contains("_since")));
    }

    async fn much_that_disappears_at_once_stops_before_anything_is_gone(db) {
        let store = db.store();
        let mut north = exported(&store).await;
        north.sync(&store, &[CarePlan]).await;
        for (id, _) in bodies(&store, CarePlan).iter().take(25) {
            north.world.ehr.delete("CarePlan", id).unwrap();
        }
        north.world.clock.advance(TimeDelta::days(8));
        let report = north.sync_one(&store, CarePlan).await;
        assert!(matches!(&report.ended, Ended::Failed(why) if why.contains("25 of 30") && why.contains("--accept-vanished")), "{report:?}");
        assert_eq!((north.world.ehr.open_exports(), jobs(&store).len()), (0, 0), "the job is deleted all the same");
        north.accept_vanished = true;
        assert_eq!(twice(&north, &store, CarePlan).await, 25);
    }

    async fn an_export_that_takes_long_is_left_and_read_by_a_later_run(db) {
        let store = db.store();
        let mut north = exported(&store).await;
        north.export_wait = Duration::ZERO;
        let reports = north.sync(&store, &ResourceType::CORE).await;
        assert!(reports.iter().all(|r| matches!(&r.ended, Ended::Waiting(_)) && r.failure().is_none() && !r.is_problem()), "{reports:?}");
        let kept = jobs(&store);
        assert!(kept.len() == 1 && kept[0].state == "waiting" && kept[0].status_url.contains("/export-status/1"), "{kept:?}");
        // The process dies, and another one asks for the same job.
        north.export_wait = Duration::from_secs(20);
        let reports = north.sync(&store, &ResourceType::CORE).await;
        assert!(reports.iter().all(|r| r.ended == Ended::Done && r.found > 0), "{reports:?}");
        assert_eq!(asked(&north, "GET", "/fhir/Patient/$export").len(), 1);
        assert_eq!(north.world.ehr.open_exports(), 0);
    }

    async fn a_type_that_no_scope_covers_is_not_in_the_export_and_not_taken_as_empty(db) {
        let store = db.store();
        let north = Synced::of(&store, World::with(Algorithm::Es384, "system/Patient.rs system/CarePlan.rs").await).await;
        let north = north.with(Strategy::Bulk);
        let reports = north.sync(&store, &ResourceType::CORE).await;
        let told: Vec<(ResourceType, &Ended)> = reports.iter().map(|r| (r.kind, &r.ended)).collect();
        assert!(matches!(told[..], [(Patient, Ended::Done), (Appointment, Ended::Refused(_)), (CarePlan, Ended::Done)]), "{told:?}");
        assert_eq!(asked(&north, "GET", "/fhir/Patient/$export"), ["/fhir/Patient/$export?_type=Patient%2CCarePlan"]);
        assert_eq!((as_of(&store, Appointment), north.searches(Appointment).len()), (None, 0), "it is not known");
        assert!(reports[1].notes.iter().any(|n| n.contains("grants no scope by which Appointment may be exported")), "{:?}", reports[1]);
    }

    async fn a_cursor_is_made_up_for_by_a_full_export_now_and_then(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        assert!(north.plan().to_string().contains("every 7 days a full export"), "{}", north.plan());
        assert_eq!(north.sync(&store, &[Patient]).await.len(), 1);
        north.world.ehr.delete("Patient", &patient(2)).unwrap();
        north.world.clock.advance(TimeDelta::days(1));
        assert_eq!(north.sync(&store, &[Patient]).await.len(), 1, "not due yet");
        let mark = state(&store, Patient).high_water;
        let mut gone = 0;
        for _ in 0..2 {
            north.world.clock.advance(TimeDelta::days(8));
            let reports = north.sync(&store, &[Patient]).await;
            assert_eq!(reports.iter().map(|r| r.strategy).collect::<Vec<_>>(), ["cursor", "bulk"], "{reports:?}");
            assert!(reports.iter().all(|r| r.ended == Ended::Done && r.stored == 0), "{reports:?}");
            gone += reports[1].gone;
        }
        assert_eq!(gone, 1);
        assert_eq!((state(&store, Patient).high_water, state(&store, Patient).fingerprint.starts_with("cursor ")), (mark, true), "its mark is its own");
        assert_eq!(north.world.ehr.open_exports(), 0);
    }

    async fn a_groups_members_are_exported_and_who_comes_new_is_read_in_full(db) {
        let store = db.store();
        let mut world = World::speaking(Flavour::Oracle).await;
        world.profile.roster = vec![fhir_engage::ehr::reads::RosterSource::Group("panel".to_owned())];
        let some: Vec<String> = (1..=12).map(patient).collect();
        world.ehr.load([group(&some)]).unwrap();
        let north = Synced::of(&store, world).await;
        let plan = north.plan();
        assert_eq!(plan.types.iter().map(|t| t.strategy).collect::<Vec<_>>(), [Strategy::Bulk, Strategy::Window, Strategy::Bulk], "{plan}");
        assert_eq!(plan.export.as_ref().unwrap().level, Level::Group);
        let types = [Patient, CarePlan];
        let reports = north.sync(&store, &types).await;
        assert!(reports.iter().all(|r| r.ended == Ended::Done && r.found == 12), "{reports:?}");
        // Time goes on, and one comes who was there all along: nothing of them changes.
        north.world.clock.advance(TimeDelta::hours(5));
        let more: Vec<String> = (1..=13).map(patient).collect();
        north.world.ehr.edit("Group", "panel", |g| *g = serde_json::from_str(&group(&more)).unwrap()).unwrap();
        let reports = north.sync(&store, &types).await;
        assert!(reports.iter().all(|r| r.ended == Ended::Done && r.stored == 1), "{reports:?}");
        let kicked = asked(&north, "GET", "/fhir/Group/panel/$export");
        assert!(kicked.len() == 2 && kicked[1].contains("_since="), "the others are not exported anew: {kicked:?}");
        assert_eq!((bodies(&store, Patient).len(), bodies(&store, CarePlan).len()), (13, 13));
        let holes = store.read_blocking(|conn| coverage::holes(conn, &ehr(), 99)).unwrap();
        assert_eq!(holes, [], "of all members everything is known");
        // Who leaves is not gone, and not known any further.
        north.world.ehr.edit("Group", "panel", |g| *g = serde_json::from_str(&group(&some)).unwrap()).unwrap();
        north.world.clock.advance(TimeDelta::hours(1));
        north.sync(&store, &types).await;
        assert_eq!(bodies(&store, Patient).len(), 13);
        let holes = store.read_blocking(|conn| coverage::holes(conn, &ehr(), 99)).unwrap();
        assert!(holes.iter().all(|h| h.patient == patient(13) && h.why == coverage::NOT_LISTED) && holes.len() >= 2, "{holes:?}");
    }

    async fn a_filter_narrows_and_what_it_does_not_show_is_not_missing(db) {
        let store = db.store();
        let mut north = exported(&store).await;
        north.sync(&store, &[CarePlan]).await;
        let all = bodies(&store, CarePlan).len();
        let filter = "CarePlan?status=no,such".to_owned();
        north.world.profile.bulk.filters = vec![fhir_engage::ehr::bulk::TypeFilter::try_from(filter).unwrap()];
        north.world.clock.advance(TimeDelta::days(8));
        let report = north.sync_one(&store, CarePlan).await;
        assert_eq!((report.ended.clone(), report.found, report.gone), (Ended::Done, 0, 0), "{report:?}");
        let kicked = asked(&north, "GET", "/fhir/Patient/$export");
        assert!(kicked[1].contains("_typeFilter=CarePlan%3Fstatus%3Dno%252Csuch"), "{kicked:?}");
        assert_eq!(bodies(&store, CarePlan).len(), all);
    }

    async fn a_read_that_is_cut_off_goes_on_with_the_same_job(db) {
        let store = db.store();
        let north = exported(&store).await;
        // The third file cannot be had for a while: neither ahead of its turn nor when it is wanted.
        north.world.ehr.plant(Fault::new(FaultKind::ServerError { status: 503 }).on("GET", "/fhir/export-files/1/0/2").times(8));
        let reports = north.sync(&store, &ResourceType::CORE).await;
        assert!(reports.iter().all(|r| matches!(&r.ended, Ended::Failed(why) if why.contains("503") && why.contains("goes on"))), "{reports:?}");
        let kept = jobs(&store);
        assert!(kept.len() == 1 && kept[0].state == "reading" && kept[0].line > 0, "{kept:?}");
        assert!(!bodies(&store, Patient).is_empty(), "what came before stays");
        assert_eq!(as_of(&store, Patient), None);
        let patients = north.world.asked("GET", "/fhir/export-files/1/0/0");
        let reports = north.sync(&store, &ResourceType::CORE).await;
        assert!(reports.iter().all(|r| r.ended == Ended::Done), "{reports:?}");
        assert_eq!(north.world.asked("GET", "/fhir/export-files/1/0/0"), patients, "a file that was stored is not read again");
        ResourceType::CORE.iter().for_each(|kind| north.assert_same(&store, *kind));
        assert_eq!((asked(&north, "GET", "/fhir/Patient/$export").len(), north.world.ehr.open_exports()), (1, 0));
        // All that was shown before the cut counts as shown: nothing is missing.
        assert_eq!(db.lines("SELECT fhir_id AS line FROM missing"), Vec::<String>::new());
    }
}
