//! Write-backs: in order per patient, never two workers on one, and what is unclear is known to be unclear.

use fhir_engage::store::Store;
use fhir_engage::store::leases::Fence;
use fhir_engage::store::writebacks::{self, Claimed, Settlement, Way};

use super::fixtures::{at, fence, finished, patient, read, write};
use crate::support::on_both;

const LEASE: &str = "writeback/north";

/// A claim that a later worker may take over after half a minute.
fn claim(store: &Store, fence: &Fence, seconds: i64) -> Vec<Claimed> {
    write(store, |conn| writebacks::claim(conn, "north", fence, at(seconds), at(seconds + 30), 100))
}

fn ids(claimed: &[Claimed]) -> Vec<&str> {
    let mut all: Vec<&str> = claimed.iter().map(|c| c.row.id.as_str()).collect();
    all.sort_unstable();
    all
}

fn settle(store: &Store, id: &str, fence: &Fence, how: &Settlement) -> bool {
    write(store, |conn| writebacks::settle(conn, id, fence, how, None, at(20)))
}

fn written() -> Settlement {
    Settlement::Written { remote_id: Some("77".to_owned()), version: Some("1".to_owned()), loss: "[]".to_owned(), differences: None }
}

on_both! {
    fn each_patient_is_a_lane_in_order(db) {
        let store = db.store();
        let (p1, p2) = (patient(&store, "p1"), patient(&store, "p2"));
        for (p, id) in [(&p1, "a1"), (&p1, "a2"), (&p2, "b1"), (&p1, "a3")] {
            finished(&store, p, id);
        }
        let f = fence(&store, LEASE);
        let first = claim(&store, &f, 10);
        assert_eq!(ids(&first), ["a1-0", "b1-0"]);
        assert!(first.iter().all(|c| !c.unclear && c.row.state == "writing" && c.row.tries == 1 && c.row.token == f.token));
        assert!(claim(&store, &f, 10).is_empty(), "they are being written");
        assert!(settle(&store, "a1-0", &f, &written()));
        assert_eq!(ids(&claim(&store, &f, 10)), ["a2-0"]);
        let subjects = read(&store, |conn| writebacks::subjects(conn, &["a1", "b1"]));
        assert!(subjects.iter().all(|(id, (attempt, _))| *id == attempt.id));
        assert_eq!((subjects["a1"].1.as_str(), subjects["b1"].1.as_str()), ("p1", "p2"));
    }

    fn one_that_waits_holds_its_lane_and_a_refused_one_does_not(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        for id in ["a1", "a2", "a3"] {
            finished(&store, &p1, id);
        }
        let f = fence(&store, LEASE);
        claim(&store, &f, 10);
        assert!(settle(&store, "a1-0", &f, &Settlement::Again { at: at(50), why: "busy".to_owned() }));
        assert!(claim(&store, &f, 49).is_empty(), "the one behind it must wait too");
        assert_eq!(read(&store, |conn| writebacks::next_due(conn, "north", at(0))), Some(at(50)), "the one behind does not count");
        let again = claim(&store, &f, 50);
        assert_eq!((ids(&again), again[0].unclear, again[0].row.tries), (vec!["a1-0"], false, 2));
        assert!(settle(&store, "a1-0", &f, &Settlement::Refused { why: "not taken".to_owned() }));
        assert_eq!(ids(&claim(&store, &f, 50)), ["a2-0"]);
    }

    fn what_may_have_arrived_is_claimed_as_unclear(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        finished(&store, &p1, "a1");
        let f = fence(&store, LEASE);
        claim(&store, &f, 10);
        assert!(settle(&store, "a1-0", &f, &Settlement::Unknown { at: at(60), why: "no answer".to_owned() }));
        assert!(claim(&store, &f, 59).is_empty());
        let again = claim(&store, &f, 60);
        assert!(again.len() == 1 && again[0].unclear);
    }

    fn what_a_dead_worker_was_writing_is_unclear_and_the_dead_one_can_settle_nothing(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        finished(&store, &p1, "a1");
        let old = fence(&store, LEASE);
        assert_eq!(claim(&store, &old, 10).len(), 1);
        let new = fence(&store, LEASE);
        assert!(claim(&store, &new, 39).is_empty(), "its request may still be on its way");
        assert_eq!(read(&store, |conn| writebacks::next_due(conn, "north", at(0))), Some(at(40)));
        let taken = claim(&store, &new, 40);
        assert!(taken.len() == 1 && taken[0].unclear && taken[0].row.tries == 2);
        assert!(!settle(&store, "a1-0", &old, &written()), "it is another worker's now");
        assert!(settle(&store, "a1-0", &new, &written()));
        assert!(!settle(&store, "a1-0", &new, &Settlement::Refused { why: "late".to_owned() }), "settled is settled");
        let row = read(&store, |conn| writebacks::list(conn, Some("north"), None, 10)).remove(0);
        assert_eq!((row.state.as_str(), row.remote_id.as_deref(), row.settled_at), ("written", Some("77"), Some(at(20).micros())));
        assert_eq!(read(&store, |conn| writebacks::next_due(conn, "north", at(0))), None);
    }

    fn what_was_put_off_by_a_clock_that_was_ahead_is_due(db) {
        let store = db.store();
        let (p1, p2) = (patient(&store, "p1"), patient(&store, "p2"));
        for (p, id) in [(&p1, "a1"), (&p1, "a2"), (&p2, "b1")] {
            finished(&store, p, id);
        }
        let f = fence(&store, LEASE);
        const DAY: i64 = 86_400;
        // By a clock three days ahead a server asked for patience, and another row's worker died.
        claim(&store, &f, 10);
        assert!(settle(&store, "a1-0", &f, &Settlement::Again { at: at(3 * DAY), why: "busy".to_owned() }));
        assert!(settle(&store, "b1-0", &f, &Settlement::Again { at: at(DAY), why: "busy".to_owned() }));
        let due = |seconds| read(&store, |conn| writebacks::next_due(conn, "north", at(seconds)));
        assert_eq!(due(20), Some(at(20)));
        assert_eq!(due(2 * DAY), Some(at(DAY)), "a day's patience is granted");
        let taken = claim(&store, &f, 20);
        assert_eq!(ids(&taken), ["a1-0"], "and what was put off for a day is not");
        assert!(settle(&store, "a1-0", &f, &Settlement::Parked { why: "no search".to_owned() }));
        assert_eq!(ids(&claim(&store, &f, 20)), ["a2-0"], "what waits for a person goes on waiting");
        assert!(settle(&store, "a2-0", &f, &written()));
        // Written by a worker that died three days from now.
        write(&store, |conn| writebacks::claim(conn, "north", &f, at(DAY), at(4 * DAY), 100));
        let next = fence(&store, LEASE);
        let taken = claim(&store, &next, DAY + 1);
        assert!(ids(&taken) == ["b1-0"] && taken[0].unclear, "{taken:?}");
    }

    fn how_it_was_put_is_kept_until_a_worker_dies_at_it(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        finished(&store, &p1, "a1");
        let f = fence(&store, LEASE);
        claim(&store, &f, 10);
        let way = Some(Way { carrier: "communication", put_as: Some("identifier by identifier") });
        let unknown = Settlement::Unknown { at: at(30), why: "no answer".to_owned() };
        assert!(write(&store, |conn| writebacks::settle(conn, "a1-0", &f, &unknown, way, at(20))));
        let again = claim(&store, &f, 30).remove(0).row;
        assert_eq!((again.carrier.as_deref(), again.put_as.as_deref()), (Some("communication"), Some("identifier by identifier")));
        // A search that failed changes nothing of it.
        assert!(settle(&store, "a1-0", &f, &Settlement::Unknown { at: at(40), why: "busy".to_owned() }));
        assert_eq!(claim(&store, &f, 40).remove(0).row.put_as.as_deref(), Some("identifier by identifier"));
        let next = fence(&store, LEASE);
        let taken = claim(&store, &next, 80).remove(0).row;
        assert_eq!((taken.carrier.as_deref(), taken.put_as), (Some("communication"), None), "nobody knows what the dead one did");
        assert!(settle(&store, "a1-0", &next, &Settlement::PutBack { at: at(90), unclear: true }));
        assert_eq!(claim(&store, &next, 90).remove(0).row.put_as, None);
    }

    fn what_waits_for_a_person_holds_nobody_up_and_no_clock_brings_it_back(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        for id in ["a1", "a2"] {
            finished(&store, &p1, id);
        }
        let f = fence(&store, LEASE);
        claim(&store, &f, 10);
        assert!(settle(&store, "a1-0", &f, &Settlement::Parked { why: "no search".to_owned() }));
        assert_eq!(ids(&claim(&store, &f, 1_000_000)), ["a2-0"]);
        assert!(settle(&store, "a2-0", &f, &written()));
        assert_eq!(read(&store, |conn| writebacks::next_due(conn, "north", at(0))), None);
        let parked = read(&store, |conn| writebacks::list(conn, Some("north"), Some("unknown"), 10)).remove(0);
        assert!(parked.is_parked() && parked.failure.as_deref() == Some("no search"));
    }

    fn what_is_put_back_is_what_it_was(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        finished(&store, &p1, "a1");
        let f = fence(&store, LEASE);
        for unclear in [false, true] {
            let claimed = claim(&store, &f, 10);
            assert_eq!((claimed[0].unclear, claimed[0].row.tries), (unclear, if unclear { 2 } else { 1 }));
            assert!(settle(&store, "a1-0", &f, &Settlement::PutBack { at: at(10), unclear }));
            let again = claim(&store, &f, 10);
            assert_eq!((again[0].unclear, again[0].row.tries), (unclear, claimed[0].row.tries), "the try did not count");
            assert!(settle(&store, "a1-0", &f, &Settlement::Unknown { at: at(10), why: "no answer".to_owned() }));
        }
    }

    fn another_ehrs_are_not_claimed(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        finished(&store, &p1, "a1");
        let f = fence(&store, "writeback/south");
        assert!(write(&store, |conn| writebacks::claim(conn, "south", &f, at(10), at(40), 10)).is_empty());
    }

    fn claims_at_once_never_take_one_twice(db) {
        let store = db.store();
        for n in 0..60 {
            let p = patient(&store, &format!("p{n:02}"));
            finished(&store, &p, &format!("a{n:02}"));
        }
        let f = fence(&store, LEASE);
        let stores: Vec<Store> = (0..4).map(|_| db.store()).collect();
        // The same fence in all of them: the statement alone must keep them apart.
        let mut all: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = stores
                .iter()
                .map(|store| {
                    let f = &f;
                    scope.spawn(move || {
                        let mut mine = Vec::new();
                        for _ in 0..40 {
                            let some = write(store, |conn| writebacks::claim(conn, "north", f, at(10), at(40), 3));
                            mine.extend(some.into_iter().map(|c| c.row.id));
                        }
                        mine
                    })
                })
                .collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        all.sort();
        assert_eq!(all.len(), 60);
        all.dedup();
        assert_eq!(all.len(), 60);
    }
}
