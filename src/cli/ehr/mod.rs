//! `ehr`: registers, lists, checks and removes EHRs. One file per subcommand.

mod add;
mod check;
mod limits;
mod list;
mod remove;

use clap::Subcommand;
use domain::model::EhrId;

use super::Common;
use super::exit::{Ended, Failure};
pub(super) use check::findings;

/// Register, list, check and remove EHRs
#[derive(Debug, Subcommand)]
pub(super) enum Ehr {
    /// Register an EHR, or change how it is connected
    Add(Box<add::Add>),
    /// List the registered EHRs, and how the last sync of each went
    #[command(after_help = "Examples:
  fhir-engage ehr list
  fhir-engage ehr list --json")]
    List,
    /// Walk the whole connection and explain each result; reads only
    #[command(after_help = "Examples:
  fhir-engage ehr check main
  fhir-engage ehr check main --json
  fhir-engage ehr check main --deep --test-patient 4711

Exit code 1 where a step found a problem; what to do stands below it. Reads only, but for --deep with a test patient: then a message
that says that it is a test is written into that chart, found again, and marked as entered in error where the EHR allows it.")]
    Check {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
        /// Try out what only a write can show; needs --test-patient
        #[arg(long, requires = "test_patient")]
        deep: bool,
        /// The id, in the EHR, of a patient that is nobody
        #[arg(long, value_name = "PATIENT", requires = "deep")]
        test_patient: Option<String>,
    },
    /// Show what an EHR may be asked for, by whose word, and how much of it is used
    #[command(after_help = "Examples:
  fhir-engage ehr limits main
  fhir-engage ehr limits main --json

All nodes and commands share these limits. What `ehr add` was told holds; else half of what the vendor publishes.
A pause ends by itself; what it stopped goes on then.")]
    Limits {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Remove a connection; what was synced and sent stays
    #[command(after_help = "Examples:
  fhir-engage ehr remove main
  fhir-engage ehr remove main --force      give up write-backs that are not settled")]
    Remove {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
        /// Remove it although write-backs to it are not settled; they can then no longer be written
        #[arg(long)]
        force: bool,
    },
}

impl Ehr {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let app = common.open()?;
        match self {
            Self::Add(add) => add.run(&app, common).await,
            Self::List => list::list(&app, common).await,
            Self::Check { id, deep, test_patient } => check::check(&app, common, &ehr_id(&id)?, test_patient.filter(|_| deep)).await,
            Self::Limits { id } => limits::limits(&app, common, &ehr_id(&id)?).await,
            Self::Remove { id, force } => remove::remove(&app, common, &ehr_id(&id)?, force).await,
        }
    }
}

/// Reads an EHR's name from the command line.
pub(super) fn ehr_id(text: &str) -> Result<EhrId, Failure> {
    EhrId::parse(text).map_err(|e| Failure::usage(e.to_string()))
}
