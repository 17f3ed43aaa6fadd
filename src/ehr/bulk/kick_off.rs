//! What an export is asked for with, and what the answer says. Pure.

use std::time::Duration;

use domain::Timestamp;
use domain::fhir::Outcome;
use domain::model::ResourceType;
use serde_json::json;
use url::Url;

use super::dialect::{KickOff, Level, Lists, TypeFilter};

/// An export to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Whose data.
    pub level: Level,
    /// The Group, where it is one's.
    pub group: Option<String>,
    /// The types.
    pub types: Vec<ResourceType>,
    /// What changed after that instant of the server's clock; all there is where absent.
    pub since: Option<Timestamp>,
    /// What of the types.
    pub filters: Vec<TypeFilter>,
    /// How several values are written.
    pub lists: Lists,
    /// How it is asked for first.
    pub kick_off: KickOff,
}

impl Export {
    /// The path below the base.
    #[must_use]
    pub fn path(&self) -> String {
        match (self.level, &self.group) {
            (Level::Group, Some(id)) => format!("Group/{id}/$export"),
            (Level::Patient, _) => "Patient/$export".to_owned(),
            _ => "$export".to_owned(),
        }
    }

    fn filters(&self) -> Vec<String> {
        self.filters.iter().filter(|f| self.types.contains(&f.kind)).map(TypeFilter::value).collect()
    }

    /// The parameters of a query, in order. `Z` is the zone of every instant: a plus sign would be read as a space by some.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let listed = |name, values: Vec<String>| match self.lists {
            _ if values.is_empty() => Vec::new(),
            Lists::Repeated => values.into_iter().map(|value| (name, value)).collect(),
            Lists::Comma => vec![(name, values.join(","))],
        };
        let mut pairs = listed("_type", self.types.iter().map(|t| t.as_str().to_owned()).collect());
        pairs.extend(self.since.map(|at| ("_since", at.to_string())));
        pairs.extend(listed("_typeFilter", self.filters()));
        pairs
    }

    /// The URL with the parameters in its query.
    #[must_use]
    pub fn url(&self, endpoint: &Url) -> Url {
        let mut url = endpoint.clone();
        url.query_pairs_mut().extend_pairs(self.pairs());
        url
    }

    /// The parameters as a resource (R4 Parameters), for a POST.
    #[must_use]
    pub fn parameters(&self) -> Vec<u8> {
        let one = |(name, value): (&str, String)| match name {
            "_since" => json!({ "name": name, "valueInstant": value }),
            _ => json!({ "name": name, "valueString": value }),
        };
        let all: Vec<_> = self.pairs().into_iter().map(one).collect();
        json!({ "resourceType": "Parameters", "parameter": all }).to_string().into_bytes()
    }
}

/// What came of asking for an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KickedOff {
    /// The EHR prepares it.
    Accepted {
        /// Where to ask for it: opaque, whatever it looks like.
        status_url: Url,
        /// How long it wants to be left alone, where told.
        retry_after: Option<Duration>,
        /// The EHR's clock.
        server_date: Option<Timestamp>,
    },
    /// It refuses: the operation is not there, or not for this client, or not with these parameters.
    Refused {
        /// HTTP status.
        status: u16,
        /// Codes of the OperationOutcome.
        outcome: Outcome,
    },
    /// Too much at once (413): fewer types may go.
    TooMuch,
    /// It has another export in hand, or is throttled.
    Busy {
        /// HTTP status.
        status: u16,
        /// How long it wants to be left alone, where told.
        retry_after: Option<Duration>,
    },
    /// It says that it accepted and not where to ask.
    Nowhere,
}

/// Where the status is told: `Content-Location`, which some call `Location`; relative to the request in the worst case.
pub(super) fn status_url(content_location: Option<&str>, location: Option<&str>, asked: &Url) -> Option<Url> {
    [content_location, location].into_iter().flatten().find_map(|text| asked.join(text.trim()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export() -> Export {
        Export {
            level: Level::Group,
            group: Some("panel".to_owned()),
            types: vec![ResourceType::Patient, ResourceType::CarePlan],
            since: Timestamp::parse("2026-11-20T01:02:03.5+02:00"),
            filters: vec![
                TypeFilter::try_from("CarePlan?category=assess-plan,38717003&status=active".to_owned()).unwrap(),
                TypeFilter::try_from("Appointment?date=ge2026".to_owned()).unwrap(),
            ],
            lists: Lists::Repeated,
            kick_off: KickOff::Get,
        }
    }

    #[test]
    fn lists_are_repeated_or_joined_and_instants_have_no_plus() {
        let endpoint = Url::parse("https://e.org/r4").unwrap().join("r4/Group/panel/$export").unwrap();
        let url = export().url(&endpoint);
        assert_eq!(
            url.query().unwrap(),
            "_type=Patient&_type=CarePlan&_since=2026-11-19T23%3A02%3A03.500Z\
             &_typeFilter=CarePlan%3Fcategory%3Dassess-plan%252C38717003%26status%3Dactive"
        );
        let joined = Export { lists: Lists::Comma, since: None, filters: Vec::new(), ..export() };
        assert_eq!(joined.url(&endpoint).query().unwrap(), "_type=Patient%2CCarePlan");
        assert_eq!(export().path(), "Group/panel/$export");
        assert_eq!(Export { level: Level::Patient, group: None, ..export() }.path(), "Patient/$export");
        assert_eq!(Export { level: Level::System, group: None, ..export() }.path(), "$export");
        let posted: serde_json::Value = serde_json::from_slice(&export().parameters()).unwrap();
        assert_eq!(posted["parameter"][2]["valueInstant"], "2026-11-19T23:02:03.500Z");
        assert_eq!(posted["parameter"][0]["valueString"], "Patient");
    }

    #[test]
    fn filters_are_searches_of_synced_types() {
        for bad in ["CarePlan", "CarePlan?", "CarePlan?category", "Device?type=x", "CarePlan?_sort=date", "CarePlan?a=b#c"] {
            assert!(TypeFilter::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn where_to_ask_is_told_in_one_header_or_the_other() {
        let asked = Url::parse("https://e.org/r4/$export?x=1").unwrap();
        let at = |c, l| status_url(c, l, &asked).map(String::from);
        assert_eq!(at(Some("https://e.org/s/1?job_id=7"), Some("https://e.org/x")).unwrap(), "https://e.org/s/1?job_id=7");
        assert_eq!(at(None, Some("https://e.org/x")).unwrap(), "https://e.org/x");
        assert_eq!(at(Some("$export-poll-location?job_id=7"), None).unwrap(), "https://e.org/r4/$export-poll-location?job_id=7");
        assert_eq!(at(None, None), None);
    }
}
