//! The general-purpose datatypes that the emitted resources share, and their way into the R4 model.

use fhirbolt::model::r4::types;

use crate::check;
use crate::codes::Term;
use crate::invalid::{Invalid, Problem};

/// A code of a code system (R4 Coding).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coding {
    /// The code system, an absolute URI.
    pub system: Option<String>,
    /// The code.
    pub code: String,
    /// The code system's own words for it.
    pub display: Option<String>,
}

/// A concept by codes, by text, or both (R4 CodeableConcept). At least one of them is needed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Concept {
    /// The codes, best first.
    pub coding: Vec<Coding>,
    /// The concept in plain words. May be a patient's own, so it is not in `Debug`.
    pub text: Option<String>,
}

/// A business identifier (R4 Identifier).
#[derive(Clone, PartialEq, Eq)]
pub struct Identifier {
    /// The namespace, an absolute URI.
    pub system: String,
    /// The value, unique in the namespace.
    pub value: String,
}

/// A person, organisation or device (R4 Reference): by literal reference, by identifier, or by name only. At least one is needed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Reference {
    /// `Patient/1`, or an absolute URL.
    pub reference: Option<String>,
    /// The resource type, where only an identifier or a name is known.
    pub kind: Option<String>,
    /// A business identifier of the target.
    pub identifier: Option<Identifier>,
    /// The target's name for a reader.
    pub display: Option<String>,
}

impl std::fmt::Debug for Concept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Concept").field("coding", &self.coding).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Identifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identifier").field("system", &self.system).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reference").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl From<Term> for Coding {
    fn from(term: Term) -> Self {
        Self { system: Some(term.system.to_owned()), code: term.code.to_owned(), display: term.display.map(str::to_owned) }
    }
}

impl From<Term> for Concept {
    fn from(term: Term) -> Self {
        Self { coding: vec![term.into()], text: None }
    }
}

impl Concept {
    /// A concept in words only.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { coding: Vec::new(), text: Some(text.into()) }
    }

    /// The same concept with one more code.
    #[must_use]
    pub fn and(mut self, coding: impl Into<Coding>) -> Self {
        self.coding.push(coding.into());
        self
    }
}

impl Reference {
    /// A literal reference, such as `Patient/1`.
    #[must_use]
    pub fn to(reference: impl Into<String>) -> Self {
        Self { reference: Some(reference.into()), ..Self::default() }
    }

    /// Something known by its name only, and its type.
    #[must_use]
    pub fn named(kind: impl Into<String>, display: impl Into<String>) -> Self {
        Self { kind: Some(kind.into()), display: Some(display.into()), ..Self::default() }
    }
}

/// Applies a checked conversion to each entry of a list, with the entry's path.
pub(crate) fn each<T, U>(element: &str, list: &[T], convert: impl Fn(&str, &T) -> Result<U, Invalid>) -> Result<Vec<U>, Invalid> {
    list.iter().enumerate().map(|(i, entry)| convert(&format!("{element}[{i}]"), entry)).collect()
}

pub(crate) fn coding(element: &str, from: &Coding) -> Result<types::Coding, Invalid> {
    Ok(types::Coding {
        system: opt(from.system.as_deref(), |s| check::absolute_uri(&format!("{element}.system"), s))?.map(Into::into),
        code: Some(check::code(&format!("{element}.code"), &from.code)?.into()),
        display: opt(from.display.as_deref(), |s| check::string(&format!("{element}.display"), s))?.map(Into::into),
        ..Default::default()
    })
}

pub(crate) fn concept(element: &str, from: &Concept) -> Result<types::CodeableConcept, Invalid> {
    if from.coding.is_empty() && from.text.is_none() {
        return Err(Invalid::new(element, Problem::NoConcept));
    }
    Ok(types::CodeableConcept {
        coding: each(&format!("{element}.coding"), &from.coding, coding)?,
        text: opt(from.text.as_deref(), |s| check::string(&format!("{element}.text"), s))?.map(Into::into),
        ..Default::default()
    })
}

pub(crate) fn identifier(element: &str, from: &Identifier) -> Result<types::Identifier, Invalid> {
    Ok(types::Identifier {
        system: Some(check::absolute_uri(&format!("{element}.system"), &from.system)?.into()),
        value: Some(check::string(&format!("{element}.value"), &from.value)?.into()),
        ..Default::default()
    })
}

/// A Reference; `allowed` are the types that the element takes, empty means any.
pub(crate) fn reference(element: &str, from: &Reference, allowed: &[&str]) -> Result<types::Reference, Invalid> {
    if from.reference.is_none() && from.identifier.is_none() && from.display.is_none() {
        return Err(Invalid::new(element, Problem::NoReference));
    }
    if let Some(kind) = from.kind.as_deref()
        && !allowed.is_empty()
        && !allowed.contains(&kind)
    {
        return Err(Invalid::new(format!("{element}.type"), Problem::ReferenceType));
    }
    Ok(types::Reference {
        reference: opt(from.reference.as_deref(), |s| check::reference(&format!("{element}.reference"), s, allowed))?.map(Into::into),
        r#type: opt(from.kind.as_deref(), |s| check::code(&format!("{element}.type"), s))?.map(Into::into),
        identifier: opt(from.identifier.as_ref(), |i| identifier(&format!("{element}.identifier"), i))?.map(Box::new),
        display: opt(from.display.as_deref(), |s| check::string(&format!("{element}.display"), s))?.map(Into::into),
        ..Default::default()
    })
}

/// A Reference that is only a literal one.
pub(crate) fn literal(element: &str, from: &str, allowed: &[&str]) -> Result<types::Reference, Invalid> {
    let checked = check::reference(&format!("{element}.reference"), from, allowed)?;
    Ok(types::Reference { reference: Some(checked.into()), ..Default::default() })
}

/// `meta` with profiles, or nothing.
pub(crate) fn meta(element: &str, profile: &[String]) -> Result<Option<Box<types::Meta>>, Invalid> {
    let profile = each(&format!("{element}.profile"), profile, |e, p: &String| check::absolute_uri(e, p).map(Into::into))?;
    Ok((!profile.is_empty()).then(|| Box::new(types::Meta { profile, ..Default::default() })))
}

/// Applies a checked conversion to what may be absent.
pub(crate) fn opt<T, U>(from: Option<T>, convert: impl FnOnce(T) -> Result<U, Invalid>) -> Result<Option<U>, Invalid> {
    from.map(convert).transpose()
}
