//! `migrate`: brings the schema up to date, or tells what is missing.

use clap::Args;

use super::exit::{Ended, Failure};
use super::{Common, print};
use crate::store::{Location, Store};

/// Bring the database's schema up to date
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhir-engage migrate --dry-run      which migrations are missing
  fhir-engage migrate                run them

Commands that open the database run missing migrations themselves; this one is for those who want to choose the hour.")]
pub(super) struct Migrate {
    /// Only tell which are missing; exit code 1 if any
    #[arg(long)]
    dry_run: bool,
}

impl Migrate {
    pub(super) fn run(self, common: &Common) -> Result<Ended, Failure> {
        let config = common.config()?;
        let location = Location::parse(config.database.url.expose());
        if let Location::Sqlite(path) = &location
            && let Some(folder) = path.parent()
        {
            crate::app::make_folder(folder)
                .map_err(|e| Failure::problem(format!("cannot make the folder {}: {}", folder.display(), e.kind())))?;
        }
        let names = if self.dry_run { Store::missing_migrations(&location)? } else { Store::migrate(&location)? };
        if common.json {
            let key = if self.dry_run { "missing" } else { "run" };
            print::json(&serde_json::json!({ "engine": location.engine(), key: names }));
        } else if names.is_empty() {
            print::line(&format!("{}: the schema is up to date", location.engine()));
        } else {
            for name in &names {
                print::line(name);
            }
        }
        Ok(Ended::well_if(!self.dry_run || names.is_empty()))
    }
}
