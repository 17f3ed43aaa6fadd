//! `demo`: the whole way once, on a pretend EHR: connect, sync, segments, outreach through the recorded channel, write-back; then what
//! happened, counted in the EHR, and the pages.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use chrono_tz::Tz;
use clap::Args;
use domain::model::{EhrId, Roles};
use sandbox::{Client, Sandbox};
use serde::Serialize;

use super::exit::{Ended, Failure};
use super::pretend::{Otherwise, People, Pretend};
use super::{Common, print};
use crate::app::{App, StageProgress, SystemClock};
use crate::config::Config;
use crate::ehr::Search;
use crate::ehr::auth::Algorithm;
use crate::ehr::profile::{AppLaunch, Auth, BackendServices, Profile, UserGrant};
use crate::outreach::channel::ChannelKind;
use crate::store::ehrs;
use crate::store::installation::{self, Setting};
use crate::store::view::overview::{self, Overview};

/// Run the whole way once on a pretend EHR with a synthetic population, then serve pages
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhir-engage demo
  fhir-engage demo --once --json
  fhir-engage demo --patients 5000 --seed 7 --as-of 2026-11-23T10:00:00-05:00

Nothing leaves this machine: the pretend EHR listens on loopback, and messages go to the recorded channel. The folder is
--data DIR [default: data/demo]; a second run in the same folder goes on where the first ended, and sends and writes nothing twice.")]
pub(super) struct Demo {
    #[command(flatten)]
    people: People,
    /// End after the run; serve no pages
    #[arg(long)]
    once: bool,
}

/// The name under which the pretend EHR is registered.
const EHR: &str = "sandbox";
/// The client id that it gives the gateway.
const CLIENT: &str = "fhir-engage-demo";
/// The client id under which its users open the gateway.
const LAUNCH_CLIENT: &str = "fhir-engage-launch";
/// How long the run waits for write-backs whose outcome was lost in an earlier, killed run.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time zone of the demo's site: the configured one, else New York's, where most of its patients live.
pub(super) fn site_zone(config: &Config) -> Tz {
    if config.file.is_some() { config.site.time_zone } else { Tz::America__New_York }
}

/// What the run did, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Outcome {
    synced: Synced,
    quarantined: i64,
    segments: std::collections::BTreeMap<String, i64>,
    attempts: Attempts,
    write_backs: WriteBacks,
    communications_in_ehr: usize,
    duplicates_in_ehr: usize,
}

/// Stored resources by type, patients first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Synced {
    patient: i64,
    appointment: i64,
    care_plan: i64,
}

#[derive(Debug, Serialize)]
struct Attempts {
    sent: i64,
    held: i64,
    refused: i64,
    failed: i64,
}

#[derive(Debug, Serialize)]
struct WriteBacks {
    owed: i64,
    written: i64,
}

impl Demo {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let data = common.data.clone().unwrap_or_else(|| PathBuf::from("data/demo"));
        let common = Common { data: Some(data.clone()), ..common.clone() };
        let config = demo_config(common.config()?);
        super::start_logs(&config, tracing::Level::WARN)?;
        let pretend = Pretend::prepare(&data.join("ehr"), &self.people, config.site.time_zone, Otherwise::TenToday)?;
        let clock = pretend.clock;
        let app = Arc::new(App::open_with(config, &data, Some(Arc::new(clock)))?);
        claim(&app, clock).await?;
        let sandbox = connect(&app, pretend).await?;
        let stop = Arc::new(AtomicBool::new(false));
        super::signals::stop_at(&stop);
        let mut failures = whole_way(&app, &stop).await?;
        let stopped = stop.load(Ordering::Relaxed);
        if stopped {
            failures.push("stopped before the end; the same command goes on from there".to_owned());
        }
        let outcome = outcome(&app).await?;
        if common.json {
            print::json(&outcome);
        } else {
            tell(&outcome, &sandbox);
        }
        for failure in &failures {
            print::note(failure);
        }
        let well = failures.is_empty() && outcome.duplicates_in_ehr == 0 && outcome.write_backs.owed == 0;
        if !self.once && !stopped {
            super::serve::pages_and_stages(&app, Some(Roles::all()), |address| open_from(&app, &sandbox, address)).await?;
        }
        sandbox.stop().await;
        Ok(Ended::well_if(well))
    }
}

fn demo_config(mut config: Config) -> Config {
    if config.file.is_none() {
        config.site.name = "Maple Street Clinic".to_owned();
        config.site.time_zone = Tz::America__New_York;
        config.site.language = "en".to_owned();
        config.site.phone = Some("+1 212 555 0100".to_owned());
    }
    // Whatever is configured, a demo writes to nobody.
    config.outreach.channels = vec![ChannelKind::Recorded.as_str().to_owned()];
    config.smtp = None;
    // The pretend EHR is on this machine and answers at once: what a killed run left unclear can be asked about soon.
    config.write_back.settle_delay = Some(TimeDelta::seconds(1));
    config.write_back.http_timeout = TimeDelta::seconds(2);
    config
}

/// Keeps the demo's clock in its database, for the commands that look at it. A database that is not this folder's demo is refused: moving
/// the clock of a real installation would be a disaster, and what another pretend EHR holds is not in this one.
async fn claim(app: &App, clock: SystemClock) -> Result<(), Failure> {
    let offset = clock.offset().num_microseconds().unwrap_or(0).to_string();
    let ours = app
        .store
        .write("keep the demo's clock", move |conn| {
            let ours = match installation::get(conn, Setting::ClockOffset)? {
                Some(kept) => kept == offset,
                None => ehrs::list(conn)?.is_empty(),
            };
            if ours {
                installation::set(conn, Setting::ClockOffset, &offset)?;
            }
            Ok(ours)
        })
        .await?;
    if ours {
        return Ok(());
    }
    Err(Failure::usage(
        "this database belongs to another installation or to the demo of another folder; name another one with --data or --database",
    ))
}

/// Starts the pretend EHR with this installation's key, and registers it like any EHR.
async fn connect(app: &App, pretend: Pretend) -> Result<Sandbox, Failure> {
    let key = app.ensure_key(Algorithm::Rs384).await?;
    let jwks = serde_json::from_str(&app.jwks().await?).map_err(|_| Failure::problem("the public key set is not JSON"))?;
    let scopes = ["Patient.rs", "Appointment.rs", "CarePlan.rs", "Communication.crs"].map(|s| format!("system/{s}")).to_vec();
    let sandbox = pretend.start(0, vec![Client { client_id: CLIENT.to_owned(), jwks, scopes }], false, false).await?;
    let base = sandbox.base_url().parse().map_err(|_| Failure::problem("the pretend EHR has no URL"))?;
    let auth = Auth::BackendServices(BackendServices {
        client_id: CLIENT.to_owned(),
        key_id: Some(key.kid),
        token_url: None,
        scopes: None,
        dialect: None,
    });
    let mut profile = Profile { base_url: Some(base), auth, ..Profile::default() };
    let launches = Auth::UserGrant(UserGrant { client_id: LAUNCH_CLIENT.to_owned(), ..UserGrant::default() });
    profile.launch = Some(Box::new(AppLaunch { auth: launches, ..AppLaunch::default() }));
    let (id, text, now) = (ehr_id()?, profile.to_json(), app.clock.now());
    app.store
        .write("register the pretend EHR", move |conn| {
            // Unchanged, it keeps its revision.
            if ehrs::get(conn, id.as_str())?.is_some_and(|row| row.profile == text) { Ok(()) } else { ehrs::put(conn, &id, &text, now) }
        })
        .await?;
    Ok(sandbox)
}

/// Registers the pages with the pretend EHR, so that a patient can be opened from there: once it is known where they are.
fn open_from(app: &App, sandbox: &Sandbox, address: SocketAddr) {
    let external = app.config.web.external_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
    let base = external.unwrap_or_else(|| format!("http://{address}"));
    let scopes = "user/Patient.rs user/Appointment.rs";
    let registered = sandbox::App::public(LAUNCH_CLIENT, &format!("{base}/callback"), scopes);
    sandbox.register_app(sandbox::App { launch_url: Some(format!("{base}/launch")), ..registered });
    eprintln!("open a patient from inside the pretend EHR: {}", sandbox.base_url().replace("/fhir", "/launcher"));
}

fn ehr_id() -> Result<EhrId, Failure> {
    EhrId::parse(EHR).map_err(|e| Failure::problem(e.to_string()))
}

/// Rounds through all stages until nothing is left to do; returns what failed in the last one.
async fn whole_way(app: &Arc<App>, stop: &Arc<AtomicBool>) -> Result<Vec<String>, Failure> {
    let bar = super::progress::spinner("");
    let shown = bar.clone();
    let progress: Arc<dyn Fn(StageProgress) + Send + Sync> = Arc::new(move |p| {
        let (what, n) = match p {
            StageProgress::Synced(kind, n) => (format!("{kind} read"), n),
            StageProgress::Evaluated(n) => ("persons mapped to segments".to_owned(), n),
            StageProgress::Judged(n) => ("attempts judged".to_owned(), n),
        };
        shown.set_message(what);
        shown.set_position(n);
    });
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut report = app.cycle(stop, Arc::clone(&progress)).await;
    // What was sent may change who is in a segment, and what an earlier run left in doubt is asked about a little later.
    while !stop.load(Ordering::Relaxed) && tokio::time::Instant::now() < deadline {
        let open = app.next_write_back().await?;
        let waiting = app.store.read(crate::store::pending::counts).await?;
        let well = report.failures.is_empty() && report.busy.is_empty();
        if open.is_none() && waiting == (0, 0) && well {
            break;
        }
        let pause =
            open.map_or(TimeDelta::zero(), |at| at.since(app.clock.now())).clamp(TimeDelta::milliseconds(20), TimeDelta::seconds(1));
        tokio::time::sleep(pause.to_std().unwrap_or(Duration::from_secs(1))).await;
        // A sync that failed is not forgotten because the stages after it went well.
        report = if well { app.after_sync(stop, Arc::clone(&progress)).await } else { app.cycle(stop, Arc::clone(&progress)).await };
    }
    bar.finish_and_clear();
    Ok(report.failures)
}

/// What happened: from the store, and from the EHR itself.
async fn outcome(app: &App) -> Result<Outcome, Failure> {
    let Overview { synced, quarantined, segments, attempts, write_backs, .. } = app.store.read(overview::read).await?;
    let of = |state: &str| write_backs.get(state).copied().unwrap_or(0);
    let stored = |kind: &str| synced.get(kind).copied().unwrap_or(0);
    let connection = app.connect(&ehr_id()?).await?;
    let found = connection.client.search_all(Search::of("Communication")).await.map_err(|e| Failure::problem(crate::app::told(&e)))?;
    let system = crate::writeback::Site::named(&app.config.site.name).identifier_system;
    let ours: Vec<String> = found.iter().filter_map(|e| identifier(&e.bytes, &system)).collect();
    let distinct: HashSet<&String> = ours.iter().collect();
    Ok(Outcome {
        synced: Synced { patient: stored("Patient"), appointment: stored("Appointment"), care_plan: stored("CarePlan") },
        quarantined,
        segments,
        attempts: Attempts { sent: attempts.sent, held: attempts.held, refused: attempts.refused, failed: attempts.failed },
        write_backs: WriteBacks { owed: of("owed") + of("writing") + of("unknown"), written: of("written") },
        communications_in_ehr: ours.len(),
        duplicates_in_ehr: ours.len() - distinct.len(),
    })
}

/// Our identifier on a Communication, where it has one.
fn identifier(bytes: &[u8], system: &str) -> Option<String> {
    let resource: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let ours = |i: &&serde_json::Value| i.get("system").and_then(|s| s.as_str()) == Some(system);
    let identifiers = resource.get("identifier")?.as_array()?;
    identifiers.iter().find(ours)?.get("value")?.as_str().map(str::to_owned)
}

fn tell(outcome: &Outcome, sandbox: &Sandbox) {
    print::line(&format!("The pretend EHR at {} was synced, and its patients were reached by the recorded channel.", sandbox.base_url()));
    print::line("");
    let mut table = print::Table::new(&["WHAT", "", "COUNT"]);
    let mut rows = |what: &str, counts: Vec<(String, String)>| {
        for (n, (name, count)) in counts.into_iter().enumerate() {
            table.row([if n == 0 { what.to_owned() } else { String::new() }, name, count]);
        }
    };
    let told = |map: &std::collections::BTreeMap<String, i64>| map.iter().map(|(k, v)| (k.clone(), v.to_string())).collect::<Vec<_>>();
    let s = &outcome.synced;
    let synced = [("Patient", s.patient), ("Appointment", s.appointment), ("CarePlan", s.care_plan)];
    rows("synced", synced.map(|(k, v)| (k.to_owned(), v.to_string())).to_vec());
    rows("quarantined", vec![(String::new(), outcome.quarantined.to_string())]);
    rows("in segments", told(&outcome.segments));
    let a = &outcome.attempts;
    let attempts = [("sent", a.sent), ("held", a.held), ("refused", a.refused), ("failed", a.failed)];
    rows("attempts", attempts.map(|(k, v)| (k.to_owned(), v.to_string())).to_vec());
    let w = &outcome.write_backs;
    rows("write-backs", [("owed", w.owed), ("written", w.written)].map(|(k, v)| (k.to_owned(), v.to_string())).to_vec());
    let counted = [("Communications", outcome.communications_in_ehr), ("duplicates", outcome.duplicates_in_ehr)];
    rows("in the EHR", counted.map(|(k, v)| (k.to_owned(), v.to_string())).to_vec());
    table.print();
    print::line("");
}
