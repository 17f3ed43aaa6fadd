//! `writeback preview` and `writeback contract`: what would stand in a chart, and what an EHR takes.

use clap::Args;

use crate::app::App;
use crate::cli::exit::{Ended, Failure};
use crate::cli::{Common, ehr, print};
use crate::connect::{Outlook, outlook};
use crate::ehr::vendor;
use crate::writeback::{Contract, Deed};

/// Show what a write-back would become in the EHR, and what could not be carried; writes nothing
#[derive(Debug, Args)]
pub(in crate::cli) struct Preview {
    /// The write-back's id, or an attempt's; one that is not finished is shown as if it were delivered now
    #[arg(value_name = "ID")]
    id: String,
    /// By the preset of this vendor, whatever the EHR is
    #[arg(long, value_name = "VENDOR")]
    vendor: Option<String>,
    /// Do not ask the EHR what it takes; go by preset and settings
    #[arg(long)]
    offline: bool,
}

impl Preview {
    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        let no_such =
            || Failure::usage(format!("there is no write-back and no attempt {}; list them with `fhir-engage writeback list`", self.id));
        let of = app.ehr_of(&self.id).await?.ok_or_else(no_such)?;
        let contract = match &self.vendor {
            Some(name) => preset(name)?,
            None => app.contract_now(&of, self.offline).await?.0,
        };
        let preset = contract.preset.clone();
        let shown = app.preview(&self.id, contract).await?.ok_or_else(no_such)?;
        let well = shown.composed.is_ok();
        if common.json {
            print::json(&match &shown.composed {
                Ok(composed) => {
                    serde_json::json!({ "ehr": of, "preset": preset, "write_back": shown.write_back, "as_if_delivered": shown.write_back.is_none(),
                    "carrier": composed.carrier, "resource": resource(&composed.deed), "does": does(&composed.deed), "losses": composed.losses })
                }
                Err(why) => {
                    serde_json::json!({ "ehr": of, "preset": preset, "write_back": shown.write_back, "as_if_delivered": shown.write_back.is_none(), "why_not": why })
                }
            });
            return Ok(Ended::well_if(well));
        }
        if shown.write_back.is_none() {
            print::note("it owes nothing yet; this is what it would be if it were delivered now");
        }
        match shown.composed {
            Err(why) => print::line(&format!("nothing can be written: {why}")),
            Ok(composed) => {
                print::line(&format!("by {} ({preset}): {}", composed.carrier.as_str(), does(&composed.deed)));
                if let Some(resource) = resource(&composed.deed) {
                    print::line(&serde_json::to_string_pretty(&resource).unwrap_or_default());
                }
                for loss in &composed.losses {
                    print::line(&format!("not carried: {} ({})", loss.element, loss.why));
                }
            }
        }
        Ok(Ended::well_if(well))
    }
}

fn preset(name: &str) -> Result<Contract, Failure> {
    let unknown = || Failure::usage(format!("there is no preset {name}; known are {}", vendor::known()));
    Contract::of_preset(vendor::preset(name).ok_or_else(unknown)?).map_err(|e| Failure::problem(e.to_string()))
}

fn resource(deed: &Deed) -> Option<serde_json::Value> {
    let bytes = deed.bytes()?;
    // A site's route may send what is no JSON.
    Some(serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into()))
}

fn does(deed: &Deed) -> String {
    match deed {
        Deed::Create { .. } => "created".to_owned(),
        Deed::EnteredInError { id, .. } => format!("{id} is marked as entered in error"),
        Deed::Status { appointment, to, .. } => format!("Appointment/{appointment} becomes {to}"),
        Deed::Keep { why } => format!("stays in the ledger: {why}"),
    }
}

/// Tell what an EHR takes, and what its charts will not show
#[derive(Debug, Args)]
pub(in crate::cli) struct Takes {
    /// The EHR's name
    #[arg(value_name = "EHR", required_unless_present = "vendor")]
    ehr: Option<String>,
    /// Of a vendor's preset, with no EHR
    #[arg(long, value_name = "VENDOR", conflicts_with = "ehr")]
    vendor: Option<String>,
    /// Do not ask the EHR; go by preset and settings
    #[arg(long)]
    offline: bool,
}

impl Takes {
    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        let (contract, asked) = match (&self.ehr, &self.vendor) {
            (Some(name), _) => app.contract_now(&ehr::ehr_id(name)?, self.offline).await?,
            (None, Some(name)) => (preset(name)?, false),
            (None, None) => return Err(Failure::usage("name an EHR, or a --vendor")),
        };
        let shown = outlook(&app.chart_site(), &contract);
        if common.json {
            print::json(&serde_json::json!({ "asked": asked, "contract": contract, "outlook": shown, "warnings": shown.warnings() }));
        } else {
            tell(&shown);
        }
        Ok(Ended::well_if(!shown.chain.is_empty() && shown.missing.is_empty()))
    }
}

/// Prints an outlook, a case a line.
pub(in crate::cli) fn tell(shown: &Outlook) {
    let chain: Vec<&str> = shown.chain.iter().map(|c| c.as_str()).collect();
    print::line(&format!(
        "preset {}; carried by {}",
        shown.preset,
        if chain.is_empty() { "nothing".to_owned() } else { chain.join(", then ") }
    ));
    print::line(&format!("written: {}; the rest stays in the ledger", shown.written()));
    let mut table = print::Table::new(&["CASE", "BY", "NOT CARRIED"]);
    for s in &shown.shown {
        let lost: Vec<&str> = s.losses.iter().map(|l| l.element.as_str()).collect();
        let by = s.carrier.map_or("-", |c| c.as_str()).to_owned();
        table.row([s.case.to_owned(), by, s.why_not.clone().unwrap_or_else(|| lost.join(", "))]);
    }
    table.print();
    for warning in shown.warnings() {
        print::line(&format!("warning: {warning}"));
    }
}
