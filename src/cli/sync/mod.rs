//! `sync`: reads what changed, shows runs, and looks after what was put aside.

mod holes;
mod plan;
mod quarantine;
mod run;
mod status;

use clap::Subcommand;

use super::exit::{Ended, Failure};
use super::{Common, ehr};
use quarantine::Quarantine;

/// Read what changed in the EHRs; look at runs and at what was put aside
#[derive(Debug, Subcommand)]
pub(super) enum Sync {
    /// Sync now
    #[command(after_help = "Examples:
  fhir-engage sync run
  fhir-engage sync run --ehr main --type Appointment

A type that the EHR refuses is skipped and named; the others go on. A run that was cut off goes on where it was.")]
    Run {
        /// One EHR only
        #[arg(long, value_name = "ID")]
        ehr: Option<String>,
        /// One type only; may be repeated
        #[arg(long = "type", value_name = "TYPE", value_parser = ["Patient", "Appointment", "CarePlan"])]
        types: Vec<String>,
        /// Where a run stopped because much had disappeared at the EHR: it is right, go on
        #[arg(long, requires = "ehr")]
        accept_vanished: bool,
    },
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
  fhir-engage sync status --json

Exit code 1 where the last run of a type failed.")]
    Status,
    /// Look at what was put aside, and replay it
    Quarantine {
        #[command(subcommand)]
        command: Option<Quarantine>,
    },
}

impl Sync {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let app = common.open()?;
        match self {
            Self::Run { ehr, types, accept_vanished } => run::run(&app, common, ehr, &types, accept_vanished).await,
            Self::Plan { id } => plan::plan(&app, common, &ehr::ehr_id(&id)?).await,
            Self::Holes { id, limit } => holes::holes(&app, common, &ehr::ehr_id(&id)?, limit).await,
            Self::Status => status::status(&app, common).await,
            Self::Quarantine { command } => command.unwrap_or(Quarantine::List { ehr: None, limit: 100 }).run(app, common).await,
        }
    }
}
