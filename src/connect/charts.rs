//! What one EHR's charts will show of outreach, before the first patient is written to: the common cases, composed to its contract.

use serde::Serialize;

use crate::writeback::contract::{Carrier, Contract, Finder, Writes};
use crate::writeback::samples::samples;
use crate::writeback::{Loss, Site};

/// What charts will show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// The preset that it began with.
    pub preset: String,
    /// What carries write-backs, best first.
    pub chain: Vec<Carrier>,
    /// What is written at all.
    pub writes: Writes,
    /// Settings without which nothing can be written: `sender`, `recipient`.
    pub missing: Vec<&'static str>,
    /// How what is unclear is found again by each carrier that is a resource; without one, it waits for a person.
    pub found_again: Vec<Found>,
    /// The common cases.
    pub shown: Vec<Shown>,
}

/// How a carrier's resources are found again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The carrier.
    pub carrier: Carrier,
    /// The search; absent where there is none that can tell.
    pub search: Option<Finder>,
    /// Whether a create is conditional on our identifier, which saves the search before it.
    pub conditional_create: bool,
    /// Whether this EHR was seen to keep our key; absent where nothing was written yet.
    pub key_kept: Option<bool>,
}

/// A common case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Such as `late bounce`.
    pub case: &'static str,
    /// What carries it; absent where nothing can.
    pub carrier: Option<Carrier>,
    /// Why nothing can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    /// What the chart will not show of it.
    pub losses: Vec<Loss>,
}

/// Composes the common cases to a contract.
#[must_use]
pub fn outlook(site: &Site, contract: &Contract) -> Outlook {
    // A change of a visit's status that the site did not switch on is no gap: the answer says it.
    let changes = contract.status_change.as_ref().is_some_and(|c| c.enabled);
    let cases = samples(site, contract).into_iter().filter(|s| changes || s.name != "changes the visit");
    let shown = cases.map(|s| match s.composed {
        Ok(composed) => Shown { case: s.name, carrier: Some(composed.carrier), why_not: None, losses: composed.losses },
        Err(error) => Shown { case: s.name, carrier: None, why_not: Some(error.to_string()), losses: Vec::new() },
    });
    let found = |carrier: &Carrier| {
        let terms = contract.terms(*carrier)?;
        Some(Found {
            carrier: *carrier,
            search: terms.finder(),
            conditional_create: terms.creates_conditionally(),
            key_kept: terms.key_kept,
        })
    };
    let extra = contract.chain.iter().any(|c| contract.wants_provenance_of(*c)).then_some(Carrier::Provenance);
    Outlook {
        preset: contract.preset.clone(),
        chain: contract.chain.clone(),
        writes: contract.writes,
        missing: contract.missing(),
        found_again: contract.chain.iter().chain(&extra).filter_map(found).collect(),
        shown: shown.collect(),
    }
}

/// Cases that are written only where what was sent is.
const SENT: [&str; 4] = ["delivered", "delivery unknown", "on a care plan", "late bounce"];

impl Outlook {
    /// What is written at all, in words.
    #[must_use]
    pub fn written(&self) -> String {
        let w = &self.writes;
        let answers = if w.only_answers_that_need_action { "answers that somebody must act on" } else { "answers" };
        let all = [
            (w.sent, "what was sent"),
            (w.answered, answers),
            (w.unreachable, "who could not be reached"),
            (w.daily_note, "a note a day of the rest"),
        ];
        let told: Vec<&str> = all.into_iter().filter(|(on, _)| *on).map(|(_, words)| words).collect();
        if told.is_empty() { "nothing".to_owned() } else { told.join(", ") }
    }

    /// What is worth telling before anyone goes live, a sentence each. Empty where charts show everything.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut told = Vec::new();
        if self.chain.is_empty() {
            told.push("nothing here can carry a write-back: add `export` or `ledger` to the chain of the write-back settings".to_owned());
        }
        if !self.missing.is_empty() {
            told.push(format!("set {} in the write-back settings: without that nothing can be written", self.missing.join(" and ")));
        }
        for found in self.found_again.iter().filter(|f| f.search.is_none()) {
            told.push(format!(
                "a {} whose answer is lost cannot be found again by any search here: it will wait for a person",
                found.carrier.as_str()
            ));
        }
        let owed = |case: &str| (self.writes.daily_note || case != "day") && (self.writes.sent || !SENT.contains(&case));
        for found in self.found_again.iter().filter(|f| f.key_kept == Some(false)) {
            told.push(format!(
                "this EHR drops our key from a {}: put it into a text (`leave_out = [\"identifier\"]`), or a lost answer waits for a person",
                found.carrier.as_str()
            ));
        }
        for shown in self.shown.iter().filter(|s| s.carrier.is_none() && self.missing.is_empty() && owed(s.case)) {
            told.push(format!("{}: cannot be written ({})", shown.case, shown.why_not.as_deref().unwrap_or("no reason")));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_server_loses_nothing_and_one_that_takes_nothing_says_so() {
        let site = Site::named("Main Street Clinic");
        let full = outlook(&site, &Contract::full_r4());
        assert_eq!(full.warnings(), Vec::<String>::new());
        assert_eq!(full.written(), "what was sent, answers, who could not be reached");
        assert!(full.shown.iter().any(|s| s.case == "delivered" && s.losses.is_empty() && s.carrier == Some(Carrier::Communication)));
        let none = outlook(&site, &Contract { chain: vec![], ..Contract::full_r4() });
        assert!(none.warnings()[0].contains("nothing here can carry"), "{:?}", none.warnings());
        assert!(none.shown.iter().all(|s| s.carrier.is_none()));
    }
}
