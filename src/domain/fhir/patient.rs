//! Patient to facts.

use std::cmp::Reverse;

use super::elements::{Times, coding, concepts, extension, object, references, string};
use super::raw::{Raw, document, elements};
use super::{Head, Projected, Reject};
use crate::identity::identifier::Identifier;
use crate::model::facts::{Address, ContactPoint, PatientLink, PersonName, SpokenLanguage};
use crate::model::{Facts, PatientFacts, Phi, ResourceType};

const TIME_ZONE: &str = "http://hl7.org/fhir/StructureDefinition/timezone";
const INTERPRETER_NEEDED: &str = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-interpreter-needed";
const INTERPRETER_REQUIRED: &str = "http://hl7.org/fhir/StructureDefinition/patient-interpreterRequired";

const MEMBERS: [&str; 17] = [
    "resourceType",
    "id",
    "meta",
    "extension",
    "active",
    "name",
    "telecom",
    "gender",
    "birthDate",
    "deceasedBoolean",
    "deceasedDateTime",
    "_deceasedDateTime",
    "address",
    "communication",
    "link",
    "generalPractitioner",
    "identifier",
];

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [
        resource_type,
        id,
        meta,
        extensions,
        active,
        name,
        telecom,
        gender,
        birth_date,
        deceased_boolean,
        deceased_date_time,
        deceased_date_time_extension,
        address,
        communication,
        link,
        general_practitioner,
        identifier,
    ] = document(text, MEMBERS)?;
    let head = Head::read(ResourceType::Patient, resource_type, id, meta)?;
    let times = Times::default();
    if let Some(raw) = birth_date {
        raw.must_text("birthDate", "a date")?;
    }
    let facts = PatientFacts {
        active: active.map(|raw| must_boolean(raw, "active")).transpose()?,
        deceased: deceased(deceased_boolean, deceased_date_time, deceased_date_time_extension)?,
        deceased_at: times.time("deceasedDateTime", deceased_date_time),
        birth_date: times.time("birthDate", birth_date),
        gender: string(gender),
        name: best_name(name),
        languages: languages(communication),
        telecom: elements(telecom).filter_map(|raw| contact_point(raw, &times)).collect(),
        addresses: elements(address).filter_map(|raw| address_facts(raw, &times)).collect(),
        links: links(link)?,
        general_practitioner: references(general_practitioner),
        security: head.meta.security.clone(),
        interpreter_needed: interpreter_needed(extensions),
    };
    let identifiers = elements(identifier).filter_map(identifier_of).collect();
    Ok(Projected { identifiers, ..head.with(Facts::Patient(Box::new(facts)), times) })
}

/// An identifier that has a system and a value and is neither `old` nor `temp` (R4 IdentifierUse).
fn identifier_of(raw: Raw<'_>) -> Option<Identifier> {
    let [usage, system, value] = raw.members(["use", "system", "value"])?;
    let passing = string(usage).is_some_and(|usage| matches!(usage.as_str(), "old" | "temp"));
    let (system, value) = (string(system)?, value.and_then(Raw::text_or_number)?);
    (!passing && !system.is_empty()).then(|| Identifier { system, value: Phi::new(value.into_owned()) })
}

fn must_boolean(raw: Raw<'_>, field: &str) -> Result<bool, Reject> {
    raw.boolean().ok_or_else(|| Reject::bad_field(field, raw.type_name(), "true or false without quotes"))
}

/// Any `deceased[x]` that is not `false`. A time of death counts whether or not it can be read, even when only its extension was sent
/// (deceased, time not known): taking a dead person for living is the worse mistake.
fn deceased(boolean: Option<Raw<'_>>, date_time: Option<Raw<'_>>, extension: Option<Raw<'_>>) -> Result<bool, Reject> {
    let by_boolean = boolean.map(|raw| must_boolean(raw, "deceasedBoolean")).transpose()?.unwrap_or(false);
    if let Some(raw) = date_time {
        raw.must_text("deceasedDateTime", "a date or time")?;
    }
    Ok(by_boolean || date_time.is_some() || extension.is_some())
}

/// The name to address a person by.
pub(super) fn best_name(names: Option<Raw<'_>>) -> PersonName {
    let mut best: Option<(u8, PersonName)> = None;
    for raw in elements(names) {
        let [usage, text, family, given, period] = object(Some(raw), ["use", "text", "family", "given", "period"]);
        let rank = match usage.and_then(Raw::text).as_deref() {
            Some("official") => 0,
            Some("usual") => 1,
            Some("old" | "maiden") => continue,
            _ => 2,
        };
        // R4 marks a former name by `old` or by an end alone; whether that end has passed is not for a projection to know.
        let rank = if object(period, ["end"])[0].is_some() { rank + 3 } else { rank };
        if best.as_ref().is_some_and(|(kept, _)| *kept <= rank) {
            continue;
        }
        if let Some(name) = person_name(text, family, given) {
            best = Some((rank, name));
        }
    }
    best.map(|(_, name)| name).unwrap_or_default()
}

/// A name that has at least one part; `text` stands in where it has none.
fn person_name(text: Option<Raw<'_>>, family: Option<Raw<'_>>, given: Option<Raw<'_>>) -> Option<PersonName> {
    let present = |s: String| Some(s).filter(|s| !s.trim().is_empty());
    let given = elements(given).filter_map(Raw::text).collect::<Vec<_>>().join(" ");
    let (given, family) = (present(given), string(family).and_then(present));
    let given = if given.is_none() && family.is_none() { string(text).and_then(present) } else { given };
    (given.is_some() || family.is_some()).then(|| PersonName { given: given.map(Phi::new), family: family.map(Phi::new) })
}

/// Languages, the preferred first and otherwise as sent.
fn languages(communication: Option<Raw<'_>>) -> Vec<SpokenLanguage> {
    let mut languages: Vec<_> = elements(communication)
        .filter_map(|raw| {
            let [language, preferred] = raw.members(["language", "preferred"])?;
            let codings = concepts(language);
            let tagged = codings.iter().find(|c| c.system.as_deref() == Some("urn:ietf:bcp:47"));
            let tag = tagged.or_else(|| codings.first())?.code.to_ascii_lowercase().replace('_', "-");
            Some(SpokenLanguage { tag, preferred: preferred.and_then(Raw::boolean).unwrap_or(false) })
        })
        .collect();
    languages.sort_by_key(|l| Reverse(l.preferred));
    languages
}

/// A contact point that has a system and a value and is not marked `old`.
fn contact_point(raw: Raw<'_>, times: &Times) -> Option<ContactPoint> {
    let [system, value, usage, rank, when] = raw.members(["system", "value", "use", "rank", "period"])?;
    let usage = string(usage);
    if usage.as_deref() == Some("old") {
        return None;
    }
    let rank = rank.and_then(Raw::text_or_number).and_then(|text| text.trim().parse().ok()).filter(|rank| *rank > 0);
    Some(ContactPoint { system: string(system)?, value: string(value)?.into(), usage, rank, period: times.period("telecom.period", when) })
}

/// An address that says something of use and is not marked `old`.
fn address_facts(raw: Raw<'_>, times: &Times) -> Option<Address> {
    let [usage, state, postal_code, country, when, extensions] =
        raw.members(["use", "state", "postalCode", "country", "period", "extension"])?;
    let address = Address {
        usage: string(usage),
        state: string(state).map(Phi::new),
        postal_code: string(postal_code).map(Phi::new),
        country: string(country),
        zone: time_zone(extensions),
        period: times.period("address.period", when),
    };
    let says_something = address.state.is_some() || address.postal_code.is_some() || address.country.is_some() || address.zone.is_some();
    (says_something && address.usage.as_deref() != Some("old")).then_some(address)
}

fn time_zone(extensions: Option<Raw<'_>>) -> Option<String> {
    // Most addresses carry none; a search of the text is much cheaper than taking every extension apart.
    let [code] = extension(extensions.filter(|raw| raw.json().contains("timezone")), TIME_ZONE, ["valueCode"])?;
    string(code).filter(|zone| zone.parse::<chrono_tz::Tz>().is_ok())
}

/// US Core's extension carries a coded yes, no or unknown; R4's own a boolean.
fn interpreter_needed(extensions: Option<Raw<'_>>) -> Option<bool> {
    let extensions = extensions.filter(|raw| raw.json().contains("interpreter"));
    let coded = || {
        let [value] = extension(extensions, INTERPRETER_NEEDED, ["valueCoding"])?;
        match coding(value?)?.code.as_str() {
            "373066001" => Some(true),
            "373067005" => Some(false),
            _ => None,
        }
    };
    coded().or_else(|| {
        let [value] = extension(extensions, INTERPRETER_REQUIRED, ["valueBoolean"])?;
        value?.boolean()
    })
}

fn links(link: Option<Raw<'_>>) -> Result<Vec<PatientLink>, Reject> {
    let mut links = Vec::new();
    for (position, raw) in link.into_iter().flat_map(Raw::elements) {
        let read = || {
            let [kind, other] = raw.must_members("", ["type", "other"])?;
            let kind = kind.map(|k| k.must_text("type", "a code")).transpose()?;
            let [reference] = other.map_or(Ok([None]), |o| o.must_members("other", ["reference"]))?;
            let reference = reference.map(|r| r.must_text("other.reference", "a reference")).transpose()?;
            Ok(kind.zip(reference))
        };
        if let Some((kind, other)) = read().map_err(|reject: Reject| reject.within(format_args!("link[{position}]")))? {
            links.push(PatientLink { kind: kind.into_owned(), other: other.into_owned() });
        }
    }
    Ok(links)
}
