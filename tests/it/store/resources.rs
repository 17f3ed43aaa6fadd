//! Committing pages: what is stored, what counts as unchanged, and who is woken.

use std::collections::BTreeSet;

use domain::model::{EhrId, ResourceType};
use fhir_engage::store::resources::{self, Incoming, Precedence};
use fhir_engage::store::{Lane, Store, gone, people};

use super::fixtures::{at, commit, commit_as, ehr, incoming, read, woken, write};
use crate::support::on_both;

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|s| (*s).to_owned()).collect()
}

fn body(store: &Store, kind: ResourceType, id: &str) -> String {
    let stored = read(store, |conn| resources::get(conn, &ehr(), kind, id)).unwrap();
    String::from_utf8(stored.body(store.codec()).unwrap()).unwrap()
}

/// Facts as `patient/resource/facts`, by the logical ids.
fn facts(db: &crate::support::Database) -> Vec<String> {
    let text = match db.location() {
        fhir_engage::store::Location::Sqlite(_) => "CAST(f.facts AS TEXT)",
        fhir_engage::store::Location::Postgres(_) => "convert_from(f.facts, 'UTF8')",
    };
    db.lines(&format!(
        "SELECT p.fhir_id || '/' || f.fhir_id || '/' || {text} AS line FROM fact f JOIN patient p ON p.pk = f.patient ORDER BY 1"
    ))
}

fn appointment(store: &Store, body: &str, facts: &str, patients: &[&str]) -> Vec<Incoming> {
    vec![incoming(store, ResourceType::Appointment, "a1", body, facts, patients)]
}

on_both! {
    fn a_new_resource_is_stored_and_wakes_its_patients(db) {
        let store = db.store();
        let written = commit(&store, ResourceType::Appointment, appointment(&store, "{\"n\":1.10}", "f1", &["p1", "p2"]));
        assert_eq!((written.stored.len(), written.unchanged.len(), written.older), (1, 0, 0));
        assert_eq!(body(&store, ResourceType::Appointment, "a1"), "{\"n\":1.10}");
        assert_eq!(facts(&db), ["p1/a1/f1", "p2/a1/f1"]);
        assert_eq!(woken(&store), set(&["p1", "p2"]));
    }

    fn the_same_body_is_unchanged_and_wakes_nobody(db) {
        let store = db.store();
        let first = commit(&store, ResourceType::Appointment, appointment(&store, "b", "f", &["p1"]));
        woken(&store);
        let again = commit(&store, ResourceType::Appointment, appointment(&store, "b", "f", &["p1"]));
        assert_eq!((again.stored.len(), &again.unchanged), (0, &first.stored));
        assert_eq!(woken(&store), set(&[]));
    }

    fn another_body_with_equal_facts_is_stored_and_wakes_nobody(db) {
        let store = db.store();
        let first = commit(&store, ResourceType::Appointment, appointment(&store, "b1", "f", &["p1"]));
        woken(&store);
        let again = commit(&store, ResourceType::Appointment, appointment(&store, "b2", "f", &["p1"]));
        assert_eq!(again.stored, first.stored, "it keeps its row");
        assert_eq!(body(&store, ResourceType::Appointment, "a1"), "b2");
        assert_eq!(woken(&store), set(&[]));
    }

    fn other_facts_wake(db) {
        let store = db.store();
        commit(&store, ResourceType::Appointment, appointment(&store, "b1", "f1", &["p1"]));
        woken(&store);
        commit(&store, ResourceType::Appointment, appointment(&store, "b2", "f2", &["p1"]));
        assert_eq!(facts(&db), ["p1/a1/f2"]);
        assert_eq!(woken(&store), set(&["p1"]));
    }

    fn a_resource_that_moves_to_another_patient_wakes_both_and_leaves_nothing_behind(db) {
        let store = db.store();
        commit(&store, ResourceType::Appointment, appointment(&store, "b1", "f", &["p1"]));
        woken(&store);
        commit(&store, ResourceType::Appointment, appointment(&store, "b2", "f", &["p2"]));
        assert_eq!(facts(&db), ["p2/a1/f"]);
        assert_eq!(woken(&store), set(&["p1", "p2"]));
        // And away from everyone.
        commit(&store, ResourceType::Appointment, appointment(&store, "b3", "f", &[]));
        assert_eq!(facts(&db), Vec::<String>::new());
        assert_eq!(woken(&store), set(&["p2"]));
    }

    fn a_stub_becomes_live_when_its_patient_is_read_and_keeps_its_person(db) {
        let store = db.store();
        commit(&store, ResourceType::Appointment, appointment(&store, "b", "f", &["p1"]));
        let stub = read(&store, |conn| people::record(conn, "north", "p1")).unwrap();
        assert_eq!(stub.state, "stub");
        commit(&store, ResourceType::Patient, vec![incoming(&store, ResourceType::Patient, "p1", "{}", "f", &["p1"])]);
        let live = read(&store, |conn| people::record(conn, "north", "p1")).unwrap();
        assert_eq!((live.state.as_str(), live.pk, live.person), ("live", stub.pk, stub.person));
        assert_eq!(read(&store, people::count), 1);
        // Another appointment does not make it a stub again.
        commit(&store, ResourceType::Appointment, appointment(&store, "b2", "f2", &["p1"]));
        assert_eq!(read(&store, |conn| people::record(conn, "north", "p1")).unwrap().state, "live");
    }

    fn files_do_not_bring_back_an_older_version_but_the_ehr_may(db) {
        let store = db.store();
        let version = |body: &str, seconds: Option<i64>| {
            let mut all = appointment(&store, body, body, &["p1"]);
            all[0].last_updated = seconds.map(|s| at(s).micros());
            all
        };
        commit_as(&store, ResourceType::Appointment, &version("at 10", Some(10)), Precedence::Newest);
        let older = commit_as(&store, ResourceType::Appointment, &version("at 5", Some(5)), Precedence::Newest);
        assert_eq!((older.stored.len(), older.older), (0, 1));
        assert_eq!(body(&store, ResourceType::Appointment, "a1"), "at 10");
        let newer = commit_as(&store, ResourceType::Appointment, &version("at 15", Some(15)), Precedence::Newest);
        assert_eq!((newer.stored.len(), newer.older), (1, 0));
        let undated = commit_as(&store, ResourceType::Appointment, &version("undated", None), Precedence::Newest);
        assert_eq!((undated.stored.len(), undated.older), (1, 0), "without a date the later one wins");
        // Its clock may have been set back.
        let back = commit_as(&store, ResourceType::Appointment, &version("at 1", Some(1)), Precedence::Asked(at(60)));
        assert_eq!((back.stored.len(), back.older), (1, 0));
        assert_eq!(body(&store, ResourceType::Appointment, "a1"), "at 1");
    }

    fn an_export_gives_way_to_what_was_read_while_it_was_prepared(db) {
        let store = db.store();
        let put = |body: &str, updated: Option<i64>, precedence, now: i64| {
            let mut all = appointment(&store, body, body, &["p1"]);
            all[0].last_updated = updated.map(|s| at(s).micros());
            let written = write(&store, |conn| resources::commit(conn, &ehr(), ResourceType::Appointment, &all, precedence, at(now)));
            (written.stored.len(), written.undecided.len(), written.older)
        };
        let body = |store: &Store| body(store, ResourceType::Appointment, "a1");
        // Asked for at 100, ready at 200; in between it was read singly.
        let export = Precedence::Exported(at(100));
        assert_eq!(put("before", None, Precedence::Asked(at(50)), 50), (1, 0, 0));
        assert_eq!(put("exported", None, export, 200), (1, 0, 0), "what was stored before is older");
        assert_eq!(put("read singly", None, Precedence::Asked(at(300)), 300), (1, 0, 0));
        let export = Precedence::Exported(at(250));
        assert_eq!((put("exported late", None, export, 400), body(&store)), ((0, 1, 0), "read singly".to_owned()));
        assert_eq!((put("exported late", Some(240), export, 400), body(&store)), ((0, 1, 0), "read singly".to_owned()));
        // Where both say when they were changed that decides.
        assert_eq!(put("dated", Some(300), Precedence::Asked(at(410)), 410), (1, 0, 0));
        assert_eq!((put("older", Some(290), export, 420), body(&store)), ((0, 0, 1), "dated".to_owned()));
        assert_eq!((put("newer", Some(310), export, 420), body(&store)), ((1, 0, 0), "newer".to_owned()));
        write(&store, |conn| gone::mark(conn, &ehr(), ResourceType::Appointment, &["a1"], "test", at(430)));
        assert_eq!(put("seen before it was gone", None, export, 440), (0, 1, 0));
    }

    fn what_was_stored_while_an_answer_was_on_its_way_stays_unless_the_answer_is_plainly_newer(db) {
        let store = db.store();
        let put = |body: &str, updated: Option<i64>, (asked, now): (i64, i64)| {
            let mut all = appointment(&store, body, body, &["p1"]);
            all[0].last_updated = updated.map(|s| at(s).micros());
            let kind = ResourceType::Appointment;
            let written = write(&store, |conn| resources::commit(conn, &ehr(), kind, &all, Precedence::Asked(at(asked)), at(now)));
            (written.stored.len(), written.undecided.len())
        };
        let body = |store: &Store| body(store, ResourceType::Appointment, "a1");
        assert_eq!(put("undated", None, (100, 101)), (1, 0));
        assert_eq!(put("asked before that was stored", None, (100, 102)), (0, 1));
        assert_eq!((put("asked after", None, (101, 103)), body(&store)), ((1, 0), "asked after".to_owned()));
        assert_eq!(put("dated", Some(50), (104, 105)), (1, 0));
        assert_eq!((put("plainly newer", Some(60), (90, 106)), body(&store)), ((1, 0), "plainly newer".to_owned()));
        // Another node's clock may be a little ahead.
        assert_eq!((put("older", Some(55), (120, 121)), body(&store)), ((0, 1), "plainly newer".to_owned()));
        assert_eq!(put("the EHR went back", Some(55), (200, 201)), (1, 0));
        // Gone since it was asked for.
        write(&store, |conn| gone::mark(conn, &ehr(), ResourceType::Appointment, &["a1"], "test", at(210)));
        assert_eq!((put("seen before", Some(70), (205, 211)), put("seen after", Some(70), (211, 212))), ((0, 1), (1, 0)));
    }

    fn the_same_id_at_two_ehrs_and_of_two_types_are_different_resources(db) {
        let store = db.store();
        let south = EhrId::parse("south").unwrap();
        commit(&store, ResourceType::Appointment, appointment(&store, "north", "f", &["p1"]));
        let page = appointment(&store, "south", "f", &["p1"]);
        store.write_blocking(Lane::Bulk, "test", |conn| resources::commit(conn, &south, ResourceType::Appointment, &page, Precedence::Asked(at(10_000_000)), at(0))).unwrap();
        commit(&store, ResourceType::CarePlan, vec![incoming(&store, ResourceType::CarePlan, "a1", "plan", "f", &["p1"])]);
        assert_eq!(body(&store, ResourceType::Appointment, "a1"), "north");
        assert_eq!(body(&store, ResourceType::CarePlan, "a1"), "plan");
        assert_eq!(read(&store, people::count), 2, "one person per EHR until someone joins them");
        let counts = read(&store, resources::counts);
        assert_eq!(counts.iter().map(|c| (c.0.as_str(), c.1.as_str(), c.2)).collect::<Vec<_>>(), [
            ("north", "Appointment", 1),
            ("north", "CarePlan", 1),
            ("south", "Appointment", 1),
        ]);
    }

    fn pages_of_any_size_go_in_and_come_back(db) {
        let store = db.store();
        for (round, size) in [0_usize, 1, 99, 100, 101, 200, 1000].into_iter().enumerate() {
            let kind = ResourceType::Appointment;
            let id = |n: usize| format!("r{round}-{n}");
            let page: Vec<Incoming> = (0..size)
                .map(|n| {
                    let mut row = incoming(&store, kind, &id(n), &format!("body {n}"), &format!("facts {n}"), &[&format!("p{}", n % 7), &format!("q{n}")]);
                    row.version = (n % 3 == 0).then(|| n.to_string());
                    row.last_updated = (n % 2 == 0).then_some(n as i64);
                    row
                })
                .collect();
            assert_eq!(commit(&store, kind, page.clone()).stored.len(), size);
            assert_eq!(commit(&store, kind, page).unchanged.len(), size);
            for n in 0..size {
                let stored = read(&store, |conn| resources::get(conn, &ehr(), kind, &id(n))).unwrap();
                assert_eq!(stored.version, (n % 3 == 0).then(|| n.to_string()));
                assert_eq!(stored.body(store.codec()).unwrap(), format!("body {n}").into_bytes());
            }
        }
        assert_eq!(facts(&db).len(), 2 * (1 + 99 + 100 + 101 + 200 + 1000));
        // Read back in chunks, in the order of the ids, each once.
        let mut last = String::new();
        let mut seen = 0;
        loop {
            let chunk = read(&store, |conn| resources::after(conn, &ehr(), ResourceType::Appointment, &last, 400));
            let Some(end) = chunk.last() else { break };
            assert!(chunk.windows(2).all(|w| w[0].fhir_id < w[1].fhir_id) && chunk[0].fhir_id > last);
            last.clone_from(&end.fhir_id);
            seen += chunk.len();
        }
        assert_eq!(seen, 1501);
    }

    fn odd_texts_are_kept_as_they_are(db) {
        let store = db.store();
        let odd = ["'", "''; DROP TABLE resource; --", "\"", "\\", "%_?$1", "ünïcödé 患者 🏥", "tab\tline\nreturn\r", &"x".repeat(10_000), "{}", "[null]", "NULL", ""];
        for (n, text) in odd.iter().enumerate() {
            let mut row = incoming(&store, ResourceType::Appointment, &format!("a{n}"), text, text, &["p1"]);
            row.version = Some((*text).to_owned());
            commit(&store, ResourceType::Appointment, vec![row]);
            let stored = read(&store, |conn| resources::get(conn, &ehr(), ResourceType::Appointment, &format!("a{n}"))).unwrap();
            assert_eq!(stored.version.as_deref(), Some(*text));
            assert_eq!(stored.body(store.codec()).unwrap(), text.as_bytes());
        }
        // 255 characters is the longest logical id that is taken.
        let long = "i".repeat(255);
        commit(&store, ResourceType::Patient, vec![incoming(&store, ResourceType::Patient, &long, "{}", "f", &[&long])]);
        assert_eq!(read(&store, |conn| people::record(conn, "north", &long)).unwrap().state, "live");
    }

    fn a_nul_character_does_not_sink_the_page(db) {
        let store = db.store();
        let mut bad = incoming(&store, ResourceType::Appointment, "a1", "b\0", "f\0", &["p1"]);
        bad.version = Some("1\0".to_owned());
        let good = incoming(&store, ResourceType::Appointment, "a2", "b", "f", &["p2"]);
        assert_eq!(commit(&store, ResourceType::Appointment, vec![bad, good]).stored.len(), 2);
        assert_eq!(body(&store, ResourceType::Appointment, "a1"), "b\0");
    }

    fn overlapping_pages_from_several_nodes_neither_deadlock_nor_double(db) {
        let stores: Vec<Store> = (0..4).map(|_| db.store()).collect();
        std::thread::scope(|scope| {
            for (node, store) in stores.iter().enumerate() {
                scope.spawn(move || {
                    for round in 0..8 {
                        // Each node has its own order and the same patients and ids.
                        let mut order: Vec<usize> = (0..60).collect();
                        order.rotate_left(node * 13);
                        if node % 2 == 1 {
                            order.reverse();
                        }
                        let page = order
                            .iter()
                            .map(|n| incoming(store, ResourceType::Appointment, &format!("a{n}"), &format!("{node} {round} {n}"), &format!("{node} {round}"), &[&format!("p{}", n % 17)]))
                            .collect();
                        commit(store, ResourceType::Appointment, page);
                    }
                });
            }
        });
        assert_eq!(db.lines("SELECT CAST(COUNT(*) AS TEXT) AS line FROM resource"), ["60"]);
        assert_eq!(db.lines("SELECT CAST(COUNT(*) AS TEXT) AS line FROM patient"), ["17"]);
        assert_eq!(facts(&db).len(), 60);
    }
}
