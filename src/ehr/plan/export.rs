//! Whether and how a type is read by exports, and what a full export makes up for. Pure.

use domain::Timestamp;

use super::granted::covers;
use super::{
    Dialect, Export, KickOff, Level, Lists, Mind, No, Reconciled, ResourceType, RosterSource, Strategy, TypeFilter, TypePlan, TypeReads,
};
use crate::ehr::auth::Granted;
use crate::ehr::profile::Auth;
use serde::Serialize;

/// How exports of an EHR are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExportPlan {
    /// Whose data.
    pub level: Level,
    /// The Group, where it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How several values of a parameter are written.
    pub lists: Lists,
    /// How it is asked for first.
    pub kick_off: KickOff,
    /// What of a type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<TypeFilter>,
    /// The types that an export can hold.
    pub types: Vec<ResourceType>,
    /// How often a full one is compared with what is stored, in days; 0 is never.
    pub reconcile_days: u16,
}

impl ExportPlan {
    /// An export to ask for.
    #[must_use]
    pub fn of(&self, types: &[ResourceType], since: Option<Timestamp>) -> Export {
        Export {
            level: self.level,
            group: self.group.clone(),
            types: types.to_vec(),
            since,
            filters: self.filters.clone(),
            lists: self.lists,
            kick_off: self.kick_off,
        }
    }

    /// Whether a full export shows all there is of a type, so that what it does not show is missing.
    #[must_use]
    pub fn is_complete_for(&self, kind: ResourceType) -> bool {
        self.types.contains(&kind) && self.filters.iter().all(|f| f.kind != kind)
    }
}

/// What a full export makes up for.
pub(super) fn reconcile(of: &mut TypePlan, export: Option<&ExportPlan>) {
    let Some(export) = export.filter(|e| e.reconcile_days > 0 && e.is_complete_for(of.kind)) else { return };
    let covers = of.reads_one
        && match of.strategy {
            Strategy::Bulk => true,
            // What is read of everybody is not made up for by a part.
            Strategy::Cursor => export.level != Level::Group,
            _ => false,
        };
    if covers {
        of.reconciled = Reconciled::ByExport(export.reconcile_days);
        of.blind.retain(|text| *text != "changes that do not move _lastUpdated, and what was deleted");
    }
}

impl Mind<'_> {
    pub(super) fn dialect(&self) -> Option<&Dialect> {
        self.profile.preset()?.bulk.as_ref()
    }

    fn group(&self) -> Option<&String> {
        self.profile.roster.iter().find_map(|source| match source {
            RosterSource::Group(id) => Some(id),
            RosterSource::File(_) | RosterSource::Appointments => None,
        })
    }

    /// Whether a type can be read by exports.
    pub(super) fn exported(&self, kind: ResourceType) -> Result<Level, No> {
        let Some(dialect) = self.dialect() else { return Err(No::never("no bulk export of such a server is known")) };
        if dialect.withheld.contains(&kind) {
            return Err(No::never(format!("exports of such a server leave {kind} out")));
        }
        self.scoped(kind)?;
        self.level(dialect)
    }

    /// Whether the token that exports are asked for with can cover a type at all.
    fn scoped(&self, kind: ResourceType) -> Result<(), No> {
        let profile = self.profile;
        if let Some((name, _)) = profile.credentials.iter().find(|(_, c)| c.types.iter().any(|t| t == kind.as_str())) {
            return Err(No::never(format!("{kind} is opened by the credential {name}, and exports are asked for with the EHR's own")));
        }
        if matches!(profile.auth, Auth::UserGrant(_)) {
            return Err(No::never("an export is for machines: what a person grants holds no system/ scope"));
        }
        if profile.auth.client_id().is_some() && profile.preset().is_some_and(|p| p.register.no_system_scope.contains(&kind)) {
            return Err(No::never(format!("such a server grants no system/ scope for {kind}")));
        }
        if profile.set_for_reading().is_some_and(|scopes| !covers(&Granted::parse(&scopes.join(" ")), kind)) {
            return Err(No::until(format!("the scopes that are set for reading hold no system/{kind}, which an export needs")));
        }
        Ok(())
    }

    fn level(&self, dialect: &Dialect) -> Result<Level, No> {
        const NEEDS_GROUP: &str = "an export is of a Group's members: name the Group with --group";
        let stated = |level: Level| match level {
            Level::System => self.capability.exports.system,
            Level::Patient => self.capability.exports.patient,
            Level::Group => self.capability.exports.group,
        };
        let unstated = |level: Level| No::never(format!("the server's statement does not list $export at the level {}", level.as_str()));
        if let Some(level) = self.profile.bulk.level {
            return match (level, self.group()) {
                (Level::Group, None) => Err(No::until(NEEDS_GROUP)),
                _ if stated(level) => Ok(level),
                _ => Err(unstated(level)),
            };
        }
        // Who the site names bounds who is read.
        if self.group().is_some() {
            return if stated(Level::Group) { Ok(Level::Group) } else { Err(unstated(Level::Group)) };
        }
        if !self.profile.roster.is_empty() {
            return Err(No::never("the patients come from a list of the site, and an export is of everybody or of a Group"));
        }
        let known = dialect.levels.iter().copied();
        match known.clone().find(|level| *level != Level::Group && stated(*level)) {
            Some(level) => Ok(level),
            None if known.clone().any(|level| level == Level::Group && stated(level)) => Err(No::until(NEEDS_GROUP)),
            None => Err(No::never("the server's statement lists no $export")),
        }
    }

    /// The level to ask at, also where the statement does not bear it out: then the operator asked for it.
    pub(super) fn level_of(&self, kind: ResourceType) -> Level {
        let asked = self.profile.bulk.level.or(self.group().map(|_| Level::Group));
        let known = || self.dialect().into_iter().flat_map(|d| d.levels.iter().copied()).find(|level| *level != Level::Group);
        self.exported(kind).ok().or(asked).or_else(known).unwrap_or(Level::System)
    }

    pub(super) fn export(&self, types: &[TypePlan]) -> Option<ExportPlan> {
        let planned = types.iter().find(|t| t.strategy == Strategy::Bulk).map(|t| t.kind);
        let possible = || ResourceType::ALL.into_iter().find(|kind| self.exported(*kind).is_ok());
        let level = self.level_of(planned.or_else(possible)?);
        let (dialect, choice) = (self.dialect(), &self.profile.bulk);
        let withheld = |kind: &ResourceType| dialect.is_some_and(|d| d.withheld.contains(kind));
        let asked = |kind: &ResourceType| types.iter().any(|t| t.kind == *kind && t.strategy == Strategy::Bulk);
        Some(ExportPlan {
            level,
            group: (level == Level::Group).then(|| self.group().cloned()).flatten(),
            lists: choice.lists.or(dialect.map(|d| d.lists)).unwrap_or_default(),
            kick_off: choice.kick_off.or(dialect.map(|d| d.kick_off)).unwrap_or_default(),
            filters: choice.filters.clone(),
            types: ResourceType::ALL.into_iter().filter(|kind| !withheld(kind) || asked(kind)).collect(),
            reconcile_days: choice.reconcile_days(),
        })
    }

    /// How a type is read where the EHR refuses an export.
    pub(super) fn fallback(&self, kind: ResourceType, strategy: Strategy, reads: &TypeReads) -> Option<Box<TypePlan>> {
        if strategy != Strategy::Bulk {
            return None;
        }
        let others = reads.strategies.iter().filter(|s| **s != Strategy::Bulk);
        others.filter_map(|other| self.can(kind, *other, reads).ok().map(|search| (*other, search))).next().map(|(other, search)| {
            let why = "the EHR refuses the export; the next best".to_owned();
            Box::new(self.told(kind, other, search, why, Vec::new(), reads))
        })
    }

    pub(super) fn asked_by_export(&self, kind: ResourceType) -> String {
        let whose = match (self.level_of(kind), self.group()) {
            (Level::Group, Some(id)) => format!("Group/{id}/$export"),
            (Level::Patient, _) => "Patient/$export".to_owned(),
            _ => "$export".to_owned(),
        };
        let filters = self.filters_of(kind).map(|filter| format!("&_typeFilter={}", filter.value())).collect::<String>();
        format!("{whose}?_type={kind}…&_since=…{filters}, prepared by the EHR and read as files")
    }

    /// What of a type is exported, where the operator narrows it.
    pub(super) fn filters_of(&self, kind: ResourceType) -> impl Iterator<Item = &TypeFilter> {
        self.profile.bulk.filters.iter().filter(move |filter| filter.kind == kind)
    }
}
