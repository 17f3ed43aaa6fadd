//! References as text (R4 references, section 2.3.0): relative, absolute, versioned, `urn:uuid:` and contained.

use crate::model::FhirId;

/// The type and id that a reference names: the last two path segments before `/_history`.
fn type_and_id(reference: &str) -> Option<(&str, &str)> {
    if reference.starts_with('#') || reference.starts_with("urn:") {
        return None;
    }
    let current = reference.split_once("/_history/").map_or(reference, |(before, _)| before);
    let (rest, id) = current.trim_end_matches('/').rsplit_once('/')?;
    let kind = rest.rsplit('/').next()?;
    (kind.starts_with(|c: char| c.is_ascii_uppercase()) && kind.bytes().all(|b| b.is_ascii_alphanumeric())).then_some((kind, id))
}

/// The uuid of a `urn:uuid:` reference. Synthea's bundles refer that way, and its NDJSON uses the same uuid as the logical id.
pub(super) fn urn_uuid(reference: &str) -> Option<&str> {
    reference.strip_prefix("urn:uuid:").filter(|uuid| uuid.len() == 36 && FhirId::parse(uuid).is_some())
}

/// The resource type that a reference names (`Practitioner` of `https://ehr.example/r4/Practitioner/7/_history/2`). `None` where it
/// names none: contained, `urn:`, an identifier.
#[must_use]
pub fn reference_type(reference: &str) -> Option<&str> {
    type_and_id(reference).map(|(kind, _)| kind)
}

/// The logical id of a reference to any type (`7` of `https://ehr.example/r4/Practitioner/7/_history/2`). `None` where it names none.
#[must_use]
pub fn reference_id(reference: &str) -> Option<&str> {
    type_and_id(reference).map(|(_, id)| id).filter(|id| FhirId::parse(id).is_some())
}

/// The logical id of a reference to a Patient: relative, absolute, versioned or `urn:uuid:`. `None` for other types and for contained
/// resources.
#[must_use]
pub fn patient_id(reference: &str) -> Option<&str> {
    match type_and_id(reference) {
        Some(("Patient", id)) => FhirId::parse(id).map(|_| id),
        Some(_) => None,
        None => urn_uuid(reference),
    }
}

#[cfg(test)]
mod tests {
    use super::{patient_id, reference_type};

    #[test]
    fn references() {
        let cases = [
            ("Patient/12", Some("Patient"), Some("12")),
            ("Patient/12/_history/3", Some("Patient"), Some("12")),
            ("http://ehr.example/fhir/Patient/12", Some("Patient"), Some("12")),
            ("https://ehr.example/fhir/Patient/a-b.C/_history/1", Some("Patient"), Some("a-b.C")),
            ("/Patient/12", Some("Patient"), Some("12")),
            ("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", None, Some("0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0")),
            ("urn:uuid:nonsense", None, None),
            ("urn:oid:1.2.3", None, None),
            ("#p1", None, None),
            ("#Patient/12", None, None),
            ("Group/9", Some("Group"), None),
            ("Practitioner/Patient", Some("Practitioner"), None),
            ("Patient/Practitioner/7", Some("Practitioner"), None),
            ("Patient?identifier=a|b", None, None),
            ("Patient/", None, None),
            ("Patient/12?x=y", Some("Patient"), None),
            ("12", None, None),
            ("", None, None),
            ("/", None, None),
        ];
        for (reference, kind, id) in cases {
            assert_eq!(reference_type(reference), kind, "{reference}");
            assert_eq!(patient_id(reference), id, "{reference}");
        }
    }
}
