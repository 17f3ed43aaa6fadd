//! Drop folders: a file is taken when it is complete, in order, once; its rows are accounted for; what a full file leaves out is settled.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, UNIX_EPOCH};

use chrono::TimeDelta;
use domain::Clock as _;
use domain::clock::ManualClock;
use domain::model::ResourceType::{Appointment, Patient};
use fhir_engage::ehr::Profile;
use fhir_engage::store::drops::{self, DropFile};
use fhir_engage::store::{Store, quarantine};
use fhir_engage::sync::drops::{Drop, DropReport, FileReport, Task, run};

use super::setup::{HOLDER, as_of, at, bodies, ehr, register, values, write};
use crate::support::{TempDir, on_both};

/// A gateway with one drop folder.
struct Site {
    store: Store,
    clock: ManualClock,
    folder: TempDir,
    profile: Profile,
    accept: bool,
}

const CSV: &str = r#"
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

const STABLE: &str = "{ by = \"stable\", seconds = 60 }";

impl Site {
    fn new(store: Store, head: &str, complete: &str, rest: &str) -> Self {
        register(&store);
        let folder = TempDir::new();
        let text = format!("name = \"in\"\nfolder = \"{}\"\n{head}\ncomplete = {complete}\n{rest}", folder.path().display());
        let drop = serde_json::to_value(Drop::from_toml(&text).unwrap()).unwrap();
        let profile = Profile { files_only: true, drops: vec![drop], ..Profile::default() };
        Self { store, clock: ManualClock::at(at(0)), folder, profile, accept: false }
    }

    fn csv(store: Store, content: &str, complete: &str) -> Self {
        Self::new(store, &format!("files = \"*.csv\"\ncontent = \"{content}\""), complete, CSV)
    }

    fn look(&self) -> DropReport {
        let stop = AtomicBool::new(false);
        let task = Task {
            store: &self.store,
            clock: &self.clock,
            holder: HOLDER,
            ehr: &ehr(),
            stop: &stop,
            progress: &|_| {},
            accept_vanished: self.accept,
        };
        let report = run(&task, &self.profile).unwrap().remove(0);
        for f in &report.files {
            assert_eq!(f.lines, f.stored + f.unchanged + f.superseded + f.ignored + f.quarantined, "{f:?}");
        }
        report
    }

    /// Puts a file down whose last change was so many seconds ago.
    fn put(&self, name: &str, text: &str, seconds_ago: i64) -> PathBuf {
        let path = write(&self.folder.join(name), text.as_bytes());
        self.age(&path, seconds_ago);
        path
    }

    fn age(&self, path: &Path, seconds_ago: i64) {
        let changed = self.clock.now().plus(TimeDelta::seconds(-seconds_ago)).micros();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_micros(u64::try_from(changed).unwrap())).unwrap();
    }

    fn known(&self) -> Vec<DropFile> {
        let mut all = self.store.read_blocking(|conn| drops::files(conn, None, 100)).unwrap();
        all.reverse();
        all
    }

    fn lies(&self, name: &str) -> bool {
        self.folder.join(name).exists()
    }
}

fn rows(ids: impl IntoIterator<Item = u32>) -> String {
    let row = |id: u32| format!("{id},Sched,1/{}/2027 9:30 AM,p{id}\n", 16 + id % 10);
    std::iter::once("ID,Status,Start,MRN\n".to_owned()).chain(ids.into_iter().map(row)).collect()
}

fn told(report: &DropReport) -> Vec<(&str, &str, i64, i64, i64)> {
    report.files.iter().map(|f: &FileReport| (f.file.as_str(), f.state, f.lines, f.stored, f.unchanged)).collect()
}

on_both! {
    fn files_are_taken_in_order_and_once(db) {
        let site = Site::csv(db.store(), "delta", STABLE);
        site.put("b.csv", &rows([1]).replace("Sched", "sched").replace("9:30", "10:30"), 100);
        site.put("a.csv", &rows([1, 2]), 90);
        assert_eq!(told(&site.look()), [("a.csv", "done", 2, 2, 0), ("b.csv", "done", 1, 1, 0)]);
        assert!(site.lies("done/a.csv") && site.lies("done/b.csv") && !site.lies("a.csv"));
        let stored = values(&site.store, Appointment);
        assert_eq!((stored.len(), stored[0].1["start"].as_str()), (2, Some("2027-01-17T15:30:00Z")), "the later file's word");
        assert!(as_of(&site.store, Appointment).is_some());
        // A crash after the commit and before the move; and the same content under another name.
        fs::rename(site.folder.join("done/b.csv"), site.folder.join("b.csv")).unwrap();
        site.put("c.csv", &rows([1, 2]), 90);
        let report = site.look();
        assert_eq!(told(&report), [("c.csv", "repeated", 0, 0, 0)]);
        assert!(report.files[0].reason.as_ref().unwrap().contains("number 1"), "{report:?}");
        assert_eq!(values(&site.store, Appointment), stored);
        assert!(site.lies("done/b.csv") && site.lies("done/c.csv"));
        assert_eq!(site.known().iter().map(|f| (f.state.as_str(), f.moved)).collect::<Vec<_>>(), [("done", true), ("done", true), ("repeated", true)]);
        // The same name with another content is another file.
        site.put("a.csv", &rows([3]), 90);
        assert_eq!(told(&site.look()), [("a.csv", "done", 1, 1, 0)]);
        assert!(site.lies("done/4-a.csv") && site.lies("done/a.csv"), "neither is lost");
        assert!(told(&site.look()).is_empty());
    }

    fn a_file_that_still_comes_is_left_and_those_after_it_wait(db) {
        let site = Site::csv(db.store(), "delta", STABLE);
        site.put("a.csv", &rows([1]), 59);
        site.put("b.csv", &rows([2]), 3600);
        for unfinished in [".a.csv", "a.csv.part", "~a.csv", "a.csv.tmp", "notes.txt"] {
            site.put(unfinished, &rows([9]), 3600);
        }
        let report = site.look();
        assert!(report.files.is_empty());
        assert_eq!(report.waiting[0].1, "it changed less than 60 seconds ago");
        assert_eq!(report.waiting[1], ("b.csv".to_owned(), "it comes after a.csv".to_owned()));
        site.clock.advance(TimeDelta::seconds(1));
        assert_eq!(told(&site.look()).len(), 2);
        assert_eq!(bodies(&site.store, Appointment).len(), 2);
    }

    fn a_marker_a_checksum_or_a_trailer_says_that_a_file_is_complete(db) {
        let store = db.store();
        let marked = Site::csv(store.clone(), "delta", "{ by = \"marker\", suffix = \".done\" }");
        marked.put("a.csv", &rows([1]), 3600);
        assert_eq!(marked.look().waiting[0].1, "there is no a.csv.done yet");
        marked.put("a.csv.done", "", 0);
        assert_eq!(told(&marked.look()), [("a.csv", "done", 1, 1, 0)]);
        assert!(marked.lies("done/a.csv.done") && !marked.lies("a.csv.done"));

        let summed = Site::csv(store.clone(), "delta", "{ by = \"checksum\", suffix = \".sha256\" }");
        let file = summed.put("s.csv", &rows([2]), 0);
        summed.put("s.csv.sha256", &format!("{}  s.csv", "0".repeat(64)), 0);
        assert!(summed.look().waiting[0].1.contains("checksum"));
        let sum = ring::digest::digest(&ring::digest::SHA256, rows([2]).as_bytes());
        let hex: String = sum.as_ref().iter().map(|b| format!("{b:02X}")).collect();
        summed.put("s.csv.sha256", &hex, 0);
        assert_eq!(told(&summed.look()), [("s.csv", "done", 1, 1, 0)]);
        assert!(!file.exists());
        // Long after, one that differs is damaged and not on its way.
        summed.put("t.csv", &rows([3]), 3600);
        summed.put("t.csv.sha256", "00", 3600);
        assert_eq!(told(&summed.look()), [("t.csv", "failed", 0, 0, 0)]);
        assert!(summed.lies("failed/t.csv") && summed.lies("failed/t.csv.sha256"));

        let trailed = Site::csv(store, "delta", "{ by = \"trailer\", first = \"END\", count = 3 }");
        trailed.put("a.csv", &rows([4, 5]), 0);
        assert_eq!(trailed.look().waiting[0].1, "its last row is no trailer yet");
        trailed.put("a.csv", &format!("{}END,rows,2\n", rows([4, 5])), 0);
        assert_eq!(told(&trailed.look()), [("a.csv", "done", 2, 2, 0)]);
        trailed.put("b.csv", &format!("{}END,rows,3\n", rows([6, 7])), 0);
        let report = trailed.look();
        assert_eq!(told(&report), [("b.csv", "failed", 0, 0, 0)]);
        assert_eq!(report.files[0].reason.as_deref(), Some("its trailer tells 3 rows, and it has 2"));
        assert_eq!(bodies(&trailed.store, Appointment).len(), 4, "nothing of it is stored");
    }

    fn what_two_full_files_leave_out_is_gone(db) {
        let mut site = Site::csv(db.store(), "full", STABLE);
        site.put("1.csv", &rows(0..100), 100);
        site.look();
        site.clock.advance(TimeDelta::hours(24));
        site.put("2.csv", &rows(5..100), 100);
        let report = site.look();
        assert_eq!((report.files[0].missing, report.files[0].gone), (5, 0));
        // One of them is back: absence is not deletion. An hour has not passed for a file that comes at once.
        site.put("3.csv", &rows(4..100), 90);
        let report = site.look();
        assert_eq!((report.files[0].missing, report.files[0].gone), (4, 0));
        site.clock.advance(TimeDelta::hours(24));
        // The same content says that nothing has changed, which is a second read.
        site.put("4.csv", &rows(4..100), 100);
        let report = site.look();
        assert_eq!((told(&report)[0], report.files[0].missing, report.files[0].gone), (("4.csv", "done", 96, 0, 96), 4, 4));
        let live = |site: &Site| site.store.read_blocking(|conn| drops::stored_after(conn, &ehr(), Appointment, "", 1000)).unwrap().len();
        assert_eq!(live(&site), 96);
        // Much at once: nothing is marked, and a person is asked.
        site.clock.advance(TimeDelta::hours(24));
        site.put("5.csv", &rows(60..100), 100);
        let report = site.look();
        assert_eq!((report.files[0].state, report.files[0].missing, report.is_problem()), ("held", 56, true));
        assert!(report.files[0].reason.as_ref().unwrap().contains("--accept-vanished"));
        assert!(site.lies("5.csv") && told(&site.look()).is_empty(), "it waits, and is not read again and again");
        site.accept = true;
        assert_eq!(told(&site.look())[0].1, "done");
        site.accept = false;
        site.clock.advance(TimeDelta::hours(24));
        site.put("6.csv", &rows(60..100), 100);
        assert_eq!(site.look().files[0].gone, 56);
        assert_eq!(live(&site), 40);
    }

    fn a_full_file_answers_for_the_days_that_it_covers(db) {
        let head = "files = \"*.csv\"\ncontent = \"full\"\ncovers = { days_back = 1, days_ahead = 30 }";
        let site = Site::new(db.store(), head, STABLE, CSV);
        let old = "99,Sched,12/1/2026 9:30 AM,p\n98,Sched,1/20/2027 9:30 AM,p\n";
        site.put("1.csv", &format!("{}{old}", rows([1])), 100);
        site.look();
        for name in ["2.csv", "3.csv"] {
            site.clock.advance(TimeDelta::hours(24));
            site.put(name, &rows([1]), 100);
            assert_eq!(site.look().files[0].missing, 1);
        }
        let live = site.store.read_blocking(|conn| drops::stored_after(conn, &ehr(), Appointment, "", 1000)).unwrap();
        assert_eq!(live, ["1", "99"], "the old one is outside of what the file covers");
    }

    fn bad_rows_are_put_aside_with_file_and_line_and_the_rest_is_stored(db) {
        let site = Site::csv(db.store(), "full", STABLE);
        site.put("0.csv", &rows([1, 2, 3]), 100);
        site.look();
        let text = rows([1, 2, 3]).replace("2,Sched", "2,Gone Fishing").replace("3,Sched,1/19/2027 9:30 AM", "3,Sched,tomorrow");
        site.put("a.csv", &text, 100);
        let report = site.look();
        assert_eq!((told(&report)[0], report.files[0].quarantined), (("a.csv", "done", 3, 0, 1), 2));
        assert_eq!(report.files[0].missing, 0, "what has an id is there, readable or not");
        let aside = site.store.read_blocking(|conn| quarantine::list(conn, None, 10)).unwrap();
        let mut told: Vec<(String, String, Option<String>)> = aside.into_iter().map(|r| (r.origin, r.reason, r.fhir_id)).collect();
        told.sort();
        assert_eq!(told, [
            ("a.csv:3".to_owned(), "column Status: a text that `codes` does not have".to_owned(), Some("2".to_owned())),
            ("a.csv:4".to_owned(), "column Start: no date with time of the declared forms".to_owned(), Some("3".to_owned())),
        ]);
        // Once the sender has put it right, nothing waits any more.
        site.put("b.csv", &rows([1, 2, 3]).replace("9:30", "9:45"), 100);
        site.look();
        assert_eq!(site.store.read_blocking(quarantine::count).unwrap(), 0);
    }

    fn a_file_in_another_form_fails_whole_and_can_be_tried_again(db) {
        let site = Site::csv(db.store(), "full", STABLE);
        let text = rows([1]).replace("Status", "State");
        site.put("a.csv", &text, 100);
        let report = site.look();
        assert_eq!(report.files[0].reason.as_deref(), Some("the heading has no column `Status`"));
        assert!(site.lies("failed/a.csv") && bodies(&site.store, Appointment).is_empty());
        assert!(report.is_problem() && as_of(&site.store, Appointment).is_none());
        fs::rename(site.folder.join("failed/a.csv"), site.folder.join("a.csv")).unwrap();
        assert_eq!(told(&site.look()), [("a.csv", "failed", 0, 0, 0)]);
        // Cut off in the middle of a row: the rows before are kept, and nothing counts as missing.
        site.put("b.csv", &rows(0..50), 100);
        site.look();
        let whole = rows(0..50);
        site.put("c.csv", &whole[..whole.len() - 500], 100);
        let report = site.look();
        assert_eq!((report.files[0].state, report.files[0].missing), ("failed", 0), "{report:?}");
        assert!(report.files[0].reason.as_ref().unwrap().contains("cut off") && report.files[0].unchanged > 20);
        // Also where the cut leaves a row that looks whole: half an id is another patient's.
        assert!(bodies(&site.store, Appointment).iter().all(|(id, body)| String::from_utf8_lossy(body).contains(&format!("Patient/p{id}\""))));
        site.put("d.csv", &whole[..whole.len() - 1], 100);
        let report = site.look();
        assert_eq!((told(&report), report.files[0].quarantined), (vec![("d.csv", "failed", 50, 0, 49)], 1));
    }

    fn a_folder_that_is_not_ours_stays_as_it_is(db) {
        let site = Site::new(db.store(), "files = \"*.csv\"\ncontent = \"delta\"\nkeep = true", STABLE, CSV);
        site.put("a.csv", &rows([1]), 100);
        assert_eq!(told(&site.look()).len(), 1);
        for _ in 0..2 {
            assert!(told(&site.look()).is_empty() && site.lies("a.csv") && !site.lies("done"));
        }
        // The sender goes on with the same file.
        site.put("a.csv", &rows([1, 2]), 80);
        assert_eq!(told(&site.look()), [("a.csv", "done", 2, 1, 1)]);
    }

    fn ndjson_comes_by_the_same_way(db) {
        let head = "files = \"*.ndjson*\"\ncontent = \"full\"\ntypes = [\"Patient\"]\norder = \"time\"";
        let site = Site::new(db.store(), head, STABLE, "");
        let line = |id: u32| format!("{{\"resourceType\":\"Patient\",\"id\":\"p{id}\"}}\n");
        site.put("z.ndjson.gz", &[1, 2].map(line).concat(), 200);
        site.put("a.ndjson", &format!("{}{{\"resourceType\":\"Device\",\"id\":\"d\"}}\n", line(1)), 100);
        let report = site.look();
        assert_eq!(told(&report), [("z.ndjson.gz", "done", 2, 2, 0), ("a.ndjson", "done", 2, 0, 1)]);
        assert_eq!((report.files[1].ignored, report.files[1].missing), (1, 1));
        assert_eq!(bodies(&site.store, Patient).len(), 2);
    }

    fn a_file_that_does_not_come_is_late_until_it_does(db) {
        // 2027-01-15T08:00Z is 03:00 in New York.
        let head = "files = \"*.csv\"\ncontent = \"delta\"\nexpected = { by = \"06:30\", zone = \"America/New_York\" }";
        let site = Site::new(db.store(), head, STABLE, CSV);
        assert_eq!(site.look().late_since, None);
        let late = |site: &Site| site.store.read_blocking(|conn| drops::statuses(conn, None)).unwrap()[0].late_since;
        assert_eq!(late(&site), None);
        site.clock.advance(TimeDelta::hours(4));
        let report = site.look();
        assert!(report.is_problem() && report.late_since == Some(at(12_600)) && late(&site) == Some(at(12_600).micros()), "{report:?}");
        site.put("a.csv", &rows([1]), 100);
        assert_eq!((site.look().late_since, late(&site)), (None, None));
        // A folder that is away is a problem of its own.
        let away = site.folder.path().with_extension("away");
        fs::rename(site.folder.path(), &away).unwrap();
        assert!(site.look().problem.unwrap().contains("cannot be read"));
        fs::rename(&away, site.folder.path()).unwrap();
        assert_eq!(site.look().problem, None);
    }
}
