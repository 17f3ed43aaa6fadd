//! Round after round new patients come in, the gateway is started, and killed: in any stage, chosen by what the EHR sees of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::StdRng;
use sandbox::{Fault, FaultKind, Sandbox};

use super::world::{World, clock, random, rounds};
use crate::support::{Backend, Database, Running, on_both};

/// How long it goes on until enough kills found the gateway running, however busy the machine is.
const MOST: Duration = Duration::from_secs(900);

/// Where a kill is meant to fall.
#[derive(Clone, Copy, Debug)]
enum Aim {
    /// Anywhere in the time that a round takes.
    Anywhere,
    /// While pages of a type are read, which the EHR gives slowly.
    Sync(&'static str),
    /// After the last type was read: segments, outreach.
    Between,
    /// While Communications are written, which the EHR answers slowly: they are in the chart, and the gateway does not know it.
    WriteBack,
    /// The same, but the answers are lost, and the gateway may be about to settle what became of them.
    Settling,
}

const AIMS: [Aim; 8] = [
    Aim::Anywhere,
    Aim::Between,
    Aim::Sync("/fhir/Patient"),
    Aim::WriteBack,
    Aim::Sync("/fhir/Appointment"),
    Aim::Between,
    Aim::Sync("/fhir/CarePlan"),
    Aim::Settling,
];

/// How often CarePlan, the last type, was read to its end.
fn read_to_the_end(db: &Database) -> usize {
    db.lines("SELECT state AS line FROM sync_run WHERE rtype = 'CarePlan' AND state = 'done'").len()
}

impl Aim {
    fn prepare(self, ehr: &Sandbox) {
        ehr.clear_faults();
        let slow = |millis| Fault::new(FaultKind::PageTimeout { millis });
        match self {
            Self::Sync(path) => ehr.plant(slow(60).on("GET", path).times(20)),
            Self::WriteBack => ehr.plant(slow(80).on("POST", "/fhir/Communication").times(1_000)),
            Self::Settling => ehr.plant(Fault::new(FaultKind::CreateAppliedAnswerLost).on("POST", "/fhir/Communication").times(2)),
            Self::Anywhere | Self::Between => {}
        }
    }

    /// Waits for the moment, or for the end of the process.
    fn wait(self, World { ehr, gateway, .. }: &World, before: usize, running: &mut Running, usual: Duration, random: &mut StdRng) {
        let (method, path, nth, then) = match self {
            Self::Anywhere => {
                let delay = usual.mul_f64(random.random_range(0.0..1.2));
                return wait(running, Instant::now() + delay, || false);
            }
            Self::Sync(path) => ("GET", path, random.random_range(1..=3), 70),
            Self::Between => {
                let done = read_to_the_end(&gateway.db);
                wait(running, Instant::now() + usual * 5, || read_to_the_end(&gateway.db) > done);
                let then = Duration::from_millis(random.random_range(0..120));
                return wait(running, Instant::now() + then, || false);
            }
            Self::WriteBack => ("POST", "/fhir/Communication", random.random_range(1..=4), 100),
            Self::Settling => ("POST", "/fhir/Communication", random.random_range(1..=3), 1_500),
        };
        let asked = || ehr.request_log().iter().skip(before).filter(|r| r.method == method && r.path.starts_with(path)).count();
        wait(running, Instant::now() + usual * 3, || asked() >= nth);
        let then = Duration::from_millis(random.random_range(0..then));
        wait(running, Instant::now() + then, || false);
    }
}

fn wait(running: &mut Running, until: Instant, come: impl Fn() -> bool) {
    while Instant::now() < until && !come() && !running.has_ended() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What a kill left in the middle, by the tables.
fn left(db: &Database) -> Vec<&'static str> {
    let any = |what, sql: &str| (db.lines(sql) != ["0"]).then_some(what);
    [
        any("a sync", "SELECT '' || count(*) AS line FROM sync_run WHERE state = 'running'"),
        any("persons to evaluate", "SELECT '' || count(*) AS line FROM pending_person"),
        any("persons to plan for", "SELECT '' || count(*) AS line FROM pending_outreach"),
        any("attempts being sent", "SELECT '' || count(*) AS line FROM attempt WHERE state = 'sending'"),
        any("write-backs owed", "SELECT '' || count(*) AS line FROM writeback WHERE state = 'owed'"),
        any("write-backs under way", "SELECT '' || count(*) AS line FROM writeback WHERE state = 'writing'"),
        any("unclear write-backs", "SELECT '' || count(*) AS line FROM writeback WHERE state = 'unknown'"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A pair of gateways with the same patients: one to be killed, one to be left alone.
async fn pair(db: Database) -> (World, World) {
    let clock = clock();
    let undisturbed = Database::fresh(Backend::Sqlite).unwrap();
    let (mut killed, mut reference) = (World::new(db, clock).await, World::new(undisturbed, clock).await);
    killed.admit(30);
    reference.admit(30);
    reference.settle();
    (killed, reference)
}

on_both! {
    async fn a_round_that_is_killed_anywhere_loses_and_doubles_nothing(db) {
        let mut random = random("a_round_that_is_killed_anywhere");
        let (mut killed, mut reference) = pair(db).await;
        let started = Instant::now();
        reference.round();
        let usual = started.elapsed();
        let (mut cut, mut found): (u32, BTreeMap<&str, u32>) = (0, BTreeMap::new());
        let wanted = rounds(20);
        for round in 0_u32.. {
            if cut == wanted || started.elapsed() > MOST {
                break;
            }
            let aim = AIMS[round as usize % AIMS.len()];
            aim.prepare(&killed.ehr);
            let before = killed.ehr.request_log().len();
            let mut running = killed.gateway.start(&["work", "--once"]);
            aim.wait(&killed, before, &mut running, usual, &mut random);
            if running.has_ended() {
                // A stage that the fault reached says so; anything else is none of its business.
                let ended = running.wait();
                assert!(matches!(ended.code, Some(0 | 1)), "{aim:?}: {ended:?}");
            } else {
                running.kill();
                cut += 1;
            }
            left(&killed.gateway.db).into_iter().for_each(|what| *found.entry(what).or_default() += 1);
            killed.admit(4);
            reference.admit(4);
            if round % 4 == 3 {
                // Now and then a round gets through, or most kills would find the same stage.
                killed.ehr.clear_faults();
                killed.round();
            }
        }
        killed.ehr.clear_faults();
        eprintln!("{cut} kills found it running; they left in the middle: {found:?}; a round takes {usual:?}");
        assert_eq!(cut, wanted, "too few kills found the gateway running");
        killed.settle();
        reference.settle();
        killed.assert_adds_up();
        reference.assert_adds_up();
        killed.account().assert_same_as(&reference.account());
        assert!(killed.account().count("write-backs") > 30, "a test of nothing");
        let there = killed.ehr.count("Communication");
        killed.round();
        assert_eq!(killed.ehr.count("Communication"), there, "another round writes nothing");
        killed.account().assert_same_as(&reference.account());
    }

    async fn a_server_that_is_killed_anywhere_loses_and_doubles_nothing(db) {
        let mut random = random("a_server_that_is_killed_anywhere");
        let (mut killed, mut reference) = pair(db).await;
        for _ in 0..rounds(6) {
            killed.ehr.clear_faults();
            killed.ehr.plant(Fault::new(FaultKind::PageTimeout { millis: 40 }).on("POST", "/fhir/Communication").times(1_000));
            killed.gateway.killed_after(&["serve"], Duration::from_millis(random.random_range(0..4_000)));
            killed.admit(5);
            reference.admit(5);
        }
        killed.ehr.clear_faults();
        killed.settle();
        reference.settle();
        killed.assert_adds_up();
        // All stages run at the same time, and nobody is judged by half of what the EHR knows.
        killed.account().assert_same_as(&reference.account());
    }
}
