//! The command line: one file per command. stdout is data, everything else goes to stderr.
//!
//! Exit codes: 0 done, 1 found a problem, 2 wrong use. Errors say what to do, without patient data.

mod access;
mod alerts;
mod audit;
mod check;
mod demo;
mod drops;
mod ehr;
mod exit;
mod import;
mod inbound;
mod keys;
mod launching;
mod migrate;
mod outreach;
mod persons;
mod preferences;
mod pretend;
mod print;
mod progress;
mod reading;
mod sandbox;
mod segments;
mod serve;
mod signals;
mod staff;
mod stops;
mod sync;
mod who;
mod writeback;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing::Level;

use crate::app::{App, OpenError};
use crate::config::Config;
use crate::telemetry::Logs;
use exit::{Ended, Failure};

/// A FHIR R4 interoperability gateway for patient engagement.
///
/// Syncs Patient, Appointment and CarePlan from EHRs, maps every patient to segments, runs outreach by programs, and writes what happened
/// back into the EHR as Communications.
#[derive(Debug, Parser)]
#[command(
    name = "fhir-engage",
    version,
    propagate_version = true,
    after_help = "Examples:
  fhir-engage demo                                  a pretend EHR, and the whole way through it
  fhir-engage ehr add main --url https://ehr.example.org/fhir --client-id engage
  fhir-engage ehr check main                        what works, what does not, and what to do
  fhir-engage sync run                              read what changed
  fhir-engage segments explain --patient main/123   why someone is in a segment, or not
  fhir-engage serve                                 pages, and all stages on their schedule

Exit codes: 0 done, 1 found a problem, 2 wrong use."
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
struct Common {
    /// The configuration file [default: fhir-engage.toml in the data folder, if there is one]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Common options")]
    config: Option<PathBuf>,
    /// The folder with the embedded database and the keys [default: data; of a demo: data/demo]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Common options")]
    data: Option<PathBuf>,
    /// The database: a path, or a postgres:// URL [default: the configuration's]
    #[arg(long, global = true, value_name = "URL", help_heading = "Common options")]
    database: Option<String>,
    /// Print JSON
    #[arg(long, global = true, help_heading = "Common options")]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole way once on a pretend EHR with a synthetic population, then serve pages
    Demo(demo::Demo),
    /// Serve pages and run all stages on their schedule
    Serve(serve::Serve),
    /// Run all stages on their schedule, without pages
    Work(serve::Work),
    /// Run the pretend EHR alone
    Sandbox(sandbox::Run),
    /// Bring the database's schema up to date
    Migrate(migrate::Migrate),
    /// Check configuration, database, keys, programs and connections; tell all mistakes at once
    Check(check::Check),
    /// Import NDJSON files, gzipped or not
    Import(import::Import),
    /// Register, list, check and remove EHRs
    #[command(subcommand)]
    Ehr(ehr::Ehr),
    /// Make, list, rotate and retire signing keys; show the public key set
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Read what changed in the EHRs; look at runs and at what was put aside
    #[command(subcommand)]
    Sync(sync::Sync),
    /// Look at what is wrong and who was told; take note of it, try it out
    #[command(subcommand)]
    Alerts(alerts::Alerts),
    /// Look at who saw or did what; tell whether that record is whole
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Let somebody of the staff sign in by a link
    #[command(subcommand)]
    Staff(staff::Staff),
    /// Look at which records are one person and why; join and part them
    #[command(subcommand)]
    Persons(persons::Persons),
    /// Look at segments, their members, and why
    #[command(subcommand)]
    Segments(segments::Segments),
    /// Plan and send what is due; look at attempts and why they went or did not go
    #[command(subcommand)]
    Outreach(outreach::Outreach),
    /// Write what is owed into the EHRs; look at what is owed, written and refused
    #[command(subcommand)]
    Writeback(writeback::Writeback),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::tell(&Failure::problem(format!("the runtime could not be started: {}", error.kind()))),
    };
    let ended = runtime.block_on(run(cli));
    // A blocking read of standard input or of a stuck file must not keep a finished program alive.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match ended {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::WithProblems) => ExitCode::from(1),
        Err(failure) => exit::tell(&failure),
    }
}

async fn run(cli: Cli) -> Result<Ended, Failure> {
    let common = cli.common;
    match cli.command {
        Command::Demo(command) => command.run(&common).await,
        Command::Serve(command) => command.run(&common).await,
        Command::Work(command) => command.run(&common).await,
        Command::Sandbox(command) => command.run(&common).await,
        Command::Migrate(command) => command.run(&common),
        Command::Check(command) => command.run(&common).await,
        Command::Import(command) => command.run(&common).await,
        Command::Ehr(command) => command.run(&common).await,
        Command::Keys(command) => command.run(&common).await,
        Command::Sync(command) => command.run(&common).await,
        Command::Alerts(command) => command.run(&common).await,
        Command::Audit(command) => command.run(&common).await,
        Command::Staff(command) => command.run(&common).await,
        Command::Persons(command) => command.run(&common).await,
        Command::Segments(command) => command.run(&common).await,
        Command::Outreach(command) => command.run(&common).await,
        Command::Writeback(command) => command.run(&common).await,
    }
}

impl Common {
    fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| PathBuf::from("data"))
    }

    /// Reads the configuration; all of its mistakes are one failure.
    fn config(&self) -> Result<Config, Failure> {
        let mut config = Config::load(self.config.as_deref(), &self.data()).map_err(|mistakes| {
            let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            Failure::usage(format!("the configuration has {}:\n{}", print::plural(lines.len(), "mistake"), lines.join("\n")))
        })?;
        if let Some(database) = &self.database {
            config.database.url = database.clone().into();
        }
        Ok(config)
    }

    /// Puts the gateway together. Logs begin here.
    fn open(&self) -> Result<App, Failure> {
        let config = self.config()?;
        start_logs(&config, Level::WARN)?;
        Ok(App::open(config, &self.data())?)
    }

    /// As [`Common::open`], for what runs on: its logs tell what it did.
    fn open_to_stay(&self) -> Result<App, Failure> {
        let config = self.config()?;
        start_logs(&config, Level::INFO)?;
        Ok(App::open(config, &self.data())?)
    }
}

/// Begins to write logs, to stderr. Where nothing is configured, a command that ends by itself tells only what needs someone.
fn start_logs(config: &Config, otherwise: Level) -> Result<(), Failure> {
    let logs = Logs {
        json: config.log.format == crate::config::Format::Json,
        level: config.log.level.unwrap_or(otherwise),
        directives: std::env::var(crate::telemetry::LOG_VARIABLE).ok(),
    };
    crate::telemetry::start(&logs).map_err(|e| Failure::usage(e.to_string()))
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::problem(error.to_string())
    }
}
