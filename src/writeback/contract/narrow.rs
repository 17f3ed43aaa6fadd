//! What bounds a preset: the server's statement, what a probe proved, and the operator's word on top.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Carrier, Category, Contract, Element, Finder, KeyPlace, Limits, MediumCodes, Party, PayloadShape, Route, Status, Terms, Writes,
};

/// What a server states about one resource type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatedType {
    /// `create` is advertised.
    pub create: bool,
    /// `search-type` is advertised.
    pub search: bool,
    /// `read` is advertised.
    pub read: bool,
    /// `update` is advertised.
    pub update: bool,
    /// `patch` is advertised.
    pub patch: bool,
    /// `conditionalCreate` is true.
    pub conditional_create: bool,
    /// Its search parameters.
    pub search_params: BTreeSet<String>,
}

/// What a server states, by resource type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stated(pub BTreeMap<&'static str, StatedType>);

/// What a probe on a named test patient proved, by resource type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proven {
    /// `If-None-Exist` created nothing where one was.
    pub conditional_create: BTreeSet<String>,
    /// Whether our key was kept, by resource type and the place where it is put.
    pub key_kept: BTreeMap<(String, KeyPlace), bool>,
    /// By what something was ever sent to this EHR, as [`Contract::way`] says it.
    pub used: BTreeSet<String>,
}

/// The operator's word on top of preset and statement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Override {
    /// Carriers in order of preference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<Vec<Carrier>>,
    /// What is written at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<Writes>,
    /// How much of the message goes along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<PayloadShape>,
    /// How channels are coded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium_codes: Option<MediumCodes>,
    /// Elements of a Communication to leave out, since this server refuses them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub leave_out: BTreeSet<Element>,
    /// Who sends: `Practitioner/123`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Who receives: `Group/7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Whether `If-None-Exist` is used, whatever the server states and a probe found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditional_create: Option<bool>,
    /// The site's own route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// Whether a patient's confirmation or cancellation changes the Appointment's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_change: Option<bool>,
    /// Statuses that a Communication may be created with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statuses: Option<BTreeSet<Status>>,
    /// Categories that are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<BTreeSet<Category>>,
    /// Longest texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Searches that find a Communication again, best first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finders: Option<Vec<Finder>>,
    /// Whether what was written may be updated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<bool>,
    /// Whether a Provenance is written of each resource, where the server creates them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<bool>,
    /// Seconds to wait before an unclear outcome is searched for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle_delay_secs: Option<u32>,
}

impl Contract {
    /// Narrowed by what the server states: a type without `create` carries nothing, a search without its parameters is not used.
    #[must_use]
    pub fn within(mut self, stated: &Stated) -> Self {
        let nothing = StatedType::default();
        let of = |carrier: Carrier| carrier.resource_type().map(|t| stated.0.get(t).unwrap_or(&nothing));
        self.chain.retain(|c| of(*c).is_none_or(|t| t.create));
        narrow(&mut self.communication, of(Carrier::Communication).unwrap_or(&nothing));
        narrow(&mut self.document_reference, of(Carrier::DocumentReference).unwrap_or(&nothing));
        if !stated.0.get("Appointment").is_some_and(|a| a.patch && a.read) {
            self.status_change = None;
        }
        let says = stated.0.get("Provenance").unwrap_or(&nothing);
        self.provenance = self.provenance.filter(|_| says.create);
        self.provenance.iter_mut().for_each(|provenance| narrow(&mut provenance.terms, says));
        self
    }

    /// Narrowed by what was proved: `If-None-Exist` may be ignored in silence, and then a statement is no proof.
    #[must_use]
    pub fn proven(mut self, proven: &Proven) -> Self {
        self.communication.conditional_create &= proven.conditional_create.contains("Communication");
        self.document_reference.conditional_create &= proven.conditional_create.contains("DocumentReference");
        self
    }

    /// With what was seen of our key, where it is put by now.
    #[must_use]
    pub fn seen(mut self, proven: &Proven) -> Self {
        self.used.clone_from(&proven.used);
        let provenance = self.provenance.as_mut().map(|p| ("Provenance", &mut p.terms));
        for (name, terms) in
            [("Communication", &mut self.communication), ("DocumentReference", &mut self.document_reference)].into_iter().chain(provenance)
        {
            // A probe of conditional create counts by our identifier.
            let counted = terms.key == KeyPlace::Identifier && proven.conditional_create.contains(name);
            terms.key_kept = proven.key_kept.get(&(name.to_owned(), terms.key)).copied().or(counted.then_some(true));
        }
        self
    }

    /// With the operator's word on top.
    #[must_use]
    pub fn with(mut self, word: &Override) -> Self {
        self.preset_chain.clone_from(&self.chain);
        if let Some(chain) = &word.chain {
            self.chain.clone_from(chain);
        }
        self.writes = word.writes.unwrap_or(self.writes);
        self.shape.payload = word.payload.unwrap_or(self.shape.payload);
        self.shape.medium_codes = word.medium_codes.unwrap_or(self.shape.medium_codes);
        self.shape.elements.retain(|e| !word.leave_out.contains(e));
        self.shape.statuses = word.statuses.clone().unwrap_or(self.shape.statuses);
        self.shape.categories = word.categories.clone().unwrap_or(self.shape.categories);
        self.shape.limits = word.limits.unwrap_or(self.shape.limits);
        self.communication.finders = word.finders.clone().unwrap_or(self.communication.finders);
        self.communication.update = word.update.unwrap_or(self.communication.update);
        self.document_reference.update = word.update.unwrap_or(self.document_reference.update);
        if word.leave_out.contains(&Element::Identifier) {
            self.communication.key = KeyPlace::Text;
            self.document_reference.key = KeyPlace::Text;
            self.note.identifier = false;
        }
        if let Some(sender) = &word.sender {
            self.shape.sender = Party::Configured(Some(sender.clone()));
            self.note.author = Party::Configured(Some(sender.clone()));
        }
        if let Some(recipient) = &word.recipient {
            self.shape.recipient = Party::Configured(Some(recipient.clone()));
        }
        if let Some(conditional) = word.conditional_create {
            self.communication.conditional_create = conditional;
            self.document_reference.conditional_create = conditional;
        }
        self.route = word.route.clone().or(self.route);
        if let (Some(on), Some(change)) = (word.status_change, self.status_change.as_mut()) {
            change.enabled = on;
        }
        if let (Some(on), Some(provenance)) = (word.provenance, self.provenance.as_mut()) {
            provenance.enabled = on;
        }
        self.settle_delay_secs = word.settle_delay_secs.unwrap_or(self.settle_delay_secs);
        self
    }
}

fn narrow(terms: &mut Terms, stated: &StatedType) {
    terms.conditional_create &= stated.conditional_create;
    terms.update &= stated.update;
    terms.finders.retain(|f| stated.search && f.params().iter().all(|p| stated.search_params.contains(*p)));
    if !stated.read {
        terms.read_back = super::ReadBack::Never;
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn stated(create: bool, search: bool, conditional_create: bool, params: &[&str]) -> Stated {
        let search_params = params.iter().map(|p| (*p).to_owned()).collect();
        Stated([("Communication", StatedType { create, search, conditional_create, search_params, ..StatedType::default() })].into())
    }

    #[test]
    fn the_statement_bounds_the_preset() {
        use Finder::{Identifier, Patient, PatientSent};
        let all = ["identifier", "patient", "sent", "status"];
        let carried = vec![Carrier::Communication];
        for (said, chain, conditional, finders) in [
            (stated(true, true, true, &all), carried.clone(), true, vec![Identifier, PatientSent, Patient]),
            (stated(true, true, false, &all), carried.clone(), false, vec![Identifier, PatientSent, Patient]),
            (stated(true, true, false, &["patient", "sent"]), carried.clone(), false, vec![PatientSent, Patient]),
            (stated(true, true, true, &["patient"]), carried.clone(), true, vec![Patient]),
            (stated(true, false, true, &all), carried, true, vec![]),
            (stated(false, true, true, &all), vec![], true, vec![Identifier, PatientSent, Patient]),
            (Stated::default(), vec![], false, vec![]),
        ] {
            let contract = Contract::full_r4().within(&said);
            let terms = contract.communication;
            assert_eq!((contract.chain, terms.conditional_create, terms.finders), (chain, conditional, finders), "{said:?}");
        }
    }

    #[test]
    fn a_statement_is_no_proof() {
        let proven = Proven { conditional_create: ["Communication".to_owned()].into(), ..Proven::default() };
        assert!(Contract::full_r4().proven(&proven).communication.creates_conditionally());
        assert!(!Contract::full_r4().proven(&Proven::default()).communication.creates_conditionally());
    }

    #[test]
    fn the_operators_word_is_on_top() {
        let word: Override = serde_json::from_str(r#"{"payload":"template"}"#).unwrap();
        assert_eq!(Contract::full_r4().with(&word).shape.payload, PayloadShape::Template);
        let word: Override =
            serde_json::from_str(r#"{"leave_out":["identifier"],"settle_delay_secs":5,"conditional_create":true}"#).unwrap();
        let contract = Contract::full_r4().within(&stated(true, true, false, &["identifier"])).with(&word);
        assert_eq!(contract.settle_delay(), TimeDelta::seconds(5));
        let terms = &contract.communication;
        assert!(terms.conditional_create && !terms.creates_conditionally(), "a condition on what is not kept would never be met");
        assert_eq!(terms.finder(), None);
        assert!(serde_json::from_str::<Override>(r#"{"payloads":"text"}"#).is_err(), "a misspelt key is refused");
    }

    #[test]
    fn the_sites_word_on_provenance_counts_where_the_server_creates_it() {
        let word: Override = serde_json::from_str(r#"{"provenance":true}"#).unwrap();
        let says = |create, params: &[&str]| {
            let search_params = params.iter().map(|p| (*p).to_owned()).collect();
            let provenance = StatedType { create, search: true, search_params, ..StatedType::default() };
            Stated([("Communication", provenance.clone()), ("Provenance", provenance)].into())
        };
        let of = |stated: &Stated, word: &Override| Contract::full_r4().within(stated).with(word);
        let wanted = |c: &Contract| c.wants_provenance_of(Carrier::Communication);
        let taken = of(&says(true, &["target"]), &word);
        assert_eq!((wanted(&taken), taken.terms(Carrier::Provenance).unwrap().finder()), (true, Some(Finder::Target)));
        assert!(!taken.wants_provenance_of(Carrier::Route) && !taken.wants_provenance_of(Carrier::Provenance));
        assert!(!wanted(&of(&says(true, &["target"]), &Override::default())), "off where nobody asks for it");
        assert!(!wanted(&of(&says(false, &["target"]), &word)) && !wanted(&of(&Stated::default(), &word)));
        assert_eq!(of(&says(true, &[]), &word).terms(Carrier::Provenance).unwrap().finder(), None);
        let seen = Proven { key_kept: [(("Provenance".to_owned(), KeyPlace::Entity), true)].into(), ..Proven::default() };
        assert_eq!(taken.seen(&seen).terms(Carrier::Provenance).unwrap().key_kept, Some(true));
    }

    #[test]
    fn a_contract_is_data() {
        let json = serde_json::to_string(&Contract::full_r4()).unwrap();
        assert_eq!(serde_json::from_str::<Contract>(&json).unwrap(), Contract::full_r4());
        assert!(json.contains(r#""finders":["identifier","patient-sent","patient"]"#), "{json}");
    }
}
