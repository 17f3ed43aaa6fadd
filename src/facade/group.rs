//! A segment as a FHIR Group (R4 Group, profile `engagement-segment`): its rule, and its members with the time at which each entered.
//!
//! A person with records at several EHRs is several members, one a record, each by its absolute URL at its EHR; the Patient of an EHR that
//! delivers files only has no URL and stands as `Patient/ID`.

use std::collections::HashMap;

use domain::Timestamp;
use domain::rules::Definition;
use typed::{Coding, Concept, Group, Identifier, Invalid, Issue, IssueCode, Member, Severity};

use crate::ehr::Profile;
use crate::store::memberships::{self, Segment};
use crate::store::{Conn, StoreError, ehrs};

const PROFILE: &str = "http://fhir-engage.example/fhir/StructureDefinition/engagement-segment";
const CODES: &str = "http://fhir-engage.example/fhir/CodeSystem/engagement-segment";
const IDENTIFIERS: &str = "urn:fhir-engage:segment";

/// The most persons of one page.
pub const LONGEST_PAGE: i64 = 10_000;

/// Why a Group could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NoGroup {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored does not make valid R4.
    #[error("the segment cannot be told as a Group: {0}")]
    Invalid(#[from] Invalid),
}

/// A page of a segment's members.
#[derive(Clone, Debug)]
pub struct Page {
    /// Each record of each member.
    members: Vec<(String, i64)>,
    /// Where the next page begins; absent where this is the last one.
    pub next: Option<i64>,
}

/// What is published of a segment, read in one snapshot.
#[derive(Clone, Debug)]
pub struct Published {
    segment: Segment,
    quantity: i64,
    page: Page,
}

impl Published {
    /// Where the next page begins; absent where this is the last one.
    #[must_use]
    pub const fn next(&self) -> Option<i64> {
        self.page.next
    }

    /// Adds a later page of the same segment.
    pub fn join(&mut self, later: Self) {
        self.page.members.extend(later.page.members);
        self.page.next = later.page.next;
        self.quantity = later.quantity;
    }
}

/// Reads a segment with the members after `after`, at most `count` persons. `None` where there is no such segment.
///
/// # Errors
/// The engine's refusal.
pub fn read(conn: &mut Conn, id: &str, after: i64, count: i64) -> Result<Option<Published>, StoreError> {
    let Some(segment) = memberships::segments(conn)?.into_iter().find(|s| s.id == id) else { return Ok(None) };
    let bases: HashMap<String, String> = ehrs::list(conn)?
        .into_iter()
        .filter_map(|row| {
            let base = serde_json::from_str::<Profile>(&row.profile).ok()?.base_url?;
            Some((row.id, base.as_str().trim_end_matches('/').to_owned()))
        })
        .collect();
    let reference = |ehr: &str, patient: &str| match bases.get(ehr) {
        Some(base) => format!("{base}/Patient/{patient}"),
        None => format!("Patient/{patient}"),
    };
    let (records, next) = memberships::member_records(conn, segment.number, after, count.clamp(1, LONGEST_PAGE))?;
    let members = records.into_iter().map(|r| (reference(&r.ehr, &r.fhir_id), r.since)).collect();
    let quantity = memberships::count_records(conn, segment.number)?;
    Ok(Some(Published { segment, quantity, page: Page { members, next } }))
}

/// Renders it as R4 JSON.
///
/// # Errors
/// [`Invalid`] where what is stored cannot be valid R4.
pub fn render(published: &Published) -> Result<Vec<u8>, Invalid> {
    let Published { segment, quantity, page } = published;
    let definition = Definition::parse(&segment.source).ok();
    let title = definition.as_ref().map_or_else(|| segment.id.clone(), |d| d.title.clone());
    let group = Group {
        id: Some(segment.id.clone()),
        profile: vec![PROFILE.to_owned()],
        identifier: vec![Identifier { system: IDENTIFIERS.to_owned(), value: segment.id.clone() }],
        active: true,
        code: Concept {
            coding: vec![Coding { system: Some(CODES.to_owned()), code: segment.id.clone(), display: None }],
            text: Some(title.clone()),
        },
        name: title,
        quantity: u32::try_from(*quantity).unwrap_or(u32::MAX),
        managing_entity: None,
        rule: definition.map(|d| d.rule.to_string()),
        member: page
            .members
            .iter()
            .map(|(patient, since)| Member {
                patient: patient.clone(),
                since: Some(Timestamp::from_micros(*since - since.rem_euclid(1_000)).to_string()),
                until: None,
                inactive: false,
            })
            .collect(),
    };
    typed::group(&group)
}

/// What is answered where there is no such segment (R4 OperationOutcome).
#[must_use]
pub fn not_found() -> Vec<u8> {
    let text = Some("There is no such segment in force.".to_owned());
    let issue = Issue { severity: Severity::Error, code: IssueCode::NotFound, text, expression: Vec::new() };
    typed::operation_outcome(&[issue]).unwrap_or_default()
}
