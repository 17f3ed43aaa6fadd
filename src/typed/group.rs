//! Group (R4, hl7.org/fhir/R4/group.html): a segment as downstream systems read it.

use fhirbolt::model::r4::{Resource, resources, types};

use crate::check;
use crate::datatypes::{Concept, Identifier, concept, each, identifier, literal, meta, opt};
use crate::invalid::{Invalid, Problem};
use crate::render;

/// A segment to be published: a group of actual persons.
#[derive(Clone, PartialEq, Eq)]
pub struct Group {
    /// The logical id on our facade, if it is served.
    pub id: Option<String>,
    /// `meta.profile`: canonical URLs.
    pub profile: Vec<String>,
    /// Business identifiers of the segment.
    pub identifier: Vec<Identifier>,
    /// Whether the segment is in use.
    pub active: bool,
    /// What the members have in common: the segment's code.
    pub code: Concept,
    /// The segment's name for a reader.
    pub name: String,
    /// How many patients are members now, those on other pages included.
    pub quantity: u32,
    /// Who answers for the segment.
    pub managing_entity: Option<String>,
    /// What decides who is a member, as its author wrote it.
    pub rule: Option<String>,
    /// The members of this page, past ones too where asked for.
    pub member: Vec<Member>,
}

/// One membership.
#[derive(Clone, PartialEq, Eq)]
pub struct Member {
    /// `Patient/1`, or an absolute URL.
    pub patient: String,
    /// When the patient entered the segment (dateTime).
    pub since: Option<String>,
    /// When the patient left it (dateTime).
    pub until: Option<String>,
    /// Whether the membership is over. A member who has left is inactive.
    pub inactive: bool,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group")
            .field("name", &self.name)
            .field("quantity", &self.quantity)
            .field("members", &self.member.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("inactive", &self.inactive).finish_non_exhaustive()
    }
}

/// Renders a segment as R4 JSON: `type` person, `actual` true.
///
/// # Errors
/// [`Invalid`] at the first element that cannot be valid R4.
pub fn group(from: &Group) -> Result<Vec<u8>, Invalid> {
    let active = from.member.iter().filter(|m| !m.inactive).count();
    if usize::try_from(from.quantity).is_ok_and(|quantity| quantity < active) {
        return Err(Invalid::new("Group.quantity", Problem::Quantity));
    }
    let managers = &["Organization", "RelatedPerson", "Practitioner", "PractitionerRole"];
    let resource = resources::Group {
        id: opt(from.id.as_deref(), |id| check::id("Group.id", id))?.map(Into::into),
        meta: meta("Group.meta", &from.profile)?,
        identifier: each("Group.identifier", &from.identifier, identifier)?,
        active: Some(from.active.into()),
        r#type: "person".into(),
        actual: true.into(),
        code: Some(Box::new(concept("Group.code", &from.code)?)),
        name: Some(check::string("Group.name", &from.name)?.into()),
        quantity: Some(from.quantity.into()),
        managing_entity: opt(from.managing_entity.as_deref(), |m| literal("Group.managingEntity", m, managers))?.map(Box::new),
        characteristic: opt(from.rule.as_deref(), characteristic)?.into_iter().collect(),
        member: each("Group.member", &from.member, member)?,
        ..Default::default()
    };
    render(&Resource::Group(Box::new(resource)))
}

/// The rule as the one trait that all members share. R4 asks for a code, a value and whether it excludes.
fn characteristic(rule: &str) -> Result<resources::GroupCharacteristic, Invalid> {
    let words = |element: &str, text: &str| concept(element, &Concept { coding: Vec::new(), text: Some(text.to_owned()) });
    let value = words("Group.characteristic[0].value", rule)?;
    Ok(resources::GroupCharacteristic {
        code: Box::new(words("Group.characteristic[0].code", "Rule")?),
        value: resources::GroupCharacteristicValue::CodeableConcept(Box::new(value)),
        exclude: false.into(),
        ..Default::default()
    })
}

fn member(element: &str, from: &Member) -> Result<resources::GroupMember, Invalid> {
    let period = format!("{element}.period");
    let start = opt(from.since.as_deref(), |t| check::date_time(&format!("{period}.start"), t))?;
    let end = opt(from.until.as_deref(), |t| check::date_time(&format!("{period}.end"), t))?;
    // per-1: only two full instants can be compared for sure.
    if let (Some(start), Some(end)) = (instant(start.as_deref()), instant(end.as_deref()))
        && end < start
    {
        return Err(Invalid::new(period, Problem::Period));
    }
    let has_period = start.is_some() || end.is_some();
    let period = types::Period { start: start.map(Into::into), end: end.map(Into::into), ..Default::default() };
    Ok(resources::GroupMember {
        entity: Box::new(literal(&format!("{element}.entity"), &from.patient, &["Patient"])?),
        period: has_period.then(|| Box::new(period)),
        inactive: Some(from.inactive.into()),
        ..Default::default()
    })
}

fn instant(text: Option<&str>) -> Option<chrono::DateTime<chrono::FixedOffset>> {
    chrono::DateTime::parse_from_rfc3339(text?).ok()
}
