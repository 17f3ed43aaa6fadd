//! How each type of an EHR is read, and why so: the vendor's preset, narrowed by what the server states of itself, with the operator's
//! word above both (standards.md D.1, E.0). Pure: the same three give the same plan, so what `sync plan` shows is what a sync does.
//!
//! A parameter that the statement does not list is never planned, unless the operator asks for it; then a warning says so.

mod export;
mod granted;
mod words;

use domain::model::ResourceType;
use serde::Serialize;

pub use export::ExportPlan;
pub use granted::{Reach, covers};

use super::bulk::{Dialect, Export, KickOff, Level, Lists, TypeFilter};
use super::capability::Capability;
use super::profile::{Profile, Strategy};
use super::reads::{Axis, Param, RosterSource, SearchSet, TypeReads, Window};
use super::subscription::EventPlan;

/// What of a type may disappear at once, in percent, before a run stops, where the operator does not say.
const VANISH_LIMIT_PERCENT: u8 = 20;

/// How an EHR is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The preset that it begins from.
    pub preset: String,
    /// Each type.
    pub types: Vec<TypePlan>,
    /// Where patients come from.
    pub roster: Vec<RosterSource>,
    /// Which days of appointments.
    pub window: Window,
    /// What share of a type may disappear at once, in percent.
    pub vanish_limit_percent: u8,
    /// How exports are asked for, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<ExportPlan>,
    /// Why it is not known what the EHR grants, where it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_grant: Option<String>,
}

/// How one type is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TypePlan {
    /// The type.
    #[serde(rename = "type")]
    pub kind: ResourceType,
    /// The way; `off` where there is none.
    pub strategy: Strategy,
    /// Why this one.
    pub why: String,
    /// Why not those before it, in the preset's order.
    pub passed_over: Vec<String>,
    /// What the operator would have to give before the type can be read at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
    /// What the EHR does not grant of it, in words; told where its grant was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ungranted: Option<String>,
    /// Whether it is off because the operator says so.
    #[serde(skip)]
    pub is_switched_off: bool,
    /// What makes up for what the way misses.
    pub reconciled: Reconciled,
    /// What is asked.
    pub asks: String,
    /// What the way does not see.
    pub blind: Vec<&'static str>,
    /// Where the operator's word and the server's statement disagree, and what else has to be known.
    pub warnings: Vec<String>,
    /// How the EHR tells of changes by itself; what is read beside makes up for what it does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<EventPlan>,
    /// Whether one of it may be read by its id: without that nothing that vanished can be confirmed.
    #[serde(skip)]
    pub reads_one: bool,
    /// The parameters of its searches; none where resources are read by id, or all are searched for.
    #[serde(skip)]
    pub search: SearchSet,
    /// Of an export: whether it is of a Group's members only.
    #[serde(skip)]
    pub of_group: bool,
    /// How it is read where the EHR refuses an export.
    #[serde(skip)]
    pub fallback: Option<Box<TypePlan>>,
}

/// What makes up for what a way of reading misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reconciled {
    /// Every run reads all of it anew: what changed without a sign and what vanished is seen.
    EachRun,
    /// A full export does, every so many days.
    ByExport(u16),
    /// Nothing does.
    Unreconciled,
    /// Nothing is read.
    Nothing,
}

impl Reconciled {
    const fn of(strategy: Strategy, reads_one: bool) -> Self {
        match strategy {
            Strategy::Window | Strategy::Roster | Strategy::Full if reads_one => Self::EachRun,
            Strategy::Window | Strategy::Roster | Strategy::Full => Self::Unreconciled,
            Strategy::Cursor | Strategy::Bulk | Strategy::Reference => Self::Unreconciled,
            Strategy::Off => Self::Nothing,
        }
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::EachRun => "each run reads all of it anew and finds what changed without a sign or vanished".to_owned(),
            Self::ByExport(1) => "each day a full export is compared with what is stored, and finds what vanished".to_owned(),
            Self::ByExport(days) => format!("every {days} days a full export is compared with what is stored, and finds what vanished"),
            Self::Unreconciled => "unreconciled: nothing finds what was deleted".to_owned(),
            Self::Nothing => "nothing is read".to_owned(),
        }
    }
}

impl TypePlan {
    /// Whether the type is read patient by patient.
    #[must_use]
    pub fn is_by_patient(&self) -> bool {
        match self.strategy {
            Strategy::Roster => true,
            Strategy::Window => self.search.axis() == Axis::Patient,
            Strategy::Bulk => self.of_group,
            Strategy::Cursor | Strategy::Full | Strategy::Reference | Strategy::Off => false,
        }
    }
}

impl Plan {
    /// The plan for an EHR that states this of itself.
    #[must_use]
    pub fn of(profile: &Profile, capability: &Capability) -> Self {
        let mind = Mind { profile, capability };
        let mut types: Vec<TypePlan> = profile.all_types().map(|kind| mind.plan(kind)).collect();
        let export = mind.export(&types);
        types.iter_mut().for_each(|t| export::reconcile(t, export.as_ref()));
        types.iter_mut().for_each(|t| mind.tell(t));
        Self {
            preset: profile.preset().map(|p| p.name.clone()).unwrap_or_default(),
            types,
            export,
            no_grant: None,
            roster: profile.roster.clone(),
            window: profile.window.clone(),
            vanish_limit_percent: profile.vanish_limit_percent.unwrap_or(VANISH_LIMIT_PERCENT),
        }
    }

    /// How a type is read.
    #[must_use]
    pub fn of_type(&self, kind: ResourceType) -> Option<&TypePlan> {
        self.types.iter().find(|t| t.kind == kind)
    }

    /// The same without exports of these types: each is read as it would be if the EHR had none.
    #[must_use]
    pub fn without_export(&self, types: &[ResourceType]) -> Self {
        let mut plan = self.clone();
        for of in plan.types.iter_mut().filter(|t| t.strategy == Strategy::Bulk && types.contains(&t.kind)) {
            let (kind, why) = (of.kind, "the EHR refuses the export, and there is no other way".to_owned());
            let events = of.events.clone();
            *of = match of.fallback.take() {
                Some(other) => TypePlan { events, ..*other },
                None => TypePlan { strategy: Strategy::Off, lacks: Some(why.clone()), why, kind, ..of.clone() },
            };
        }
        plan
    }

    /// The types that are read patient by patient.
    pub fn by_patient(&self) -> impl Iterator<Item = ResourceType> + '_ {
        self.types.iter().filter(|t| t.is_by_patient()).map(|t| t.kind)
    }

    /// Whether the roster comes from the appointments, so that those have to be read first.
    #[must_use]
    pub fn begins_with_appointments(&self) -> bool {
        self.roster.contains(&RosterSource::Appointments)
    }
}

/// Why a way cannot be gone.
struct No {
    why: String,
    /// What the operator could give so that it can.
    lacks: bool,
}

impl No {
    fn never(why: impl Into<String>) -> Self {
        Self { why: why.into(), lacks: false }
    }

    fn until(why: impl Into<String>) -> Self {
        Self { why: why.into(), lacks: true }
    }
}

const NEEDS_ROSTER: &str =
    "it is read patient by patient, and no list of patients is given: name a file with --roster, or a Group with --group";

/// What a choice is made by.
struct Mind<'a> {
    profile: &'a Profile,
    capability: &'a Capability,
}

impl Mind<'_> {
    fn plan(&self, kind: ResourceType) -> TypePlan {
        let nothing = TypeReads { strategies: Vec::new(), last_updated: false, searches: Vec::new(), note: None };
        let preset = self.profile.preset();
        let reads = preset.map_or(nothing, |p| p.sync.of(kind));
        let reads = &reads;
        if let Some(&wanted) = self.profile.strategy.get(&kind) {
            return self.overridden(kind, wanted, reads);
        }
        let title = preset.map_or("", |p| p.title.as_str());
        let mut passed_over = Vec::new();
        let mut lacks = None;
        for &strategy in &reads.strategies {
            match self.can(kind, strategy, reads) {
                Ok(search) => {
                    let fallback = self.fallback(kind, strategy, reads);
                    let why = match passed_over.is_empty() {
                        true => format!("the best that is known for {title}, and the server's statement lists what it needs"),
                        false => format!("the next best for {title}; the server's statement lists what it needs"),
                    };
                    return TypePlan { fallback, ..self.told(kind, strategy, search, why, passed_over, reads) };
                }
                Err(no) => {
                    if no.lacks && lacks.is_none() {
                        lacks = Some(no.why.clone());
                    }
                    passed_over.push(format!("{}: {}", strategy.as_str(), no.why));
                }
            }
        }
        let why = match (&reads.note, passed_over.is_empty(), &lacks) {
            (_, false, Some(_)) => "it can be read once the operator gives what is missing".to_owned(),
            (Some(note), true, _) => note.clone(),
            _ => format!("this server gives no way to {kind}"),
        };
        TypePlan { lacks, ..self.told(kind, Strategy::Off, SearchSet::default(), why, passed_over, reads) }
    }

    /// The operator's word holds, also against the statement; only what is missing for it to be done at all stands in its way.
    fn overridden(&self, kind: ResourceType, wanted: Strategy, reads: &TypeReads) -> TypePlan {
        let why = "the operator says so".to_owned();
        let (search, no) = match self.can(kind, wanted, reads) {
            Ok(search) => (search, None),
            Err(no) => (self.unasked(kind, wanted, reads), Some(no)),
        };
        let lacks = no.as_ref().filter(|no| no.lacks).map(|no| no.why.clone());
        let strategy = if lacks.is_some() { Strategy::Off } else { wanted };
        let mut told = self.told(kind, strategy, search, why, Vec::new(), reads);
        if let Some(no) = no.filter(|no| !no.lacks) {
            told.warnings.push(format!("the operator asks for {}, but {}", wanted.as_str(), no.why));
        }
        TypePlan { lacks, fallback: self.fallback(kind, wanted, reads), ..told }
    }

    /// The search of an override that the statement does not bear out: the first that the operator has given what it needs for.
    fn unasked(&self, kind: ResourceType, wanted: Strategy, reads: &TypeReads) -> SearchSet {
        let own = self.profile.searches.get(&kind);
        if wanted == Strategy::Roster && kind != ResourceType::Patient {
            // Without its patient each patient's search would find everybody's.
            let of_patient = own.into_iter().chain(&reads.searches).find(|set| set.axis() == Axis::Patient);
            let kept = of_patient.map(|set| set.0.iter().filter(|param| **param != Param::Date).cloned().collect());
            return SearchSet(kept.unwrap_or_else(|| vec![Param::Patient("patient".to_owned())]));
        }
        own.into_iter().chain(&reads.searches).find(|set| self.given(set).is_ok()).cloned().unwrap_or_default()
    }

    fn told(
        &self,
        kind: ResourceType,
        strategy: Strategy,
        search: SearchSet,
        why: String,
        passed_over: Vec<String>,
        reads: &TypeReads,
    ) -> TypePlan {
        let mut warnings = Vec::new();
        let unlisted: Vec<&str> = search.0.iter().map(Param::name).filter(|name| !self.lists(kind, name)).collect();
        if !unlisted.is_empty() {
            warnings.push(format!("the server's statement does not list {}; the operator's word holds", unlisted.join(", ")));
        }
        if strategy != Strategy::Off {
            warnings.extend(reads.note.clone());
        }
        if kind != ResourceType::Appointment && self.profile.roster == [RosterSource::Appointments] && strategy == Strategy::Roster {
            let unread = self.plan(ResourceType::Appointment).strategy == Strategy::Off;
            warnings.extend(unread.then(|| "no appointments are read from this EHR: only those of files give patients".to_owned()));
        }
        let group = self.profile.roster.iter().any(|s| matches!(s, RosterSource::Group(_)));
        let reads_one = self.capability.allows(kind.as_str(), "read");
        let mut told = TypePlan {
            kind,
            strategy,
            why,
            passed_over,
            lacks: None,
            ungranted: None,
            is_switched_off: self.profile.strategy.get(&kind) == Some(&Strategy::Off),
            reconciled: Reconciled::of(strategy, reads_one),
            asks: asks(kind, strategy, &search),
            blind: Vec::new(),
            warnings,
            events: None,
            reads_one,
            search,
            of_group: strategy == Strategy::Bulk && self.level_of(kind) == Level::Group,
            fallback: None,
        };
        if strategy == Strategy::Bulk {
            told.asks = self.asked_by_export(kind);
            told.warnings.extend(self.dialect().and_then(|d| d.note.clone()));
        }
        told.blind = blind(&told);
        if strategy == Strategy::Bulk && self.filters_of(kind).next().is_some() {
            told.blind.push("what the type filter leaves out, and that something comes to be left out");
        }
        if told.is_by_patient() && group && !self.capability.allows("Group", "read") {
            told.warnings.push("the server's statement does not list reading a Group; the roster may not be had".to_owned());
        }
        told
    }

    /// Whether a way can be gone, and with which search.
    fn can(&self, kind: ResourceType, strategy: Strategy, reads: &TypeReads) -> Result<SearchSet, No> {
        let searchable = || match self.capability.allows(kind.as_str(), "search-type") {
            true => Ok(()),
            false => Err(No::never(format!("the server's statement does not list a search of {kind}"))),
        };
        match strategy {
            Strategy::Off => Ok(SearchSet::default()),
            Strategy::Full => searchable().map(|()| SearchSet::default()),
            Strategy::Bulk => self.exported(kind).map(|_| SearchSet::default()),
            Strategy::Cursor => {
                searchable()?;
                if !self.lists(kind, "_lastUpdated") {
                    return Err(No::never("the server's statement does not list _lastUpdated"));
                }
                match reads.last_updated {
                    true => Ok(SearchSet::default()),
                    false => Err(No::never("this vendor's _lastUpdated does not find all that changed")),
                }
            }
            Strategy::Reference => match self.capability.allows(kind.as_str(), "read") {
                true => Ok(SearchSet::default()),
                false => Err(No::never(format!("the server's statement does not list reading a {kind}"))),
            },
            Strategy::Roster if kind == ResourceType::Patient => {
                if !self.capability.allows("Patient", "read") {
                    return Err(No::never("the server's statement does not list reading a Patient"));
                }
                self.roster(kind).map(|()| SearchSet::default())
            }
            Strategy::Roster => {
                searchable()?;
                self.set(kind, reads, |set| set.axis() == Axis::Patient && !set.has_date())
            }
            Strategy::Window => {
                searchable()?;
                self.set(kind, reads, SearchSet::has_date)
            }
        }
    }

    /// The operator's set, else the first of the preset's that fits, that the statement lists, and that everything is given for.
    fn set(&self, kind: ResourceType, reads: &TypeReads, fits: impl Fn(&SearchSet) -> bool) -> Result<SearchSet, No> {
        if let Some(own) = self.profile.searches.get(&kind) {
            let fitting =
                if fits(own) { Ok(()) } else { Err(No::until(format!("--search {kind} has not the parameters that this way needs"))) };
            return fitting.and_then(|()| self.given(own)).map(|()| own.clone());
        }
        let fitting: Vec<&SearchSet> = reads.searches.iter().filter(|set| fits(set)).collect();
        let listed: Vec<&SearchSet> = fitting.iter().filter(|set| set.0.iter().all(|p| self.lists(kind, p.name()))).copied().collect();
        if listed.is_empty() {
            let wanted: Vec<String> = fitting.iter().map(|set| set.pattern()).collect();
            return Err(No::never(match wanted.is_empty() {
                true => "no search is known that such a server takes".to_owned(),
                false => format!("the server's statement does not list the parameters of {}", wanted.join(", nor of ")),
            }));
        }
        let lacking: Vec<String> = match listed.iter().find(|set| self.given(set).is_ok()) {
            Some(set) => return Ok((*set).clone()),
            None => {
                let mut all: Vec<String> = listed.iter().filter_map(|set| self.given(set).err().map(|no| no.why)).collect();
                all.dedup();
                all
            }
        };
        Err(No::until(lacking.join("; or ")))
    }

    /// Whether the operator gave what a search is repeated for.
    fn given(&self, set: &SearchSet) -> Result<(), No> {
        let named = |ids: &[String], what: &str| match ids.is_empty() {
            false => Ok(()),
            true => Err(No::until(format!("name the {what}s to read appointments of with --{what}"))),
        };
        match set.axis() {
            Axis::Alone => Ok(()),
            Axis::Location => named(&self.profile.window.locations, "location"),
            Axis::Practitioner => named(&self.profile.window.practitioners, "practitioner"),
            Axis::Patient => self.roster(if set.has_date() { ResourceType::Appointment } else { ResourceType::CarePlan }),
        }
    }

    /// Whether there is a list of patients for a type.
    fn roster(&self, kind: ResourceType) -> Result<(), No> {
        let roster = &self.profile.roster;
        let elsewhere = roster.iter().any(|s| *s != RosterSource::Appointments);
        match (roster.is_empty(), elsewhere, kind) {
            (true, ..) => Err(No::until(NEEDS_ROSTER)),
            (_, true, _) => Ok(()),
            (_, _, ResourceType::Appointment) => Err(No::until(
                "appointments would be read patient by patient, and the patients would come from the appointments: name a file with --roster, \
                 or a Group with --group",
            )),
            _ => Ok(()),
        }
    }

    /// How the EHR tells of changes of a type by itself.
    fn tell(&self, of: &mut TypePlan) {
        let Some((events, warnings)) = EventPlan::of(self.profile, self.capability, of.kind, of.strategy) else { return };
        of.warnings.extend(warnings);
        match events {
            Ok(events) => of.events = Some(events),
            Err(why) => of.warnings.push(why),
        }
    }

    fn lists(&self, kind: ResourceType, param: &str) -> bool {
        self.capability.searches_by(kind.as_str(), param)
    }
}

fn asks(kind: ResourceType, strategy: Strategy, search: &SearchSet) -> String {
    match strategy {
        Strategy::Off => "nothing".to_owned(),
        Strategy::Cursor => format!("{kind}?_lastUpdated=ge…&_sort=-_lastUpdated"),
        Strategy::Full | Strategy::Bulk => kind.to_string(),
        Strategy::Reference => format!("{kind}/…, one by one, of those that appointments name"),
        Strategy::Roster if kind == ResourceType::Patient => "Patient/…, one by one".to_owned(),
        Strategy::Roster | Strategy::Window => {
            let each = match search.axis() {
                Axis::Alone => "",
                Axis::Patient => ", for each patient of the roster",
                Axis::Location => ", for each location and week",
                Axis::Practitioner => ", for each practitioner and week",
            };
            format!("{kind}?{}{each}", search.pattern())
        }
    }
}

fn blind(plan: &TypePlan) -> Vec<&'static str> {
    let mut all = Vec::new();
    if plan.is_by_patient() {
        all.push("patients who are not on the roster");
    }
    match plan.strategy {
        Strategy::Window => all.push("appointments before and after the span of days, and those without a start"),
        Strategy::Cursor => all.push("changes that do not move _lastUpdated, and what was deleted"),
        Strategy::Full if !plan.reads_one => all.push("what was deleted"),
        Strategy::Reference => all.push("those that no appointment names, and changes for a month"),
        Strategy::Bulk if plan.kind == ResourceType::Appointment && plan.asks.starts_with("Patient/$export") => {
            all.push("appointments without a patient")
        }
        Strategy::Bulk | Strategy::Roster | Strategy::Full | Strategy::Off => {}
    }
    if plan.strategy == Strategy::Window {
        match plan.search.axis() {
            Axis::Location => all.push("appointments at other locations"),
            Axis::Practitioner => all.push("appointments with other practitioners"),
            Axis::Alone | Axis::Patient => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn stated(patient: &str, appointment: &str, care_plan: &str) -> Capability {
        let row = |kind: &str, params: &str| {
            let params: Vec<String> = params.split_whitespace().map(|p| format!(r#"{{"name":"{p}"}}"#)).collect();
            format!(
                r#"{{"type":"{kind}","interaction":[{{"code":"read"}},{{"code":"search-type"}}],"searchParam":[{}]}}"#,
                params.join(",")
            )
        };
        let rows = [row("Patient", patient), row("Appointment", appointment), row("CarePlan", care_plan)].join(",");
        let text =
            format!(r#"{{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","rest":[{{"mode":"server","resource":[{rows}]}}]}}"#);
        Capability::read(text.as_bytes(), &Url::parse("https://ehr.example.org/r4").unwrap()).unwrap().0
    }

    fn plan(more: &str, capability: &Capability) -> Plan {
        let comma = if more.is_empty() { "" } else { "," };
        Plan::of(&Profile::from_json(&format!(r#"{{"base_url":"https://ehr.example.org/r4"{comma}{more}}}"#)).unwrap(), capability)
    }

    fn strategies(plan: &Plan) -> Vec<Strategy> {
        plan.types.iter().map(|t| t.strategy).collect()
    }

    #[test]
    fn a_server_that_says_so_is_read_by_a_cursor_and_else_in_full() {
        let updated = stated("_lastUpdated", "_lastUpdated", "_lastUpdated");
        assert_eq!(strategies(&plan("", &updated)), [Strategy::Cursor; 3]);
        let plain = plan("", &stated("", "date", ""));
        assert_eq!(strategies(&plain), [Strategy::Full; 3]);
        assert_eq!(
            plain.types[0].passed_over,
            ["cursor: the server's statement does not list _lastUpdated", "bulk: the server's statement lists no $export"]
        );
    }

    #[test]
    fn the_operators_word_holds_and_is_warned_of() {
        let plain = stated("", "date patient", "patient");
        let told = plan(r#""strategy":{"Patient":"cursor","CarePlan":"roster"},"roster":[{"group":"g1"}]"#, &plain);
        assert_eq!(strategies(&told), [Strategy::Cursor, Strategy::Full, Strategy::Roster]);
        assert!(told.types[0].warnings[0].contains("_lastUpdated"), "{:?}", told.types[0]);
        assert!(told.types[2].warnings.iter().any(|w| w.contains("Group")), "the statement lists no Group: {:?}", told.types[2]);
        let told = plan(r#""strategy":{"Appointment":"window"}"#, &plain);
        assert_eq!((told.types[1].strategy, told.types[1].search.axis()), (Strategy::Window, Axis::Alone));
        // Not listed, and asked for.
        let told =
            plan(r#""strategy":{"CarePlan":"roster"},"roster":[{"group":"g1"}],"searches":{"CarePlan":["patient","category=x"]}"#, &plain);
        assert_eq!(told.types[2].search.pattern(), "patient=…&category=x");
        assert!(told.types[2].warnings.iter().any(|w| w.contains("does not list category")), "{:?}", told.types[2].warnings);
    }

    #[test]
    fn what_is_missing_is_named_and_the_type_is_not_read() {
        let plain = stated("", "date patient location practitioner", "patient category");
        let told = plan(r#""strategy":{"CarePlan":"roster","Appointment":"window"},"searches":{"Appointment":["patient","date"]}"#, &plain);
        for kind in [ResourceType::Appointment, ResourceType::CarePlan] {
            let of = told.of_type(kind).unwrap();
            assert!(of.strategy == Strategy::Off && of.lacks.as_ref().unwrap().contains("--roster"), "{of:?}");
        }
        // A circle.
        let roster = r#""roster":["appointments"],"searches":{"Appointment":["patient","date"]},"strategy":{"Appointment":"window"}"#;
        let told = plan(roster, &plain);
        assert!(told.types[1].lacks.as_ref().unwrap().contains("would come from the appointments"), "{:?}", told.types[1]);
        let told = plan(r#""strategy":{"Appointment":"window"},"searches":{"Appointment":["location","date"]}"#, &plain);
        assert!(told.types[1].lacks.as_ref().unwrap().contains("--location"), "{:?}", told.types[1]);
    }
}
