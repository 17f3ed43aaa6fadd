//! An EHR, and an installation of the gateway that is connected to it: a data folder, a configuration, a database.

use std::time::{Duration, Instant};

use domain::{Clock as _, Timestamp};
use fhir_engage::app::SystemClock;
use fhir_engage::store::Lane;
use fhir_engage::store::installation::{self, Setting};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sandbox::{Config, Population, Sandbox};
use serde_json::Value;

use super::account::Account;
use crate::support::{Database, Running, TempDir, gateway};

/// The name of the EHR.
pub const EHR: &str = "north";
/// How long anything may take that has no reason to wait.
const PATIENCE: Duration = Duration::from_secs(90);

/// Short times to settle, so that what a kill left unclear is asked about soon. Not so short that a busy machine looks like a dead EHR.
/// The lease is long: a restart that did not see that its holder is dead would find every stage busy.
const CONFIGURATION: &str = r#"
[site]
name = "Maple Street Clinic"
time_zone = "America/New_York"
phone = "+1 212 555 0100"
[worker]
lease = "60s"
sync_every = "10s"
tick = "1s"
[web]
bind = "127.0.0.1:0"
[write_back]
settle_delay = "1s"
http_timeout = "3s"
"#;

/// The people of these tests.
pub fn people(clock: SystemClock) -> Population {
    Population { patients: 10_000, seed: 7, as_of_micros: clock.now().micros(), zone: chrono_tz::America::New_York }
}

/// A clock by which it is five past one in New York and not yet or no longer quiet in any zone of the United States. No visit begins or
/// ends within ten minutes, so a few minutes of running change no answer.
pub fn clock() -> SystemClock {
    SystemClock::showing(Timestamp::parse("2026-11-23T18:05:00Z").unwrap())
}

/// Randomness for the moments, from a seed that a failed run names.
pub fn random(test: &str) -> StdRng {
    let machine = SystemClock::with_offset(chrono::TimeDelta::zero());
    let seed = std::env::var("KILL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| machine.now().micros().unsigned_abs());
    eprintln!("{test}: KILL_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// How many rounds: `SOAK=1` makes ten times as many.
pub fn rounds(usual: u32) -> u32 {
    if std::env::var("SOAK").as_deref() == Ok("1") { usual * 10 } else { usual }
}

/// A data folder and a database.
pub struct Installation {
    pub data: TempDir,
    pub db: Database,
}

impl Installation {
    /// An installation that was never started.
    pub fn new(db: Database) -> Self {
        Self::with(db, CONFIGURATION)
    }

    /// The same, with a configuration of the caller's.
    pub fn with(db: Database, configuration: &str) -> Self {
        let data = TempDir::new();
        std::fs::write(data.join("fhir-engage.toml"), configuration).unwrap();
        Self { data, db }
    }

    /// A command on it.
    pub fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = gateway(args);
        command.args(["--data", self.data.path().to_str().unwrap(), "--database", &self.db.argument()]);
        // What another test or the caller set must not steer this one.
        command.env_remove("FHIR_ENGAGE_DATABASE").env_remove("FHIR_ENGAGE_LOG");
        command
    }

    /// Starts a command.
    pub fn start(&self, args: &[&str]) -> Running {
        Running::start(&mut self.command(args))
    }

    /// Runs a command that must end well; returns what it said as data.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> String {
        self.start(args).wait().ok().stdout
    }

    /// Runs a command, kills it after a time; returns whether it was still running then.
    pub fn killed_after(&self, args: &[&str], delay: Duration) -> bool {
        let mut running = self.start(args);
        let until = Instant::now() + delay;
        while Instant::now() < until {
            if running.has_ended() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let was_running = !running.has_ended();
        running.kill();
        was_running
    }

    /// Sets the clock that every command of this installation reads.
    pub fn set_clock(&self, clock: SystemClock) {
        let offset = clock.offset().num_microseconds().unwrap().to_string();
        let write = |conn: &mut _| installation::set(conn, Setting::ClockOffset, &offset);
        self.db.store().write_blocking(Lane::Interactive, "test", write).unwrap();
    }
}

/// An EHR with an installation that is connected to it.
pub struct World {
    pub ehr: Sandbox,
    pub gateway: Installation,
    people: Population,
    loaded: u32,
}

impl World {
    /// An empty EHR, which gives small pages; a connected gateway.
    pub async fn new(db: Database, clock: SystemClock) -> Self {
        let config = Config { page_size_default: 10, page_size_max: 10, ..Config::new(std::sync::Arc::new(move || clock.now().micros())) };
        let ehr = sandbox::start(config).await.unwrap();
        let gateway = Installation::new(db);
        gateway.set_clock(clock);
        // RSA keys take long to make in a development build.
        gateway.run(&["ehr", "add", EHR, "--url", &ehr.base_url(), "--client-id", "gateway", "--key-alg", "ES384"]);
        let jwks = serde_json::from_str(&gateway.run(&["keys", "jwks"])).unwrap();
        ehr.register(sandbox::Client { client_id: "gateway".to_owned(), jwks, scopes: vec!["system/*.cruds".to_owned()] });
        let people = people(clock);
        let world = Self { ehr, gateway, people, loaded: 0 };
        world.ehr.load(people.staff()).unwrap();
        world
    }

    /// So many more patients, with what belongs to them, all new at this instant.
    pub fn admit(&mut self, patients: u32) {
        let people = self.people;
        let of = |n| std::iter::once(people.patient(n)).chain(people.appointments_of(n)).chain(people.care_plans_of(n));
        let new = (self.loaded..self.loaded + patients).flat_map(of).map(|text| as_of_now(&text));
        self.ehr.load(new).unwrap();
        self.loaded += patients;
    }

    /// Rounds until nothing is left to do. Each must end well.
    #[track_caller]
    pub fn settle(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            self.round();
            let left = self.left_to_do();
            if left.iter().all(|l| l.ends_with(" 0")) {
                return;
            }
            assert!(Instant::now() < until, "still to do: {left:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// One undisturbed round: nothing fails, and nothing is taken for busy, since nobody else is at it.
    #[track_caller]
    pub fn round(&self) {
        let done = self.gateway.start(&["work", "--once", "--json"]).wait().ok().json();
        assert_eq!((&done["failures"], &done["busy"]), (&serde_json::json!([]), &serde_json::json!([])), "{done}");
    }

    fn left_to_do(&self) -> Vec<String> {
        self.gateway.db.lines(
            "SELECT 'write-backs ' || count(*) AS line FROM writeback WHERE state IN ('owed', 'writing', 'unknown')
             UNION ALL SELECT 'persons to evaluate ' || count(*) FROM pending_person
             UNION ALL SELECT 'persons to plan for ' || count(*) FROM pending_outreach
             UNION ALL SELECT 'attempts in the middle of a send ' || count(*) FROM attempt WHERE state = 'sending'",
        )
    }

    /// What is there in the end.
    pub fn account(&self) -> Account {
        Account::of(&self.gateway.db)
    }

    /// What the killed and the undisturbed gateway both have to have done.
    #[track_caller]
    pub fn assert_adds_up(&self) {
        super::account::assert_adds_up(&self.gateway.db, &self.ehr);
    }
}

/// A resource without version and time, which the EHR then gives it.
fn as_of_now(text: &str) -> String {
    let mut resource: Value = serde_json::from_str(text).unwrap();
    if let Some(meta) = resource.get_mut("meta").and_then(Value::as_object_mut) {
        meta.retain(|name, _| name != "versionId" && name != "lastUpdated");
    }
    resource.to_string()
}
