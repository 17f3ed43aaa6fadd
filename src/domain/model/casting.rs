//! Who has which roles: by the site's rules, and by what the EHR says a user is. Whoever no rule names, and is nobody who treats, has none.

use super::{Role, Roles};

/// A rule: who, and what they are here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    who: Who,
    roles: Roles,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    /// One user of an EHR: `EHR/Practitioner/ID`.
    User(String, String, String),
    /// All of a type at an EHR (`EHR/Practitioner`), or everywhere (`Practitioner`).
    Type(Option<String>, String),
    /// Whoever has the value in the claim: `groups:engage`.
    Claim(String, String),
}

/// What a user of an EHR may be (SMART, `fhirUser`).
const TYPES: [&str; 5] = ["Practitioner", "PractitionerRole", "Person", "RelatedPerson", "Patient"];

impl Rule {
    /// Reads `WHO = ROLE, ROLE`; `None` where it is not understood. WHO is `EHR/Practitioner/ID`, `EHR/Practitioner`, `Practitioner`, or
    /// `CLAIM:VALUE`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (who, roles) = text.rsplit_once('=')?;
        let (who, names) = (who.trim(), roles.split(',').map(str::trim));
        let roles: Option<Vec<Role>> = names.map(Role::parse).collect();
        let roles = Roles::of(&roles.filter(|r| !r.is_empty())?);
        let parts: Vec<&str> = who.split('/').collect();
        let is_type = |kind: &str| TYPES.contains(&kind);
        let who = match parts.as_slice() {
            [kind] if is_type(kind) => Who::Type(None, (*kind).to_owned()),
            [ehr, kind] if is_type(kind) && !ehr.is_empty() => Who::Type(Some((*ehr).to_owned()), (*kind).to_owned()),
            [ehr, kind, id] if is_type(kind) && !ehr.is_empty() && !id.is_empty() => {
                Who::User((*ehr).to_owned(), (*kind).to_owned(), (*id).to_owned())
            }
            _ => {
                let (claim, value) = who.rsplit_once(':')?;
                Some(Who::Claim(claim.trim().to_owned(), value.trim().to_owned())).filter(|_| !claim.is_empty() && !value.is_empty())?
            }
        };
        Some(Self { who, roles })
    }
}

/// The rules of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Casting {
    rules: Vec<Rule>,
}

/// A user as the EHR tells: type and id of `fhirUser`, relative or absolute.
#[must_use]
pub fn fhir_user<'u>(text: &'u str, base: &str) -> Option<(&'u str, &'u str)> {
    let relative = match text.strip_prefix(base.trim_end_matches('/')) {
        Some(rest) => rest.strip_prefix('/')?,
        // A user of another server is nobody of this one.
        None if text.contains("://") => return None,
        None => text,
    };
    let mut parts = relative.split('/');
    let (kind, id) = (parts.next()?, parts.next()?);
    // A version may follow.
    let known = TYPES.contains(&kind) && !id.is_empty() && matches!(parts.next(), None | Some("_history"));
    known.then_some((kind, id))
}

impl Casting {
    /// By these rules.
    #[must_use]
    pub const fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// The roles of a user of an EHR: of all rules that name the user or the type. Without such a rule somebody who treats is a clinician, and all
    /// others have none: a patient's own account opens nothing here.
    #[must_use]
    pub fn of_ehr_user(&self, ehr: &str, kind: &str, id: &str) -> Roles {
        let names = |rule: &&Rule| match &rule.who {
            Who::User(e, k, i) => e == ehr && k == kind && i == id,
            Who::Type(e, k) => e.as_deref().is_none_or(|e| e == ehr) && k == kind,
            Who::Claim(..) => false,
        };
        // The closest word counts alone: who is named is not also what all others are.
        let (mut user, mut of_type, mut any) = (Roles::NONE, Roles::NONE, Roles::NONE);
        for rule in self.rules.iter().filter(names) {
            match &rule.who {
                Who::User(..) => user = user.or(rule.roles),
                Who::Type(Some(_), _) => of_type = of_type.or(rule.roles),
                _ => any = any.or(rule.roles),
            }
        }
        let treats = matches!(kind, "Practitioner" | "PractitionerRole");
        let otherwise = if treats { Roles::of(&[Role::Clinician]) } else { Roles::NONE };
        [user, of_type, any].into_iter().find(|roles| !roles.is_empty()).unwrap_or(otherwise)
    }

    /// The roles of a user of the site's own provider: of all rules whose claim has the value.
    #[must_use]
    pub fn of_claims<'c>(&self, values: impl Fn(&str) -> Vec<&'c str>) -> Roles {
        let named =
            self.rules.iter().filter(|rule| matches!(&rule.who, Who::Claim(claim, value) if values(claim).contains(&value.as_str())));
        named.fold(Roles::NONE, |all, rule| all.or(rule.roles))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn casting(rules: &[&str]) -> Casting {
        Casting::new(rules.iter().map(|r| Rule::parse(r).unwrap()).collect())
    }

    #[test]
    fn rules_are_read_and_misspelt_ones_are_not() {
        for text in [
            "Practitioner = clinician",
            "main/Practitioner/7 = care-manager, engagement",
            "main/Person = front-desk",
            "groups:ops=operator",
            "https://e.org/r:x = auditor",
        ] {
            assert!(Rule::parse(text).is_some(), "{text}");
        }
        for text in [
            "",
            "Practitioner",
            "Practitioner = ",
            "Practitioner = doctor",
            "main/Doctor/7 = clinician",
            "groups: = operator",
            ":x = operator",
            "a/b = operator",
            "x = operator",
        ] {
            assert!(Rule::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_closest_word_counts_and_nobody_gets_more_by_default() {
        let none = casting(&[]);
        assert_eq!(none.of_ehr_user("main", "Practitioner", "7").to_string(), "clinician");
        assert_eq!(none.of_ehr_user("main", "PractitionerRole", "7").to_string(), "clinician");
        for kind in ["Patient", "RelatedPerson", "Person", "Device"] {
            assert!(none.of_ehr_user("main", kind, "7").is_empty(), "{kind}");
        }
        let site = casting(&[
            "Practitioner = clinician",
            "main/Practitioner = front-desk",
            "main/Practitioner/7 = care-manager",
            "main/Practitioner/7 = auditor",
        ]);
        assert_eq!(site.of_ehr_user("main", "Practitioner", "7").to_string(), "care-manager,auditor");
        assert_eq!(site.of_ehr_user("main", "Practitioner", "8").to_string(), "front-desk");
        assert_eq!(site.of_ehr_user("south", "Practitioner", "7").to_string(), "clinician", "ids are of their EHR");
    }

    #[test]
    fn claims_give_what_they_are_named_for() {
        let site = casting(&["groups:ops = operator", "groups:desk = front-desk", "sub:u1 = auditor", "Practitioner = clinician"]);
        let values = |claim: &str| if claim == "groups" { vec!["desk", "ops"] } else { vec![] };
        assert_eq!(site.of_claims(values).to_string(), "front-desk,operator");
        assert!(site.of_claims(|_| vec!["Practitioner", "opsx"]).is_empty());
    }

    #[test]
    fn a_fhir_user_is_of_this_server() {
        let base = "https://ehr.example.org/r4/";
        assert_eq!(fhir_user("Practitioner/7", base), Some(("Practitioner", "7")));
        assert_eq!(fhir_user("https://ehr.example.org/r4/Practitioner/7", base), Some(("Practitioner", "7")));
        assert_eq!(fhir_user("https://ehr.example.org/r4/Practitioner/7/_history/2", base), Some(("Practitioner", "7")));
        for text in [
            "https://evil.example.org/r4/Practitioner/7",
            "https://ehr.example.org/r4x/Practitioner/7",
            "Practitioner",
            "Practitioner/",
            "Device/1",
            "/Practitioner/7",
            "Practitioner/7/x",
        ] {
            assert_eq!(fhir_user(text, base), None, "{text}");
        }
    }
}
