//! The derivations, by subject, and what several of them share.
//!
//! A derivation is a function of a person's facts and the site. It asks for time only through its [`Watch`], and must not know of rules.

mod appointments;
mod care_plans;
mod chart;
mod conditions;
mod contact;
mod elements;
mod encounters;
mod journey;
mod last_appointment;
mod person;

mod standing;
mod timeline;
mod visits;

use std::cell::OnceCell;

use crate::model::PersonFacts;
use crate::model::ids::ResourceType;
use crate::model::time::Timestamp;

use super::catalogue::{Attribute, Derivation};
use super::kind::Kind;
use super::site::Site;
use super::value::{Event, Finding, Type, Value};
use super::watch::Watch;

pub use elements::{Horizon, Looks, Reach, Reading, reading};
pub use journey::STAGES;
pub(super) use timeline::between;
pub use visits::next_visit;

use care_plans::Plans;
use visits::Visits;

/// The catalogue's rows, by subject.
pub(super) const ALL: &[&[Attribute]] = &[
    person::ROWS,
    appointments::ROWS,
    last_appointment::ROWS,
    care_plans::ROWS,
    conditions::ROWS,
    encounters::ROWS,
    chart::ROWS,
    standing::ROWS,
    contact::ROWS,
    journey::ROWS,
];

/// A person at a site. What several derivations need is surveyed once.
pub struct Context<'a> {
    /// The facts.
    pub person: &'a PersonFacts,
    /// The site.
    pub site: &'a Site,
    visits: OnceCell<Visits<'a>>,
    plans: OnceCell<(Plans<'a>, Option<Timestamp>)>,
}

impl<'a> Context<'a> {
    /// For one evaluation at one instant: what was surveyed holds only for that.
    #[must_use]
    pub fn new(person: &'a PersonFacts, site: &'a Site) -> Self {
        Self { person, site, visits: OnceCell::new(), plans: OnceCell::new() }
    }

    fn visits(&self, watch: &Watch) -> &Visits<'a> {
        self.visits.get_or_init(|| Visits::survey(self.person, watch))
    }

    fn plans(&self, watch: &mut Watch) -> &Plans<'a> {
        let (plans, until) = self.plans.get_or_init(|| {
            let mut fresh = watch.fresh();
            (Plans::survey(self.person, self.site, &mut fresh), fresh.until())
        });
        watch.join(*until);
        plans
    }
}

const PATIENT: &[ResourceType] = &[ResourceType::Patient];
const APPOINTMENT: &[ResourceType] = &[ResourceType::Appointment];
const CARE_PLAN: &[ResourceType] = &[ResourceType::CarePlan];
const CARE_PLAN_AND_CONDITION: &[ResourceType] = &[ResourceType::CarePlan, ResourceType::Condition];
const CARE_TEAM: &[ResourceType] = &[ResourceType::CareTeam];
const CONDITION: &[ResourceType] = &[ResourceType::Condition];
const CONSENT: &[ResourceType] = &[ResourceType::Consent];
const COVERAGE: &[ResourceType] = &[ResourceType::Coverage];
const ENCOUNTER: &[ResourceType] = &[ResourceType::Encounter];
const GOAL: &[ResourceType] = &[ResourceType::Goal];
const IMMUNIZATION: &[ResourceType] = &[ResourceType::Immunization];
const MEDICATION_REQUEST: &[ResourceType] = &[ResourceType::MedicationRequest];
const OBSERVATION: &[ResourceType] = &[ResourceType::Observation];
const PROCEDURE: &[ResourceType] = &[ResourceType::Procedure];
const QUESTIONNAIRE_RESPONSE: &[ResourceType] = &[ResourceType::QuestionnaireResponse];
const RISK_ASSESSMENT: &[ResourceType] = &[ResourceType::RiskAssessment];

/// A row that the others are made from: a yes or no, read by `derive`.
const fn row(
    name: &'static str,
    kind: Type,
    needs: &'static [ResourceType],
    meaning: &'static str,
    unknown: &'static str,
    example: &'static str,
    derive: for<'a> fn(&Context<'a>, &mut Watch) -> Finding<'a>,
) -> Attribute {
    Attribute {
        name,
        kind,
        unit: None,
        values: &[],
        meaning,
        needs,
        also_reads: &[],
        of: None,
        unknown,
        example,
        derivation: Derivation::Value(derive),
    }
}

/// A row over records that `of` narrows by some codes.
#[expect(clippy::too_many_arguments, reason = "one row of a table")]
const fn row_of(
    name: &'static str,
    kind: Type,
    needs: &'static [ResourceType],
    meaning: &'static str,
    of: &'static str,
    unknown: &'static str,
    example: &'static str,
    derive: for<'a> fn(&Context<'a>, Option<&Kind>, &mut Watch) -> Finding<'a>,
) -> Attribute {
    Attribute {
        name,
        kind,
        unit: None,
        values: &[],
        meaning,
        needs,
        also_reads: &[],
        of: Some(of),
        unknown,
        example,
        derivation: Derivation::ValueOf(derive),
    }
}

/// A count of records that `of` narrows by some codes.
#[expect(clippy::too_many_arguments, reason = "one row of a table")]
const fn counted_of(
    name: &'static str,
    unit: &'static str,
    needs: &'static [ResourceType],
    meaning: &'static str,
    of: &'static str,
    unknown: &'static str,
    example: &'static str,
    derive: for<'a> fn(&Context<'a>, Option<&Kind>, &mut dyn FnMut(Event<'a>)),
) -> Attribute {
    Attribute {
        name,
        kind: Type::Count,
        unit: Some(unit),
        values: &[],
        meaning,
        needs,
        also_reads: &[],
        of: Some(of),
        unknown,
        example,
        derivation: Derivation::EventsOf(derive),
    }
}

impl Attribute {
    const fn in_unit(mut self, unit: &'static str) -> Self {
        self.unit = Some(unit);
        self
    }

    const fn one_of(mut self, values: &'static [&'static str]) -> Self {
        self.values = values;
        self
    }
}

const fn instant<'a>(t: Timestamp) -> Value<'a> {
    Value::Time(t, t)
}
