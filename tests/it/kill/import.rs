//! An import that is killed, and repeated.

use std::io::Write as _;
use std::time::Instant;

use rand::RngExt as _;

use super::account::Account;
use super::world::{Installation, clock, people, random, rounds};
use crate::support::{Backend, Database, on_both};

const PATIENTS: u32 = 1_500;

/// An installation for files.
fn for_files(db: Database) -> Installation {
    let new = Installation::new(db);
    new.set_clock(clock());
    new.run(&["ehr", "add", "nightly", "--files"]);
    new
}

on_both! {
    fn an_import_that_is_killed_is_made_up_for(db) {
        let mut random = random("an_import_that_is_killed");
        let (killed, reference) = (for_files(db), for_files(Database::fresh(Backend::Sqlite).unwrap()));
        let people = sandbox::Population { patients: PATIENTS, ..people(clock()) };
        let path = reference.data.join("everything.ndjson");
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        let mut lines = 0;
        for line in people.patients().chain(people.appointments()).chain(people.care_plans()) {
            writeln!(file, "{line}").unwrap();
            lines += 1;
        }
        drop(file);
        let args = ["import", "--ehr", "nightly", path.to_str().unwrap(), "--json"];
        let started = Instant::now();
        reference.run(&args);
        let usual = started.elapsed();
        let mut cut = 0;
        for _ in 0..rounds(6) {
            let delay = usual.mul_f64(random.random_range(0.05..0.35));
            cut += u32::from(killed.killed_after(&args, delay));
        }
        let report: serde_json::Value = serde_json::from_str(&killed.run(&args)).unwrap();
        let count = |name: &str| report[name].as_u64().unwrap();
        assert_eq!(count("lines"), lines);
        assert_eq!(count("stored") + count("unchanged"), lines, "{report}");
        eprintln!("{cut} kills found it running; the last run found {} unchanged of {lines}; an import takes {usual:?}", count("unchanged"));
        assert!(cut > 0, "no kill found the import running");
        Account::of(&killed.db).assert_same_as(&Account::of(&reference.db));
        assert_eq!(killed.db.lines("SELECT rtype AS line FROM sync_run WHERE state = 'running'"), Vec::<String>::new());
        let report: serde_json::Value = serde_json::from_str(&killed.run(&args)).unwrap();
        assert_eq!(report["unchanged"].as_u64(), Some(lines), "{report}");
    }
}
