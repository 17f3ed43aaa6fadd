//! The gateway is killed while it takes a file of a drop folder: the file is taken once and whole, its rows are accounted for once, and what a
//! full file leaves out is missed as if nobody had been killed.

use std::path::Path;
use std::time::Instant;

use rand::RngExt as _;

use super::account::Account;
use super::world::{Installation, clock, random, rounds};
use crate::support::{Backend, Database, TempDir, on_both};

const ROWS: u32 = 12_000;

const DECLARATION: &str = r#"
files = "*.csv"
content = "full"
complete = { by = "marker", suffix = ".done" }
[csv]
resource = "Appointment"
id = "ID"
time_zone = "America/New_York"
date_times = ["%m/%d/%Y %I:%M %p"]
[[csv.field]]
to = "status"
column = "Status"
codes = { Sched = "booked" }
[[csv.field]]
to = "start"
column = "Start"
[[csv.field]]
to = "patient"
column = "MRN"
"#;

struct World {
    gateway: Installation,
    folder: TempDir,
}

impl World {
    fn new(db: Database) -> Self {
        let (gateway, folder) = (Installation::new(db), TempDir::new());
        gateway.set_clock(clock());
        let declaration = gateway.data.join("visits.toml");
        std::fs::write(&declaration, format!("name = \"in\"\nfolder = \"{}\"\n{DECLARATION}", folder.path().display())).unwrap();
        gateway.run(&["ehr", "add", "clinic", "--files", "--drop", declaration.to_str().unwrap()]);
        Self { gateway, folder }
    }

    fn put(&self, name: &str, rows: &str) {
        std::fs::write(self.folder.join(name), rows).unwrap();
        std::fs::write(self.folder.join(&format!("{name}.done")), "").unwrap();
    }

    fn lines(&self, sql: &str) -> Vec<String> {
        let mut all = self.gateway.db.lines(sql);
        all.sort();
        all
    }

    fn stored(&self) -> usize {
        self.gateway.db.lines("SELECT '' || count(*) AS line FROM resource")[0].parse().unwrap()
    }

    fn taken(&self) -> usize {
        self.gateway.db.lines("SELECT file AS line FROM drop_file WHERE state = 'done'").len()
    }
}

fn rows(ids: std::ops::Range<u32>, status: &str) -> String {
    let row = |id: u32| format!("{id},{status},{}/{}/2026 9:30 AM,p{}\n", 11 + id % 2, 1 + id % 28, id % 3_000);
    std::iter::once("ID,Status,Start,MRN\n".to_owned()).chain(ids.map(row)).collect()
}

fn lies(folder: &Path, name: &str) -> bool {
    folder.join(name).exists()
}

on_both! {
    fn a_dropped_file_that_is_killed_in_its_middle_is_taken_once_and_whole(db) {
        let mut random = random("a_dropped_file_that_is_killed");
        let (killed, reference) = (World::new(db), World::new(Database::fresh(Backend::Sqlite).unwrap()));
        let mut cut = 0;
        let mut between = 0;
        for (name, text) in [("1.csv", rows(0..ROWS, "Sched")), ("2.csv", rows(500..ROWS, "cancelled"))] {
            for world in [&killed, &reference] {
                world.put(name, &text);
            }
            let (began, whole) = (Instant::now(), reference.taken());
            reference.gateway.run(&["sync", "run"]);
            let usual = began.elapsed();
            assert_eq!(reference.taken(), whole + 1);
            let goal = killed.taken() + 1;
            for _ in 0..rounds(8) {
                if killed.taken() == goal {
                    break;
                }
                let before = killed.stored();
                cut += u32::from(killed.gateway.killed_after(&["sync", "run"], usual.mul_f64(random.random_range(0.2..0.95))));
                let stored = killed.stored();
                between += u32::from(stored > before && stored < ROWS as usize);
            }
            killed.gateway.run(&["sync", "run"]);
            assert_eq!(killed.taken(), goal, "{name}");
            Account::of(&killed.gateway.db).assert_same_as(&Account::of(&reference.gateway.db));
            for sql in [
                "SELECT p.fhir_id || ' ' || f.fhir_id AS line FROM fact f JOIN patient p ON p.pk = f.patient",
                "SELECT fhir_id AS line FROM missing",
                "SELECT reason AS line FROM quarantine",
            ] {
                assert_eq!(killed.lines(sql), reference.lines(sql), "{name}: {sql}");
            }
            // Each row once, whichever run stored it; and the file has gone where taken files go.
            let account = "SELECT file || ' ' || lines || ' ' || (stored + unchanged + superseded) || ' ' || quarantined || ' ' || missing AS line FROM drop_file WHERE state = 'done'";
            assert_eq!(killed.lines(account), reference.lines(account), "{name}");
            for world in [&killed, &reference] {
                assert!(lies(world.folder.path(), &format!("done/{name}")) && !lies(world.folder.path(), name), "{name}");
            }
        }
        eprintln!("{cut} kills found it running, {between} of them with some of a file stored");
        assert!(cut > 1, "too few kills found it running");
        assert_eq!(killed.stored(), ROWS as usize);
        let again: String = killed.gateway.run(&["sync", "run"]);
        assert_eq!(killed.taken(), 2, "{again}");
    }
}
