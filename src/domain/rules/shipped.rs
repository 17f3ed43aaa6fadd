//! The segments that come with the gateway: files under `shipped/`, read like any operator's own.

use super::definition::Definition;
use super::mistake::Mistake;
use super::value_set::ValueSet;

/// The definition files.
pub const FILES: [&str; 30] = [
    include_str!("shipped/needs-interpreter.toml"),
    include_str!("shipped/minor.toml"),
    include_str!("shipped/no-contact.toml"),
    include_str!("shipped/public-payer.toml"),
    include_str!("shipped/new-patient.toml"),
    include_str!("shipped/other-language.toml"),
    include_str!("shipped/to-schedule.toml"),
    include_str!("shipped/missed-visit.toml"),
    include_str!("shipped/often-missed.toml"),
    include_str!("shipped/cancelled-by-provider.toml"),
    include_str!("shipped/visit-soon.toml"),
    include_str!("shipped/visit-unconfirmed.toml"),
    include_str!("shipped/needs-transport.toml"),
    include_str!("shipped/new-chronic-diagnosis.toml"),
    include_str!("shipped/diabetes.toml"),
    include_str!("shipped/high-risk.toml"),
    include_str!("shipped/in-hospital.toml"),
    include_str!("shipped/chronic-care-plan.toml"),
    include_str!("shipped/care-plan-activity-due.toml"),
    include_str!("shipped/care-plan-ending.toml"),
    include_str!("shipped/visit-follow-up.toml"),
    include_str!("shipped/post-discharge.toml"),
    include_str!("shipped/first-month.toml"),
    include_str!("shipped/lapsed.toml"),
    include_str!("shipped/influenza-vaccine-due.toml"),
    include_str!("shipped/colorectal-screening-due.toml"),
    include_str!("shipped/age-65-and-over.toml"),
    include_str!("shipped/answers-messages.toml"),
    include_str!("shipped/does-not-answer.toml"),
    include_str!("shipped/opted-out.toml"),
];

/// The value sets.
pub const VALUE_SETS: [&str; 10] = [
    include_str!("shipped/value-sets/cancelled-by-patient.toml"),
    include_str!("shipped/value-sets/cancelled-by-provider.toml"),
    include_str!("shipped/value-sets/transport-barrier.toml"),
    include_str!("shipped/value-sets/chronic-conditions.toml"),
    include_str!("shipped/value-sets/colonoscopy.toml"),
    include_str!("shipped/value-sets/diabetes.toml"),
    include_str!("shipped/value-sets/high-risk.toml"),
    include_str!("shipped/value-sets/influenza-vaccine.toml"),
    include_str!("shipped/value-sets/public-payer.toml"),
    include_str!("shipped/value-sets/stay.toml"),
];

/// The shipped value sets.
///
/// # Errors
/// None in a released build: a test reads every file.
pub fn value_sets() -> Result<Vec<ValueSet>, Vec<Mistake>> {
    let mut sets = Vec::new();
    let mut mistakes = Vec::new();
    for file in VALUE_SETS {
        match ValueSet::parse(file) {
            Ok(set) => sets.push(set),
            Err(found) => mistakes.extend(found),
        }
    }
    if mistakes.is_empty() { Ok(sets) } else { Err(mistakes) }
}

/// The shipped definitions, in the order of the care journey.
///
/// # Errors
/// None in a released build: a test reads and compiles every file.
pub fn definitions() -> Result<Vec<Definition>, Vec<Mistake>> {
    let mut definitions = Vec::new();
    let mut mistakes = Vec::new();
    for file in FILES {
        match Definition::parse(file) {
            Ok(definition) => definitions.push(definition),
            Err(found) => mistakes.extend(found),
        }
    }
    if mistakes.is_empty() { Ok(definitions) } else { Err(mistakes) }
}
