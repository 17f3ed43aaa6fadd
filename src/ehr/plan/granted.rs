//! What an EHR grants, held against a plan: a type that no scope covers is refused, however well its way was chosen. Pure.

use domain::model::ResourceType;

use super::{Plan, Reconciled, TypePlan};
use crate::ehr::auth::{Granted, Need, Ops};
use crate::ehr::profile::Strategy;

/// What the tokens of a connection allow; absent where scopes do not apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Those that searches and reads go with.
    pub searches: Option<Granted>,
    /// The one that exports are asked for with.
    pub exports: Option<Granted>,
}

/// Whether a grant covers an export of a type (Bulk Data Access, "Scopes": `system/TYPE` with reading).
#[must_use]
pub fn covers(granted: &Granted, kind: ResourceType) -> bool {
    granted.missing(&[Need::new(kind.as_str(), Ops::R)]).is_empty()
}

impl Plan {
    /// Notes of each type what the EHR does not grant of it.
    pub fn heed(&mut self, reach: &Reach) {
        self.types.iter_mut().for_each(|of| of.heed(reach));
    }
}

impl TypePlan {
    fn heed(&mut self, reach: &Reach) {
        let kind = self.kind;
        let exported = reach.exports.as_ref().is_none_or(|granted| covers(granted, kind));
        let searched = reach.searches.as_ref().is_none_or(|granted| granted.missing(&[Need::new(kind.as_str(), self.wants())]).is_empty());
        match self.strategy {
            Strategy::Off => {}
            Strategy::Bulk if exported => {}
            Strategy::Bulk => {
                let instead = self.fallback.as_ref().filter(|other| other.is_granted(reach)).map(|other| other.strategy.as_str());
                self.ungranted = Some(match instead {
                    Some(other) => {
                        format!("the EHR grants no system/{kind}.rs, which an export needs: it is read by search instead ({other})")
                    }
                    None => format!("the EHR grants no system/{kind}.rs, which an export needs: it is refused until that is granted"),
                });
            }
            _ => {
                if !searched {
                    self.ungranted =
                        Some(format!("the EHR grants no scope that covers it (system/{kind}.rs): it is refused until that is granted"));
                }
                if !exported && matches!(self.reconciled, Reconciled::ByExport(_)) {
                    self.reconciled = Reconciled::Unreconciled;
                    self.warnings
                        .push(format!("no export is compared with it: the EHR grants no system/{kind}.rs to the credential of exports"));
                }
            }
        }
    }

    fn is_granted(&self, reach: &Reach) -> bool {
        reach.searches.as_ref().is_none_or(|granted| granted.missing(&[Need::new(self.kind.as_str(), self.wants())]).is_empty())
    }

    /// What the way does with the type.
    fn wants(&self) -> Ops {
        match self.strategy {
            Strategy::Reference => Ops::R,
            Strategy::Roster if self.kind == ResourceType::Patient => Ops::R,
            _ => Ops::S,
        }
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::ehr::{Capability, Profile};

    /// A plan at a server that states exports, and searches of Patient.
    fn plan(profile: &str) -> Plan {
        let text = r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","rest":[{"mode":"server","operation":[
            {"name":"export","definition":"http://hl7.org/fhir/uv/bulkdata/OperationDefinition/export"}],"resource":[
            {"type":"Patient","interaction":[{"code":"read"},{"code":"search-type"}]}]}]}"#;
        let capability = Capability::read(text.as_bytes(), &Url::parse("https://ehr.example.org/r4").unwrap()).unwrap().0;
        let profile = Profile::from_json(&format!(r#"{{"base_url":"https://ehr.example.org/r4",{profile}}}"#)).unwrap();
        Plan::of(&profile, &capability)
    }

    const ASKED: &str = r#""strategy":{"Patient":"bulk"}"#;

    #[test]
    fn an_export_that_no_system_scope_covers_is_told_with_what_is_read_in_its_place() {
        let told = |searches: &str, exports: &str| {
            let mut plan = plan(ASKED);
            assert_eq!(plan.types[0].strategy, Strategy::Bulk);
            plan.heed(&Reach { searches: Some(Granted::parse(searches)), exports: Some(Granted::parse(exports)) });
            plan.types[0].ungranted.clone()
        };
        assert_eq!(told("system/Patient.rs", "system/Patient.read"), None);
        assert_eq!(told("system/*.rs", "system/*.r"), None);
        let told_of = told("system/Patient.rs", "system/Appointment.rs").unwrap();
        assert!(told_of.contains("system/Patient.rs") && told_of.ends_with("read by search instead (full)"), "{told_of}");
        let told_of = told("user/Patient.rs", "").unwrap();
        assert!(told_of.ends_with("refused until that is granted"), "{told_of}");
        let mut open = plan(ASKED);
        open.heed(&Reach::default());
        assert_eq!(open.types[0].ungranted, None, "scopes do not apply");
        assert!(open.to_string().contains("bulk"));
    }

    #[test]
    fn what_a_filter_leaves_out_is_told() {
        let plan = plan(&format!(r#"{ASKED},"bulk":{{"filters":["Patient?active=true"]}}"#));
        let of = &plan.types[0];
        assert!(of.asks.contains("&_typeFilter=Patient?active=true"), "{}", of.asks);
        assert!(of.blind.iter().any(|text| text.contains("type filter")) && of.reconciled == Reconciled::Unreconciled, "{of:?}");
    }

    #[test]
    fn what_is_opened_otherwise_than_by_a_system_scope_is_not_exported() {
        let client = r#"{"kind":"backend-services","client_id":"c"}"#;
        let person = r#"{"kind":"user-grant","client_id":"c"}"#;
        for (more, why) in [
            (format!(r#""auth":{client},"credentials":{{"desk":{{"types":["Patient"],"auth":{person}}}}}"#), "the credential desk"),
            (format!(r#""auth":{person}"#), "no system/ scope"),
            (format!(r#""auth":{client},"scopes":{{"read":["system/Appointment.rs"]}}"#), "hold no system/Patient"),
        ] {
            let warned = &plan(&format!("{ASKED},{more}")).types[0];
            let all = [&warned.warnings[..], warned.lacks.as_slice()].concat();
            assert!(all.iter().any(|text| text.contains(why)), "{more}: {all:?}");
        }
    }
}
