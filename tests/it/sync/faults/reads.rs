//! What goes wrong with searches and reads while a sync runs: said of the store, and of what the EHR was asked.

use chrono::TimeDelta;
use domain::Clock as _;
use domain::model::ResourceType::{self, CarePlan, Patient};
use fhir_engage::ehr::profile::Strategy;
use fhir_engage::ehr::{Connection, EhrError};
use fhir_engage::store::quarantine;
use fhir_engage::sync::task::Ended;
use sandbox::{Fault, FaultKind, Flavour};
use serde_json::json;

use crate::ehr::support::World;
use crate::support::on_both;
use crate::sync::setup::{PAGE, Synced, as_of, bodies, latest_run, state, values};

fn patient(n: usize) -> String {
    format!("pat-{n:06}")
}

fn always(kind: FaultKind, path: &str) -> Fault {
    Fault::new(kind).on("GET", path).times(u32::MAX)
}

on_both! {
    async fn a_busy_ehr_is_left_alone_for_as_long_as_it_says(db) {
        let store = db.store();
        let busy = |text: Option<&str>| Fault::new(FaultKind::TooManyRequests { retry_after: text.map(str::to_owned) });
        for table in ["resource", "fact", "sync_state", "sync_run"] {
            db.execute(&format!("DELETE FROM {table}"));
        }
        // One that asks for no time is asked again at once.
        let north = Synced::start(&store).await;
        north.world.ehr.plant(busy(Some("0")).on("GET", "/fhir/Patient").after(1));
        assert_eq!(north.sync_one(&store, Patient).await.ended, Ended::Done);
        north.assert_same(&store, Patient);
        assert_eq!(north.searches(Patient).len(), 4, "three pages, one of them twice");
        // Longer than a run waits, on a clock that stands still: it ends without a failure, nobody asks meanwhile, and a later one goes on.
        // It is 15:00 there: in seconds, in parts of them, as a date, as an instant in milliseconds, and without a word to go by.
        for (text, seconds) in [
            (Some("90"), 90),
            (Some("30.5"), 31),
            (Some("7200"), 7_200),
            (Some("Mon, 23 Nov 2026 16:00:00 GMT"), 3_600),
            (Some("1795446060000"), 60),
            (None, 60),
            (Some("soon"), 60),
        ] {
            let north = Synced::start(&store).await;
            db.execute("DELETE FROM sync_state");
            north.world.ehr.plant(busy(text).on("GET", "/fhir/Patient").after(1));
            let reports = north.sync(&store, &ResourceType::CORE).await;
            for r in &reports {
                assert!(matches!(r.ended, Ended::Paused(_)) && r.failure().is_none() && !r.is_problem(), "{text:?}: {r:?}");
            }
            assert_eq!(as_of(&store, Patient), None, "{text:?}");
            let waits = reports[0].paused_until.unwrap().since(north.world.clock.now()).num_seconds();
            assert!((seconds - 2..=seconds + seconds / 10 + 5).contains(&waits), "{text:?}: {waits}");
            let asked = north.world.ehr.request_log().len();
            north.sync_one(&store, Patient).await;
            assert_eq!(north.world.ehr.request_log().len(), asked, "{text:?}: it was asked in spite of what it said");
            north.world.clock.advance(TimeDelta::seconds(waits + 5));
            let reports = north.sync(&store, &ResourceType::CORE).await;
            assert!(reports.iter().all(|r| r.ended == Ended::Done), "{text:?}: {reports:?}");
            ResourceType::CORE.iter().for_each(|kind| north.assert_same(&store, *kind));
        }
    }

    async fn a_page_that_never_comes_is_asked_for_again_and_in_the_end_named(db) {
        let store = db.store();
        let mut world = World::start().await;
        world.profile.timeout_secs = Some(1);
        let north = Synced::of(&store, world).await;
        north.world.ehr.plant(Fault::new(FaultKind::PageTimeout { millis: 1_500 }).on("GET", "/fhir/Patient").after(1).times(2));
        assert_eq!(north.sync_one(&store, Patient).await.ended, Ended::Done);
        north.assert_same(&store, Patient);
        assert_eq!(north.searches(Patient).len(), 5, "three pages, one of them three times");
        north.world.ehr.plant(Fault::new(FaultKind::PageTimeout { millis: 1_500 }).on("GET", "/fhir/CarePlan").after(1).times(4));
        let report = north.sync_one(&store, CarePlan).await;
        assert!(report.failure().is_some_and(|why| why.contains("did not answer in time")), "{report:?}");
        assert_eq!((bodies(&store, CarePlan).len(), as_of(&store, CarePlan)), (PAGE, None), "the page before stays, and no mark is moved");
        assert_eq!(north.sync_one(&store, CarePlan).await.ended, Ended::Done);
        north.assert_same(&store, CarePlan);
    }

    async fn a_replica_that_lags_hides_nothing_for_good(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        north.sync_one(&store, Patient).await;
        let change = |n: usize, language: &str| north.world.ehr.edit("Patient", &patient(n), |p| p["language"] = json!(language)).unwrap();
        for lag_seconds in [45, 900, 7_200] {
            north.world.clock.advance(TimeDelta::hours(1));
            change(3, &format!("x-a{lag_seconds}"));
            north.world.clock.advance(TimeDelta::seconds(30));
            change(5, &format!("x-b{lag_seconds}"));
            north.world.clock.advance(TimeDelta::seconds(20));
            // What the replica does not know yet must not be passed over: the mark goes no further than what it showed.
            north.world.ehr.plant(always(FaultKind::LaggingReplica { millis: lag_seconds * 1_000 }, "/fhir/Patient"));
            let shown = north.sync_one(&store, Patient).await;
            assert_eq!((&shown.ended, shown.stored), (&Ended::Done, i64::from(lag_seconds == 45)), "{lag_seconds}: {shown:?}");
            assert!(state(&store, Patient).high_water.unwrap() <= north.world.clock.now().micros() - 20_000_000, "{lag_seconds}");
            north.world.ehr.clear_faults();
            north.world.clock.advance(TimeDelta::minutes(20));
            let report = north.sync_one(&store, Patient).await;
            assert_eq!(report.stored, if lag_seconds == 45 { 1 } else { 2 }, "{lag_seconds}: {report:?}");
            north.assert_same(&store, Patient);
        }
    }

    async fn a_filter_that_is_advertised_and_not_known_costs_time_and_nothing_else(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        let first = north.sync_one(&store, Patient).await;
        // The search says with a warning that it knows no `_lastUpdated`.
        north.world.ehr.plant(always(FaultKind::NoLastUpdated, "/fhir/Patient"));
        north.world.clock.advance(TimeDelta::hours(2));
        north.world.ehr.edit("Patient", &patient(7), |p| p["active"] = json!(false)).unwrap();
        let report = north.sync_one(&store, Patient).await;
        assert_eq!((&report.ended, report.stored, report.unchanged), (&Ended::Done, 1, first.found - 1), "{report:?}");
        assert!(report.notes.iter().any(|note| note.contains("_lastUpdated")), "{:?}", report.notes);
        north.assert_same(&store, Patient);
        north.world.ehr.clear_faults();
        // And one that does not advertise it is not asked by it.
        north.world.ehr.plant(Fault::new(FaultKind::NoLastUpdated).on("GET", "/fhir/metadata"));
        let connection = Connection::open(&north.world.profile, &north.world.parts).await.unwrap();
        let north = Synced { connection, ..north };
        let plan = north.plan();
        assert_eq!(plan.of_type(Patient).unwrap().strategy, Strategy::Bulk, "{plan}");
        assert!(plan.to_string().contains("not       cursor: the server's statement does not list _lastUpdated"), "{plan}");
        let before = north.searches(Patient).len();
        assert_eq!(north.sync_one(&store, Patient).await.unchanged, first.found);
        assert!(north.searches(Patient)[before..].iter().all(|path| !path.contains("_lastUpdated")));
    }

    async fn a_read_that_says_gone_is_believed_the_second_time(db) {
        let store = db.store();
        let north = Synced::at(&store, Flavour::Epic).await;
        north.sync(&store, &ResourceType::CORE).await;
        let gone = || Fault::new(FaultKind::Gone).on("GET", &format!("/fhir/Patient/{}", patient(4)));
        let marked = || db.lines("SELECT fhir_id AS line FROM resource WHERE gone_at IS NOT NULL");
        north.world.ehr.plant(gone());
        let first = north.sync_one(&store, Patient).await;
        assert_eq!((&first.ended, first.gone, marked().len()), (&Ended::Done, 0, 0), "one read proves nothing: {first:?}");
        // It is there again: nothing is left of it.
        north.world.clock.advance(TimeDelta::hours(2));
        assert_eq!(north.sync_one(&store, Patient).await.gone, 0);
        north.world.ehr.plant(gone());
        assert_eq!(north.sync_one(&store, Patient).await.gone, 0, "the two have to be of one absence");
        north.world.clock.advance(TimeDelta::hours(2));
        // The pass asks, and what settles what is missing asks once more.
        north.world.ehr.plant(gone().times(u32::MAX));
        let second = north.sync_one(&store, Patient).await;
        assert_eq!((&second.ended, second.gone, marked()), (&Ended::Done, 1, vec![patient(4)]), "{second:?}");
        north.world.ehr.clear_faults();
        north.world.clock.advance(TimeDelta::hours(2));
        north.sync_one(&store, Patient).await;
        assert_eq!(marked(), Vec::<String>::new(), "who comes back is there");
        north.assert_same(&store, Patient);
    }

    async fn an_answer_without_end_fails_its_type_alone(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        north.world.ehr.plant(Fault::new(FaultKind::HugeBody { bytes: 70 * 1024 * 1024 }).on("GET", "/fhir/Patient").after(1));
        let reports = north.sync(&store, &[Patient, CarePlan]).await;
        assert!(reports[0].failure().is_some_and(|why| why.contains("larger than the limit of 67108864 bytes")), "{reports:?}");
        assert_eq!((&reports[1].ended, reports[0].stored), (&Ended::Done, 10), "{reports:?}");
        assert_eq!(north.sync_one(&store, Patient).await.ended, Ended::Done);
        north.assert_same(&store, Patient);
    }

    async fn connections_that_end_are_made_anew(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        north.world.ehr.plant(Fault::new(FaultKind::ClosedAtAccept).times(2));
        // A new client, so that it makes connections.
        let connection = Connection::open(&north.world.profile, &north.world.parts).await.unwrap();
        let north = Synced { connection, ..north };
        for kind in ["Patient", "Appointment", "CarePlan"] {
            north.world.ehr.plant(Fault::new(FaultKind::ResetMidBody).on("GET", &format!("/fhir/{kind}")).after(1).times(2));
        }
        let reports = north.sync(&store, &ResourceType::CORE).await;
        assert!(reports.iter().all(|r| r.ended == Ended::Done && r.stored == r.found), "{reports:?}");
        ResourceType::CORE.iter().for_each(|kind| north.assert_same(&store, *kind));
        // One that is down for good is named.
        north.world.ehr.plant(Fault::new(FaultKind::ClosedAtAccept).times(40));
        let down = Connection::open(&north.world.profile, &north.world.parts).await.map(|_| ()).unwrap_err();
        assert!(matches!(&down, fhir_engage::ehr::ConnectError::Statement(EhrError::Unreachable(_))), "{down:?}");
        north.world.ehr.clear_faults();
    }

    async fn a_server_whose_clock_is_wrong_is_read_by_its_own_clock(db) {
        for seconds in [-100, 100] {
            let store = db.store();
            for table in ["resource", "fact", "sync_state", "sync_run"] {
                db.execute(&format!("DELETE FROM {table}"));
            }
            let north = Synced::start(&store).await;
            north.world.ehr.plant(Fault::new(FaultKind::ClockSkew { seconds }).times(u32::MAX));
            let report = north.sync_one(&store, Patient).await;
            assert_eq!(report.ended, Ended::Done, "{seconds}: {report:?}");
            north.assert_same(&store, Patient);
            let theirs = north.world.clock.now().micros() + seconds * 1_000_000;
            assert!(state(&store, Patient).high_water.unwrap() <= theirs, "{seconds}: never past the server's clock");
            assert_eq!(north.connection.client.skew().ahead(), Some(TimeDelta::seconds(seconds)));
        }
    }

    async fn a_server_without_versions_is_compared_by_content(db) {
        for flavour in [Flavour::Nextgen, Flavour::Veradigm] {
            let store = db.store();
            for table in ["resource", "fact", "sync_state", "sync_run", "roster", "coverage_hole"] {
                db.execute(&format!("DELETE FROM {table}"));
            }
            let north = Synced::at(&store, flavour).await;
            let types = [Patient, CarePlan];
            north.sync(&store, &types).await;
            assert_eq!(db.lines("SELECT version AS line FROM resource WHERE version IS NOT NULL"), Vec::<String>::new(), "{flavour:?}");
            for (kind, id) in [("Patient", patient(6)), ("CarePlan", bodies(&store, CarePlan)[2].0.clone())] {
                north.world.ehr.edit(kind, &id, |r| r["language"] = json!("x-new")).unwrap();
            }
            north.world.clock.advance(TimeDelta::hours(2));
            let reports = north.sync(&store, &types).await;
            assert!(reports.iter().all(|r| r.ended == Ended::Done && r.stored == 1), "{flavour:?}: {reports:?}");
            types.iter().for_each(|kind| north.assert_same(&store, *kind));
        }
    }

    async fn payloads_that_are_not_valid_are_kept_as_they_are(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        let visit = north.world.ehr.resources("Appointment")[2]["id"].as_str().unwrap().to_owned();
        north.world.ehr.edit("Patient", &patient(2), |p| {
            p["telecom"] = json!([{ "system": "phone", "value": "+1 212 555 0100", "rank": "1" }, null]);
            p["extension"] = json!([{ "valueString": "no url" }]);
            p["contact"] = json!([]);
            p["maritalStatus"] = json!(null);
            p["fhir_comments"] = json!(["a remark"]);
            p["name"][0]["given"] = json!(["Ida", null]);
        }).unwrap();
        north.world.ehr.edit("Appointment", &visit, |a| {
            a["status"] = json!("booked");
            a.as_object_mut().unwrap().retain(|name, _| name != "start" && name != "end");
            a["participant"].as_array_mut().unwrap().push(json!(null));
        }).unwrap();
        let reports = north.sync(&store, &ResourceType::CORE).await;
        assert!(reports.iter().all(|r| r.ended == Ended::Done && r.quarantined == 0), "{reports:?}");
        ResourceType::CORE.iter().for_each(|kind| north.assert_same(&store, *kind));
        assert_eq!(store.read_blocking(quarantine::count).unwrap(), 0);
        let kept = values(&store, Patient).into_iter().find(|(id, _)| *id == patient(2)).unwrap().1;
        assert_eq!((&kept["telecom"][0]["rank"], &kept["fhir_comments"][0]), (&json!("1"), &json!("a remark")));
    }

    async fn what_is_another_patients_is_left_out_of_a_patients_answer(db) {
        for echo in [false, true] {
            let store = db.store();
            for table in ["resource", "fact", "sync_state", "sync_run", "roster", "coverage_hole", "visit"] {
                db.execute(&format!("DELETE FROM {table}"));
            }
            let north = Synced::at(&store, Flavour::FullR4).await.with(Strategy::Roster);
            for kind in ["Appointment", "CarePlan"] {
                north.world.ehr.plant(always(FaultKind::IgnoresFilter { echo }, &format!("/fhir/{kind}")));
            }
            let reports = north.sync(&store, &ResourceType::CORE).await;
            for r in &reports {
                assert_eq!((&r.ended, r.holes, r.partial), (&Ended::Done, 0, false), "{echo}: {r:?}");
                assert!(r.kind == Patient || r.notes.iter().any(|n| n.contains("not asked for")), "{echo}: {r:?}");
            }
            ResourceType::CORE.iter().for_each(|kind| north.assert_same(&store, *kind));
            assert_eq!(reports.iter().find(|r| r.kind == CarePlan).unwrap().found, i64::try_from(north.world.ehr.count("CarePlan")).unwrap());
            // Each is stored for whom it names, and once.
            let ids = db.lines("SELECT rtype || fhir_id AS line FROM resource");
            assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len(), "{echo}");
            assert!(latest_run(&store, CarePlan).unwrap().state == "done");
        }
    }

    async fn an_export_that_a_cache_would_answer_is_made_anew(db) {
        let store = db.store();
        let north = Synced::start(&store).await.with(Strategy::Bulk);
        north.sync_one(&store, Patient).await;
        north.world.ehr.plant(Fault::new(FaultKind::ExportEmptyAgain).times(u32::MAX));
        north.world.clock.advance(TimeDelta::days(8));
        let second = north.sync_one(&store, Patient).await;
        assert_eq!((&second.ended, second.unchanged, second.gone), (&Ended::Done, 30, 0), "{second:?}");
        assert_eq!(north.world.ehr.unused_faults().len(), 1, "no answer was one of the cache");
        north.world.ehr.clear_faults();
    }
}
