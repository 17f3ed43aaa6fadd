//! From patient to patient: what is stored, who is a hole, and runs that are cut off.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use domain::clock::Clock as _;
use domain::model::ResourceType::{self, Appointment, CarePlan, Patient};
use fhir_engage::ehr::reads::RosterSource;
use fhir_engage::store::coverage::{self, Hole};
use fhir_engage::store::{Store, people, roster};
use fhir_engage::sync::task::Ended;
use sandbox::{Fault, FaultKind, Flavour};
use serde_json::json;

use super::setup::{HOLDER, Synced, as_of, bodies, ehr, group, latest_run, state};
use crate::ehr::support::{PATIENTS, World};
use crate::support::{TempDir, on_both};

fn holes(store: &Store) -> Vec<Hole> {
    store.read_blocking(|conn| coverage::holes(conn, &ehr(), 1000)).unwrap()
}

/// What rules may take as known of a patient: the types, and up to when.
fn known(store: &Store, id: &str) -> (Vec<ResourceType>, Option<i64>) {
    let person = store.read_blocking(|conn| people::record(conn, "north", id)).unwrap().unwrap().person;
    let mut all = store.read_blocking(|conn| people::facts(conn, &[person])).unwrap();
    let known = all.remove(&person).unwrap();
    (known.facts.synced, known.as_of.map(|at| at.micros()))
}

fn patient(n: usize) -> String {
    format!("pat-{n:06}")
}

/// Every EHR that gives its data one patient at a time only.
const BY_PATIENT: [Flavour; 7] =
    [Flavour::Epic, Flavour::Oracle, Flavour::Meditech, Flavour::Athena, Flavour::Eclinicalworks, Flavour::Veradigm, Flavour::Nextgen];

on_both! {
    async fn each_vendors_servers_are_read_whole_where_a_group_is_given(db) {
        for flavour in BY_PATIENT {
            let store = db.store();
            for table in ["coverage_hole", "roster", "visit", "fact", "resource", "sync_state"] {
                db.execute(&format!("DELETE FROM {table}"));
            }
            let north = Synced::at(&store, flavour).await;
            let plan = north.plan();
            for report in north.sync(&store, &ResourceType::CORE).await {
                let of = plan.of_type(report.kind).unwrap();
                if of.strategy.as_str() == "off" {
                    assert!(matches!(report.ended, Ended::NoWay(_)) && report.failure().is_none(), "{flavour:?}: {report:?}");
                    continue;
                }
                assert_eq!((report.ended.clone(), report.holes, report.partial), (Ended::Done, 0, false), "{flavour:?}: {report:?}");
                assert_eq!(report.units, Some((i64::from(PATIENTS), i64::from(PATIENTS))), "{flavour:?}: {report:?}");
                assert!(report.notes.is_empty(), "{flavour:?}: {:?}", report.notes);
                if report.kind != Appointment {
                    north.assert_same(&store, report.kind);
                }
                let run = latest_run(&store, report.kind).unwrap();
                assert_eq!((run.units_done, run.units_of), (Some(PATIENTS.into()), Some(PATIENTS.into())));
                let state = state(&store, report.kind);
                assert_eq!((state.as_of, state.resume, state.by_patient), (Some(north.world.clock.now().micros()), None, Some(true)));
            }
            assert_eq!(holes(&store), []);
            let refused: Vec<_> = north.world.ehr.request_log().into_iter().filter(|r| r.status == 400).map(|r| r.path).collect();
            assert!(refused.is_empty(), "{flavour:?} refuses {refused:?}");
            // A second time nothing is new.
            for report in north.sync(&store, &[Patient, CarePlan]).await {
                assert_eq!((report.stored, report.unchanged), (0, report.found), "{flavour:?}: {report:?}");
            }
        }
    }

    async fn one_patients_failure_is_a_hole_and_sinks_nothing(db) {
        let store = db.store();
        let north = Synced::at(&store, Flavour::Epic).await;
        let of = |patient: &str, status: u16, code: Option<&str>| {
            let kind = FaultKind::OfPatient { patient: patient.to_owned(), status, code: code.map(str::to_owned) };
            Fault::new(kind).times(u32::MAX)
        };
        let (sealed, broken, deleted) = (patient(3), patient(7), patient(9));
        north.world.ehr.plant(of(&sealed, 403, Some("4130")));
        north.world.ehr.plant(of(&broken, 503, None));
        north.world.ehr.delete("Patient", &deleted).unwrap();
        for report in north.sync(&store, &ResourceType::CORE).await {
            let expected = if report.kind == Patient { 3 } else { 2 };
            assert_eq!((report.ended.clone(), report.holes, report.partial), (Ended::Done, expected, false), "{report:?}");
            assert!(report.is_problem() && report.result().contains("could not be read of"), "{report:?}");
        }
        let found = holes(&store);
        let why = |id: &str, kind: &str| found.iter().find(|h| h.patient == id && h.rtype == kind).map(|h| h.why.clone()).unwrap_or_default();
        for kind in ["Patient", "Appointment", "CarePlan"] {
            assert!(why(&sealed, kind).contains("break the glass"), "{kind}: {found:?}");
            assert!(why(&broken, kind).contains("503"), "{kind}: {found:?}");
        }
        assert!(why(&deleted, "Patient").contains("does not have"), "{found:?}");
        assert_eq!(found.len(), 7, "{found:?}");
        // The next run makes up for it, and keeps what is still so.
        north.world.ehr.clear_faults();
        north.world.ehr.plant(of(&sealed, 403, Some("4130")));
        let since = found[0].since;
        north.world.clock.advance(TimeDelta::hours(2));
        let _ = north.sync(&store, &ResourceType::CORE).await;
        let left = holes(&store);
        assert_eq!(left.iter().filter(|h| h.patient == sealed).count(), 3, "{left:?}");
        assert_eq!(left.len(), 4, "{left:?}");
        assert!(left.iter().all(|h| h.since == since), "a hole keeps its age: {left:?}");
        north.world.ehr.clear_faults();
        let _ = north.sync(&store, &ResourceType::CORE).await;
        assert_eq!(holes(&store).into_iter().map(|h| (h.patient, h.rtype)).collect::<Vec<_>>(), [(deleted, "Patient".to_owned())]);
        north.assert_same(&store, CarePlan);
    }

    async fn rules_know_of_a_hole_no_more_than_before_it(db) {
        let store = db.store();
        let north = Synced::at(&store, Flavour::Epic).await;
        let _ = north.sync(&store, &ResourceType::CORE).await;
        let first = north.world.clock.now().micros();
        assert_eq!(known(&store, &patient(2)), (ResourceType::CORE.to_vec(), Some(first)));
        // It fails for one who was read before: known, and only so far.
        let fault = FaultKind::OfPatient { patient: patient(2), status: 503, code: None };
        north.world.ehr.plant(Fault::new(fault).on("GET", "/fhir/CarePlan").times(u32::MAX));
        // And one comes new, whose plans cannot be read: not known at all.
        let new = json!({ "resourceType": "Patient", "id": "new-1", "active": true });
        let ids: Vec<String> = (1..=PATIENTS as usize).map(patient).chain(["new-1".to_owned()]).collect();
        north.world.ehr.load([new.to_string()]).unwrap();
        north.world.ehr.edit("Group", "panel", |g| *g = serde_json::from_str(&group(&ids)).unwrap()).unwrap();
        let fault = FaultKind::OfPatient { patient: "new-1".to_owned(), status: 503, code: None };
        north.world.ehr.plant(Fault::new(fault).on("GET", "/fhir/CarePlan").times(u32::MAX));
        north.world.clock.advance(TimeDelta::hours(3));
        let _ = north.sync(&store, &ResourceType::CORE).await;
        let second = north.world.clock.now().micros();
        assert_eq!(known(&store, &patient(1)), (ResourceType::CORE.to_vec(), Some(second)));
        assert_eq!(known(&store, &patient(2)), (ResourceType::CORE.to_vec(), Some(first)));
        assert_eq!(known(&store, "new-1"), (vec![Patient, Appointment], None));
    }

    async fn who_comes_to_the_roster_and_who_leaves_it(db) {
        let store = db.store();
        let north = Synced::at(&store, Flavour::Epic).await;
        let some: Vec<String> = (1..=12).map(patient).collect();
        north.world.ehr.edit("Group", "panel", |g| *g = serde_json::from_str(&group(&some)).unwrap()).unwrap();
        let _ = north.sync(&store, &ResourceType::CORE).await;
        assert_eq!((bodies(&store, Patient).len(), holes(&store).len()), (12, 0));
        let first = as_of(&store, Patient);
        // Two leave, one comes.
        let others: Vec<String> = (3..=13).map(patient).collect();
        north.world.ehr.edit("Group", "panel", |g| *g = serde_json::from_str(&group(&others)).unwrap()).unwrap();
        north.world.clock.advance(TimeDelta::hours(1));
        let _ = north.sync(&store, &ResourceType::CORE).await;
        assert_eq!(bodies(&store, Patient).len(), 13, "who leaves the roster is not gone");
        let found = holes(&store);
        assert_eq!(found.len(), 6, "{found:?}");
        assert!(found.iter().all(|h| h.why == coverage::NOT_LISTED && h.known_up_to == first && [patient(1), patient(2)].contains(&h.patient)));
        assert!(known(&store, &patient(13)).0.contains(&CarePlan));
    }

    async fn an_empty_or_a_shrunken_roster_drops_nobody(db) {
        let store = db.store();
        let mut north = Synced::at(&store, Flavour::Epic).await;
        let _ = north.sync(&store, &[Patient]).await;
        for (left, says) in [(0, "empty"), (5, "25 of 30 patients are no longer on the roster")] {
            let ids: Vec<String> = (1..=left).map(patient).collect();
            north.world.ehr.edit("Group", "panel", |g| *g = serde_json::from_str(&group(&ids)).unwrap()).unwrap();
            let report = north.sync_one(&store, Patient).await;
            assert!(matches!(&report.ended, Ended::Failed(why) if why.contains(says)), "{report:?}");
            assert_eq!(store.read_blocking(|conn| roster::count(conn, &ehr())).unwrap(), 30);
        }
        north.accept_vanished = true;
        assert_eq!(north.sync_one(&store, Patient).await.units, Some((5, 5)));
    }

    async fn a_file_of_ids_and_identifiers_is_looked_up(db) {
        let store = db.store();
        let folder = TempDir::new();
        let file = folder.join("panel.txt");
        let mut world = World::speaking(Flavour::Oracle).await;
        let identifier = world.ehr.resource("Patient", &patient(5)).unwrap()["identifier"][0].clone();
        let mrn = format!("{}|{}", identifier["system"].as_str().unwrap(), identifier["value"].as_str().unwrap());
        std::fs::write(&file, format!("# the panel\n{}\nPatient/{}\n{mrn}\nurn:mrn|nobody\nnot an id\n", patient(1), patient(2))).unwrap();
        world.profile.roster = vec![RosterSource::File(file)];
        let north = Synced::of(&store, world).await;
        let reports = north.sync(&store, &[Patient, CarePlan]).await;
        let ids: Vec<String> = bodies(&store, Patient).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, [patient(1), patient(2), patient(5)]);
        assert!(reports[0].notes.iter().any(|n| n.contains("the first is line 6")), "{:?}", reports[0].notes);
        assert!(reports[0].notes.iter().any(|n| n.contains("1 identifiers")), "{:?}", reports[0].notes);
        assert!(reports.iter().all(|r| r.notes.iter().all(|n| !n.contains("nobody"))), "no note names whom the list names");
        let found = holes(&store);
        assert_eq!((found.len(), found[0].patient.as_str()), (1, "urn:mrn|nobody"), "{found:?}");
        assert_eq!(found[0].why, "no patient has this identifier");
    }

    async fn patients_come_from_the_appointments_of_a_location(db) {
        let store = db.store();
        let mut world = World::speaking(Flavour::Oracle).await;
        world.profile.roster = vec![RosterSource::Appointments];
        let locations: Vec<String> = world.ehr.resources("Location").iter().map(|l| l["id"].as_str().unwrap().to_owned()).collect();
        world.profile.window.locations = locations;
        let north = Synced::of(&store, world).await;
        let reports = north.sync(&store, &ResourceType::CORE).await;
        assert_eq!(reports.iter().map(|r| r.kind).collect::<Vec<_>>(), [Appointment, Patient, CarePlan], "appointments come first");
        assert!(reports.iter().all(|r| r.ended == Ended::Done && r.holes == 0), "{reports:?}");
        let seen = store.read_blocking(|conn| roster::with_appointments(conn, &ehr())).unwrap();
        let read: Vec<String> = bodies(&store, Patient).into_iter().map(|(id, _)| id).collect();
        assert!(!seen.is_empty() && seen == read, "{seen:?} {read:?}");
    }

    async fn a_crawl_that_is_stopped_or_cut_off_goes_on_where_it_was(db) {
        let store = db.store();
        // More than one chunk, so that there is a middle.
        let north = crowd(&store, 80).await;
        let began = north.world.clock.now().micros();
        let stop = AtomicBool::new(false);
        let reports = north.sync_with(&store, &[Patient], HOLDER, &stop, &|_, _| stop.store(true, Ordering::Relaxed)).await;
        assert_eq!((&reports[0].ended, reports[0].units), (&Ended::Interrupted, Some((32, 80))));
        assert_eq!((bodies(&store, Patient).len(), as_of(&store, Patient)), (32, None));
        let run = latest_run(&store, Patient).unwrap();
        assert_eq!((run.state.as_str(), run.units_done, run.units_of), ("interrupted", Some(32), Some(80)));
        // Down for everyone: no hole is made of it, and the pass stands where it stood.
        north.world.clock.advance(TimeDelta::minutes(10));
        north.world.ehr.plant(Fault::new(FaultKind::ServerError { status: 503 }).on("GET", "/fhir/Patient").times(32 * 4));
        let report = north.sync_one(&store, Patient).await;
        assert!(matches!(&report.ended, Ended::Paused(why) if why.contains("failed again and again")), "{report:?}");
        assert!(report.is_failing && report.failure().is_none());
        let run = latest_run(&store, Patient).unwrap();
        assert_eq!((run.state.as_str(), run.paused_until), ("interrupted", report.paused_until.map(|t| t.micros())));
        assert_eq!((holes(&store).len(), bodies(&store, Patient).len()), (0, 32));
        north.world.ehr.clear_faults();
        north.world.clock.advance(TimeDelta::seconds(10));
        let asked = north.world.asked("GET", "/fhir/Patient/");
        let report = north.sync_one(&store, Patient).await;
        assert_eq!((report.ended.clone(), report.found, report.units), (Ended::Done, 48, Some((80, 80))), "{report:?}");
        assert_eq!(north.world.asked("GET", "/fhir/Patient/") - asked, 48, "nobody is read twice");
        assert_eq!(as_of(&store, Patient), Some(began), "what was read first is known since then, and so is the whole");
        north.assert_same(&store, Patient);
    }

    async fn a_list_of_another_ehr_is_noticed(db) {
        let store = db.store();
        let folder = TempDir::new();
        let file = folder.join("panel.txt");
        std::fs::write(&file, (0..40).map(|n| format!("stranger-{n}\n")).collect::<String>()).unwrap();
        let mut world = World::speaking(Flavour::Epic).await;
        world.profile.roster = vec![RosterSource::File(file.clone())];
        let north = Synced::of(&store, world).await;
        let report = north.sync_one(&store, Patient).await;
        assert!(matches!(&report.ended, Ended::Failed(why) if why.contains("none of the first 32 patients")), "{report:?}");
        assert_eq!(holes(&store), []);
        std::fs::remove_file(&file).unwrap();
        let report = north.sync_one(&store, Patient).await;
        assert!(matches!(&report.ended, Ended::Failed(why) if why.contains("cannot be read")), "{report:?}");
    }

    async fn what_is_lacking_is_said_and_nothing_is_asked(db) {
        let store = db.store();
        let world = World::speaking(Flavour::Epic).await;
        let north = Synced::of(&store, world).await;
        for report in north.sync(&store, &ResourceType::CORE).await {
            assert!(matches!(&report.ended, Ended::Refused(why) if why.contains("--roster") && why.contains("--group")), "{report:?}");
        }
        assert_eq!(ResourceType::CORE.map(|kind| north.searches(kind).len()), [0, 0, 0]);
    }
}

/// An EHR with so many patients and nothing else of them.
async fn crowd(store: &Store, patients: usize) -> Synced {
    let mut world = World::speaking(Flavour::Epic).await;
    let ids: Vec<String> = (1..=patients).map(patient).collect();
    let more = ids.iter().skip(PATIENTS as usize).map(|id| json!({ "resourceType": "Patient", "id": id, "active": true }).to_string());
    world.ehr.load(more).unwrap();
    world.ehr.load([group(&ids)]).unwrap();
    world.profile.roster = vec![RosterSource::Group("panel".to_owned())];
    Synced::of(store, world).await
}
