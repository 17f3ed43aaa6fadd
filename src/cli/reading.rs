//! The options of `ehr add` that say how an EHR is read: where patients come from, which days, which strategy.

use std::path::PathBuf;

use clap::Args;
use domain::model::ResourceType;

use super::exit::Failure;
use crate::ehr::profile::{Profile, Strategy};
use crate::ehr::reads::{Param, RosterSource, SearchSet};

/// How it is read.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Reading")]
pub(super) struct Reading {
    /// A file with a patient a line, a logical id or an identifier as system|value: they are read one by one
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    roster: Option<PathBuf>,
    /// A FHIR Group, by its logical id: its members are read one by one
    #[arg(long, value_name = "ID", conflicts_with = "files")]
    group: Option<String>,
    /// Whoever has an appointment is read one by one
    #[arg(long, conflicts_with = "files")]
    roster_from_appointments: bool,
    /// Days of appointments to read back from today [default: 7]
    #[arg(long, value_name = "DAYS", conflicts_with = "files")]
    days_back: Option<u16>,
    /// Days of appointments to read ahead from today [default: 90]
    #[arg(long, value_name = "DAYS", conflicts_with = "files")]
    days_ahead: Option<u16>,
    /// The logical id of a location to read appointments of; may be repeated
    #[arg(long = "location", value_name = "ID", conflicts_with = "files")]
    locations: Vec<String>,
    /// The logical id of a practitioner to read appointments of; may be repeated
    #[arg(long = "practitioner", value_name = "ID", conflicts_with = "files")]
    practitioners: Vec<String>,
    /// Supporting types to read, or take from files, beside patients, appointments and care plans: names, comma-separated, or `all`
    #[arg(long, value_name = "TYPES", value_delimiter = ',', value_parser = supporting)]
    types: Vec<Supporting>,
    /// How to read a type against what `sync plan` chooses, as TYPE=cursor|full|window|roster|reference|off; may be repeated
    #[arg(long = "strategy", value_name = "TYPE=NAME", value_parser = strategy, conflicts_with = "files")]
    strategies: Vec<(ResourceType, Strategy)>,
    /// The parameters to search a type by, as TYPE=PARAM&PARAM; `patient`, `date`, `location` and `practitioner` are filled in, any other is
    /// given with its value: CarePlan=patient&category=assess-plan,38717003
    #[arg(long = "search", value_name = "TYPE=PARAMS", value_parser = search, conflicts_with = "files")]
    searches: Vec<(ResourceType, SearchSet)>,
    /// How much of a type may disappear at once before a sync stops and asks, in percent [default: 20]
    #[arg(long, value_name = "PERCENT", conflicts_with = "files")]
    vanish_limit: Option<u8>,
}

/// What `--types` names.
#[derive(Clone, Copy, Debug)]
enum Supporting {
    All,
    One(ResourceType),
}

fn supporting(text: &str) -> Result<Supporting, String> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(Supporting::All);
    }
    let found = ResourceType::SUPPORTING.into_iter().find(|kind| kind.as_str() == text.trim());
    found.map(Supporting::One).ok_or_else(|| {
        let names = ResourceType::SUPPORTING.map(ResourceType::as_str).join(", ");
        format!("the supporting types are {names}; Patient, Appointment and CarePlan are always read")
    })
}

fn strategy(text: &str) -> Result<(ResourceType, Strategy), String> {
    const ALL: [Strategy; 6] = [Strategy::Cursor, Strategy::Full, Strategy::Window, Strategy::Roster, Strategy::Reference, Strategy::Off];
    let (kind, name) = text.split_once('=').unwrap_or((text, ""));
    let kind = ResourceType::parse(kind).ok_or("write a type that is synced before the '=', such as Appointment")?;
    let found = ALL.into_iter().find(|s| s.as_str() == name);
    found
        .map(|strategy| (kind, strategy))
        .ok_or_else(|| "write one of cursor, full, window, roster, reference, off after the '='".to_owned())
}

fn search(text: &str) -> Result<(ResourceType, SearchSet), String> {
    let (kind, params) = text.split_once('=').unwrap_or((text, ""));
    let kind = ResourceType::parse(kind).ok_or("write a type that is synced before the first '=', such as CarePlan")?;
    let params: Result<Vec<Param>, _> = params.split('&').map(|p| Param::try_from(p.to_owned())).collect();
    params.map(|params| (kind, SearchSet(params))).map_err(|e| e.to_string())
}

impl Reading {
    /// Puts what was said into a profile.
    ///
    /// # Errors
    /// Where the file of patients cannot be read, so that a mistake shows now and not at night.
    pub(super) fn apply(self, profile: &mut Profile) -> Result<(), Failure> {
        if let Some(path) = self.roster {
            let path = std::path::absolute(&path).unwrap_or(path);
            let readable = std::fs::File::open(&path);
            readable.map_err(|e| Failure::usage(format!("the roster file {} cannot be read: {}", path.display(), e.kind())))?;
            profile.roster.push(RosterSource::File(path));
        }
        // People copy what they see in a URL.
        profile.roster.extend(self.group.map(|id| RosterSource::Group(id.trim_start_matches("Group/").to_owned())));
        if self.roster_from_appointments {
            profile.roster.push(RosterSource::Appointments);
        }
        profile.window.back_days = self.days_back.unwrap_or(profile.window.back_days);
        profile.window.ahead_days = self.days_ahead.unwrap_or(profile.window.ahead_days);
        profile.window.locations = self.locations;
        profile.window.practitioners = self.practitioners;
        for named in self.types {
            match named {
                Supporting::All => profile.types.extend(ResourceType::SUPPORTING),
                Supporting::One(kind) => {
                    profile.types.insert(kind);
                }
            }
        }
        profile.strategy.extend(self.strategies);
        profile.searches.extend(self.searches);
        profile.vanish_limit_percent = self.vanish_limit;
        Ok(())
    }
}
