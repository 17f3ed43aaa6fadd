//! Attributes of what was done: procedures, immunizations, observations, questionnaires; and of what is prescribed.
//!
//! Only what R4 calls done counts (`completed`, `final`, `amended`, `corrected`); a status that is missing or `unknown` leaves it open.

use crate::model::facts::Coding;
use crate::model::person::Sourced;
use crate::model::supporting::{ImmunizationFacts, MedicationRequestFacts, ObservationFacts, ProcedureFacts, QuestionnaireResponseFacts};
use crate::rules::catalogue::Attribute;
use crate::rules::kind::Kind;
use crate::rules::value::{Type, Why};
use crate::rules::watch::Watch;

use super::timeline::{Counts, Entry, InForce, Latest, count, of_kind};
use super::{Context, IMMUNIZATION, MEDICATION_REQUEST, OBSERVATION, PROCEDURE, QUESTIONNAIRE_RESPONSE, counted_of, row, row_of};

const NO_PROCEDURE: &str = "there is no completed procedure of that kind";
const NO_IMMUNIZATION: &str = "there is no immunization of that kind";
const NO_OBSERVATION: &str = "there is no final observation of that kind";
const NO_ANSWERS: &str = "there is no completed questionnaire of that kind";
const UNTOLD: Why = Why::Missing("status that tells one");
const BY_CODE: &str = "the code";

pub(super) const ROWS: &[Attribute] = &[
    row_of(
        "procedure.last",
        Type::Time,
        PROCEDURE,
        "When the last completed procedure was done; of one that took a while, when it ended.",
        BY_CODE,
        "a completed procedure has no date",
        "procedure.last of \"http://www.cms.gov/Medicare/Coding/ICD10|0DJD8ZZ\" older than 10 years",
        |c, kind, w| Latest::survey(procedures(c, kind), "Procedure.performed[x]", c.site.zone, w).time("performed", NO_PROCEDURE),
    ),
    counted_of(
        "procedures.done",
        "procedures",
        PROCEDURE,
        "Completed procedures, by when they were done.",
        BY_CODE,
        "known only roughly where one has no date, or only a year",
        "procedures.done of \"http://www.cms.gov/Medicare/Coding/ICD10|0DJD8ZZ\" in last 10 years = 0",
        |c, kind, each| count(procedures(c, kind), "Procedure.performed[x]", "performed", c.site.zone, each),
    ),
    row_of(
        "immunization.last",
        Type::Time,
        IMMUNIZATION,
        "When the last immunization was given.",
        "the vaccine code",
        "an immunization has no date",
        "immunization.last of \"http://hl7.org/fhir/sid/cvx|140\" within last 12 months",
        |c, kind, w| {
            let all = immunizations(c, kind);
            Latest::survey(all, "Immunization.occurrenceDateTime", c.site.zone, w).time("occurrenceDateTime", NO_IMMUNIZATION)
        },
    ),
    counted_of(
        "immunizations.given",
        "immunizations",
        IMMUNIZATION,
        "Immunizations that were given, by when.",
        "the vaccine code",
        "known only roughly where one has no date, or only a year",
        "immunizations.given of \"http://hl7.org/fhir/sid/cvx|140\" in last 12 months = 0",
        |c, kind, each| count(immunizations(c, kind), "Immunization.occurrenceDateTime", "occurrenceDateTime", c.site.zone, each),
    ),
    row_of(
        "observation.last",
        Type::Time,
        OBSERVATION,
        "When the last final observation was true.",
        BY_CODE,
        "a final observation has no date",
        "observation.last of \"http://loinc.org|4548-4\" older than 6 months",
        |c, kind, w| observed(c, kind, w).time("effective", NO_OBSERVATION),
    ),
    row_of(
        "observation.interpretation",
        Type::Set,
        OBSERVATION,
        "Interpretation codes of the last final observation (H, L, POS, ...).",
        BY_CODE,
        "it is open which observation is the last",
        "observation.interpretation of \"http://loinc.org|4548-4\" = \"H\"",
        |c, kind, w| observed(c, kind, w).codes("interpretation", NO_OBSERVATION, |f| vec![&f.interpretation]),
    ),
    counted_of(
        "observations.made",
        "observations",
        OBSERVATION,
        "Final observations, by when they were true.",
        BY_CODE,
        "known only roughly where one has no date, or only a year",
        "observations.made of \"http://loinc.org|4548-4\" in last 6 months = 0",
        |c, kind, each| count(observations(c, kind), "Observation.effective[x]", "effective", c.site.zone, each),
    ),
    row_of(
        "medication.active",
        Type::Bool,
        MEDICATION_REQUEST,
        "An order of a medication is active.",
        "the medication's code",
        "only orders without status, or whose medication is not coded",
        "medication.active of \"http://www.nlm.nih.gov/research/umls/rxnorm|860975\"",
        |c, kind, _| orders(c, kind).any("status"),
    ),
    row(
        "medication.codes",
        Type::Set,
        MEDICATION_REQUEST,
        "Codes of the medications of which an order is active.",
        "not found, and it is open whether a further order is active",
        "medication.codes in (\"http://www.nlm.nih.gov/research/umls/rxnorm|860975\")",
        |c, _| orders(c, None).codes("medication", "no active order is coded", |f| &f.codes),
    ),
    row_of(
        "questionnaire.last",
        Type::Time,
        QUESTIONNAIRE_RESPONSE,
        "When the last questionnaire was completed.",
        "the questionnaire's canonical URL, without version",
        "a completed questionnaire has no date",
        "questionnaire.last of \"http://example.org/Questionnaire/intake\" within last 12 months",
        |c, kind, w| Latest::survey(answers(c, kind), "QuestionnaireResponse.authored", c.site.zone, w).time("authored", NO_ANSWERS),
    ),
    counted_of(
        "questionnaires.completed",
        "questionnaires",
        QUESTIONNAIRE_RESPONSE,
        "Completed questionnaires, by when.",
        "the questionnaire's canonical URL, without version",
        "known only roughly where one has no date",
        "questionnaires.completed of \"http://example.org/Questionnaire/intake\" = 0",
        |c, kind, each| count(answers(c, kind), "QuestionnaireResponse.authored", "authored", c.site.zone, each),
    ),
    row(
        "portal.last_activity",
        Type::Time,
        QUESTIONNAIRE_RESPONSE,
        "When the person last completed a questionnaire by themselves: the trace of a portal that R4 has.",
        "a questionnaire that the person completed has no date",
        "not portal.last_activity within last 12 months",
        |c, w| {
            let by_patient = answers(c, None).map(|e| match e.record.facts.by_patient {
                Some(true) => e,
                Some(false) => Entry { counts: Ok(false), ..e },
                None => Entry { counts: e.counts.and_then(|counts| if counts { Err(NO_SOURCE) } else { Ok(false) }), ..e },
            });
            Latest::survey(by_patient, "QuestionnaireResponse.authored", c.site.zone, w)
                .time("authored", "no questionnaire was completed by the person")
        },
    ),
];

const NO_SOURCE: Why = Why::Missing("QuestionnaireResponse.source");

fn entries<'a, F>(
    records: &'a [Sourced<F>],
    counts: impl Fn(&'a F) -> Counts,
    at: impl Fn(&F) -> Option<crate::model::FhirTime>,
) -> impl Iterator<Item = Entry<'a, F>> {
    records.iter().map(move |record| Entry { record, counts: counts(&record.facts), at: at(&record.facts) })
}

/// Whether a status is one of those that count; where it tells nothing, it is open.
fn done(status: Option<&str>, done: &[&str]) -> Counts {
    match status {
        None | Some("unknown") => Err(UNTOLD),
        Some(status) => Ok(done.contains(&status)),
    }
}

fn procedures<'a>(context: &Context<'a>, kind: Option<&Kind>) -> impl Iterator<Item = Entry<'a, ProcedureFacts>> {
    let counts = move |f: &'a ProcedureFacts| of_kind(done(f.status.as_deref(), &["completed"]), kind, f.codes.iter());
    entries(&context.person.supporting.procedures, counts, |f| f.performed.end.or(f.performed.start))
}

fn immunizations<'a>(context: &Context<'a>, kind: Option<&Kind>) -> impl Iterator<Item = Entry<'a, ImmunizationFacts>> {
    let counts = move |f: &'a ImmunizationFacts| of_kind(done(f.status.as_deref(), &["completed"]), kind, f.codes.iter());
    entries(&context.person.supporting.immunizations, counts, |f| f.at)
}

fn observations<'a>(context: &Context<'a>, kind: Option<&Kind>) -> impl Iterator<Item = Entry<'a, ObservationFacts>> {
    let counts =
        move |f: &'a ObservationFacts| of_kind(done(f.status.as_deref(), &["final", "amended", "corrected"]), kind, f.codes.iter());
    entries(&context.person.supporting.observations, counts, |f| f.at)
}

fn observed<'a>(context: &Context<'a>, kind: Option<&Kind>, watch: &mut Watch) -> Latest<'a, ObservationFacts> {
    Latest::survey(observations(context, kind), "Observation.effective[x]", context.site.zone, watch)
}

fn answers<'a>(context: &Context<'a>, kind: Option<&Kind>) -> impl Iterator<Item = Entry<'a, QuestionnaireResponseFacts>> {
    let counts = move |f: &'a QuestionnaireResponseFacts| {
        let is_done = done(f.status.as_deref(), &["completed", "amended"]);
        match (kind, &f.questionnaire) {
            _ if is_done == Ok(false) => is_done,
            (None, _) => is_done,
            (Some(kind), Some(url)) if kind.is_text(url.split('|').next().unwrap_or(url)) => is_done,
            (Some(_), Some(_)) => Ok(false),
            (Some(_), None) => Err(Why::Missing("QuestionnaireResponse.questionnaire")),
        }
    };
    entries(&context.person.supporting.questionnaire_responses, counts, |f| f.authored)
}

fn orders<'a>(context: &Context<'a>, kind: Option<&Kind>) -> InForce<'a, MedicationRequestFacts> {
    let codes = |f: &'a MedicationRequestFacts| -> std::slice::Iter<'a, Coding> { f.codes.iter() };
    InForce::survey(&context.person.supporting.medication_requests, |f| {
        let is_order = !f.do_not_perform && !matches!(f.intent.as_deref(), Some("proposal" | "option"));
        if is_order { of_kind(done(f.status.as_deref(), &["active"]), kind, codes(f)) } else { Ok(false) }
    })
}
