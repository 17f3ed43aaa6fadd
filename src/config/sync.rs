//! Reading from EHRs.

use chrono::TimeDelta;
use domain::model::ResourceType;

use super::reader::Section;

/// Reading from EHRs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// `_count` of a search; a server may give fewer.
    pub page_size: u32,
    /// How far before the high-water mark a run begins again: servers stamp `lastUpdated` before they commit.
    pub overlap: TimeDelta,
    /// The types to sync.
    pub types: Vec<ResourceType>,
}

impl Sync {
    pub(super) fn read(s: &mut Section<'_, '_>) -> Self {
        let types =
            s.list("types", "\"Patient\", \"Appointment\", \"CarePlan\"", |t| ResourceType::parse(t).is_some_and(ResourceType::is_core));
        if types.as_ref().is_some_and(|t| !t.iter().any(|t| t == "Patient")) {
            s.wrong("types", "\"Patient\" must be among them: the others refer to patients");
        }
        Self {
            page_size: s.number("page_size", 1, 1000).unwrap_or(200),
            overlap: s.span("overlap", TimeDelta::zero(), TimeDelta::days(7)).unwrap_or(TimeDelta::minutes(5)),
            // In the order of the model, whatever the order in the file: patients come first.
            types: types.map_or(ResourceType::CORE.to_vec(), |names| {
                ResourceType::CORE.into_iter().filter(|t| names.iter().any(|n| n == t.as_str())).collect()
            }),
        }
    }
}
