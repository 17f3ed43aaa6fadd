//! The gateway is killed while it reads that records were merged, or parted again: whose history is whose ends as where nobody was killed.

use std::time::{Duration, Instant};

use rand::RngExt as _;
use sandbox::{Fault, FaultKind, MergeManner};

use super::world::{World, clock, random, rounds};
use crate::support::{Backend, Database, on_both};

/// Merges of one round.
const PAIRS: usize = 5;
/// How long a kill waits for its moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who is one person with whom, and in which state each record is.
fn persons(world: &World) -> Vec<String> {
    world.gateway.db.lines(
        "SELECT a.fhir_id || ' ' || a.state || ' is ' || b.fhir_id AS line FROM patient a JOIN patient b ON b.person = a.person
         ORDER BY a.fhir_id, b.fhir_id",
    )
}

#[track_caller]
fn assert_same(killed: &World, reference: &World) {
    let (theirs, ours) = (persons(reference), persons(killed));
    assert_eq!(ours, theirs);
    killed.account().assert_same_as(&reference.account());
    killed.assert_adds_up();
    reference.assert_adds_up();
    // Whose facts are whose.
    let facts = |world: &World| {
        let mut all = world
            .gateway
            .db
            .lines("SELECT p.fhir_id || ' ' || f.rtype || '/' || f.fhir_id AS line FROM fact f JOIN patient p ON p.pk = f.patient");
        all.sort();
        all
    };
    assert_eq!(facts(killed), facts(reference));
}

on_both! {
    async fn a_merge_that_is_killed_in_its_middle_ends_as_one_that_was_not(db) {
        let mut random = random("a_merge_that_is_killed");
        let clock = clock();
        let mut worlds = [World::new(db, clock).await, World::new(Database::fresh(Backend::Sqlite).unwrap(), clock).await];
        for world in &mut worlds {
            world.admit(40);
            world.settle();
        }
        let [killed, reference] = &worlds;
        assert_same(killed, reference);
        let ids: Vec<String> = killed.ehr.resources("Patient").iter().map(|p| p["id"].as_str().unwrap().to_owned()).collect();
        let (mut cut, mut found) = (0, 0);
        let manners = [MergeManner::Linked, MergeManner::Hidden];
        for round in 0..rounds(4) as usize {
            let manner = manners[round % 2];
            let pairs: Vec<(&String, &String)> = (0..PAIRS).map(|n| (&ids[(round % 4) * 10 + 2 * n], &ids[(round % 4) * 10 + 2 * n + 1])).collect();
            for parted in [false, true] {
                for world in &worlds {
                    for (old, new) in &pairs {
                        if parted { world.ehr.unmerge(old).unwrap() } else { world.ehr.merge(old, new, manner).unwrap() }
                    }
                }
                let before = persons(killed);
                for _ in 0..3 {
                    // Pages of patients come slowly, so that a kill falls between two, or into the commit of one.
                    killed.ehr.plant(Fault::new(FaultKind::PageTimeout { millis: 40 }).on("GET", "/fhir/Patient").times(1_000));
                    let asked = || killed.ehr.request_log().iter().filter(|r| r.path.starts_with("/fhir/Patient")).count();
                    let (wanted, until) = (asked() + random.random_range(1..=3), Instant::now() + PATIENCE);
                    let mut running = killed.gateway.start(&["work", "--once"]);
                    while asked() < wanted && !running.has_ended() && Instant::now() < until {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    std::thread::sleep(Duration::from_millis(random.random_range(0..250)));
                    cut += u32::from(!running.has_ended());
                    running.kill();
                    killed.ehr.clear_faults();
                }
                found += usize::from(persons(killed) != before);
                killed.settle();
                reference.settle();
                assert_same(killed, reference);
                for (old, new) in &pairs {
                    let together = persons(killed).contains(&format!("{old} merged is {new}"));
                    assert_eq!(together, !parted, "{round}: {old} and {new}");
                }
            }
        }
        eprintln!("{cut} kills found it running, and {found} times some of the merges were in when it was killed");
        assert!(cut > 4, "too few kills found it running: {cut}");
    }
}
