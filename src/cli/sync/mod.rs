//! `sync`: reads what changed, shows runs, and looks after what was put aside.

mod holes;
mod pause;
mod plan;
mod quarantine;
mod run;
mod schedule;
mod status;
mod telling;

use std::sync::Arc;

use clap::Subcommand;
use domain::model::ResourceType;

use super::exit::{Ended, Failure};
use super::{Common, ehr};
use quarantine::Quarantine;
use schedule::Schedule;

/// Read what changed in the EHRs; look at runs and at what was put aside
#[derive(Debug, Subcommand)]
pub(super) enum Sync {
    /// Sync now
    #[command(after_help = "Examples:
  fhir-engage sync run
  fhir-engage sync run --ehr main --type Appointment
  fhir-engage sync run --ehr main --on-server      let a running serve or work do it

A type that the EHR refuses is skipped and named; the others go on. A run that was cut off goes on where it was.
What is paused, or in closed hours of its schedule, is left alone and named.
Exit code 1 where not all was read and stored, and RESULT says why: a type failed, what the EHR gave was not
complete, resources were put aside, or patients could not be read. The rest is stored.")]
    Run(run::Run),
    /// Explain how each type of an EHR is read, what that misses, and what is lacking
    #[command(after_help = "Examples:
  fhir-engage sync plan main
  fhir-engage sync plan main --json

The vendor's preset, narrowed by what the server states of itself now; what `ehr add` was told holds against both.
Exit code 1 where a type cannot be read until something is given.")]
    Plan {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
    },
    /// List the patients of whom a type is not known, and why
    #[command(after_help = "Examples:
  fhir-engage sync holes main
  fhir-engage sync holes main --json

Rules that read the type answer `unknown` for these patients, or as old as they were last read.")]
    Holes {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: i64,
    },
    /// Show the last run of each EHR and type, or the one that goes on
    #[command(after_help = "Examples:
  fhir-engage sync status
  fhir-engage sync status main --json
  fhir-engage sync status --watch      until Ctrl-C; with --json a line for each look

Exit code 1 where the last run of a type failed, or an EHR cannot be worked with.")]
    Status(status::Status),
    /// Say when an EHR is read, and see when each type is read next and why
    #[command(subcommand)]
    Schedule(Schedule),
    /// Stop reading an EHR, or one type of it, until it is resumed
    #[command(after_help = "Examples:
  fhir-engage sync pause main --why downtime-until-sunday
  fhir-engage sync pause main --type Appointment --why moved-to-another-server

What runs stops after the page or the patients in hand. Who paused and why is kept.")]
    Pause(pause::Pause),
    /// Let an EHR be read again; what was missed is made up for once
    #[command(after_help = "Examples:
  fhir-engage sync resume main
  fhir-engage sync resume main --type Appointment")]
    Resume(pause::Resume),
    /// Look at drop folders and their files; try a declaration out on a file
    #[command(subcommand)]
    Drops(super::drops::Drops),
    /// Look at what was put aside, and replay it
    Quarantine {
        #[command(subcommand)]
        command: Option<Quarantine>,
    },
}

impl Sync {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        // Needs no installation.
        if let Self::Drops(super::drops::Drops::Check { declaration, file, rows }) = &self {
            return super::drops::check(common, declaration, file, *rows);
        }
        let app = Arc::new(common.open()?);
        match self {
            Self::Drops(command) => command.run(&app, common).await,
            Self::Run(run) => run.run(&app, common).await,
            Self::Plan { id } => plan::plan(&app, common, &ehr::ehr_id(&id)?).await,
            Self::Holes { id, limit } => holes::holes(&app, common, &ehr::ehr_id(&id)?, limit).await,
            Self::Status(status) => status.run(&app, common).await,
            Self::Schedule(schedule) => schedule.run(&app, common).await,
            Self::Pause(pause) => pause.run(&app, common).await,
            Self::Resume(resume) => resume.run(&app, common).await,
            Self::Quarantine { command } => command.unwrap_or(Quarantine::List { ehr: None, limit: 100 }).run(app, common).await,
        }
    }
}

/// Reads the name of a type.
fn types() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(ResourceType::ALL.map(ResourceType::as_str))
}
