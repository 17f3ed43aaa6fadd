//! The options of `ehr add` that say how an EHR is read: where patients come from, which days, which strategy.

use std::path::PathBuf;

use clap::Args;
use domain::model::ResourceType;

use super::exit::Failure;
use crate::ehr::bulk::{Level, TypeFilter};
use crate::ehr::profile::{Profile, Strategy};
use crate::ehr::reads::{Param, RosterSource, SearchSet};
use crate::ehr::subscription::naming::IdPattern;

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
    /// How to read a type against what `sync plan` chooses, as TYPE=cursor|full|window|roster|reference|bulk|off; may be repeated
    #[arg(long = "strategy", value_name = "TYPE=NAME", value_parser = strategy, conflicts_with = "files")]
    strategies: Vec<(ResourceType, Strategy)>,
    /// The parameters to search a type by, as TYPE=PARAM&PARAM; `patient`, `date`, `location` and `practitioner` are filled in, any other is
    /// given with its value: CarePlan=patient&category=assess-plan,38717003
    #[arg(long = "search", value_name = "TYPE=PARAMS", value_parser = search, conflicts_with = "files")]
    searches: Vec<(ResourceType, SearchSet)>,
    /// Whose data an export holds, against what `sync plan` chooses
    #[arg(long, value_name = "LEVEL", value_parser = level, conflicts_with = "files")]
    bulk_level: Option<Level>,
    /// What of a type an export holds, as TYPE?PARAM=VALUE; may be repeated
    #[arg(long = "type-filter", value_name = "FILTER", value_parser = filter, conflicts_with = "files")]
    type_filters: Vec<TypeFilter>,
    /// Another host that files of an export may come from; may be repeated
    #[arg(long = "download-host", value_name = "HOST", conflicts_with = "files")]
    download_hosts: Vec<String>,
    /// Days between full exports that are compared with what is stored, 0 for never [default: 7]
    #[arg(long, value_name = "DAYS", conflicts_with = "files")]
    reconcile_days: Option<u16>,
    /// Have the EHR tell of changes of a type by itself: TYPE, or TYPE=TOPIC with the canonical URL of a topic; may be repeated. `sync plan` tells
    /// how; what is missed that way is made up for by the other way
    #[arg(long = "events", value_name = "TYPE[=TOPIC]", value_parser = events, conflicts_with = "files")]
    events: Vec<(ResourceType, Option<String>)>,
    /// What narrows the events of a type, as TYPE=FILTER; may be repeated
    #[arg(long = "event-filter", value_name = "TYPE=FILTER", value_parser = event_filter, requires = "events")]
    event_filters: Vec<(ResourceType, String)>,
    /// How the id of a resource is made of the number that events name it by, as TYPE=PATTERN with {value}, and {space} for the last part of the
    /// number's system; for vendors that name no id
    #[arg(long = "event-id", value_name = "TYPE=PATTERN", value_parser = event_id, requires = "events")]
    event_ids: Vec<(ResourceType, IdPattern)>,
    /// How often the EHR is to give a sign of life, in seconds [default: 300]
    #[arg(long, value_name = "SECONDS", requires = "events")]
    event_heartbeat: Option<u32>,
    /// After how many days a subscription is renewed, or ends [default: 7]
    #[arg(long, value_name = "DAYS", requires = "events")]
    event_days: Option<u16>,
    /// Have R4's rest-hook send the resource, of which only the id is used
    #[arg(long, requires = "events")]
    event_payload: bool,
    /// Ask for events although the server's statement does not list subscriptions
    #[arg(long, requires = "events")]
    events_unlisted: bool,
    /// The URL under which the EHR reaches this gateway, where it is not web.external_url
    #[arg(long, value_name = "URL", requires = "events")]
    event_address: Option<url::Url>,
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
    const ALL: [Strategy; 7] =
        [Strategy::Cursor, Strategy::Full, Strategy::Window, Strategy::Roster, Strategy::Reference, Strategy::Bulk, Strategy::Off];
    let (kind, name) = text.split_once('=').unwrap_or((text, ""));
    let kind = ResourceType::parse(kind).ok_or("write a type that is synced before the '=', such as Appointment")?;
    let found = ALL.into_iter().find(|s| s.as_str() == name);
    found
        .map(|strategy| (kind, strategy))
        .ok_or_else(|| "write one of cursor, full, window, roster, reference, bulk, off after the '='".to_owned())
}

fn level(text: &str) -> Result<Level, String> {
    let all = [Level::System, Level::Patient, Level::Group];
    all.into_iter().find(|l| l.as_str() == text).ok_or_else(|| "write one of system, patient, group".to_owned())
}

fn filter(text: &str) -> Result<TypeFilter, String> {
    TypeFilter::try_from(text.to_owned()).map_err(|e| e.to_string())
}

fn events(text: &str) -> Result<(ResourceType, Option<String>), String> {
    let (kind, topic) = text.split_once('=').map_or((text, None), |(kind, topic)| (kind, Some(topic.to_owned())));
    let kind = ResourceType::parse(kind).ok_or("write a type that is synced, such as Appointment, or TYPE=TOPIC")?;
    Ok((kind, topic))
}

fn event_filter(text: &str) -> Result<(ResourceType, String), String> {
    let (kind, filter) = text.split_once('=').ok_or("write TYPE=FILTER, such as Appointment=location=17")?;
    let kind = ResourceType::parse(kind).ok_or("write a type that is synced before the first '=', such as Appointment")?;
    Ok((kind, filter.to_owned()))
}

fn event_id(text: &str) -> Result<(ResourceType, IdPattern), String> {
    let (kind, pattern) = text.split_once('=').ok_or("write TYPE=PATTERN, such as Appointment=a-{space}.{value}")?;
    let kind = ResourceType::parse(kind).ok_or("write a type that is synced before the first '=', such as Appointment")?;
    Ok((kind, IdPattern::try_from(pattern.to_owned()).map_err(|e| e.to_string())?))
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
        profile.bulk.level = self.bulk_level;
        profile.bulk.filters = self.type_filters;
        profile.bulk.download_hosts = self.download_hosts;
        profile.bulk.reconcile_days = self.reconcile_days;
        profile.vanish_limit_percent = self.vanish_limit;
        for (kind, topic) in self.events {
            profile.events.types.entry(kind).or_default().extend(topic);
        }
        for (kind, filter) in self.event_filters {
            profile.events.filters.entry(kind).or_default().push(filter);
        }
        profile.events.ids.extend(self.event_ids);
        profile.events.heartbeat_secs = self.event_heartbeat;
        profile.events.lasts_days = self.event_days;
        profile.events.payload = self.event_payload;
        profile.events.unlisted = self.events_unlisted;
        profile.events.address = self.event_address;
        Ok(())
    }
}
