//! Opening a database: migrations run once, also when several processes start together; what is not ours to open is refused.

use fhir_engage::store::{Location, Store, StoreError};

use crate::support::{Backend, Database, on_both};

fn of_many_that_open_at_once_all_succeed(backend: Backend) {
    let Some(db) = Database::empty(backend) else { return };
    let opened: Vec<Result<Store, StoreError>> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| Store::open(db.location()))).collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for result in opened {
        result.unwrap();
    }
    assert!(Store::missing_migrations(&db.location()).unwrap().is_empty());
}

#[test]
fn several_processes_may_start_on_an_empty_sqlite_file() {
    for _ in 0..5 {
        of_many_that_open_at_once_all_succeed(Backend::Sqlite);
    }
}

#[test]
#[cfg(feature = "postgres")]
fn several_processes_may_start_on_an_empty_postgres_database() {
    for _ in 0..3 {
        of_many_that_open_at_once_all_succeed(Backend::Postgres);
    }
}

#[test]
fn a_database_without_tables_is_not_used_unmigrated() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let Some(db) = Database::empty(backend) else { continue };
        let missing = Store::missing_migrations(&db.location()).unwrap();
        assert!(missing.len() >= 6, "{missing:?}");
        assert!(matches!(Store::open_without_migrating(db.location()), Err(StoreError::NotMigrated)));
        assert_eq!(Store::migrate(&db.location()).unwrap(), missing);
        assert!(Store::migrate(&db.location()).unwrap().is_empty());
        Store::open_without_migrating(db.location()).unwrap();
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_with_its_name() {
    let folder = crate::support::TempDir::new();
    let file = folder.join("notes.txt");
    std::fs::write(&file, "this is no database, it is a text of some length so that the header is read").unwrap();
    for path in [file, folder.join("no/such/folder/gateway.db")] {
        let Err(error) = Store::open(Location::Sqlite(path.clone())) else { panic!("opened {}", path.display()) };
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

on_both! {
    fn a_database_of_a_newer_version_is_refused(db) {
        drop(db.store());
        db.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000001')");
        assert!(matches!(Store::open(db.location()), Err(StoreError::TooNew)));
        assert!(matches!(Store::open_without_migrating(db.location()), Err(StoreError::TooNew)));
        assert!(matches!(Store::migrate(&db.location()), Err(StoreError::TooNew)));
    }
}
