//! How fast a patient's page is served while an import runs, the row of the audit chain committed before each.
//!
//! `cargo bench --bench pages -- --patients 1000000 --rate 200 --seconds 20` imports the synthetic population into SQLite, evaluates all
//! segments, plans outreach, and then asks for pages of patients at random at that rate, first while nothing else goes on, then while the
//! population of a second EHR is imported; each page of the dashboard `--times` times, one after the other, while that goes on and after it.
//! `--data FOLDER` takes the database that an earlier run filled, `--beside NAME` names the EHR that is imported then.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may fail loudly")]

#[expect(dead_code, reason = "not everything is needed here")]
mod shared;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::clock::ManualClock;
use domain::model::{EhrId, Phi, Role, Roles};
use fhir_engage::app::App;
use fhir_engage::config::Config;
use fhir_engage::smart::{Identity, NewOpening, Way};
use fhir_engage::store::{Lane, audit, ehrs};
use fhir_engage::sync::import;
use fhir_engage::web::serve;
use fhir_engage::worker::Stop;
use shared::{AS_OF, HOLDER, Workplace, number, population, word, write_population};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Patients that are looked at.
const LOOKED_AT: u32 = 500;
/// The pages of the dashboard, with the slowest kinds of its lists.
const DASHBOARD: [&str; 19] = [
    "/",
    "/connections",
    "/connections/first",
    "/runs",
    "/alerts",
    "/quarantine",
    "/segments",
    "/segments/visit-soon",
    "/segments/visit-soon/members",
    "/outreach",
    "/attempts",
    "/attempts?state=sent",
    "/work",
    "/writeback",
    "/writebacks",
    "/patients",
    "/audit",
    "/connections/now",
    "/segments/lapsed/members",
];

fn main() {
    let (patients, rate, seconds) = (number("--patients", 10_000), number("--rate", 200), number("--seconds", 10));
    let workplace = Workplace::new("pages");
    let folder = word("--data").map_or_else(|| workplace.folder.clone(), Into::into);
    let files = folder.join("files");
    if word("--data").is_none() {
        write_population(&files, patients);
    }
    let people = population(patients);
    let ids: Vec<String> = people.patients().step_by((patients / LOOKED_AT).max(1) as usize).map(|line| id_of(&line)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(&folder, &files, &ids, rate, seconds));
}

fn id_of(line: &str) -> String {
    serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned()
}

fn import_as(app: &App, ehr: &str, files: &Path) {
    let ehr = EhrId::parse(ehr).unwrap();
    app.store.write_blocking(Lane::Bulk, "bench", |conn| ehrs::put(conn, &ehr, r#"{"files_only":true}"#, AS_OF)).unwrap();
    let paths = [files.to_owned()];
    let request = import::Request { ehr: &ehr, paths: &paths };
    let report = import::run(&app.store, &ManualClock::at(AS_OF), HOLDER, request, &AtomicBool::new(false), &|_| {}).unwrap();
    println!("imported as {ehr}: {} resources, {:.0} a second", report.lines, report.lines as f64 / report.seconds);
}

async fn measure(folder: &Path, files: &Path, ids: &[String], rate: u32, seconds: u32) {
    let config = Config::load(None, folder).unwrap();
    let app = Arc::new(App::open_with(config, folder, Some(Arc::new(ManualClock::at(AS_OF)))).unwrap());
    if word("--data").is_none() {
        fill(&app, files).await;
    }
    let stop = Stop::new();
    let (address, _) = serve(app.web_state(None).unwrap(), "127.0.0.1:0".parse().unwrap(), stop.clone()).unwrap();
    let begun = app.sessions().begin(who(&[Role::CareManager]), None).await.unwrap();
    let cookie = Arc::new(format!("engage={}", begun.cookie.expose()));
    let mut paths = Vec::new();
    for id in ids {
        let what = NewOpening::found("first".to_owned(), Phi::new(id.clone()), Roles::of(&[Role::CareManager]));
        paths.push(format!("/l/{}", app.sessions().open(&begun.session.id, what).await.unwrap()));
    }
    let paths = Arc::new(paths);
    // Each page is asked for once before, so that what is measured is not the first time that anybody looks.
    for path in paths.iter() {
        get(address, path, &cookie).await;
    }
    tell("alone", &drive(address, &paths, &cookie, rate, seconds).await);
    let done = Arc::new(AtomicBool::new(false));
    let importing = {
        let (app, files, done) = (Arc::clone(&app), files.to_owned(), Arc::clone(&done));
        tokio::task::spawn_blocking(move || {
            import_as(&app, &word("--beside").unwrap_or_else(|| "second".to_owned()), &files);
            done.store(true, Ordering::Relaxed);
        })
    };
    let took = drive(address, &paths, &cookie, rate, seconds).await;
    let whole = if done.load(Ordering::Relaxed) { " (which ended before)" } else { "" };
    tell(&format!("while an import runs{whole}"), &took);
    let times = number("--times", 100);
    dashboard(&app, address, times).await;
    println!("  {}", if done.load(Ordering::Relaxed) { "the import ended before the last of these" } else { "all while the import ran" });
    importing.await.unwrap();
    println!("now that nothing else goes on:");
    dashboard(&app, address, times).await;
    let began = Instant::now();
    let found = app.store.snapshot(|conn| audit::verify(conn, None)).await.unwrap();
    println!(
        "audit chain: {} rows, walked in {:.2} s, {}",
        found.rows,
        began.elapsed().as_secs_f64(),
        if found.broken.is_none() { "whole" } else { "BROKEN" }
    );
    stop.request();
}

async fn fill(app: &Arc<App>, files: &Path) {
    import_as(app, "first", files);
    let began = Instant::now();
    let report = app.assign(&Arc::new(AtomicBool::new(false)), Arc::new(|_| ())).await.unwrap();
    println!("{} persons evaluated in {:.1} s", report.persons, began.elapsed().as_secs_f64());
    let (began, enough) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let timer = {
        let (enough, seconds) = (Arc::clone(&enough), number("--outreach", 60));
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds.into())).await;
            enough.store(true, Ordering::Relaxed);
        })
    };
    let report = app.reach_out(&enough, &|_| ()).await.unwrap();
    timer.abort();
    println!("outreach, {:.1} s of it: {report:?}", began.elapsed().as_secs_f64());
}

fn who(roles: &[Role]) -> Identity {
    Identity {
        issuer: "https://bench.example.org".to_owned(),
        subject: "bench".to_owned(),
        name: None,
        fhir_user: None,
        ehr: None,
        roles: Roles::of(roles),
        way: Way::Oidc,
    }
}

/// Each page of the dashboard, one after the other: how long it took.
async fn dashboard(app: &App, address: SocketAddr, times: u32) {
    let begun = app.sessions().begin(who(&Role::ALL), None).await.unwrap();
    let cookie = format!("engage={}", begun.cookie.expose());
    let mut all = Vec::new();
    for path in DASHBOARD {
        let mut took = Vec::new();
        for _ in 0..times {
            let began = Instant::now();
            get(address, path, &cookie).await;
            took.push(began.elapsed());
        }
        all.extend_from_slice(&took);
        took.sort_unstable();
        tell(path, &took);
    }
    all.sort_unstable();
    tell("dashboard", &all);
}

/// Asks for pages at a rate, whether or not those before have come; how long each took, in order of length.
async fn drive(address: SocketAddr, paths: &Arc<Vec<String>>, cookie: &Arc<String>, rate: u32, seconds: u32) -> Vec<Duration> {
    let mut all = tokio::task::JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
    for n in 0..rate * seconds {
        tick.tick().await;
        let (paths, cookie) = (Arc::clone(paths), Arc::clone(cookie));
        all.spawn(async move {
            let began = Instant::now();
            get(address, &paths[n as usize * 7 % paths.len()], &cookie).await;
            began.elapsed()
        });
    }
    let mut took = all.join_all().await;
    took.sort_unstable();
    took
}

async fn get(address: SocketAddr, path: &str, cookie: &str) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..answer.len().min(300)]));
}

fn tell(title: &str, took: &[Duration]) {
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)].as_secs_f64() * 1_000.0;
    println!("{title}: {} pages, {:.1} ms (median), {:.1} ms (99 in 100), {:.1} ms (longest)", took.len(), at(50), at(99), at(100));
}
