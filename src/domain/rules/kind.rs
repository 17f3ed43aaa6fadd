//! What a test is narrowed to: conditions, procedures or visits of some codes. Three-valued, as all else: a record that is not coded, or coded in
//! a system of which the kind has no codes, may be of that kind.

use std::sync::Arc;

use crate::model::facts::Coding;

use super::truth::Truth;
use super::value::Why;
use super::value_set::ListedCodes;

/// A code as FHIR's token search writes it (R4 search, 3.1.1.4.10): `code`, `system|code`, `|code` (without system).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// `None`: any system or none. `Some("")`: none.
    pub system: Option<String>,
    /// The code.
    pub code: String,
}

impl Code {
    /// Reads one of the three forms.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.split_once('|') {
            Some((system, code)) => Self { system: Some(system.to_owned()), code: code.to_owned() },
            None => Self { system: None, code: text.to_owned() },
        }
    }

    /// Whether a coding is this one.
    #[must_use]
    pub fn matches(&self, system: Option<&str>, code: &str) -> bool {
        self.code == code && self.system.as_deref().is_none_or(|wanted| wanted == system.unwrap_or_default())
    }

    /// Whether a text, such as a reference, is this one.
    #[must_use]
    pub fn is_text(&self, text: &str) -> bool {
        self.system.is_none() && self.code == text
    }
}

/// Codes, or a value set of them.
#[derive(Clone, Debug)]
pub enum Kind {
    /// One of these.
    Codes(Vec<Code>),
    /// One of this value set.
    ValueSet(Arc<ListedCodes>),
}

/// Why it is open whether a record is of a kind.
pub(super) const NO_CODES: Why = Why::Doubtful("the codes of the value set are not at this site");
pub(super) const OTHER_SYSTEM: Why = Why::Doubtful("a record is not coded, or in a code system of which no codes are asked for");

impl Kind {
    /// Whether a record with these codes is of the kind, and why it is open where it is.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub fn holds<'a>(&self, codes: impl Iterator<Item = &'a Coding> + Clone) -> Result<bool, Why> {
        let mut comparable = false;
        for coding in codes {
            let (found, same_system) = self.compare(coding)?;
            if found {
                return Ok(true);
            }
            comparable |= same_system;
        }
        if comparable { Ok(false) } else { Err(OTHER_SYSTEM) }
    }

    /// Whether a code is one of the kind, and whether it is of a system in which the kind has codes.
    fn compare(&self, coding: &Coding) -> Result<(bool, bool), Why> {
        let system = coding.system.as_deref();
        match self {
            Self::Codes(codes) => {
                let same = |c: &Code| c.system.as_deref().is_none_or(|wanted| wanted == system.unwrap_or_default());
                Ok((codes.iter().any(|c| c.matches(system, &coding.code)), codes.iter().any(same)))
            }
            Self::ValueSet(listed) => match listed.contains(system, &coding.code) {
                Some(found) => Ok((found, listed.has_system(system))),
                None => Err(NO_CODES),
            },
        }
    }

    /// Why nothing of this kind can be told at all.
    #[must_use]
    pub fn untold(&self) -> Option<Why> {
        matches!(self, Self::ValueSet(listed) if listed.set().len().is_none()).then_some(NO_CODES)
    }

    /// Whether a text, such as a canonical URL, is of the kind: texts are compared with codes as they are.
    #[must_use]
    pub fn is_text(&self, text: &str) -> bool {
        match self {
            Self::Codes(codes) => codes.iter().any(|c| c.is_text(text)),
            Self::ValueSet(_) => false,
        }
    }
}

/// Whether a record is of the kind that is asked for; of all kinds where none is.
pub(super) fn is_of<'a>(kind: Option<&Kind>, codes: impl Iterator<Item = &'a Coding> + Clone) -> (Truth, Option<Why>) {
    match kind.map(|kind| kind.holds(codes)) {
        None => (Truth::True, None),
        Some(Ok(found)) => (found.into(), None),
        Some(Err(why)) => (Truth::Unknown, Some(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::value_set::{ValueSet, ValueSets};

    fn coding(system: &str, code: &str) -> Coding {
        Coding { system: Some(system.to_owned()).filter(|s| !s.is_empty()), code: code.to_owned() }
    }

    #[test]
    fn a_record_in_another_system_may_be_of_the_kind() {
        let head = "id = 'x'\ntitle = 't'\nsource = 's'\nversion = '1'\nlicence = 'CC0-1.0'\n";
        let sets = ValueSets::of([ValueSet::parse(&format!("{head}[codes]\n'http://a' = ['1', '2']\n")).unwrap()]).unwrap();
        let empty = ValueSets::of([ValueSet::parse(head).unwrap()]).unwrap();
        let set = Kind::ValueSet(Arc::clone(sets.get("x").unwrap()));
        let codeless = Kind::ValueSet(Arc::clone(empty.get("x").unwrap()));
        let codes = Kind::Codes(vec![Code::parse("http://a|1"), Code::parse("|9")]);
        let any = Kind::Codes(vec![Code::parse("1")]);
        for (kind, found, wanted) in [
            (&set, vec![coding("http://a", "2")], Ok(true)),
            (&set, vec![coding("http://b", "2"), coding("http://a", "2")], Ok(true)),
            (&set, vec![coding("http://b", "2"), coding("http://a", "3")], Ok(false)),
            (&set, vec![coding("http://b", "2")], Err(OTHER_SYSTEM)),
            (&set, vec![coding("", "2")], Err(OTHER_SYSTEM)),
            (&set, vec![], Err(OTHER_SYSTEM)),
            (&codeless, vec![coding("http://a", "2")], Err(NO_CODES)),
            (&codes, vec![coding("http://a", "1")], Ok(true)),
            (&codes, vec![coding("http://a", "9")], Ok(false)),
            (&codes, vec![coding("", "9")], Ok(true)),
            (&codes, vec![coding("http://b", "1")], Err(OTHER_SYSTEM)),
            (&any, vec![coding("http://b", "1")], Ok(true)),
            (&any, vec![coding("http://b", "2")], Ok(false)),
            (&any, vec![], Err(OTHER_SYSTEM)),
        ] {
            assert_eq!(kind.holds(found.iter()), wanted, "{kind:?} {found:?}");
        }
        assert!(any.is_text("1") && !codes.is_text("1") && !set.is_text("1"));
    }
}
