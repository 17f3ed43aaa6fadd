//! `ehr`: registers, lists, checks and removes EHRs. One file per subcommand.

mod add;
mod blind_spots;
mod check;
mod drift;
mod limits;
mod list;
mod register;
mod remove;
mod show;
mod subscriptions;

use clap::Subcommand;
use domain::model::EhrId;

use super::Common;
use super::exit::{Ended, Failure};
pub(super) use add::settings;
pub(super) use check::findings;

/// Register, show, check and remove EHRs; what an EHR leaves out, and what changed there
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
  fhir-engage ehr check main --test-patient 4711      searches for that one what is read patient by patient
  fhir-engage ehr check main --deep      starts and deletes an export
  fhir-engage ehr check main --deep --test-patient 4711

Ends with the blind spots: which segments and programs cannot work there, and why.
Exit code 1 where a step found a problem; what to do stands below it. Reads only, but for --deep: then an export is started and
deleted; and with a test patient a message that says that it is a test is written into that chart, found again, and marked as entered in
error where the EHR allows it.")]
    Check {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
        /// Start and delete an export; with --test-patient also write
        #[arg(long)]
        deep: bool,
        /// The id, in the EHR, of a patient that is nobody
        #[arg(long, value_name = "PATIENT")]
        test_patient: Option<String>,
    },
    /// Let a person grant this gateway access, once
    Authorize(super::access::Authorize),
    /// Show how an EHR is connected, and where each value comes from
    #[command(after_help = "Examples:
  fhir-engage ehr show main
  fhir-engage ehr show main --offline      by what it last stated
  fhir-engage ehr show main --json

FROM: operator (`ehr add`, the configuration), statement (the server says so of itself), preset (what is known of the vendor, with its
source below), preset+statement (both say so), probe (it was tried out), default.")]
    Show {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
        /// Do not ask the EHR: what it last stated counts
        #[arg(long)]
        offline: bool,
    },
    /// Print what to enter in a vendor's portal, what to ask for there, and what cannot be
    #[command(after_help = "Examples:
  fhir-engage ehr register full-r4
  fhir-engage ehr register full-r4 --ehr main      for one that is registered here, with its Group and types
  fhir-engage ehr register full-r4 --json

The addresses are made from external_url in [web]. The vendors are those of `fhir-engage ehr add --vendor`.")]
    Register {
        /// The vendor
        #[arg(value_name = "VENDOR", value_parser = add::vendor_name)]
        vendor: String,
        /// An EHR that is registered here
        #[arg(long, value_name = "ID")]
        ehr: Option<String>,
    },
    /// Tell which segments and programs cannot work on an EHR, or work less well, and why
    #[command(
        name = "blind-spots",
        after_help = "Examples:
  fhir-engage ehr blind-spots main
  fhir-engage ehr blind-spots main --offline      by what it last stated
  fhir-engage ehr blind-spots main --json

The numbers stand for the reasons below. Reads no patient's data."
    )]
    BlindSpots {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
        /// Do not ask the EHR: what it last stated counts
        #[arg(long)]
        offline: bool,
    },
    /// Tell what changed in what an EHR states of itself, and what stops working because of it
    #[command(after_help = "Examples:
  fhir-engage ehr drift main
  fhir-engage ehr drift main --acknowledge --by ada      take note: changes are told from now on
  fhir-engage ehr drift main --json

Exit code 1 where a change stops something, or the statement cannot be read any more.")]
    Drift {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
        /// Do not ask the EHR: what it last stated counts
        #[arg(long)]
        offline: bool,
        /// Take note of what is told
        #[arg(long)]
        acknowledge: bool,
        /// Who takes note; the user of this command where absent
        #[arg(long, value_name = "NAME", requires = "acknowledge")]
        by: Option<String>,
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
    /// What an EHR was asked to tell of by itself, and how that goes
    #[command(subcommand)]
    Subscriptions(subscriptions::Subscriptions),
    /// Remove a connection; what was synced and sent stays
    #[command(after_help = "Examples:
  fhir-engage ehr remove main
  fhir-engage ehr remove main --force      give up what is not settled, or cannot be ended there

The EHR is told first to delete an export that it prepares, and to end its subscriptions.")]
    Remove {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
        /// Remove it although write-backs are not settled, or it cannot be told to delete an export
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
            Self::Authorize(authorize) => authorize.run(&app, common).await,
            Self::Check { id, deep, test_patient } => check::check(&app, common, &ehr_id(&id)?, deep, test_patient).await,
            Self::Show { id, offline } => show::show(&app, common, &ehr_id(&id)?, offline).await,
            Self::Register { vendor, ehr } => {
                register::register(&app, common, &vendor, ehr.as_deref().map(ehr_id).transpose()?.as_ref()).await
            }
            Self::BlindSpots { id, offline } => blind_spots::blind_spots(&app, common, &ehr_id(&id)?, offline).await,
            Self::Drift { id, offline, acknowledge, by } => {
                drift::drift(&app, common, &ehr_id(&id)?, drift::How { offline, acknowledge, by: by.as_deref() }).await
            }
            Self::Limits { id } => limits::limits(&app, common, &ehr_id(&id)?).await,
            Self::Subscriptions(of) => of.run(&app, common).await,
            Self::Remove { id, force } => remove::remove(&app, common, &ehr_id(&id)?, force).await,
        }
    }
}

/// Reads an EHR's name from the command line.
pub(super) fn ehr_id(text: &str) -> Result<EhrId, Failure> {
    EhrId::parse(text).map_err(|e| Failure::usage(e.to_string()))
}
