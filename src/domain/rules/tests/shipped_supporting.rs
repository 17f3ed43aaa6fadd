//! Each shipped segment that reads supporting types, with persons who are in, out and unknown.

use super::people::{NOW, With, anyone, at, coding, condition, encounter, immunization, procedure, site};
use super::shipped::{IN, OUT, UNKNOWN, born, case, check, check_by, rules};
use crate::model::supporting::{ConditionFacts, CoverageFacts, EncounterFacts, Prediction, RiskAssessmentFacts};
use crate::model::{Facts, FhirTime, PersonFacts, ResourceType};
use crate::rules::{OwnAttributes, RuleSet, ValueSet, ValueSets, shipped};

fn ill(facts: ConditionFacts) -> PersonFacts {
    anyone().has(Facts::Condition(Box::new(facts)))
}

#[test]
fn new_chronic_diagnosis() {
    let refuted = ConditionFacts { verification: Some("refuted".into()), ..condition("E11.9", "2026-11-01") };
    let provisional = ConditionFacts { verification: Some("provisional".into()), ..condition("E11.9", "2026-11-01") };
    let recorded = ConditionFacts { recorded: FhirTime::parse("2026-11-20T10:00:00Z"), ..condition("I10", "") };
    check(
        "new-chronic-diagnosis",
        &[
            case(IN, ill(condition("E11.9", "2026-11-01"))),
            case(IN, ill(recorded)),
            // Both are told, and one suffices.
            case(IN, ill(condition("J45.40", "2026-11-10")).has(Facts::Condition(Box::new(condition("", ""))))),
            case(OUT, ill(condition("E11.9", "2026-10-01"))),
            case(OUT, ill(condition("J06.9", "2026-11-10"))),
            case(OUT, ill(refuted)),
            case(OUT, anyone()),
            case(UNKNOWN, ill(provisional)),
            case(UNKNOWN, ill(condition("E11.9", ""))),
            case(UNKNOWN, ill(condition("E11.9", "2026-10"))),
            // Diabetes as SNOMED CT has it, whose codes the shipped set has not.
            case(UNKNOWN, ill(condition("sct|44054006", "2026-11-01"))),
            case(UNKNOWN, anyone().without(ResourceType::Condition)),
        ],
    );
}

#[test]
fn diabetes() {
    let status = |status: Option<&str>| ConditionFacts { clinical_status: status.map(Into::into), ..condition("E10.65", "2020") };
    check(
        "diabetes",
        &[
            case(IN, ill(condition("E11.3513", "2001"))),
            case(IN, ill(status(Some("relapse")))),
            case(OUT, ill(status(Some("resolved")))),
            case(OUT, ill(ConditionFacts { abated: true, ..status(None) })),
            case(OUT, ill(ConditionFacts { abatement: FhirTime::parse("2026-11-22"), ..status(None) })),
            case(OUT, ill(condition("I10", "2001"))),
            case(UNKNOWN, ill(ConditionFacts { abatement: FhirTime::parse("2026-11-23"), ..status(None) })),
            case(UNKNOWN, ill(status(None))),
            case(UNKNOWN, ill(condition("", "2020"))),
            case(UNKNOWN, anyone().without(ResourceType::Condition)),
        ],
    );
}

#[test]
fn high_risk() {
    let risk = |status: Option<&str>, level: &str, at: &str| {
        let level = vec![coding(&format!("http://terminology.hl7.org/CodeSystem/risk-probability|{level}"))];
        Facts::RiskAssessment(Box::new(RiskAssessmentFacts {
            status: status.map(Into::into),
            at: FhirTime::parse(at),
            predictions: vec![Prediction { level, ..Prediction::default() }],
            ..RiskAssessmentFacts::default()
        }))
    };
    let one = |at: &str, level: &str| anyone().has(risk(Some("final"), level, at));
    check(
        "high-risk",
        &[
            case(IN, one("2026-11-01", "high")),
            case(IN, one("2020-11-01", "low").has(risk(Some("amended"), "certain", "2026-01-01"))),
            case(OUT, one("2026-11-01", "low").has(risk(Some("final"), "high", "2020-01-01"))),
            case(OUT, one("2026-11-01", "moderate").has(risk(Some("preliminary"), "high", "2026-11-02"))),
            case(OUT, anyone()),
            case(UNKNOWN, one("2026-11-01", "high").has(risk(None, "low", "2026-11-02"))),
            case(UNKNOWN, one("", "high")),
            case(UNKNOWN, anyone().without(ResourceType::RiskAssessment)),
        ],
    );
}

fn seen(encounters: Vec<EncounterFacts>) -> PersonFacts {
    encounters.into_iter().fold(anyone(), |person, e| person.has(Facts::Encounter(Box::new(e))))
}

#[test]
fn in_hospital() {
    let unsaid = EncounterFacts { status: None, ..encounter("", "act|IMP", "2026-11-20", "") };
    check(
        "in-hospital",
        &[
            case(IN, seen(vec![encounter("in-progress", "act|IMP", "2026-11-20", "")])),
            case(IN, seen(vec![encounter("onleave", "act|ACUTE", "2026-11-20", ""), unsaid.clone()])),
            case(OUT, seen(vec![encounter("in-progress", "act|AMB", "2026-11-23", "")])),
            case(
                OUT,
                seen(vec![encounter("finished", "act|IMP", "2026-11-20", "2026-11-22"), encounter("planned", "act|IMP", "2026-12-20", "")]),
            ),
            case(UNKNOWN, seen(vec![unsaid])),
            case(UNKNOWN, anyone().without(ResourceType::Encounter)),
        ],
    );
}

#[test]
fn post_discharge() {
    let stay = |end: &str| encounter("finished", "act|IMP", "2026-10-01", end);
    check(
        "post-discharge",
        &[
            case(IN, seen(vec![stay("2026-11-10T10:00:00Z")])),
            case(IN, seen(vec![stay("2026-11-10"), encounter("finished", "act|AMB", "2026-11-20", "2026-11-20")])),
            case(OUT, seen(vec![stay("2026-10-10")])),
            case(OUT, seen(vec![stay("2026-11-10"), encounter("in-progress", "act|IMP", "2026-11-20", "")])),
            case(OUT, seen(vec![encounter("finished", "act|EMER", "2026-11-20", "2026-11-20")])),
            case(OUT, anyone()),
            case(UNKNOWN, seen(vec![stay("")])),
            case(UNKNOWN, seen(vec![encounter("finished", "http://local|ward", "2026-11-20", "2026-11-21")])),
            case(UNKNOWN, anyone().without(ResourceType::Encounter)),
        ],
    );
}

#[test]
fn public_payer() {
    let covered = |status: Option<&str>, kind: &str, end: &str| {
        anyone().has(Facts::Coverage(Box::new(CoverageFacts {
            status: status.map(Into::into),
            kinds: vec![coding(kind)],
            period: super::people::period("2026-01-01", end),
            ..CoverageFacts::default()
        })))
    };
    check(
        "public-payer",
        &[
            case(IN, covered(Some("active"), "act|PUBLICPOL", "")),
            case(IN, covered(Some("active"), "act|SUBSIDMC", "2026-12-31")),
            case(OUT, covered(Some("active"), "act|EHCPOL", "")),
            case(OUT, covered(Some("cancelled"), "act|PUBLICPOL", "")),
            case(OUT, covered(Some("active"), "act|PUBLICPOL", "2026-11-22")),
            case(OUT, anyone()),
            case(UNKNOWN, covered(None, "act|PUBLICPOL", "")),
            case(UNKNOWN, anyone().without(ResourceType::Coverage)),
        ],
    );
}

#[test]
fn influenza_vaccine_due() {
    check(
        "influenza-vaccine-due",
        &[
            case(IN, anyone()),
            case(IN, anyone().has(immunization("cvx|140", "2025-10-01"))),
            case(IN, anyone().has(immunization("cvx|208", "2026-10-01"))),
            case(OUT, anyone().has(immunization("cvx|185", "2026-10-01"))),
            case(UNKNOWN, anyone().has(immunization("cvx|140", "2025"))),
            case(UNKNOWN, anyone().has(immunization("cvx|140", ""))),
            case(UNKNOWN, anyone().has(immunization("http://local|flu", "2026-10-01"))),
            case(UNKNOWN, anyone().without(ResourceType::Immunization)),
        ],
    );
}

/// Its codes may not be shipped: nobody is in it before the site adds them, and then it decides.
#[test]
fn colorectal_screening_due() {
    let cpt = |code: &str| format!("http://www.ama-assn.org/go/cpt|{code}");
    let had = |at: &str| born("1966-11-23").has(procedure(&cpt("45378"), at));
    let codes = "[codes]\n'http://www.ama-assn.org/go/cpt' = ['45378', '45380']\n";
    let of_site = |set: ValueSet| if set.id == "colonoscopy" { ValueSet::parse(&(set.canonical_text() + codes)).unwrap() } else { set };
    let sets = ValueSets::of(shipped::value_sets().unwrap().into_iter().map(of_site)).unwrap();
    let with_codes = RuleSet::compile_with(&shipped::definitions().unwrap(), &sets, &OwnAttributes::default()).unwrap();
    check_by(
        &with_codes,
        "colorectal-screening-due",
        &[
            case(IN, born("1966-11-23")),
            case(IN, had("2016-11-01")),
            case(IN, born("1966-11-23").has(procedure(&cpt("99213"), "2026-11-01"))),
            case(OUT, had("2020-01-01")),
            case(OUT, born("1990-01-01")),
            case(UNKNOWN, had("2016")),
            case(UNKNOWN, born("1966-11-23").without(ResourceType::Procedure)),
        ],
    );
    check_by(
        &rules(),
        "colorectal-screening-due",
        &[case(UNKNOWN, born("1966-11-23")), case(UNKNOWN, had("2020-01-01")), case(UNKNOWN, had("2016")), case(OUT, born("1990-01-01"))],
    );
    let set = rules();
    let told = set.explain(set.place("colorectal-screening-due").unwrap(), &had("2020-01-01"), &site(), at(NOW)).unwrap();
    assert!(told.reasons[3].sentence.expose().contains("value-sets/colonoscopy.toml"), "{}", told.reasons[3].sentence.expose());
}
