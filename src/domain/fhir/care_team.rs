//! CareTeam to facts.

use super::elements::{Times, code, concepts, object, patient_of, string};
use super::raw::{Raw, document, elements};
use super::{Head, Projected, Reject};
use crate::model::supporting::{CareTeamFacts, CareTeamMember};
use crate::model::{Facts, ResourceType};

const MEMBERS: [&str; 8] = ["resourceType", "id", "meta", "status", "category", "subject", "period", "participant"];

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [resource_type, id, meta, status, category, subject, when, participant] = document(text, MEMBERS)?;
    let head = Head::read(ResourceType::CareTeam, resource_type, id, meta)?;
    let times = Times::default();
    let facts = CareTeamFacts {
        status: code(status, "status")?,
        categories: concepts(category),
        patient: patient_of(subject, "subject")?,
        period: times.period("period", when),
        members: elements(participant).filter_map(|raw| member(raw, &times)).collect(),
    };
    Ok(head.with(Facts::CareTeam(Box::new(facts)), times))
}

fn member(raw: Raw<'_>, times: &Times) -> Option<CareTeamMember> {
    let [member, role, when] = raw.members(["member", "role", "period"])?;
    Some(CareTeamMember {
        member: string(object(member, ["reference"])[0]),
        roles: concepts(role),
        period: times.period("participant.period", when),
    })
}
