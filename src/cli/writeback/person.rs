//! `writeback causes`, `replay` and `settle`: what people do about what no machine can do.

use clap::Args;

use super::list::Row;
use crate::app::{App, Settled};
use crate::cli::exit::{Ended, Failure};
use crate::cli::{Common, print};
use crate::store::writebacks::{self, Resolution, Wanted};
use crate::writeback::explain::remedy;

pub(super) async fn causes(app: &App, common: &Common, ehr: Option<String>) -> Result<Ended, Failure> {
    super::known(app, ehr.as_deref()).await?;
    let causes = app.store.read(move |conn| writebacks::causes(conn, ehr.as_deref())).await?;
    let well = causes.is_empty();
    if common.json {
        let rows: Vec<_> = causes
            .iter()
            .map(|c| {
                serde_json::json!({ "ehr": c.ehr, "state": word(&c.state), "cause": c.cause, "count": c.count, "example": c.example,
                    "oldest_owed_at": print::instant(c.oldest), "remedy": remedy(&c.state, &c.cause) })
            })
            .collect();
        print::json(&rows);
        return Ok(Ended::well_if(well));
    }
    if well {
        print::note("nothing was refused, and nothing waits for a person");
    }
    for c in causes {
        print::line(&format!("{} {} at {}, the oldest since {}: {}", c.count, word(&c.state), c.ehr, print::instant(c.oldest), c.example));
        print::line(&format!("    {}", remedy(&c.state, &c.cause)));
    }
    Ok(Ended::well_if(well))
}

fn word(state: &str) -> &str {
    if state == "unknown" { "parked" } else { state }
}

/// Write refused ones again
#[derive(Debug, Args)]
pub(in crate::cli) struct Replay {
    /// Write-backs by their ids
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Those of one cause, as `writeback causes` tells it
    #[arg(long, value_name = "CAUSE", conflicts_with = "ids")]
    cause: Option<String>,
    /// Those of one EHR
    #[arg(long, value_name = "EHR")]
    ehr: Option<String>,
    /// All that were refused
    #[arg(long, conflicts_with_all = ["ids", "cause"])]
    all: bool,
    /// Only tell which ones
    #[arg(long)]
    dry_run: bool,
}

impl Replay {
    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        if self.ids.is_empty() && self.cause.is_none() && !self.all {
            return Err(Failure::usage("say which: ids, --cause CAUSE, or --all; `fhir-engage writeback causes` tells the causes"));
        }
        super::known(app, self.ehr.as_deref()).await?;
        let asked = self.ids.clone();
        let wanted = Wanted { ehr: self.ehr, cause: self.cause, ids: self.ids };
        let dry = self.dry_run;
        let rows = app.store.write("replay write-backs", move |conn| writebacks::reopen(conn, &wanted, dry)).await?;
        let missing: Vec<&String> = asked.iter().filter(|id| !rows.iter().any(|r| &r.id == *id)).collect();
        if common.json {
            let ids: Vec<&str> = rows.iter().map(|r| r.id.as_str()).collect();
            print::json(&serde_json::json!({ "dry_run": dry, "reopened": ids, "not_refused": missing }));
        } else {
            if dry {
                let mut table = print::Table::new(&["WRITE-BACK", "EHR", "OWED", "WHY"]);
                for r in rows.iter().cloned().map(Row::from) {
                    table.row([r.id, r.ehr, r.owed_at, r.why.unwrap_or_default()]);
                }
                table.print();
            }
            let n = print::plural(rows.len(), "write-back");
            print::line(&if dry {
                format!("{n} would be written again")
            } else {
                format!("{n} will be written again: fhir-engage writeback run")
            });
        }
        for id in &missing {
            print::note(&format!("{id} is no refused write-back"));
        }
        Ok(Ended::well_if(missing.is_empty()))
    }
}

/// Say whether a write-back that no machine can settle is in the EHR
#[derive(Debug, Args)]
pub(in crate::cli) struct Settle {
    /// The write-back's id
    #[arg(value_name = "ID")]
    id: String,
    /// It is there, under this id where you know it
    #[arg(long, value_name = "REMOTE", num_args = 0..=1, default_missing_value = "", conflicts_with = "not_there", required_unless_present = "not_there")]
    in_ehr: Option<String>,
    /// It is not there: write it again
    #[arg(long)]
    not_there: bool,
}

impl Settle {
    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        let remote = self.in_ehr.map(|id| id.rsplit('/').next().unwrap_or_default().to_owned()).filter(|id| !id.is_empty());
        let how = if self.not_there { Resolution::NotThere } else { Resolution::InTheEhr(remote) };
        let done = app.settle_write(self.id.clone(), how, None).await?;
        match done {
            Settled::Done => {
                let says = if self.not_there { "it will be written again: fhir-engage writeback run" } else { "settled as written" };
                if common.json {
                    print::json(&serde_json::json!({ "id": self.id, "settled_as": if self.not_there { "not-there" } else { "in-ehr" } }));
                } else {
                    print::line(says);
                }
                Ok(Ended::Well)
            }
            Settled::Not(state) => Err(Failure::problem(format!(
                "{} does not wait for a person: it is {state}; those that do: fhir-engage writeback list --state parked",
                self.id
            ))),
            Settled::NoSuch => {
                Err(Failure::usage(format!("there is no write-back {}; list them with `fhir-engage writeback list`", self.id)))
            }
        }
    }
}
