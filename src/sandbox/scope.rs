//! SMART scopes of the level `system`, version 2 (`system/Patient.rs`) and version 1 (`system/Patient.read`). Owns the grammar and the
//! question whether a scope allows an interaction. Scopes with a query part are not supported and therefore never granted.

/// One scope, as letters of `cruds`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scope {
    /// `*` or a resource type.
    resource_type: String,
    letters: String,
}

const ALL: &str = "cruds";

impl Scope {
    /// Reads one scope; letters must stand in the order of `cruds` (SMART App Launch 2.2, "Scopes for requesting FHIR resources").
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (resource_type, letters) = text.strip_prefix("system/")?.split_once('.')?;
        let letters = match letters {
            "read" => "rs",
            "write" => "cud",
            "*" => ALL,
            letters => letters,
        };
        let mut rest = ALL.chars();
        let ordered = !letters.is_empty() && letters.chars().all(|letter| rest.any(|allowed| allowed == letter));
        let named = resource_type == "*" || (!resource_type.is_empty() && resource_type.chars().all(|c| c.is_ascii_alphabetic()));
        (ordered && named).then(|| Self { resource_type: resource_type.to_owned(), letters: letters.to_owned() })
    }

    pub(crate) fn allows(&self, resource_type: &str, letter: char) -> bool {
        (self.resource_type == "*" || self.resource_type == resource_type) && self.letters.contains(letter)
    }

    /// What of this request the allowed scopes cover, one scope per type; none when nothing is covered.
    pub(crate) fn narrowed_to(&self, allowed: &[Self]) -> Vec<Self> {
        let covered = |resource_type: &str, by: &dyn Fn(&Self) -> bool| {
            let letters = self.letters.chars().filter(|letter| allowed.iter().any(|scope| by(scope) && scope.letters.contains(*letter)));
            Self { resource_type: resource_type.to_owned(), letters: letters.collect() }
        };
        let mut granted = if self.resource_type == "*" {
            let mut granted = vec![covered("*", &|scope| scope.resource_type == "*")];
            for scope in allowed.iter().filter(|scope| scope.resource_type != "*") {
                if !granted.iter().any(|known| known.resource_type == scope.resource_type) {
                    granted.push(covered(&scope.resource_type, &|other| other.resource_type == scope.resource_type));
                }
            }
            granted
        } else {
            vec![covered(&self.resource_type, &|scope| scope.resource_type == "*" || scope.resource_type == self.resource_type)]
        };
        granted.retain(|scope| !scope.letters.is_empty());
        granted
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "system/{}.{}", self.resource_type, self.letters)
    }
}

/// What is granted of a space-separated request, as text for the token answer and as scopes for the checks. `None`: nothing.
///
/// A scope granted in full is echoed as it was asked for, so a client that asked in version 1 reads version 1.
pub(crate) fn grant(requested: &str, allowed: &[Scope]) -> Option<(String, Vec<Scope>)> {
    let (mut texts, mut scopes) = (Vec::new(), Vec::new());
    for text in requested.split_whitespace() {
        let Some(scope) = Scope::parse(text) else { continue };
        let granted = scope.narrowed_to(allowed);
        if granted == [scope] {
            texts.push(text.to_owned());
        } else {
            texts.extend(granted.iter().map(Scope::to_string));
        }
        scopes.extend(granted);
    }
    (!scopes.is_empty()).then(|| (texts.join(" "), scopes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_narrowed_to_what_is_allowed() {
        let cases = [
            ("system/*.cruds", "system/Patient.rs", Some("system/Patient.rs")),
            ("system/*.cruds", "system/Patient.read", Some("system/Patient.read")),
            ("system/Patient.rs", "system/*.rs", Some("system/Patient.rs")),
            ("system/Patient.r system/*.s", "system/*.rs", Some("system/*.s system/Patient.r")),
            ("system/Patient.rs", "system/Patient.cruds", Some("system/Patient.rs")),
            ("system/Patient.rs system/Appointment.rs", "system/Appointment.rs system/CarePlan.rs", Some("system/Appointment.rs")),
            ("system/Patient.read", "system/Patient.rs", Some("system/Patient.rs")),
            ("system/Patient.rs", "system/Patient.c", None),
            ("system/*.cruds", "system/Patient.sr", None),
            ("system/*.cruds", "patient/Patient.rs", None),
            ("system/*.cruds", "system/Patient.rs?active=true", None),
            ("system/*.cruds", "system/Patient.", None),
            ("system/*.cruds", "", None),
        ];
        for (allowed, requested, expected) in cases {
            let allowed: Vec<Scope> = allowed.split(' ').filter_map(Scope::parse).collect();
            assert_eq!(grant(requested, &allowed).map(|(text, _)| text).as_deref(), expected, "{requested}");
        }
    }
}
