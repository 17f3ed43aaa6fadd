//! Fencing: of two workers that both believe to hold a lease, only the later one can write.

use fhir_engage::store::leases::{self, Fence};
use fhir_engage::store::{Lane, Store, StoreError, installation};

use super::fixtures::{TERM, at, write};
use crate::support::on_both;

const NAME: &str = "sync/north/Patient";

fn acquire(store: &Store, owner: &str, seconds: i64, dead: &[&str]) -> Option<Fence> {
    write(store, |conn| leases::acquire(conn, NAME, owner, at(seconds), TERM, |o| dead.contains(&o)))
}

fn extend(store: &Store, fence: &Fence, seconds: i64) -> Result<(), StoreError> {
    store.write_blocking(Lane::Interactive, "test", |conn| leases::extend(conn, fence, at(seconds), TERM))
}

on_both! {
    fn one_holder_at_a_time(db) {
        let store = db.store();
        let a = acquire(&store, "a", 0, &[]).unwrap();
        assert_eq!(a.token, 1);
        assert_eq!(acquire(&store, "b", 59, &[]), None);
        extend(&store, &a, 59).unwrap();
        assert_eq!(acquire(&store, "b", 100, &[]), None, "the extension counts from its own instant");
        write(&store, |conn| leases::release(conn, &a));
        assert_eq!(acquire(&store, "b", 100, &[]).unwrap().token, 2);
    }

    fn a_lease_that_ran_out_goes_over_and_the_old_holder_cannot_write(db) {
        let store = db.store();
        let a = acquire(&store, "a", 0, &[]).unwrap();
        let b = acquire(&store, "b", 61, &[]).unwrap();
        assert_eq!(b.token, 2);
        assert!(matches!(extend(&store, &a, 61), Err(StoreError::LeaseLost(name)) if name == NAME));
        // Releasing what is lost harms nobody.
        write(&store, |conn| leases::release(conn, &a));
        extend(&store, &b, 62).unwrap();
    }

    fn a_dead_owner_is_not_waited_for(db) {
        let store = db.store();
        acquire(&store, "dead", 0, &[]).unwrap();
        assert_eq!(acquire(&store, "b", 1, &["other"]), None);
        assert_eq!(acquire(&store, "b", 1, &["dead"]).unwrap().token, 2);
    }

    fn a_clock_set_back_does_not_lock_the_lease(db) {
        let store = db.store();
        acquire(&store, "a", 100_000, &[]).unwrap();
        assert_eq!(acquire(&store, "b", 100_000 - 30, &[]), None, "a little back is drift between nodes");
        assert_eq!(acquire(&store, "b", 0, &[]).unwrap().token, 2);
    }

    fn what_was_to_be_written_under_a_lost_lease_is_not(db) {
        let store = db.store();
        let a = acquire(&store, "a", 0, &[]).unwrap();
        acquire(&store, "b", 61, &[]).unwrap();
        let done = store.write_blocking(Lane::Interactive, "test", |conn| {
            installation::set(conn, installation::Setting::Live, "true")?;
            leases::extend(conn, &a, at(62), TERM)
        });
        assert!(matches!(done, Err(StoreError::LeaseLost(_))));
        assert!(db.lines("SELECT value AS line FROM installation").is_empty());
    }

    fn of_many_that_acquire_at_once_one_gets_it(db) {
        let stores: Vec<Store> = (0..4).map(|_| db.store()).collect();
        for round in 0..25 {
            // Each round begins after the last round's lease ran out.
            let winners: Vec<Fence> = std::thread::scope(|scope| {
                let all: Vec<_> = stores.iter().enumerate().map(|(n, store)| scope.spawn(move || acquire(store, &format!("w{n}"), round * 1000, &[]))).collect();
                all.into_iter().filter_map(|t| t.join().unwrap()).collect()
            });
            assert_eq!(winners.len(), 1, "round {round}");
            assert_eq!(winners[0].token, round + 1);
        }
    }
}
