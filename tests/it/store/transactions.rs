//! Transactions: all or nothing, also after a panic; who waits for SQLite's one writer; broken connections.

use std::sync::mpsc;
use std::time::Duration;

use fhir_engage::store::installation::{self, Setting};
use fhir_engage::store::{Lane, Location, Store, StoreError, leases, preferences};

use super::fixtures::{TERM, at, read, write};
use crate::support::{Backend, Database, on_both};

fn live(store: &Store) -> Option<String> {
    read(store, |conn| installation::get(conn, Setting::Live))
}

on_both! {
    fn an_error_rolls_back(db) {
        let store = db.store();
        let failed: Result<(), StoreError> = store.write_blocking(Lane::Interactive, "test", |conn| {
            installation::set(conn, Setting::Live, "true")?;
            Err(StoreError::Damaged("a test"))
        });
        assert!(matches!(failed, Err(StoreError::Damaged("a test"))));
        assert_eq!(live(&store), None);
        write(&store, |conn| installation::set(conn, Setting::Live, "yes"));
        assert_eq!(live(&store).as_deref(), Some("yes"));
    }

    fn a_refused_statement_rolls_back_and_says_which_constraint(db) {
        let store = db.store();
        let refused: Result<(), StoreError> = store.write_blocking(Lane::Interactive, "test", |conn| {
            installation::set(conn, Setting::Live, "true")?;
            preferences::record(conn, 1, "everything", "secret value", false, "reply", at(0))
        });
        let Err(StoreError::Refused(text)) = refused else { panic!("{refused:?}") };
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(live(&store), None);
    }

    fn a_panic_rolls_back_and_the_store_still_works(db) {
        let store = db.store();
        for _ in 0..6 {
            let inner = store.clone();
            let panicked = std::thread::spawn(move || {
                let _: Result<(), StoreError> = inner.write_blocking(Lane::Interactive, "test", |conn| {
                    installation::set(conn, Setting::Live, "true")?;
                    std::panic::panic_any("planted");
                });
            });
            assert!(panicked.join().is_err());
            let inner = store.clone();
            assert!(std::thread::spawn(move || inner.read_blocking(|_| -> Result<(), StoreError> { std::panic::panic_any("planted") })).join().is_err());
        }
        assert_eq!(live(&store), None);
        write(&store, |conn| installation::set(conn, Setting::Live, "yes"));
        assert_eq!(live(&store).as_deref(), Some("yes"));
    }

    async fn the_async_doors_pass_a_panic_on(db) {
        let store = db.store();
        let inner = store.clone();
        let panicked = tokio::spawn(async move { inner.write("test", |_| -> Result<(), StoreError> { std::panic::panic_any("planted") }).await }).await;
        assert!(panicked.unwrap_err().is_panic());
        store.write("test", |conn| installation::set(conn, Setting::Live, "yes")).await.unwrap();
        assert_eq!(store.read(|conn| installation::get(conn, Setting::Live)).await.unwrap().as_deref(), Some("yes"));
    }

    fn nothing_is_lost_between_writers_that_read_first(db) {
        let stores = [db.store(), db.store()];
        write(&stores[0], |conn| installation::set(conn, Setting::ClockOffset, "0"));
        std::thread::scope(|scope| {
            for n in 0..4 {
                let store = &stores[n % 2];
                scope.spawn(move || {
                    for _ in 0..25 {
                        // A lease row orders the writers on both engines, as in every task.
                        write(store, |conn| {
                            let fence = loop {
                                let got = leases::acquire(conn, "count", "w", at(0), TERM, |_| true)?;
                                if let Some(fence) = got {
                                    break fence;
                                }
                            };
                            leases::extend(conn, &fence, at(0), TERM)?;
                            let now: i64 = installation::get(conn, Setting::ClockOffset)?.unwrap().parse().unwrap();
                            installation::set(conn, Setting::ClockOffset, &(now + 1).to_string())
                        });
                    }
                });
            }
        });
        assert_eq!(db.lines("SELECT value AS line FROM installation"), ["100"]);
    }
}

#[test]
fn an_interactive_write_goes_before_the_bulk_writes_that_wait() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let store = db.store();
    let (entered, is_in) = mpsc::channel();
    let (let_go, may_go) = mpsc::channel::<()>();
    let (done, order) = mpsc::channel();
    std::thread::scope(|scope| {
        let (holder, done) = (store.clone(), &done);
        scope.spawn(move || {
            write(&holder, |_| {
                entered.send(()).unwrap();
                may_go.recv().unwrap();
                Ok(())
            });
        });
        is_in.recv().unwrap();
        for lane in [Lane::Bulk, Lane::Bulk, Lane::Bulk, Lane::Interactive] {
            let (store, done) = (store.clone(), done.clone());
            scope.spawn(move || {
                store
                    .write_blocking(lane, "test", |_| {
                        done.send(lane).unwrap();
                        Ok(())
                    })
                    .unwrap()
            });
            // Each has joined the queue before the next one comes.
            std::thread::sleep(Duration::from_millis(50));
        }
        let_go.send(()).unwrap();
    });
    drop(done);
    assert_eq!(order.into_iter().collect::<Vec<_>>(), [Lane::Interactive, Lane::Bulk, Lane::Bulk, Lane::Bulk]);
}

#[test]
fn batches_are_small_while_someone_waits_for_pages() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let store = db.store();
    let quiet = store.bulk_rows();
    write(&store, |conn| installation::set(conn, Setting::Live, "true"));
    assert!(store.bulk_rows() < quiet);
}

#[test]
#[cfg(feature = "postgres")]
fn a_server_that_was_restarted_is_connected_to_again() {
    let Some(db) = Database::fresh(Backend::Postgres) else { return };
    let store = db.store();
    write(&store, |conn| installation::set(conn, Setting::Live, "one"));
    assert_eq!(live(&store).as_deref(), Some("one"));
    db.lines("SELECT pg_terminate_backend(pid)::text AS line FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
    // What was in flight fails, and says so; the connection is not used again.
    let first = store.write_blocking(Lane::Interactive, "test", |conn| installation::set(conn, Setting::Live, "two"));
    assert!(matches!(first, Err(StoreError::Unusable(_)) | Ok(())), "{first:?}");
    let first = store.read_blocking(|conn| installation::get(conn, Setting::Live));
    assert!(matches!(first, Err(StoreError::Unusable(_)) | Ok(_)), "{first:?}");
    write(&store, |conn| installation::set(conn, Setting::Live, "three"));
    assert_eq!(live(&store).as_deref(), Some("three"));
}

#[test]
fn a_location_does_not_show_its_password() {
    let location = Location::parse("postgres://gateway:hunter2@db.example.org/engage");
    assert!(!format!("{location:?}").contains("hunter2"));
    let Err(error) = Store::open(Location::parse("postgres://gateway:hunter2@127.0.0.1:1/engage")) else { panic!("nothing listens there") };
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}
