//! Three nodes on one database, one of them killed at random again and again, while their EHRs are in trouble all the time: every attempt is
//! in the charts once, and what no machine can settle waits for a person, who settles it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::model::EhrId;
use domain::{Clock as _, Timestamp};
use fhir_engage::app::SystemClock;
use fhir_engage::store::writebacks::{self, Writeback};
use fhir_engage::store::{Lane, Store, ehrs, proofs};
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::charts::{CHARTS, Chart};
use super::world::{Installation, clock, random, rounds};
use crate::support::{Database, Running, on_both, owing};

const ATTEMPTS: usize = 1_000;
const NODES: usize = 3;
/// Patients at each EHR.
const PATIENTS: usize = 60;
/// How long the EHRs stay in trouble after the last kill, where not all is settled before.
const AFTER: Duration = Duration::from_secs(15);
/// How long anything may take that has no reason to wait.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long it goes on until enough was met, however busy the machine is.
const MOST: Duration = Duration::from_secs(900);
/// How long a kill waits for a moment at which creates are under way.
const MOMENT: Duration = Duration::from_secs(20);

/// Short times to settle, so that the trouble comes round often. The lease is long: a node that did not see that its holder is dead would
/// have to wait for it.
const CONFIGURATION: &str = r#"
[worker]
lease = "60s"
sync_every = "1h"
tick = "1s"
[write_back]
settle_delay = "1s"
http_timeout = "2s"
"#;

struct World {
    gateway: Installation,
    store: Store,
    charts: [Chart; CHARTS],
    clock: SystemClock,
    nodes: Vec<Running>,
    /// Attempts by their EHR, in the order in which they were owed.
    owed: Vec<(usize, String)>,
    /// Kills, those that hit a node that was writing back, and the rows that were on their way then.
    kills: (u32, u32, usize),
}

impl World {
    async fn new(db: Database) -> Self {
        let clock = clock();
        let (gateway, charts) = (Installation::with(db, CONFIGURATION), Chart::all(clock).await);
        gateway.set_clock(clock);
        let store = gateway.db.store();
        let jwks: Value = serde_json::from_str(&gateway.run(&["keys", "jwks", "--alg", "ES384"])).unwrap();
        let names: Vec<String> = (0..PATIENTS).map(|n| format!("p{n}")).collect();
        for chart in &charts {
            gateway.run(&["ehr", "add", chart.name, "--url", &chart.ehr.base_url(), "--client-id", "gateway", "--key-alg", "ES384"]);
            chart.register(&jwks);
            connect(&store, chart, clock.now());
            owing::admit(&store, chart.name, &names, clock.now());
            chart.ehr.load(names.iter().map(|n| owing::patient(n))).unwrap();
        }
        Self { gateway, store, charts, clock, nodes: Vec::new(), owed: Vec::new(), kills: (0, 0, 0) }
    }

    fn start(&mut self) {
        self.nodes = (0..NODES).map(|_| self.gateway.start(&["work"])).collect();
    }

    /// So many more attempts that ended, at random patients.
    fn owe(&mut self, many: usize, random: &mut StdRng) {
        let mut new = [(); CHARTS].map(|()| Vec::new());
        for _ in 0..many {
            let n = self.owed.len();
            let attempt = format!("att-{n:04}");
            new[n % CHARTS].push((format!("p{}", random.random_range(0..PATIENTS)), attempt.clone()));
            self.owed.push((n % CHARTS, attempt));
        }
        for (chart, new) in self.charts.iter().zip(&new) {
            owing::owe(&self.store, chart.name, new, self.clock.now());
        }
    }

    fn creates(&self) -> usize {
        self.charts.iter().map(Chart::creates).sum()
    }

    /// Waits for a moment at which creates are under way, and kills one of the nodes; another one takes its place.
    fn kill(&mut self, share: usize, random: &mut StdRng) {
        let wanted = self.creates() + random.random_range(1..=share.max(2));
        let (until, mut looks) = (Instant::now() + MOMENT, 0_u32);
        while Instant::now() < until && self.creates() < wanted {
            std::thread::sleep(Duration::from_millis(3));
            looks += 1;
            // Where nothing is left to write there is no such moment.
            if looks.is_multiple_of(100) && self.open().is_empty() {
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(random.random_range(0..80)));
        let place = random.random_range(0..NODES);
        assert!(!self.nodes[place].has_ended(), "a node ended by itself");
        self.nodes[place].kill();
        let of_it = format!("FROM lease l WHERE l.name LIKE 'writeback/%' AND l.owner LIKE '%/{}/%'", self.nodes[place].id());
        let held = self.gateway.db.lines(&format!("SELECT l.name AS line {of_it}")).len();
        let writing = "w.state = 'writing' AND 'writeback/' || w.ehr IN";
        let cut = self.gateway.db.lines(&format!("SELECT w.id AS line FROM writeback w WHERE {writing} (SELECT l.name {of_it})")).len();
        self.kills = (self.kills.0 + 1, self.kills.1 + u32::from(held > 0), self.kills.2 + cut);
        let killed = std::mem::replace(&mut self.nodes[place], self.gateway.start(&["work"]));
        told_nothing(killed);
    }

    fn trouble(&mut self, random: &mut StdRng) {
        self.charts.iter_mut().for_each(|chart| chart.trouble(random));
    }

    /// How many planted faults were met, by kind.
    fn met(&self) -> BTreeMap<String, usize> {
        let mut met: BTreeMap<String, usize> = BTreeMap::new();
        self.charts.iter().flat_map(Chart::met).for_each(|(kind, times)| *met.entry(kind).or_default() += times);
        met
    }

    /// Whether kills and faults found enough on its way for this to be a test.
    fn has_met_enough(&self, wanted: u32) -> bool {
        let (_, busy, cut) = self.kills;
        busy >= wanted / 5 && cut > 0 && self.met().values().sum::<usize>() >= ATTEMPTS / 10
    }

    fn rows(&self) -> Vec<Writeback> {
        self.store.read_blocking(|conn| writebacks::list(conn, None, None, i64::MAX)).unwrap()
    }

    fn open(&self) -> Vec<Writeback> {
        let is_open = |r: &Writeback| matches!(r.state.as_str(), "owed" | "writing" | "unknown") && !r.is_parked();
        self.rows().into_iter().filter(is_open).collect()
    }

    /// Undisturbed runs, with the clock moved on to what is due, until nothing is open but what waits for a person.
    fn settle(&mut self) {
        let until = Instant::now() + PATIENCE;
        while let Some(next) = self.open().iter().map(|r| r.next_at).min() {
            assert!(Instant::now() < until, "{:#?}", self.open());
            let ahead = Timestamp::from_micros(next).since(self.clock.now()).max(TimeDelta::zero()) + TimeDelta::seconds(60);
            self.clock = SystemClock::with_offset(self.clock.offset() + ahead);
            self.gateway.set_clock(self.clock);
            self.charts.iter().for_each(|chart| chart.ehr.advance(ahead.num_microseconds().unwrap()));
            let ran = self.gateway.start(&["writeback", "run", "--json"]).wait();
            assert_eq!(ran.json()["failures"], json!([]), "{ran:?}");
        }
    }

    fn times(&self) -> BTreeMap<&str, usize> {
        self.owed.iter().map(|(chart, attempt)| (attempt.as_str(), self.charts[*chart].times(attempt))).collect()
    }

    /// What one patient is told is in the chart in the order in which it was owed, but for what a person settled.
    fn assert_in_order(&self, by_person: &[Writeback]) {
        let places: BTreeMap<String, (i64, i64)> = self.rows().into_iter().map(|r| (r.attempt, (r.patient, r.number))).collect();
        for chart in &self.charts {
            let mut last = BTreeMap::new();
            for attempt in chart.in_order().into_iter().flatten().filter(|a| by_person.iter().all(|r| r.attempt != *a)) {
                let (patient, number) = places[&attempt];
                let before = last.insert(patient, number);
                assert!(before.is_none_or(|before| before < number), "{attempt} came before what was owed earlier");
            }
        }
    }
}

/// The vendor, the site's word, and what a probe proved; nothing is synced.
fn connect(store: &Store, chart: &Chart, now: Timestamp) {
    let write = |conn: &mut _| {
        let mut profile: Value = serde_json::from_str(&ehrs::get(conn, chart.name)?.unwrap().profile).unwrap();
        profile["vendor"] = json!(chart.vendor);
        profile["write_back"] = chart.word.clone();
        profile["strategy"] = json!({ "Patient": "off", "Appointment": "off", "CarePlan": "off" });
        ehrs::put(conn, &EhrId::parse(chart.name).unwrap(), &profile.to_string(), now)?;
        proofs::keep(conn, chart.name, &format!("conditional-create {}", chart.kind), chart.conditional, now)
    };
    store.write_blocking(Lane::Interactive, "test", write).unwrap();
}

/// A node's log tells of no defect, and nothing of what was said.
#[track_caller]
fn told_nothing(node: Running) {
    let said = node.stop();
    for never in ["panicked", "defect", owing::WORDS, "ada@example.org"] {
        assert!(!said.stderr.contains(never) && !said.stdout.contains(never), "{never}: {said:?}");
    }
}

/// What a person finds in the queue of `writeback causes`: how many of each cause.
fn queue(gateway: &Installation) -> BTreeMap<String, u64> {
    let causes = gateway.start(&["writeback", "causes", "--json"]).wait().json();
    let mut found = BTreeMap::new();
    for cause in causes.as_array().unwrap() {
        *found.entry(format!("{} {}", cause["state"].as_str().unwrap(), cause["cause"].as_str().unwrap())).or_default() +=
            cause["count"].as_u64().unwrap();
    }
    found
}

on_both! {
    async fn one_of_three_nodes_is_killed_again_and_again_and_every_attempt_is_in_the_charts_once(db) {
        let mut random = random("one_of_three_nodes_is_killed_again_and_again");
        let (mut world, wanted) = (World::new(db).await, rounds(20));
        world.start();
        let share = ATTEMPTS / wanted as usize;
        let began = Instant::now();
        while world.kills.0 < wanted || (!world.has_met_enough(wanted) && began.elapsed() < MOST) {
            world.owe(share, &mut random);
            world.trouble(&mut random);
            world.kill(share, &mut random);
        }
        let until = Instant::now() + AFTER;
        while Instant::now() < until && !world.open().is_empty() {
            world.trouble(&mut random);
            std::thread::sleep(Duration::from_millis(50));
        }
        world.nodes.drain(..).for_each(told_nothing);
        let (met, enough, attempts) = (world.met(), world.has_met_enough(wanted), world.owed.len());
        world.charts.iter().for_each(|chart| chart.ehr.clear_faults());
        let left = world.open().len();
        world.settle();

        // Everything is in the charts once, or waits for a person and is there once or not at all.
        let (rows, times) = (world.rows(), world.times());
        assert_eq!((rows.len(), times.len()), (attempts, attempts));
        let waiting: Vec<Writeback> = rows.into_iter().filter(|r| r.state != "written").collect();
        let waits = |attempt: &str| waiting.iter().any(|r| r.attempt == attempt);
        let wrong: Vec<_> = times.iter().filter(|(attempt, n)| **n > 1 || (**n == 0 && !waits(attempt))).collect();
        assert_eq!(wrong, Vec::<(&&str, &usize)>::new(), "lost or doubled");
        let queue = queue(&world.gateway);
        let (kills, busy, cut) = world.kills;
        let there = waiting.iter().filter(|r| times[r.attempt.as_str()] == 1).count();
        eprintln!(
            "{attempts} attempts, {kills} kills in {:?}, {busy} of a node that was writing back, {cut} rows under way then; faults met: {} {met:?}; {left} left when the \
             trouble ended; {} for a person: {queue:?}, {there} of which are in the chart",
            began.elapsed(),
            met.values().sum::<usize>(),
            waiting.len(),
        );
        assert!(enough, "a test of nothing, in {MOST:?}: too few kills found a node writing back, or too few faults were met");
        assert_eq!(queue.values().sum::<u64>(), waiting.len() as u64, "{waiting:#?}");
        assert!(waiting.iter().all(|r| r.is_parked() || r.state == "refused"), "{waiting:#?}");

        // The person looks into the charts, and then all are there.
        for row in waiting.iter().filter(|r| r.is_parked()) {
            let word = if times[row.attempt.as_str()] == 1 { "--in-ehr" } else { "--not-there" };
            world.gateway.run(&["writeback", "settle", &row.id, word]);
        }
        world.gateway.run(&["writeback", "replay", "--all"]);
        drop(times);
        world.settle();
        assert!(world.times().values().all(|n| *n == 1), "{:?}", world.times());
        assert!(world.rows().iter().all(|r| r.state == "written"), "{:#?}", world.rows());
        assert_eq!(world.charts.iter().map(|c| c.ehr.count(c.kind)).sum::<usize>(), attempts);
        world.assert_in_order(&waiting);
    }
}
