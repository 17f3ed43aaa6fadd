//! When outreach goes on: what a stop held is woken in batches, each of which may be the last before somebody pulls the plug.

use fhir_engage::store::attempts::{self, Attempt};
use fhir_engage::store::stops::{self, Scope};
use fhir_engage::store::{Store, people};

use super::fixtures::{at, patient, planned, read, verdict, write};
use crate::support::on_both;

fn get(store: &Store, id: &str) -> Attempt {
    read(store, |conn| attempts::get(conn, id)).unwrap()
}

/// Attempts that a stop holds, until `n` seconds each.
fn held(store: &Store, who: &people::Record, ids: std::ops::Range<i64>) {
    for n in ids {
        let id = format!("s{n:02}");
        planned(store, who, &id);
        assert!(write(store, |conn| attempts::hold(conn, &id, (at(1_000 + n / 3), true), &verdict("hold"), at(1))));
    }
}

fn stop(store: &Store, scope: Scope, name: &str) {
    assert!(write(store, |conn| stops::begin(conn, (scope, name), "wrong text", "kim", at(1))));
}

fn start(store: &Store, scope: Scope, name: &str) {
    assert!(write(store, |conn| stops::end(conn, (scope, name), "kim", at(2))));
}

fn waiting(store: &Store, ids: std::ops::Range<i64>) -> usize {
    ids.filter(|n| get(store, &format!("s{n:02}")).is_stopped()).count()
}

on_both! {
    fn what_a_stop_held_is_woken_in_batches_that_go_on_after_a_crash(db) {
        let store = db.store();
        let who = patient(&store, "p1");
        held(&store, &who, 0..25);
        // Held by its own time, in the middle of the others.
        planned(&store, &who, "later");
        assert!(write(&store, |conn| attempts::hold(conn, "later", (at(1_004), false), &verdict("hold"), at(1))));
        assert!(!write(&store, |conn| attempts::wake_some(conn, 10, at(2))), "nobody asked for it");
        assert_eq!(waiting(&store, 0..25), 25);
        stop(&store, Scope::All, "");
        start(&store, Scope::All, "");
        assert_eq!(waiting(&store, 0..25), 25, "to let it go on is one row, however much waits");
        assert!(write(&store, |conn| attempts::wake_some(conn, 10, at(3))));
        assert_eq!(waiting(&store, 0..25), 15, "a batch and no more");
        // A batch that is not committed is none.
        let broken = store.write_blocking(fhir_engage::store::Lane::Bulk, "test", |conn| {
            attempts::wake_some(conn, 10, at(3))?;
            Err::<(), _>(fhir_engage::store::StoreError::Damaged("on purpose"))
        });
        assert!(broken.is_err());
        assert_eq!(waiting(&store, 0..25), 15);
        // Another process goes on.
        let other = db.store();
        let mut batches = 0;
        while write(&other, |conn| attempts::wake_some(conn, 10, at(4))) {
            batches += 1;
        }
        assert!((1..=3).contains(&batches), "{batches}");
        assert_eq!(waiting(&store, 0..25), 0);
        for n in 0..25 {
            let a = get(&store, &format!("s{n:02}"));
            assert_eq!((a.state.as_str(), a.failure.as_deref()), ("held", None));
            assert!(a.due_at == at(3).micros() || a.due_at == at(4).micros(), "{}: due now", a.id);
        }
        assert_eq!(get(&store, "later").due_at, at(1_004).micros(), "it waits for its own time");
        assert!(!write(&other, |conn| attempts::wake_some(conn, 10, at(9))), "it is done");
    }

    fn what_is_held_or_let_go_on_meanwhile_is_not_forgotten(db) {
        let store = db.store();
        let who = patient(&store, "p1");
        held(&store, &who, 0..12);
        stop(&store, Scope::All, "");
        stop(&store, Scope::Program, "reminders");
        start(&store, Scope::All, "");
        assert!(write(&store, |conn| attempts::wake_some(conn, 5, at(3))));
        // Judged anew they are held again, by the other stop; and that ends while the first ones are still being woken.
        for n in 0..5 {
            let id = format!("s{n:02}");
            assert!(write(&store, |conn| attempts::hold(conn, &id, (at(900 + n), true), &verdict("hold"), at(3))));
        }
        start(&store, Scope::Program, "reminders");
        let mut batches = 0;
        while write(&store, |conn| attempts::wake_some(conn, 5, at(5))) {
            batches += 1;
            assert!(batches < 10, "it comes to an end");
        }
        assert_eq!(waiting(&store, 0..12), 0, "those that were held behind the place are woken, too");
    }
}
