//! `writeback`: writes what is owed into the EHRs; tells what is owed, written and refused, and why; replays and settles what waits for a
//! person.

mod list;
mod person;
pub(super) mod preview;
mod show;

use clap::Subcommand;

pub(super) use preview::tell as tell_outlook;

use super::Common;
use super::exit::{Ended, Failure};

/// Write what is owed into the EHRs; look at what is owed, written and refused; replay and settle
#[derive(Debug, Subcommand)]
pub(super) enum Writeback {
    /// List write-backs, the latest owed first
    #[command(after_help = "Examples:
  fhir-engage writeback list --state refused
  fhir-engage writeback list --state parked
  fhir-engage writeback list --ehr main --json

States: owed, writing, written, unknown (an answer was lost; it is searched for), parked (unknown, and no machine can tell: for a
person), refused, exported (in a file), kept (stays in the ledger, as this EHR's contract says).")]
    List(list::List),
    /// Tell one write-back: where it is, why, what was not carried, and what the EHR kept otherwise than it was sent
    #[command(after_help = "Examples:
  fhir-engage writeback show 014cc6014bfea35885865dd5413db20b-0
  fhir-engage writeback show 014cc6014bfea35885865dd5413db20b      all of one attempt")]
    Show {
        /// The write-back's id, or an attempt's
        #[arg(value_name = "ID")]
        id: String,
    },
    #[command(after_help = "Examples:
  fhir-engage writeback preview 014cc6014bfea35885865dd5413db20b
  fhir-engage writeback preview 014cc6014bfea35885865dd5413db20b --vendor full-r4 --json

What is printed is a patient's data.")]
    Preview(preview::Preview),
    #[command(after_help = "Examples:
  fhir-engage writeback contract main
  fhir-engage writeback contract main --offline
  fhir-engage writeback contract --vendor full-r4 --json

Exit code 1 where nothing can be written yet; what is missing stands below the table.")]
    Contract(preview::Takes),
    /// Write what is owed and due
    #[command(after_help = "Examples:
  fhir-engage writeback run
  fhir-engage writeback run --ehr main --json")]
    Run {
        /// One EHR only
        #[arg(long, value_name = "EHR")]
        ehr: Option<String>,
    },
    /// Tell refusals, and what waits for a person, by cause, with what to do
    #[command(after_help = "Examples:
  fhir-engage writeback causes
  fhir-engage writeback causes --ehr main --json

Exit code 1 where there are any.")]
    Causes {
        /// One EHR only
        #[arg(long, value_name = "EHR")]
        ehr: Option<String>,
    },
    /// Write refused and parked ones again, in the order in which they were owed; after their cause was put right
    #[command(after_help = "Examples:
  fhir-engage writeback replay --cause http-403 --dry-run
  fhir-engage writeback replay --cause http-403 --ehr main
  fhir-engage writeback replay 014cc6014bfea35885865dd5413db20b-0
  fhir-engage writeback replay --all

What may be in the EHR already is searched for before it is written.")]
    Replay(person::Replay),
    /// Say whether a write-back that no machine can settle is in the EHR
    #[command(after_help = "Examples:
  fhir-engage writeback list --state parked
  fhir-engage writeback settle 014cc6014bfea35885865dd5413db20b-0 --in-ehr 4711
  fhir-engage writeback settle 014cc6014bfea35885865dd5413db20b-0 --not-there      it is written again")]
    Settle(person::Settle),
}

impl Writeback {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let app = common.open()?;
        match self {
            Self::List(list) => list.run(&app, common).await,
            Self::Show { id } => show::run(&app, common, &id).await,
            Self::Preview(preview) => preview.run(&app, common).await,
            Self::Contract(takes) => takes.run(&app, common).await,
            Self::Run { ehr } => list::write(&app, common, ehr.as_deref()).await,
            Self::Causes { ehr } => person::causes(&app, common, ehr).await,
            Self::Replay(replay) => replay.run(&app, common).await,
            Self::Settle(settle) => settle.run(&app, common).await,
        }
    }
}

/// An EHR's name must be one that is registered.
async fn known(app: &crate::app::App, name: Option<&str>) -> Result<(), Failure> {
    if let Some(name) = name {
        app.profile(&super::ehr::ehr_id(name)?).await?;
    }
    Ok(())
}
