//! What a batch reads is in proportion to the batch, not to all that waits: shown by the plans of the statements that it really runs.

use std::sync::mpsc;

use diesel::connection::{Connection as _, InstrumentationEvent};
use domain::model::ResourceType;
use fhir_engage::store::quarantine::{self, Aside};
use fhir_engage::store::{Conn, Store, StoreError, attempts};

use super::fixtures::{at, ehr, patient, planned, read, verdict, write};
use crate::support::{Backend, Database, on_both};

/// How SQLite goes about each statement that `f` runs, a line per step.
fn plans<T>(db: &Database, store: &Store, mut f: impl FnMut(&mut Conn) -> Result<T, StoreError>) -> Vec<String> {
    let (tell, told) = mpsc::channel();
    write(store, |conn| {
        let tell = tell.clone();
        instrument(conn, move |event| {
            if let InstrumentationEvent::StartQuery { query, .. } = event {
                tell.send(query.to_string()).unwrap();
            }
        });
        let done = f(conn);
        instrument(conn, |_| {});
        done
    });
    drop(tell);
    let statements = told.into_iter().filter_map(|text| text.split(" -- binds: ").next().map(str::to_owned));
    statements.flat_map(|text| db.plan(&text)).collect()
}

fn instrument(conn: &mut Conn, with: impl Fn(InstrumentationEvent<'_>) + Send + 'static) {
    match conn {
        Conn::Sqlite(c) => c.set_instrumentation(with),
        #[cfg(feature = "postgres")]
        Conn::Postgres(_) => panic!("only SQLite is asked for its plans"),
    }
}

/// No step looks at a whole table or index, and none sorts. But for the leases and the state of each EHR's types, which are few.
#[track_caller]
fn walks_in_order(plan: &[String]) {
    assert!(!plan.is_empty());
    let few = |step: &str| step.contains("json_each") || step == "SCAN lease" || step.starts_with("SCAN s ");
    let looks_at_all = |step: &&String| step.contains("TEMP B-TREE") || (step.starts_with("SCAN ") && !few(step));
    assert_eq!(plan.iter().filter(looks_at_all).collect::<Vec<_>>(), Vec::<&String>::new(), "{plan:#?}");
}

#[test]
fn a_batch_of_due_attempts_neither_sorts_nor_walks_all_that_is_due() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let store = db.store();
    planned(&store, &patient(&store, "p1"), "a1");
    let plan = plans(&db, &store, |conn| attempts::due(conn, at(0), 10));
    walks_in_order(&plan);
    assert_eq!(plan.iter().filter(|step| step.contains("attempt_due (state=? AND due_at<?)")).count(), 2, "{plan:#?}");
    assert!(plan.iter().any(|step| step.contains("attempt_by_person (person=?)")), "{plan:#?}");
}

#[test]
fn a_release_looks_for_the_ids_of_its_page_only() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let store = db.store();
    let waiting = Aside {
        rtype: Some("Patient".to_owned()),
        fhir_id: Some("p1".to_owned()),
        origin: "patients.ndjson:1".to_owned(),
        code: "wrong-type",
        reason: "birthDate is a number".to_owned(),
        body: b"{1}".to_vec(),
    };
    write(&store, |conn| quarantine::put(conn, store.codec(), &ehr(), &waiting, at(1)));
    let plan = plans(&db, &store, |conn| quarantine::release(conn, &ehr(), ResourceType::Patient, &["p1"], &["p2"], at(2)));
    walks_in_order(&plan);
    assert!(plan.iter().any(|step| step.contains("quarantine_waiting (ehr=? AND rtype=? AND fhir_id=?)")), "{plan:#?}");
}

on_both! {
    fn of_many_that_fell_due_at_once_a_batch_takes_the_first_and_all_of_their_persons(db) {
        let store = db.store();
        let people: Vec<_> = (0..4).map(|n| patient(&store, &format!("p{n}"))).collect();
        // Held ones and planned ones in turn, all due at the same instant; p0 also has one that comes last and one that is not due yet.
        for n in 0..12 {
            let id = format!("a{n:02}");
            planned(&store, &people[n % 4], &id);
            if n % 2 == 0 {
                assert!(write(&store, |conn| attempts::hold(conn, &id, (at(0), false), &verdict("hold"), at(0))));
            }
        }
        planned(&store, &people[0], "z");
        planned(&store, &people[0], "later");
        assert!(write(&store, |conn| attempts::hold(conn, "later", (at(50), false), &verdict("hold"), at(0))));
        let ids = |limit| read(&store, |conn| attempts::due(conn, at(1), limit)).into_iter().map(|a| a.id).collect::<Vec<_>>();
        assert_eq!(ids(1), ["a00", "a04", "a08", "z"]);
        assert_eq!(ids(2), ["a00", "a01", "a04", "a05", "a08", "a09", "z"], "a held and a planned one, in one order");
        assert_eq!(ids(100).len(), 13);
    }
}
