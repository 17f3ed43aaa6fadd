//! Stored bodies that are read anew, for facts of a newer revision and for an operator's own attribute: killed in the middle, it ends the same.

use std::time::{Duration, Instant};

use rand::RngExt as _;

use super::account::Account;
use super::world::{Installation, clock, people, random, rounds};
use crate::support::{Backend, Database, older, on_both};

const PATIENTS: u32 = 1_200;
const ATTRIBUTE: &str = "id = 'minutes'\nmeaning = 'How long a visit is booked for.'\nresource = 'Appointment'\npath = 'minutesDuration'\ntype = 'whole-number'\nunit = 'minutes'\n";
const SEGMENT: &str =
    "id = 'timed'\ntitle = 'x'\nstage = 'retention'\ndescription = 'x'\nrule = 'exists own.minutes and exists next_appointment.start'\n";

/// What a kill is to fall into.
const AIMS: [(&str, &str); 2] = [
    ("facts", "SELECT '' || done AS line FROM derivation WHERE ended_at IS NULL AND done > 0"),
    ("own attributes", "SELECT '' || done AS line FROM own_attribute WHERE ended_at IS NULL AND done > 0"),
];

/// An installation with records as a program of before left them, and an attribute of its own on the way in.
fn left_by_the_one_before(db: Database, file: &std::path::Path) -> Installation {
    let new = Installation::new(db);
    new.set_clock(clock());
    new.run(&["ehr", "add", "nightly", "--files"]);
    new.run(&["import", "--ehr", "nightly", file.to_str().unwrap()]);
    older::make_older(&new.db, "Appointment", r#","patient_status":"accepted""#);
    for (folder, name, text) in [("attributes", "minutes.toml", ATTRIBUTE), ("segments", "timed.toml", SEGMENT)] {
        std::fs::create_dir_all(new.data.join(folder)).unwrap();
        std::fs::write(new.data.join(folder).join(name), text).unwrap();
    }
    new.run(&["segments", "apply", "--no-wait"]);
    new
}

on_both! {
    fn reading_anew_that_is_killed_ends_the_same(db) {
        let mut random = random("reading_anew_that_is_killed");
        let folder = crate::support::TempDir::new();
        let file = folder.join("everything.ndjson");
        let people = sandbox::Population { patients: PATIENTS, ..people(clock()) };
        let lines: Vec<String> = people.patients().chain(people.appointments()).collect();
        std::fs::write(&file, lines.join("\n") + "\n").unwrap();
        let reference = left_by_the_one_before(Database::fresh(Backend::Sqlite).unwrap(), &file);
        let killed = left_by_the_one_before(db, &file);
        let before = older::facts(&killed.db);
        reference.run(&["segments", "run"]);
        let mut cut = [0, 0];
        for round in 0..rounds(8) {
            // It goes on where it was cut off, so each kill has to fall beyond the one before.
            let (_, sql) = AIMS[usize::from(cut[0] > rounds(8) / 2 || round % 2 == 1)];
            let so_far = killed.db.lines(sql);
            let mut running = killed.start(&["segments", "run"]);
            let until = Instant::now() + Duration::from_secs(60);
            while !running.has_ended() && Instant::now() < until {
                let now = killed.db.lines(sql);
                if !now.is_empty() && now != so_far {
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            std::thread::sleep(Duration::from_millis(random.random_range(0..40)));
            if running.has_ended() {
                running.wait().ok();
                break;
            }
            running.kill();
            AIMS.iter().zip(&mut cut).for_each(|((_, sql), n)| *n += u32::from(!killed.db.lines(sql).is_empty()));
        }
        eprintln!("kills in the middle of facts, of own attributes: {cut:?}");
        assert!(cut.iter().all(|n| *n > 0), "a test of nothing: {cut:?}");
        killed.run(&["segments", "run"]);
        let after = older::facts(&killed.db);
        assert_ne!(after, before);
        assert_eq!(after.iter().find(|line| !line.contains("\"n\":[") && line.starts_with("Appointment/")), None, "all were read");
        assert!(after == older::facts(&reference.db), "the facts are not the same");
        Account::of(&killed.db).assert_same_as(&Account::of(&reference.db));
        let states = killed.db.lines("SELECT rtype || CASE WHEN ended_at IS NULL THEN ' open' ELSE ' ended' END AS line FROM derivation ORDER BY rtype");
        assert_eq!(states, ["Appointment ended", "Patient ended"]);
        assert!(!killed.db.lines("SELECT id AS line FROM definition WHERE id = 'timed' AND state = 'current'").is_empty());
    }
}
