//! EHRs that refuse, lie, or send what cannot be read.

use std::sync::atomic::AtomicBool;

use domain::clock::Clock as _;
use domain::model::ResourceType::{self, Appointment, CarePlan, Patient};
use fhir_engage::ehr::{Capability, Connection, Plan, Profile};
use fhir_engage::store::quarantine;
use fhir_engage::sync::task::{self, Ended, Source, Task};
use sandbox::{Fault, FaultKind};
use serde_json::json;

use super::setup::{HOLDER, Synced, as_of, bodies, ehr, latest_run, state};
use crate::support::on_both;

on_both! {
    async fn a_refused_type_is_named_and_the_others_go_on(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        north.world.ehr.plant(Fault::new(FaultKind::RefuseType).on("GET", "/fhir/Appointment"));
        let reports = north.sync(&store, &ResourceType::CORE).await;
        assert_eq!((&reports[0].ended, &reports[2].ended), (&Ended::Done, &Ended::Done), "{reports:?}");
        assert!(matches!(&reports[1].ended, Ended::Refused(why) if why.contains("403")), "{:?}", reports[1]);
        assert!(reports[1].is_problem() && !reports[0].is_problem());
        let run = latest_run(&store, Appointment).unwrap();
        assert_eq!(run.state, "failed");
        assert!(run.failure.unwrap().contains("403"));
        assert_eq!(as_of(&store, Appointment), None);
    }

    async fn a_dead_credential_stops_all_types_at_once(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        let refused = FaultKind::TokenRefused { status: 401, error: Some("invalid_client".to_owned()) };
        north.world.ehr.plant(Fault::new(refused));
        let reports = north.sync(&store, &ResourceType::CORE).await;
        assert!(reports.iter().all(|r| matches!(&r.ended, Ended::Failed(why) if why.contains("invalid_client"))), "{reports:?}");
        assert_eq!(north.world.tokens_asked(), 1, "a client that is refused is not asked for again");
        assert!(north.sync(&store, &ResourceType::CORE).await.iter().all(|r| r.ended == Ended::Done));
    }

    async fn a_filter_that_is_ignored_costs_time_and_nothing_else(db) {
        for echo in [false, true] {
            let store = db.store();
            let north = Synced::start(&store).await;
            db.execute("DELETE FROM resource");
            db.execute("DELETE FROM sync_state");
            let first = north.sync_one(&store, Patient).await;
            north.world.clock.advance(chrono::TimeDelta::hours(2));
            let changed = bodies(&store, Patient)[1].0.clone();
            north.world.ehr.edit("Patient", &changed, |p| p["active"] = json!(false)).unwrap();
            north.world.ehr.plant(Fault::new(FaultKind::IgnoresFilter { echo }).on("GET", "/fhir/Patient").times(u32::MAX));
            let second = north.sync_one(&store, Patient).await;
            assert_eq!((second.ended.clone(), second.stored, second.unchanged), (Ended::Done, 1, first.found - 1), "{second:?}");
            assert_eq!(second.notes.iter().any(|note| note.contains("_lastUpdated")), !echo, "{:?}", second.notes);
            north.world.ehr.clear_faults();
            north.assert_same(&store, Patient);
        }
    }

    async fn bad_resources_are_put_aside_and_a_good_version_releases_them(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        let id = north.world.ehr.resources("Patient")[14]["id"].as_str().unwrap().to_owned();
        let good = north.world.ehr.resource("Patient", &id).unwrap();
        north.world.ehr.edit("Patient", &id, |p| p["birthDate"] = json!(19_700_101)).unwrap();
        let report = north.sync_one(&store, Patient).await;
        assert_eq!((report.ended.clone(), report.quarantined, report.stored), (Ended::Done, 1, report.found - 1), "{report:?}");
        assert!(report.is_problem());
        let rows = store.read_blocking(|conn| quarantine::list(conn, Some("north"), 9)).unwrap();
        assert_eq!((rows.len(), rows[0].fhir_id.as_deref(), rows[0].code.as_str()), (1, Some(id.as_str()), "bad-field"));
        assert!(rows[0].origin.starts_with("search Patient, page ") && rows[0].reason.contains("birthDate"), "{rows:?}");
        north.world.clock.advance(chrono::TimeDelta::minutes(1));
        north.world.ehr.edit("Patient", &id, |p| p["birthDate"] = good["birthDate"].clone()).unwrap();
        assert_eq!(north.sync_one(&store, Patient).await.stored, 1);
        assert_eq!(store.read_blocking(quarantine::count).unwrap(), 0);
        north.assert_same(&store, Patient);
    }

    async fn next_links_that_lead_astray_end_the_run_with_what_came_before(db) {
        for (kind, says) in [
            (FaultKind::NextLinkOnOtherHost { origin: "http://127.0.0.1:9".to_owned() }, "outside"),
            (FaultKind::RepeatedNextLink, "circle"),
        ] {
            let store = db.store();
            let north = Synced::start(&store).await;
            db.execute("DELETE FROM resource");
            db.execute("DELETE FROM sync_state");
            north.world.ehr.plant(Fault::new(kind.clone()).on("GET", "/fhir/Patient").times(2));
            let report = north.sync_one(&store, Patient).await;
            assert!(matches!(&report.ended, Ended::Failed(why) if why.contains(says)), "{kind:?}: {report:?}");
            assert_eq!(bodies(&store, Patient).len(), usize::try_from(report.stored).unwrap());
            north.world.ehr.clear_faults();
            assert_eq!(north.sync_one(&store, Patient).await.ended, Ended::Done);
            north.assert_same(&store, Patient);
        }
    }

    async fn an_incomplete_answer_marks_the_run_and_moves_no_mark(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        north.world.ehr.plant(Fault::new(FaultKind::OutcomeInBundle { severity: "error".to_owned() }).on("GET", "/fhir/CarePlan"));
        let report = north.sync_one(&store, CarePlan).await;
        assert!(report.ended == Ended::Done && report.partial, "{report:?}");
        assert!(report.notes.iter().any(|note| note.contains("not complete")), "{:?}", report.notes);
        assert!(latest_run(&store, CarePlan).unwrap().partial);
        assert_eq!(state(&store, CarePlan).high_water, None);
        assert!(as_of(&store, CarePlan).is_none(), "what is incomplete is not known: a rule must not take it for none");
        assert!(report.is_problem());
        let whole = north.sync_one(&store, CarePlan).await;
        assert!(!whole.partial && state(&store, CarePlan).high_water.is_some() && as_of(&store, CarePlan).is_some());
    }

    async fn an_entry_that_comes_twice_is_one_resource(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        north.world.ehr.plant(Fault::new(FaultKind::DuplicateAcrossPages).on("GET", "/fhir/Patient"));
        let report = north.sync_one(&store, Patient).await;
        assert_eq!((report.ended, report.unchanged, report.stored), (Ended::Done, 1, report.found - 1));
        north.assert_same(&store, Patient);
    }

    async fn a_page_that_is_not_fhir_fails_the_type_and_no_other(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        north.world.ehr.plant(Fault::new(FaultKind::NotJson).on("GET", "/fhir/Patient"));
        let reports = north.sync(&store, &[Patient, CarePlan]).await;
        assert!(matches!(&reports[0].ended, Ended::Failed(why) if why.contains("not a FHIR Bundle")), "{reports:?}");
        assert_eq!(reports[1].ended, Ended::Done);
    }

    async fn a_server_whose_clock_is_ahead_sets_the_mark_by_its_own_clock(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        // Less than an assertion lives, else there would be no token.
        north.world.ehr.advance(100 * 1_000_000);
        let id = north.world.ehr.resources("Patient")[0]["id"].as_str().unwrap().to_owned();
        north.world.ehr.edit("Patient", &id, |p| p["active"] = json!(false)).unwrap();
        let report = north.sync_one(&store, Patient).await;
        assert_eq!(report.ended, Ended::Done, "{report:?}");
        assert!(state(&store, Patient).high_water.unwrap() > north.world.clock.now().micros());
    }

    async fn what_is_advertised_and_refused_is_asked_for_more_simply(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        for (refuses, searches) in [("_sort", 2), ("_lastUpdated", 3)] {
            db.execute("DELETE FROM resource");
            db.execute("DELETE FROM sync_state");
            let fussy = Fussy::start(refuses).await;
            let mut profile: Profile = north.world.profile.clone();
            (profile.base_url, profile.auth) = (Some(fussy.base.parse().unwrap()), fhir_engage::ehr::profile::Auth::None);
            let Connection { client, capability, .. } = Connection::open(&profile, &north.world.parts).await.unwrap();
            assert!(Capability::searches_by(&capability, "Patient", "_lastUpdated"));
            let plan = Plan::of(&profile, &capability);
            let source = Source { client: &client, plan: &plan };
            let (ehr, stop) = (ehr(), AtomicBool::new(false));
            let clock = &*north.world.clock;
            let task = Task { store: &store, clock, holder: HOLDER, ehr: &ehr, source, stop: &stop, progress: &|_, _| {}, accept_vanished: false };
            for (stored, asked) in [(1, searches), (0, 1 + searches)] {
                let before = fussy.searches();
                let report = task::run(&task, &[Patient]).await.remove(0);
                assert_eq!((report.ended.clone(), report.stored), (Ended::Done, stored), "{refuses}: {report:?}");
                assert!(report.notes.iter().any(|note| note.contains("_lastUpdated")), "{report:?}");
                assert!(fussy.searches() - before <= asked, "{refuses}");
            }
            let mark = domain::Timestamp::parse("2026-11-01T00:00:00Z").unwrap();
            assert_eq!(state(&store, Patient).high_water, Some(mark.micros()), "what was seen moves the mark all the same");
        }
    }
}

/// A server that advertises `_lastUpdated` and answers 400 where a search has the parameter that it refuses.
struct Fussy {
    base: String,
    searches: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

const STATEMENT: &str = r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","rest":[{"mode":"server","resource":[
    {"type":"Patient","interaction":[{"code":"search-type"}],"searchParam":[{"name":"_lastUpdated"}]}]}]}"#;
const PAGE: &str = r#"{"resourceType":"Bundle","type":"searchset","entry":[{"resource":
    {"resourceType":"Patient","id":"1","meta":{"lastUpdated":"2026-11-01T00:00:00Z"}}}]}"#;
const REFUSAL: &str = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-supported"}]}"#;

impl Fussy {
    async fn start(refuses: &'static str) -> Self {
        use std::sync::atomic::Ordering;
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/fhir", listener.local_addr().unwrap());
        let searches = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = searches.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = vec![0; 16_384];
                let length = socket.read(&mut head).await.unwrap_or(0);
                let line = String::from_utf8_lossy(&head[..length]).lines().next().unwrap_or_default().to_owned();
                let (status, body) = match line {
                    line if line.contains("/metadata") => ("200 OK", STATEMENT),
                    line if !line.contains("/Patient") => ("404 Not Found", REFUSAL),
                    line => {
                        counted.fetch_add(1, Ordering::SeqCst);
                        if line.contains(refuses) { ("400 Bad Request", REFUSAL) } else { ("200 OK", PAGE) }
                    }
                };
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        Self { base, searches }
    }

    fn searches(&self) -> usize {
        self.searches.load(std::sync::atomic::Ordering::SeqCst)
    }
}
