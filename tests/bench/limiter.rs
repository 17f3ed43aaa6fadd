//! How much of what an EHR allows is used, by one node or several on one database, and whether it is ever asked more.
//!
//! `cargo bench --bench limiter -- --rate 200 --nodes 3 --seconds 20` crawls rosters, each node one of its own at the same EHR, against a
//! sandbox in the same process that answers after 50 ms. On SQLite, or on an empty PostgreSQL database with `--database URL`. What is told
//! is by the EHR's own log (which keeps the last 50,000 requests), while all nodes are at it.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use chrono::TimeDelta;
use domain::Clock as _;
use domain::model::{EhrId, ResourceType};
use fhir_engage::app::{App, SystemClock};
use fhir_engage::config::Config;
use fhir_engage::store::ehrs;
use sandbox::{Fault, FaultKind, Population};

const LATENCY_MILLIS: u64 = 50;

fn main() {
    let given: Vec<String> = std::env::args().collect();
    let after = |name: &str| given.iter().position(|a| a == name).and_then(|at| given.get(at + 1)).cloned();
    let number = |name: &str, usual: u32| after(name).map_or(usual, |text| text.parse().expect("a number after the option's name"));
    let (rate, nodes, seconds) = (number("--rate", 200), number("--nodes", 1), number("--seconds", 20));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-limiter-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    runtime.block_on(crawl(&folder, after("--database"), rate, nodes, seconds));
    std::fs::remove_dir_all(folder).unwrap();
}

async fn crawl(folder: &std::path::Path, database: Option<String>, rate: u32, nodes: u32, seconds: u32) {
    let clock = SystemClock::with_offset(TimeDelta::zero());
    let config = sandbox::Config { open: true, ..sandbox::Config::new(Arc::new(move || clock.now().micros())) };
    let ehr = sandbox::start(config).await.unwrap();
    let each = rate * seconds / nodes;
    let people = Population { patients: each, seed: 1, as_of_micros: clock.now().micros(), zone: chrono_tz::America::New_York };
    ehr.load(people.patients()).unwrap();
    let ids: Vec<String> = ehr.resources("Patient").iter().map(|p| p["id"].as_str().unwrap().to_owned()).collect();
    let roster = folder.join("roster.txt");
    std::fs::write(&roster, ids.join("\n")).unwrap();
    let path = "/fhir/Patient/";
    ehr.plant(Fault::new(FaultKind::PageTimeout { millis: LATENCY_MILLIS }).on("GET", path).times(u32::MAX));

    let database = database.unwrap_or_else(|| folder.join("gateway.db").to_str().unwrap().to_owned());
    let mut crawls = Vec::new();
    let mut engine = "";
    for node in 0..nodes {
        let data = folder.join(format!("node-{node}"));
        let mut config = Config::load(None, &data).unwrap();
        config.database.url = database.clone().into();
        let app = Arc::new(App::open(config, &data).unwrap());
        engine = app.store.location().engine();
        let id = EhrId::parse(&format!("bench-{}-{node}", std::process::id())).unwrap();
        let profile = serde_json::json!({
            "base_url": ehr.base_url(), "requests_per_second": f64::from(rate), "strategy": { "Patient": "roster" },
            "roster": [{ "file": roster }],
        });
        let (text, name, now) = (profile.to_string(), id.clone(), clock.now());
        app.store.write("bench", move |conn| ehrs::put(conn, &name, &text, now)).await.unwrap();
        crawls.push((app, id));
    }
    let began = Instant::now();
    let running: Vec<_> = crawls
        .iter()
        .map(|(app, id)| {
            let (app, id) = (Arc::clone(app), id.clone());
            tokio::spawn(async move {
                let reports = app.sync(&id, &[ResourceType::Patient], &AtomicBool::new(false), &|_| ()).await.unwrap();
                assert!(reports.iter().all(|r| r.failure().is_none() && r.holes == 0), "{reports:?}");
                app.clock.now().micros()
            })
        })
        .collect();
    let mut ended = Vec::new();
    for one in running {
        ended.push(one.await.unwrap());
    }
    println!("{engine}, {nodes} nodes, {rate} requests/s allowed, {LATENCY_MILLIS} ms each: {:.1} s", began.elapsed().as_secs_f64());
    tell(&ehr, path, ended.into_iter().min().unwrap(), rate);
}

fn tell(ehr: &sandbox::Sandbox, path: &str, until: i64, rate: u32) {
    let log = ehr.request_log();
    let mut all: Vec<i64> = log.iter().map(|r| r.at_micros).collect();
    all.sort_unstable();
    let most =
        all.iter().enumerate().map(|(n, first)| all.iter().skip(n).take_while(|t| **t < first + 1_000_000).count()).max().unwrap_or(0);
    let reads: Vec<i64> = log.iter().filter(|r| r.path.starts_with(path) && r.at_micros <= until).map(|r| r.at_micros).collect();
    let (first, last) = (reads.iter().min().unwrap(), reads.iter().max().unwrap());
    let reached = (reads.len() - 1) as f64 / ((last - first) as f64 / 1e6);
    println!(
        "  {reached:.1} a second reached, {:.1} % of what is allowed; at most {most} in any second",
        reached * 100.0 / f64::from(rate)
    );
    if most > usize::try_from(rate).unwrap() {
        println!("  MORE THAN ALLOWED");
        std::process::exit(1);
    }
}
