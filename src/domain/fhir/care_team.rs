//! CareTeam to facts.

use super::elements::{code, concepts, object, patient_of, period, string};
use super::raw::{Raw, document, elements};
use super::{Head, Projected, Reject};
use crate::model::supporting::{CareTeamFacts, CareTeamMember};
use crate::model::{Facts, ResourceType};

const MEMBERS: [&str; 8] = ["resourceType", "id", "meta", "status", "category", "subject", "period", "participant"];

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [resource_type, id, meta, status, category, subject, when, participant] = document(text, MEMBERS)?;
    let head = Head::read(ResourceType::CareTeam, resource_type, id, meta)?;
    let facts = CareTeamFacts {
        status: code(status, "status")?,
        categories: concepts(category),
        patient: patient_of(subject, "subject")?,
        period: period(when),
        members: elements(participant).filter_map(member).collect(),
    };
    Ok(head.with(Facts::CareTeam(Box::new(facts))))
}

fn member(raw: Raw<'_>) -> Option<CareTeamMember> {
    let [member, role, when] = raw.members(["member", "role", "period"])?;
    Some(CareTeamMember { member: string(object(member, ["reference"])[0]), roles: concepts(role), period: period(when) })
}
