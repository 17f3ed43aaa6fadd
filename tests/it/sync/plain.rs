//! Servers unlike the sandbox, as HAPI, Medplum and what stands before them behave: a sync ends with the store that the server has, or with a
//! failure that says what is wrong and moves no mark; it never hangs, and never misses something without a word. After each of them the server
//! does as it should, and the next runs make up for all.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use domain::Clock as _;
use domain::model::ResourceType::{self, CarePlan, Patient};
use fhir_engage::ehr::profile::{Auth, Profile, Strategy};
use fhir_engage::ehr::{Connection, Plan};
use fhir_engage::store::{Lane, Store, ehrs};
use fhir_engage::sync::task::{self, Ended, Source, Task, TypeReport};
use serde_json::{Value, json};

use super::setup::{HOLDER, as_of, ehr, state, values};
use crate::ehr::support::World;
use crate::support::plain::Trick::{self, *};
use crate::support::plain::{ALWAYS, Paging, Plain, Written};
use crate::support::{Database, on_both};

/// How long a run may take whatever a server does: with requests of a second, four tries, and no wait worth the name.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENTS: usize = 23;

fn patient(n: usize) -> Value {
    json!({ "resourceType": "Patient", "id": format!("p{n}"), "active": true, "birthDate": "1970-01-31", "name": [{ "family": format!("Plain{n}") }] })
}

fn plan(n: usize) -> Value {
    json!({ "resourceType": "CarePlan", "id": format!("c{n}"), "status": "active", "intent": "plan", "subject": { "reference": format!("Patient/p{n}") } })
}

struct Site {
    store: Store,
    world: World,
    server: Plain,
}

impl Site {
    /// A server with patients and their plans, and a gateway that has read nothing.
    async fn new(db: &Database, before: &[(Trick, u32)], base: &str) -> Self {
        let store = db.store();
        for table in ["resource", "fact", "sync_state", "sync_run", "missing", "roster", "quarantine"] {
            db.execute(&format!("DELETE FROM {table}"));
        }
        let mut world = World::start().await;
        let apart = 600_000_000;
        let server = Plain::start(world.clock.now().micros() - i64::try_from(PATIENTS).unwrap() * apart - 1_000_000);
        server.does(before);
        for n in 0..PATIENTS {
            server.put(patient(n));
            server.put(plan(n));
            // Further than a run reaches back.
            server.advance(apart);
        }
        world.profile =
            Profile { base_url: Some(server.base(base).parse().unwrap()), auth: Auth::None, timeout_secs: Some(1), ..Profile::default() };
        let (profile, now) = (world.profile.to_json(), world.clock.now());
        store.write_blocking(Lane::Bulk, "test", |conn| ehrs::put(conn, &ehr(), &profile, now)).unwrap();
        Self { store, world, server }
    }

    async fn sync(&self, kind: ResourceType) -> TypeReport {
        let connection = Connection::open(&self.world.profile, &self.world.parts).await.unwrap();
        let plan = Plan::of(&self.world.profile, &connection.capability);
        let task = Task {
            store: &self.store,
            clock: &*self.world.clock,
            holder: HOLDER,
            ehr: &ehr(),
            source: Source { client: &connection.client, plan: &plan },
            stop: &AtomicBool::new(false),
            progress: &|_, _| {},
            accept_vanished: false,
            export_wait: Duration::ZERO,
            reading: None,
        };
        let report = tokio::time::timeout(PATIENCE, task::run(&task, &[kind])).await.expect("the run hangs").remove(0);
        assert_eq!(report.found, report.stored + report.unchanged + report.superseded + report.quarantined, "{report:?}");
        report
    }

    /// The store has what the server has, value for value.
    #[track_caller]
    fn is_right(&self, what: &str, kind: ResourceType) {
        let mut theirs = self.server.all(kind.as_str());
        let mut ours: Vec<Value> = values(&self.store, kind).into_iter().map(|(_, r)| r).collect();
        let by_id = |r: &Value| r["id"].as_str().unwrap().to_owned();
        theirs.sort_by_key(by_id);
        ours.sort_by_key(by_id);
        assert!(theirs.len() >= PATIENTS && ours == theirs, "{what}: {} at the server, {} in the store", theirs.len(), ours.len());
    }

    /// Something changes and something comes new; the next run brings just that, and what the overlap repeats.
    async fn goes_on(&self, what: &str) {
        self.world.clock.advance(chrono::TimeDelta::hours(2));
        self.server.advance(7_200_000_000);
        let mut changed = patient(3);
        changed["active"] = json!(false);
        self.server.put(changed);
        self.server.put(patient(100));
        let report = self.sync(Patient).await;
        assert_eq!((&report.ended, report.stored, report.partial), (&Ended::Done, 2, false), "{what}: {report:?}");
        self.is_right(what, Patient);
    }
}

/// What is to come of a first run.
#[derive(Clone, Copy)]
enum Comes {
    /// All is there.
    Right,
    /// It fails and says so; no mark is moved.
    Fails(&'static str),
    /// It ends, and says that something is missing; no mark is moved.
    Partial(&'static str),
}
use Comes::{Fails, Partial, Right};

/// What a server does, how often each, and what comes of it.
type Case<'a> = (&'a str, &'a [(Trick, u32)], Comes);

async fn each(db: &Database, base: &str, cases: &[Case<'_>]) {
    for (what, tricks, comes) in cases {
        let site = Site::new(db, &[], base).await;
        site.server.does(tricks);
        let report = site.sync(Patient).await;
        match comes {
            Right => {
                assert_eq!((&report.ended, report.partial), (&Ended::Done, false), "{what}: {report:?}");
                site.is_right(what, Patient);
                assert!(as_of(&site.store, Patient).is_some() && state(&site.store, Patient).high_water.is_some(), "{what}");
            }
            Fails(says) => {
                let why = report.failure().unwrap_or_else(|| panic!("{what}: {report:?}"));
                assert!(why.contains(says), "{what}: {why}");
                assert!(report.is_problem() && as_of(&site.store, Patient).is_none(), "{what}: {report:?}");
                assert_eq!(state(&site.store, Patient).high_water, None, "{what}");
            }
            Partial(says) => {
                assert!(report.ended == Ended::Done && report.partial && report.is_problem(), "{what}: {report:?}");
                assert!(report.notes.iter().any(|note| note.contains(says)), "{what}: {:?}", report.notes);
                assert_eq!((as_of(&site.store, Patient), state(&site.store, Patient).high_water), (None, None), "{what}");
            }
        }
        assert_eq!(site.server.not_done(), [], "{what}: a test of nothing");
        site.server.does(&[]);
        let report = site.sync(Patient).await;
        assert_eq!((&report.ended, report.partial), (&Ended::Done, false), "{what}, and then: {report:?}");
        site.is_right(what, Patient);
        site.goes_on(what).await;
    }
}

on_both! {
    async fn links_of_every_kind_are_followed_to_the_end(db) {
        for paging in [Paging::Base, Paging::Type, Paging::Path] {
            for written in [Written::Whole, Written::FromRoot, Written::Relative] {
                let many: &[_] = if written == Written::Whole { &[("/fhir", 5), ("/fhir/", 1), ("/fhir", 1000)] } else { &[("/fhir", 5)] };
                for (base, page) in many.iter().copied() {
                    let what = format!("{paging:?} {written:?} {base} {page}");
                    let site = Site::new(&db, &[], base).await;
                    site.server.pages(paging, written, page);
                    for kind in [Patient, CarePlan] {
                        let report = site.sync(kind).await;
                        assert_eq!((&report.ended, report.stored, report.strategy), (&Ended::Done, 23, "cursor"), "{what}: {report:?}");
                        assert_eq!(report.notes, Vec::<String>::new(), "{what}");
                        site.is_right(&what, kind);
                    }
                    let searches = site.server.asked().iter().filter(|line| line.contains("CarePlan") && !line.contains("_cursor")).count();
                    assert_eq!(searches, 1, "{what}: one search, whatever its pages");
                    // To the microsecond: nothing comes anew.
                    let again = site.sync(Patient).await;
                    assert_eq!((&again.ended, again.stored), (&Ended::Done, 0), "{what}: {again:?}");
                    site.goes_on(&what).await;
                }
            }
        }
    }

    async fn answers_in_every_dress_are_read(db) {
        each(&db, "/fhir", &[
            ("gzip", &[(Gzip, ALWAYS)], Right),
            ("a byte order mark", &[(Bom, ALWAYS)], Right),
            ("a byte order mark in gzip", &[(Gzip, ALWAYS), (Bom, ALWAYS)], Right),
            ("application/json", &[(Type("application/json"), ALWAYS)], Right),
            ("a charset", &[(Type("application/fhir+json; charset=UTF-8; fhirVersion=4.0"), ALWAYS)], Right),
            ("text/plain", &[(Type("text/plain"), ALWAYS)], Right),
            ("no content type", &[(Type(""), ALWAYS)], Right),
            ("chunks", &[(Chunked, ALWAYS)], Right),
            ("chunks of gzip", &[(Chunked, ALWAYS), (Gzip, ALWAYS)], Right),
            ("HTTP/1.0", &[(OldHttp, ALWAYS)], Right),
            ("entries that come twice", &[(Doubled, ALWAYS)], Right),
            ("empty pages in between", &[(EmptyBetween, ALWAYS)], Right),
            ("odd members", &[(OddMembers, ALWAYS)], Right),
        ]).await;
    }

    async fn what_breaks_off_is_asked_for_again_and_in_the_end_given_up(db) {
        each(&db, "/fhir", &[
            ("chunks break off", &[(ChunkedCut, 2)], Right),
            ("chunks always break off", &[(ChunkedCut, ALWAYS)], Fails("the connection broke before the whole answer had come")),
            ("shorter than its length", &[(LengthCut, 2)], Right),
            ("always shorter than its length", &[(LengthCut, ALWAYS)], Fails("the connection broke before the whole answer had come")),
            ("gzip breaks off", &[(GzipCut, 2)], Right),
            ("gzip always breaks off", &[(GzipCut, ALWAYS)], Fails("the connection broke before the whole answer had come")),
            // Nothing but the JSON tells that it is not whole.
            ("HTTP/1.0 breaks off", &[(OldHttpCut, 2)], Right),
            ("HTTP/1.0 always breaks off", &[(OldHttpCut, ALWAYS)], Fails("cut off")),
            ("an empty answer", &[(Nothing, 2)], Right),
            ("always empty answers", &[(Nothing, ALWAYS)], Fails("not a FHIR Bundle")),
            ("204", &[(NoContent, ALWAYS)], Fails("not a FHIR Bundle")),
            ("no answer", &[(Silent, 1)], Right),
            ("never an answer", &[(Silent, ALWAYS)], Fails("did not answer in time")),
            ("a page for people", &[(Html, ALWAYS)], Fails("not a FHIR Bundle")),
        ]).await;
    }

    async fn pages_that_end_or_do_not_end_are_no_silent_gap(db) {
        each(&db, "/fhir", &[
            ("410 once", &[(Forgotten(410), 1)], Right),
            ("404 once", &[(Forgotten(404), 1)], Right),
            // What was read is not read again: the search goes on from there.
            ("410 for every page", &[(Forgotten(410), ALWAYS)], Right),
            ("unsorted, and 410 for every page", &[(Unsorted, ALWAYS), (Forgotten(410), ALWAYS)], Fails("no longer knows the next page")),
            ("a message in place of a page", &[(Outcome("information", "informational", true), 1)], Right),
            ("a message in place of every page, unsorted", &[(Unsorted, ALWAYS), (Outcome("warning", "processing", true), ALWAYS)], Fails("no longer knows the next page")),
            ("an error with 200", &[(Outcome("error", "processing", false), ALWAYS)], Fails("HTTP status 200")),
            ("a warning with 200 that may mean anything", &[(Outcome("warning", "processing", false), 1)], Partial("not complete")),
            ("next leads to its own page", &[(NextToSelf, ALWAYS)], Fails("circle")),
            ("next leads to the same page under fresh addresses", &[(NextEndless, ALWAYS)], Fails("bring nothing new")),
            ("empty pages without end", &[(EmptyEndless, ALWAYS)], Fails("bring nothing new")),
            ("next leads to another server", &[(NextElsewhere, 1)], Fails("outside of its FHIR base")),
            ("entries without a resource", &[(Hollow, 1)], Partial("without a resource")),
            ("sent to another origin", &[(SentAway, ALWAYS)], Fails("not registered for this connection")),
        ]).await;
    }

    async fn a_base_that_is_sent_on_is_followed_with_its_pages(db) {
        for status in [301, 302, 303, 307, 308] {
            for written in [Written::Whole, Written::FromRoot] {
                let what = format!("{status} {written:?}");
                for paging in [Paging::Base, Paging::Type, Paging::Path] {
                    let site = Site::new(&db, &[], "/old").await;
                    site.server.pages(paging, written, 5);
                    site.server.does(&[(SentOn(status, written), ALWAYS)]);
                    let report = site.sync(Patient).await;
                    assert_eq!((&report.ended, report.stored), (&Ended::Done, 23), "{what}: {report:?}");
                    site.is_right(&what, Patient);
                    site.goes_on(&what).await;
                }
            }
        }
    }

    async fn a_search_by_post_is_sent_on_whole_or_said_to_be_lost(db) {
        for status in [301, 302, 303, 307, 308] {
            let mut site = Site::new(&db, &[], "/old").await;
            site.world.profile.search_by_post = true;
            site.server.does(&[(SentOn(status, Written::Whole), ALWAYS)]);
            let report = site.sync(Patient).await;
            let why = report.failure().unwrap_or_else(|| panic!("{status}: {report:?}"));
            // That server takes no searches by POST at the new place either.
            let repeated = site.server.asked().iter().any(|line| line == "POST /fhir/Patient/_search");
            assert_eq!(repeated, status > 303, "{status}: {why}");
            let says = if repeated { "HTTP status 404" } else { "sends a search on to http://127.0.0.1:" };
            assert!(why.contains(says), "{status}: {why}");
            assert!(site.server.asked().iter().all(|line| !line.starts_with("GET /fhir/Patient")), "no question is asked without its words");
        }
    }

    async fn times_with_an_offset_are_the_same_times(db) {
        let site = Site::new(&db, &[(Offset, ALWAYS)], "/fhir").await;
        assert_eq!(site.sync(Patient).await.stored, 23);
        site.is_right("an offset", Patient);
        site.goes_on("an offset").await;
        let asked = site.server.asked();
        assert_eq!(asked.iter().filter(|line| line.contains("_lastUpdated=ge")).count(), 1, "the mark is a mark: {asked:?}");
    }

    async fn a_patients_answer_that_has_a_hole_is_a_hole_of_that_patient(db) {
        let mut site = Site::new(&db, &[], "/fhir").await;
        let list = crate::support::TempDir::new();
        let ids: Vec<String> = (0..PATIENTS).map(|n| format!("p{n}")).collect();
        std::fs::write(list.join("roster.txt"), ids.join("\n")).unwrap();
        site.world.profile.roster = vec![fhir_engage::ehr::reads::RosterSource::File(list.join("roster.txt"))];
        site.world.profile.strategy = [Patient, CarePlan].map(|kind| (kind, Strategy::Roster)).into();
        assert_eq!(site.sync(Patient).await.ended, Ended::Done);
        site.server.does(&[(Hollow, 1)]);
        let report = site.sync(CarePlan).await;
        assert_eq!((&report.ended, report.holes, report.stored), (&Ended::Done, 1, 22), "{report:?}");
        // And nothing counts as gone because of it.
        site.world.clock.advance(chrono::TimeDelta::hours(2));
        site.server.does(&[]);
        let report = site.sync(CarePlan).await;
        assert_eq!((&report.ended, report.holes, report.stored, report.gone), (&Ended::Done, 0, 1, 0), "{report:?}");
        site.is_right("a hole", CarePlan);
    }
}
