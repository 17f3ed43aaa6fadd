//! The contract of one EHR: from its vendor's preset, its statement, what was proved of it, and the operator's word. And the rules that no
//! key can say by itself.

use std::collections::BTreeSet;

use super::{Carrier, Contract, Element, KeyPlace, Override, Party, Proven, Stated, StatusChange};
use crate::ehr::misread;
use crate::ehr::vendor::Preset;

/// No limit of a text is lower: a mark and a few words fit in.
const LEAST_ROOM: usize = 80;

/// Why there is no usable contract. For the operator: it names keys and never a patient.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// Not of this shape.
    #[error("the write-back settings cannot be read: {0}")]
    Unreadable(String),
    /// A rule across keys is broken.
    #[error("write-back settings: {0}")]
    Rule(String),
}

impl Override {
    /// Reads the operator's word as a connector profile keeps it.
    ///
    /// # Errors
    /// [`ContractError::Unreadable`]: a misspelt key must not pass in silence.
    pub fn read(settings: &serde_json::Value) -> Result<Self, ContractError> {
        misread::read_value(settings).map_err(|e| ContractError::Unreadable(e.to_string()))
    }
}

impl Contract {
    /// What a vendor's servers take by all that is known of them.
    ///
    /// # Errors
    /// [`ContractError::Unreadable`]; of none that is shipped, a test reads them all.
    pub fn of_preset(preset: &Preset) -> Result<Self, ContractError> {
        let contract: Self =
            preset.write_back.clone().try_into().map_err(|e: toml::de::Error| ContractError::Unreadable(e.message().to_owned()))?;
        Ok(Self { preset: preset.name.clone(), ..contract })
    }

    /// The contract of one EHR: the preset, narrowed by what the server states and by what was proved, the operator's word on top.
    ///
    /// # Errors
    /// [`ContractError`], the first rule that is broken.
    pub fn for_ehr(preset: &Preset, stated: &Stated, proven: &Proven, word: &Override) -> Result<Self, ContractError> {
        let contract = Self::of_preset(preset)?.within(stated).proven(proven).with(word).seen(proven);
        contract.check()?;
        Ok(contract)
    }

    /// What the keys cannot say one by one. A setting that is still missing is not against the rules: see [`Contract::missing`].
    ///
    /// # Errors
    /// [`ContractError::Rule`], the first one broken.
    pub fn check(&self) -> Result<(), ContractError> {
        let rule = |holds: bool, text: &str| if holds { Ok(()) } else { Err(ContractError::Rule(text.to_owned())) };
        let distinct: BTreeSet<_> = self.chain.iter().collect();
        rule(distinct.len() == self.chain.len(), "chain names a carrier twice")?;
        rule(
            !self.writes.daily_note || self.chain.iter().any(|c| *c != Carrier::Communication),
            "daily_note needs document-reference, route, export or ledger in the chain: a Communication tells of one message",
        )?;
        rule(
            self.communication.key == KeyPlace::Text || self.takes(Element::Identifier),
            "communication.key is identifier, and identifier is left out: it could never be found again",
        )?;
        rule(
            self.document_reference.key == KeyPlace::Text || self.note.identifier,
            "document_reference.key is identifier, and note.identifier is off: it could never be found again",
        )?;
        let limits = &self.shape.limits;
        let least = limits.payload.min(self.note.limit);
        rule(least >= LEAST_ROOM, "limits.payload and note.limit must be at least 80 characters: our key must fit in")?;
        rule(limits.topic > 0 && limits.note > 0, "limits.topic and limits.note must be at least 1")?;
        rule(!self.note.loinc.trim().is_empty() && !self.note.title.trim().is_empty(), "note.loinc and note.title must not be empty")?;
        if let Some(change) = &self.status_change {
            let all = change.confirm_from.iter().chain(&change.cancel_from);
            rule(
                all.clone().all(|s| StatusChange::is_before_visit(s)),
                "status_change takes proposed, pending, booked and waitlist only: after arrival nothing is changed",
            )?;
        }
        for (name, party) in [("sender", &self.shape.sender), ("recipient", &self.shape.recipient), ("note.author", &self.note.author)] {
            if let Party::Configured(Some(reference)) = party {
                let holds = reference.split_once('/').is_some_and(|(kind, id)| !kind.is_empty() && !id.is_empty());
                rule(holds, &format!("{name} must be a reference, such as Practitioner/123"))?;
            }
        }
        if let Some(route) = &self.route {
            let pointer = |at: &Option<String>| at.as_ref().is_none_or(|at| at.starts_with('/'));
            rule(pointer(&route.found_at) && pointer(&route.id_at), "route.found_at and route.id_at are JSON pointers, such as /entry/0")?;
            rule(
                route.find.is_none() || route.found_at.is_some() || route.id_at.is_some(),
                "route.find needs route.found_at, a JSON pointer to what was found: an answer that repeats the question would be taken for it",
            )?;
        }
        self.route.as_ref().map_or(Ok(()), crate::writeback::compose::check_route)
    }

    /// The settings that must be given before everything can be written; those that the chain has no use for are not asked for.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let wanted = |party: &Party, carrier: Carrier| *party == Party::Configured(None) && self.chain.contains(&carrier);
        let sender = wanted(&self.shape.sender, Carrier::Communication) || wanted(&self.note.author, Carrier::DocumentReference);
        let recipient = wanted(&self.shape.recipient, Carrier::Communication);
        [("sender", sender), ("recipient", recipient)].into_iter().filter(|(_, missing)| *missing).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writeback::contract::Writes;

    #[test]
    fn rules_across_keys_are_held() {
        let broken = |spoil: fn(&mut Contract)| {
            let mut contract = Contract::full_r4();
            spoil(&mut contract);
            contract.check().unwrap_err().to_string()
        };
        assert_eq!(Contract::full_r4().check(), Ok(()));
        assert!(broken(|c| c.chain.push(Carrier::Communication)).contains("twice"));
        assert!(broken(|c| c.writes.daily_note = true).contains("daily_note needs"));
        assert!(
            broken(|c| {
                c.shape.elements.remove(&Element::Identifier);
            })
            .contains("never be found again")
        );
        assert!(broken(|c| c.note.identifier = false).contains("never be found again"));
        assert!(broken(|c| c.shape.limits.payload = 79).contains("80 characters"));
        assert!(broken(|c| c.note.title = " ".to_owned()).contains("note.title"));
        assert!(
            broken(|c| {
                c.status_change.as_mut().unwrap().cancel_from.insert("arrived".to_owned());
            })
            .contains("after arrival")
        );
        assert!(broken(|c| c.shape.sender = Party::Configured(Some("123".to_owned()))).contains("sender must be a reference"));
    }

    #[test]
    fn a_route_is_tried_when_it_is_set() {
        let with = |body: &str| {
            let settings = serde_json::json!({"route": {"url": "https://e.example/x", "content_type": "application/json", "body": body, "success": [200]}});
            Contract::full_r4().with(&Override::read(&settings).unwrap()).check().map_err(|e| e.to_string())
        };
        assert_eq!(with(r#"{"id": {{ key|json }}, "text": {{ summary|json }}, "when": "{{ sent }}"}"#), Ok(()));
        for (body, says) in [
            (r#"{"id": "{{ key }}", "text": "{{ summary }}"}"#, "not JSON"),
            (r#"{"text": {{ summary|json }}}"#, "must hold {{ key }}"),
            (r#"{"id": "{{ kye }}"}"#, "names a value"),
            (r#"{"id": "{{ key }"}"#, "syntax error"),
        ] {
            let error = with(body).unwrap_err();
            assert!(error.contains(says), "{body}: {error}");
        }
    }

    #[test]
    fn a_route_says_where_what_was_found_is() {
        let with = |more: serde_json::Value| {
            let mut settings = serde_json::json!({"route": {"url": "https://e.example/x", "content_type": "text/plain", "body": "{{ key }}",
                "success": [200], "find": "https://e.example/x/{key}"}});
            settings["route"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Contract::full_r4().with(&Override::read(&settings).unwrap()).check().map_err(|e| e.to_string())
        };
        assert_eq!(with(serde_json::json!({"found_at": "/items/0"})), Ok(()));
        assert_eq!(with(serde_json::json!({"id_at": "/id"})), Ok(()));
        assert!(with(serde_json::json!({})).unwrap_err().contains("needs route.found_at"));
        assert!(with(serde_json::json!({"found_at": "items"})).unwrap_err().contains("JSON pointers"));
    }

    #[test]
    fn the_operators_word_is_read_strictly() {
        assert!(Override::read(&serde_json::json!({"recipent": "Group/1"})).unwrap_err().to_string().contains("recipent"));
        let word = Override::read(&serde_json::json!({"writes": {"daily_note": true}})).unwrap();
        assert_eq!(word.writes, Some(Writes { daily_note: true, ..Writes::default() }));
    }
}
