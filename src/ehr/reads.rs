//! How the resources of an EHR may be read, as data: what a vendor's preset says of it, and what the operator adds. What follows of both is
//! decided in `plan`.

use std::path::PathBuf;

use domain::model::ResourceType;
use serde::{Deserialize, Serialize};

use super::profile::Strategy;

/// What a preset says of reading.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reads {
    /// The search parameter that sets the page size; absent where none is known to be taken.
    pub page_size: Option<String>,
    #[serde(rename = "Patient")]
    patient: TypeReads,
    #[serde(rename = "Appointment")]
    appointment: TypeReads,
    #[serde(rename = "CarePlan")]
    care_plan: TypeReads,
}

impl Reads {
    /// What is said of a type. Supporting types are read as care plans are: vendors treat what is clinical alike. Which searches they take
    /// is US Core's word, and the server's statement narrows it.
    #[must_use]
    pub fn of(&self, kind: ResourceType) -> TypeReads {
        match kind {
            ResourceType::Patient => self.patient.clone(),
            ResourceType::Appointment => self.appointment.clone(),
            ResourceType::CarePlan => self.care_plan.clone(),
            supporting => self.supporting(supporting),
        }
    }

    fn supporting(&self, kind: ResourceType) -> TypeReads {
        let alike = |s: &&Strategy| matches!(s, Strategy::Cursor | Strategy::Full);
        let whole = self.care_plan.strategies.iter().filter(alike).copied();
        let (strategies, searches) = match kind.is_directory() {
            // Few servers give a list of everybody who works there; each gives one who is named.
            true => (whole.chain([Strategy::Reference]).collect(), Vec::new()),
            false if self.care_plan.strategies.first() == Some(&Strategy::Roster) => {
                (std::iter::once(Strategy::Roster).chain(whole).collect(), required(kind))
            }
            false => (whole.chain([Strategy::Roster]).collect(), required(kind)),
        };
        TypeReads { strategies, last_updated: self.care_plan.last_updated, searches, note: None }
    }
}

/// The searches of a type that a server must take, the best first (US Core 6.1.0, "Quick Start" of each profile: SHALL; of Consent and
/// RiskAssessment, which US Core has not, R4's parameter). `patient` alone is not required of Observation, CareTeam and MedicationRequest.
fn required(kind: ResourceType) -> Vec<SearchSet> {
    let patient = || Param::Patient("patient".to_owned());
    let with = |name: &str, value: &str| SearchSet(vec![patient(), Param::Fixed(name.to_owned(), value.to_owned())]);
    let first = match kind {
        ResourceType::Observation => Some(with("category", "laboratory,vital-signs,social-history,survey,sdoh")),
        ResourceType::CareTeam => Some(with("status", "active")),
        ResourceType::MedicationRequest => Some(with("intent", "order,plan")),
        _ => None,
    };
    first.into_iter().chain([SearchSet(vec![patient()])]).collect()
}

/// How one type may be read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TypeReads {
    /// The strategies that may work, the best first. None: this vendor's servers give the type by no standard way.
    pub strategies: Vec<Strategy>,
    /// Whether `_lastUpdated` alone finds all that changed, where the server's statement lists it.
    #[serde(default)]
    pub last_updated: bool,
    /// The sets of search parameters that are taken, the best first.
    #[serde(default)]
    pub searches: Vec<SearchSet>,
    /// What whoever connects such a server has to know.
    #[serde(default)]
    pub note: Option<String>,
}

/// One search parameter, with what goes into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Param {
    /// `patient`, `subject` or `beneficiary`: the patient's logical id.
    Patient(String),
    /// `date`: from, and up to without it, as two.
    Date,
    /// `location`: each of those that the operator names.
    Location,
    /// `practitioner`: each of those that the operator names.
    Practitioner,
    /// Always the same value.
    Fixed(String, String),
}

impl Param {
    /// Its name in a search.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Patient(name) | Self::Fixed(name, _) => name,
            Self::Date => "date",
            Self::Location => "location",
            Self::Practitioner => "practitioner",
        }
    }
}

/// Why a text is no [`Param`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a search parameter is `patient`, `subject`, `beneficiary`, `date`, `location`, `practitioner`, or `name=value`")]
pub struct NotAParam;

impl TryFrom<String> for Param {
    type Error = NotAParam;

    fn try_from(text: String) -> Result<Self, NotAParam> {
        match text.as_str() {
            "patient" | "subject" | "beneficiary" => Ok(Self::Patient(text)),
            "date" => Ok(Self::Date),
            "location" => Ok(Self::Location),
            "practitioner" => Ok(Self::Practitioner),
            other => match other.split_once('=') {
                Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok(Self::Fixed(name.to_owned(), value.to_owned())),
                _ => Err(NotAParam),
            },
        }
    }
}

impl From<Param> for String {
    fn from(param: Param) -> Self {
        match param {
            Param::Fixed(name, value) => format!("{name}={value}"),
            other => other.name().to_owned(),
        }
    }
}

/// Search parameters that are given together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SearchSet(pub Vec<Param>);

impl SearchSet {
    /// What a search has to be repeated for.
    #[must_use]
    pub fn axis(&self) -> Axis {
        let has = |wanted: fn(&Param) -> bool| self.0.iter().any(wanted);
        if has(|p| matches!(p, Param::Patient(_))) {
            Axis::Patient
        } else if has(|p| *p == Param::Location) {
            Axis::Location
        } else if has(|p| *p == Param::Practitioner) {
            Axis::Practitioner
        } else {
            Axis::Alone
        }
    }

    /// Whether it is bounded by dates.
    #[must_use]
    pub fn has_date(&self) -> bool {
        self.0.contains(&Param::Date)
    }

    /// As a person would write it: `patient=…&date=ge…&date=lt…`.
    #[must_use]
    pub fn pattern(&self) -> String {
        let one = |param: &Param| match param {
            Param::Date => "date=ge…&date=lt…".to_owned(),
            Param::Fixed(name, value) => format!("{name}={value}"),
            other => format!("{}=…", other.name()),
        };
        self.0.iter().map(one).collect::<Vec<_>>().join("&")
    }
}

/// What a search has to be repeated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Axis {
    /// Nothing: dates are enough.
    Alone,
    /// Each patient of the roster.
    Patient,
    /// Each location that the operator names.
    Location,
    /// Each practitioner that the operator names.
    Practitioner,
}

/// Where the patients come from whose data is read one by one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RosterSource {
    /// A file with a patient a line: a logical id, or an identifier as `system|value`. It is read at the beginning of each run.
    File(PathBuf),
    /// The members of a FHIR Group, by its logical id.
    Group(String),
    /// Whoever has an appointment.
    Appointments,
}

/// Which appointments are read by date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Window {
    /// Days back from today.
    pub back_days: u16,
    /// Days ahead from today.
    pub ahead_days: u16,
    /// Logical ids of the locations to ask for, where the EHR wants one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<String>,
    /// Logical ids of the practitioners to ask for, where the EHR wants one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub practitioners: Vec<String>,
}

impl Default for Window {
    fn default() -> Self {
        Self { back_days: 7, ahead_days: 90, locations: Vec::new(), practitioners: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Axis, Param, SearchSet};

    #[test]
    fn a_set_is_read_as_it_is_written_and_knows_what_it_is_repeated_for() {
        for (text, axis, date, pattern) in [
            (r#"["patient","category=assess-plan"]"#, Axis::Patient, false, "patient=…&category=assess-plan"),
            (r#"["date"]"#, Axis::Alone, true, "date=ge…&date=lt…"),
            (r#"["location","date"]"#, Axis::Location, true, "location=…&date=ge…&date=lt…"),
            (r#"["subject"]"#, Axis::Patient, false, "subject=…"),
            (r#"["practitioner","date"]"#, Axis::Practitioner, true, "practitioner=…&date=ge…&date=lt…"),
        ] {
            let set: SearchSet = serde_json::from_str(text).unwrap();
            assert_eq!((set.axis(), set.has_date(), set.pattern().as_str()), (axis, date, pattern));
            assert_eq!(serde_json::to_string(&set).unwrap(), text);
        }
        for bad in ["category", "=x", "x=", ""] {
            assert!(Param::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
