//! Write-backs as the binary makes them where something outside is not as it should be: no connection, no folder, a wrong clock.

use std::time::{Duration, Instant};

use fhir_engage::store::writebacks;
use sandbox::{Config, Sandbox};
use serde_json::{Value, json};

use crate::support::{Backend, Database, Ended, Running, TempDir, gateway, on_both, owing, run};

/// A data folder, and the arguments that name it with its database.
struct Office {
    folder: TempDir,
    args: Vec<String>,
}

impl Office {
    fn new(db: &Database) -> Self {
        let folder = TempDir::new();
        std::fs::write(folder.join("fhir-engage.toml"), "[worker]\ntick = \"1s\"\n").unwrap();
        let args = ["--data", folder.path().to_str().unwrap(), "--database", &db.argument()].map(str::to_owned).to_vec();
        Self { folder, args }
    }

    fn all<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        args.iter().copied().chain(self.args.iter().map(String::as_str)).collect()
    }

    fn run(&self, args: &[&str]) -> Ended {
        run(&self.all(args))
    }
}

/// Two patients of an EHR, to whom an original each is owed.
fn owe(db: &Database, ehr: &str) {
    use domain::Clock as _;
    let (store, now) = (db.store(), fhir_engage::app::SystemClock::with_offset(chrono::TimeDelta::zero()).now());
    owing::admit(&store, ehr, &["p1".to_owned(), "p2".to_owned()], now);
    owing::owe(&store, ehr, &[("p1", "att-1"), ("p2", "att-2")].map(|(p, a)| (p.to_owned(), a.to_owned())), now);
}

fn states(db: &Database) -> Vec<String> {
    let rows = db.store().read_blocking(|conn| writebacks::list(conn, None, None, 100)).unwrap();
    rows.into_iter().map(|r| r.state).collect()
}

fn failures(ended: &Ended) -> Value {
    ended.json()["failures"].clone()
}

on_both! {
    fn what_is_owed_to_an_ehr_without_a_connection_goes_into_files_by_itself(db) {
        let office = Office::new(&db);
        office.run(&["ehr", "add", "nightly", "--files"]).ok();
        owe(&db, "nightly");
        let mut working = Running::start(&mut gateway(&office.all(&["work"])));
        let until = Instant::now() + Duration::from_secs(30);
        while states(&db) != ["exported", "exported"] {
            assert!(!working.has_ended() && Instant::now() < until, "{:?}: {:?}", states(&db), working.stop());
            std::thread::sleep(Duration::from_millis(50));
        }
        let day = std::fs::read_dir(office.folder.join("export/nightly")).unwrap().next().unwrap().unwrap().path();
        assert!(day.join("att-1.json").exists() && day.join("att-2.json").exists());
    }

    fn a_folder_that_cannot_be_written_to_is_named_and_costs_nothing(db) {
        let office = Office::new(&db);
        office.run(&["ehr", "add", "nightly", "--files"]).ok();
        owe(&db, "nightly");
        std::fs::write(office.folder.join("export"), "a file").unwrap();
        office.run(&["writeback", "run"]);
        assert_eq!(states(&db), ["owed", "owed"]);
        let told = office.run(&["writeback", "list"]).ok().stdout;
        assert!(told.contains("export/nightly cannot be written to: not a directory"), "{told}");
        std::fs::remove_file(office.folder.join("export")).unwrap();
        db.execute("UPDATE writeback SET next_at = owed_at");
        office.run(&["writeback", "run"]).ok();
        assert_eq!(states(&db), ["exported", "exported"]);
    }
}

/// An EHR by the machine's clock.
async fn ehr() -> Sandbox {
    use domain::Clock as _;
    let clock = fhir_engage::app::SystemClock::with_offset(chrono::TimeDelta::zero());
    let ehr = sandbox::start(Config { open: true, ..Config::new(std::sync::Arc::new(move || clock.now().micros())) }).await.unwrap();
    ehr.load(["p1", "p2"].map(owing::patient)).unwrap();
    ehr
}

/// Two nodes whose clocks are apart take each other's work for abandoned, whatever the leases say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_not_the_database_servers_writes_nothing_back() {
    let Some(db) = Database::fresh(Backend::Postgres) else { return };
    let (office, ehr) = (Office::new(&db), ehr().await);
    office.run(&["ehr", "add", "north", "--url", &ehr.base_url()]).ok();
    owe(&db, "north");
    db.execute("CREATE SCHEMA wrong");
    for (minutes, says) in [(10, "seconds behind the database server's"), (-10, "seconds ahead of the database server's")] {
        db.execute(&format!(
            "CREATE OR REPLACE FUNCTION wrong.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
             $$ SELECT pg_catalog.clock_timestamp() + interval '{minutes} minutes' $$;
             DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, wrong, pg_catalog', current_database()); END $$"
        ));
        let ended = office.run(&["writeback", "run", "--json"]);
        assert!(ended.code == Some(1) && failures(&ended)[0].as_str().unwrap().contains(says), "{ended:?}");
        assert_eq!((ehr.count("Communication"), states(&db)), (0, vec!["owed".to_owned(); 2]));
    }
    db.execute("DROP SCHEMA wrong CASCADE");
    let ended = office.run(&["writeback", "run", "--json"]).ok();
    assert_eq!((failures(&ended), ehr.count("Communication")), (json!([]), 2));
}
