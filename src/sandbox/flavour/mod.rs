//! How the servers of the vendors differ, as tables: what each serves, which searches it takes, what it asks of a create and what it keeps
//! of it. Owns the vocabulary of these tables and the way from a name to its table; a file each holds a vendor's. It decides nothing by
//! itself: `ehr`, `create`, `patch`, `searchset` and `capability` read it, so what the sandbox states and what it does cannot part.
//!
//! The tables follow the vendors' captured CapabilityStatements and their published pages. What a write-back meets is the vendor's
//! (Communication, DocumentReference, Provenance, Binary), and so is what a sync reads: Patient, Appointment and CarePlan want the parameters
//! that the vendor wants, and no vendor lets all patients be paged. Of the demographics that find a patient there none is here: an
//! identifier does. Every other type is read and searched as in [`Flavour::FullR4`].
//!
//! Where no document says which status or which treatment of an unknown parameter a vendor chooses, one of the ways that are seen in the
//! field was taken, so that all of them occur.

mod athena;
mod eclinicalworks;
mod epic;
mod full_r4;
mod meditech;
mod nextgen;
mod note;
mod oracle;
mod veradigm;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use oracle::EMAIL_STATUS;

use crate::records::TYPES;
use crate::search::parameters_of;

/// Whose server the sandbox behaves like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// A full R4 server: every interaction on every type, conditional create, versions.
    #[default]
    #[serde(rename = "full-r4")]
    FullR4,
    /// Communication create without update; DocumentReference create and update; `If-None-Exist` is silently ignored.
    Epic,
    /// Communication is a staff message that keeps little of what is sent; `Appointment.status` by JSON Patch; Provenance create.
    Oracle,
    /// Communication is a portal thread whose recipients are among
    /// `Practitioner/prac-01`, `Practitioner/prac-02` and `Organization/org-1`; nothing else can be written.
    Meditech,
    /// Nothing of what a write-back needs can be written.
    Athena,
    /// Nothing of what a write-back needs can be written: notes need a contract.
    Eclinicalworks,
    /// DocumentReference create and update, without versions.
    Veradigm,
    /// Read only, without versions.
    Nextgen,
}

impl Flavour {
    /// Every flavour.
    pub const ALL: [Self; 8] =
        [Self::FullR4, Self::Epic, Self::Oracle, Self::Meditech, Self::Athena, Self::Eclinicalworks, Self::Veradigm, Self::Nextgen];

    /// Its name, as in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullR4 => "full-r4",
            Self::Epic => "epic",
            Self::Oracle => "oracle",
            Self::Meditech => "meditech",
            Self::Athena => "athena",
            Self::Eclinicalworks => "eclinicalworks",
            Self::Veradigm => "veradigm",
            Self::Nextgen => "nextgen",
        }
    }

    /// The flavour of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flavour| flavour.name() == name)
    }

    /// What it is like, in a line.
    pub fn about(self) -> &'static str {
        match self {
            Self::FullR4 => "every interaction on every type, conditional create, versions",
            Self::Epic => "Communication is created and never updated; notes created and updated; If-None-Exist ignored",
            Self::Oracle => "Communication is a staff message; notes; appointment status by JSON Patch; Provenance",
            Self::Meditech => "Communication is a portal thread with chosen recipients; nothing else is written",
            Self::Athena => "no Communication; documents are read only",
            Self::Eclinicalworks => "no Communication, no Appointment; writing documents is forbidden",
            Self::Veradigm => "no Communication, no Appointment; notes created and updated, without versions",
            Self::Nextgen => "no Communication, no Appointment; read only, without versions",
        }
    }

    pub(crate) fn manner(self) -> &'static Manner {
        match self {
            Self::FullR4 => &full_r4::MANNER,
            Self::Epic => &epic::MANNER,
            Self::Oracle => &oracle::MANNER,
            Self::Meditech => &meditech::MANNER,
            Self::Athena => &athena::MANNER,
            Self::Eclinicalworks => &eclinicalworks::MANNER,
            Self::Veradigm => &veradigm::MANNER,
            Self::Nextgen => &nextgen::MANNER,
        }
    }
}

/// An interaction as a CapabilityStatement names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Read,
    VersionRead,
    Update,
    Patch,
    Delete,
    Create,
    Search,
}

impl Code {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::VersionRead => "vread",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Create => "create",
            Self::Search => "search-type",
        }
    }
}

const READ: &[Code] = &[Code::Read, Code::Search];
const CREATE: &[Code] = &[Code::Create, Code::Read, Code::Search];
const CREATE_UPDATE: &[Code] = &[Code::Create, Code::Read, Code::Search, Code::Update];

/// A vendor's server.
pub(crate) struct Manner {
    /// `software.name` and `.version` of the CapabilityStatement.
    pub(crate) software: Option<(&'static str, Option<&'static str>)>,
    pub(crate) stated: Stated,
    /// The types whose row is the server's own.
    own: &'static [Served],
    /// What may be done with the other types.
    rest: &'static [Code],
    /// Types that are not served, unless a row is their own.
    withheld: &'static [&'static str],
    /// False: no `meta.versionId`, no `ETag`.
    pub(crate) versioned: bool,
    /// Whether `Location` names the version.
    pub(crate) versioned_location: bool,
    /// False: `If-None-Exist` is ignored without a word.
    pub(crate) conditional_create: bool,
    /// False: what is written is answered without a body, whatever `Prefer` says.
    pub(crate) echoes: bool,
    /// The status for an `If-Match` of another version.
    pub(crate) stale: u16,
    /// The status for an interaction that is not offered on a served type.
    pub(crate) unoffered: u16,
    /// How it exports; `None`: not at all.
    pub(crate) export: Option<&'static Exporting>,
}

/// Whose data an export holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExportLevel {
    System,
    Patient,
    Group,
}

/// How a server exports (Bulk Data Access).
pub(crate) struct Exporting {
    pub(crate) levels: &'static [ExportLevel],
    /// Several types are joined by commas: a repeated parameter is refused.
    pub(crate) comma_only: bool,
    /// Types that are refused.
    pub(crate) withheld: &'static [&'static str],
    /// 429 at kick-off while another job is there.
    pub(crate) one_at_a_time: bool,
    /// Whether a kick-off may come by POST.
    pub(crate) post: bool,
    /// The status address ends in `$export-poll-location?job_id=`.
    pub(crate) status_in_query: bool,
    /// What it asks for while it prepares an export.
    pub(crate) retry_after: &'static str,
    /// The name that the statement gives the operation, and its definition's beginning.
    pub(crate) named: (&'static str, &'static str),
}

const BULK: &str = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/";

const EXPORTING: Exporting = Exporting {
    levels: &[ExportLevel::Group],
    comma_only: false,
    withheld: &[],
    one_at_a_time: false,
    post: false,
    status_in_query: false,
    retry_after: "1",
    named: ("export", BULK),
};

/// What the CapabilityStatement says of every type; `None`: nothing.
#[derive(Clone, Copy)]
pub(crate) struct Stated {
    pub(crate) versioning: Option<&'static str>,
    pub(crate) read_history: Option<bool>,
    pub(crate) update_create: Option<bool>,
    pub(crate) conditional_create: Option<bool>,
    pub(crate) conditional_update: Option<bool>,
}

const SAYS_NOTHING: Stated =
    Stated { versioning: None, read_history: None, update_create: None, conditional_create: None, conditional_update: None };

/// One resource type as a server serves it.
#[derive(Clone, Copy)]
pub(crate) struct Served {
    pub(crate) name: &'static str,
    pub(crate) codes: &'static [Code],
    pub(crate) search: Searching,
    /// The rules for creates and updates, beside those of R4.
    pub(crate) writing: Option<&'static Writing>,
    pub(crate) patching: Option<&'static Patching>,
    pub(crate) operations: &'static [Operation],
}

/// Which searches are taken.
#[derive(Clone, Copy)]
pub(crate) struct Searching {
    pub(crate) parameters: &'static [&'static str],
    /// One of these sets must be given in full; none: a search needs nothing. What stands in no set cannot stand alone.
    pub(crate) required: &'static [&'static [&'static str]],
    pub(crate) unknown: Unknown,
    /// True: `_id`, `_lastUpdated`, `_sort`, `_summary`, `_total` and `Prefer: handling=strict` are understood without being listed.
    pub(crate) controls: bool,
    /// Beside `_id` everything else is ignored.
    pub(crate) id_alone: bool,
    /// What is wrong with the parameters; `None`: nothing.
    pub(crate) check: fn(&[(String, String)]) -> Option<&'static str>,
    /// What an OperationOutcome entry says of a search that found nothing.
    pub(crate) when_empty: Option<&'static str>,
}

/// What happens to a parameter that is not offered. `link[self]` never shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// Ignored, with an OperationOutcome entry that says so.
    Warned,
    /// Ignored.
    Silent,
    /// 400.
    Refused,
}

/// What a create or update must be like, and what is kept of it.
pub(crate) struct Writing {
    /// Elements that must be there.
    pub(crate) required: &'static [&'static str],
    /// The status where one is missing.
    pub(crate) missing: u16,
    /// Which rule is broken, if one is; answered with 422. It names elements, never values.
    pub(crate) check: fn(&Map<String, Value>) -> Option<&'static str>,
    pub(crate) kept: Kept,
    /// What the server writes into a new resource by itself; the text is the time of the create.
    pub(crate) adds: fn(&mut Map<String, Value>, &str),
    /// True: an attachment is taken out of the payload and served as a Binary, to which the payload refers.
    pub(crate) payload_as_binary: bool,
    /// True: `inResponseTo` must name a message that is here, and `partOf` becomes the first one of its thread.
    pub(crate) threaded: bool,
}

/// Nothing is asked and everything kept: what tables begin from.
const WRITING: Writing =
    Writing { required: &[], missing: 422, check: |_| None, kept: Kept::All, adds: |_, _| (), payload_as_binary: false, threaded: false };

/// Which top-level elements are kept; the others are dropped without a word.
#[derive(Clone, Copy)]
pub(crate) enum Kept {
    All,
    Only(&'static [&'static str]),
    Without(&'static [&'static str]),
}

impl Kept {
    pub(crate) fn keeps(self, element: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(elements) => element == "resourceType" || elements.contains(&element),
            Self::Without(elements) => !elements.contains(&element),
        }
    }
}

/// What a JSON Patch may change.
pub(crate) struct Patching {
    /// Of RFC 6901, for example `/status`.
    pub(crate) paths: &'static [&'static str],
    /// From which status to which; `None`: to every status of R4.
    pub(crate) transitions: Option<&'static [(&'static str, &'static [&'static str])]>,
    /// A patch to `booked` must name the slot.
    pub(crate) booking_needs_slot: bool,
}

/// An operation on a type, called with GET.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    /// Without the dollar sign.
    pub(crate) name: &'static str,
    pub(crate) definition: &'static str,
    /// The resource it answers.
    pub(crate) answer: fn() -> Value,
}

/// The types that a vendor serves by a row of its own or not at all.
const BY_OWN_ROW: &[&str] = &["Appointment", "Communication", "DocumentReference"];

impl Manner {
    /// The row of a type. `None`: the type is not served.
    pub(crate) fn served(&self, name: &'static str) -> Option<Served> {
        if let Some(own) = self.own.iter().find(|served| served.name == name) {
            return Some(*own);
        }
        let rest = TYPES.contains(&name) && !self.withheld.contains(&name);
        rest.then(|| Served::new(name, self.rest, Searching::full(parameters_of(name))))
    }

    /// Every row, by name.
    pub(crate) fn all(&self) -> Vec<Served> {
        let mut names: Vec<&'static str> = self.own.iter().map(|served| served.name).chain(TYPES.iter().copied()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter_map(|name| self.served(name)).collect()
    }
}

impl Served {
    /// A type with R4's own grammar, whatever the server offers of it.
    pub(crate) fn whole(name: &'static str) -> Self {
        Self::new(name, READ, Searching::full(parameters_of(name)))
    }

    const fn new(name: &'static str, codes: &'static [Code], search: Searching) -> Self {
        Self { name, codes, search, writing: None, patching: None, operations: &[] }
    }

    const fn written_by(mut self, writing: &'static Writing) -> Self {
        self.writing = Some(writing);
        self
    }

    const fn patched_by(mut self, patching: &'static Patching) -> Self {
        self.patching = Some(patching);
        self
    }

    const fn with(mut self, operations: &'static [Operation]) -> Self {
        self.operations = operations;
        self
    }
}

impl Searching {
    /// R4's own grammar, with these parameters beside the common ones.
    const fn full(parameters: &'static [&'static str]) -> Self {
        Self { parameters, required: &[], unknown: Unknown::Warned, controls: true, id_alone: false, check: |_| None, when_empty: None }
    }

    /// These parameters and no others.
    const fn only(parameters: &'static [&'static str], required: &'static [&'static [&'static str]], unknown: Unknown) -> Self {
        Self { parameters, required, unknown, controls: false, id_alone: false, check: |_| None, when_empty: None }
    }

    pub(crate) fn knows(&self, name: &str) -> bool {
        self.controls || self.parameters.contains(&name)
    }

    /// The parameter that sets the page size.
    pub(crate) fn page_size(&self) -> &'static str {
        if self.parameters.contains(&"_maxresults") { "_maxresults" } else { "_count" }
    }

    /// Which sets are asked for, where none of them is given.
    pub(crate) fn lacking(&self, pairs: &[(String, String)]) -> Option<String> {
        let given = |wanted: &&str| pairs.iter().any(|(name, value)| !value.is_empty() && name.split(':').next() == Some(*wanted));
        if self.required.is_empty() || self.required.iter().any(|set| set.iter().all(given)) {
            return None;
        }
        let sets: Vec<String> = self.required.iter().map(|set| set.join(" with ")).collect();
        Some(format!("a search needs {}", sets.join(", or ")))
    }
}

/// Appointments as they are read: with R4's parameters.
const APPOINTMENTS: Searching = Searching::full(&["identifier", "patient", "actor", "practitioner", "location", "date", "status"]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flavour_has_one_name_everywhere() {
        for flavour in Flavour::ALL {
            assert_eq!(serde_json::to_value(flavour).unwrap(), flavour.name());
            assert_eq!(Flavour::named(flavour.name()), Some(flavour));
        }
        assert_eq!(Flavour::named("Epic"), None);
    }

    #[test]
    fn a_table_holds_together() {
        for flavour in Flavour::ALL {
            for served in flavour.manner().all() {
                let offers = |code| served.codes.contains(&code);
                assert!(served.writing.is_none() || offers(Code::Create), "{flavour:?} {} has rules and takes nothing", served.name);
                assert_eq!(served.patching.is_some(), offers(Code::Patch), "{flavour:?} {}", served.name);
                for name in served.search.required.iter().copied().flatten() {
                    assert!(served.search.parameters.contains(name), "{flavour:?} {} needs {name} and does not offer it", served.name);
                }
            }
        }
    }
}
