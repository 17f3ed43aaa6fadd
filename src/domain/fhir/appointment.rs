//! Appointment to facts.

use std::borrow::Cow;

use super::elements::{Times, concepts, extension, string};
use super::raw::{Raw, document};
use super::reference::{patient_id, reference_type, urn_uuid};
use super::{Head, Projected, Reject};
use crate::model::{AppointmentFacts, Facts, ResourceType};

const MEMBERS: [&str; 13] = [
    "resourceType",
    "id",
    "meta",
    "status",
    "start",
    "end",
    "created",
    "participant",
    "serviceType",
    "serviceCategory",
    "appointmentType",
    "cancelationReason",
    "extension",
];

/// R5's element in R4, by HL7's rule for elements of other versions.
const VIRTUAL_SERVICE: &str = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Appointment.virtualService";

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [
        resource_type,
        id,
        meta,
        status,
        start,
        end,
        created,
        participant,
        service_type,
        service_category,
        kind,
        cancel_reason,
        extensions,
    ] = document(text, MEMBERS)?;
    let head = Head::read(ResourceType::Appointment, resource_type, id, meta)?;
    let times = Times::default();
    if let Some(raw) = start {
        raw.must_text("start", "an instant")?;
    }
    let mut services = concepts(service_type);
    services.extend(concepts(service_category));
    let mut facts = AppointmentFacts {
        status: status.ok_or_else(|| Reject::missing("status"))?.must_text("status", "a code")?.into_owned(),
        start: times.instant("start", start),
        end: times.instant("end", end),
        created: times.time("created", created),
        services,
        kinds: concepts(kind),
        cancel_reasons: concepts(cancel_reason),
        is_virtual: extension(extensions.filter(|raw| raw.json().contains("virtualService")), VIRTUAL_SERVICE, []).is_some(),
        ..AppointmentFacts::default()
    };
    // A record cannot tell of an end that was still to come when it was written.
    let booked_end = facts.end.or(facts.start);
    facts.ended_by = head.meta.last_updated.filter(|written| facts.status == "fulfilled" && booked_end.is_some_and(|end| end > *written));
    participants(participant, &mut facts)?;
    Ok(head.with(Facts::Appointment(Box::new(facts)), times))
}

struct Participant<'a> {
    reference: Option<Cow<'a, str>>,
    kind: Option<String>,
    status: Option<Cow<'a, str>>,
}

impl<'a> Participant<'a> {
    fn read(raw: Raw<'a>) -> Result<Self, Reject> {
        let [actor, status] = raw.must_members("", ["actor", "status"])?;
        let status = status.map(|s| s.must_text("status", "a code")).transpose()?;
        let [reference, declared] = actor.map_or(Ok([None, None]), |a| a.must_members("actor", ["reference", "type"]))?;
        let reference = reference.map(|r| r.must_text("actor.reference", "a reference")).transpose()?;
        let kind = reference.as_deref().and_then(reference_type).map(str::to_owned).or_else(|| string(declared));
        Ok(Self { reference, kind, status })
    }
}

fn participants(list: Option<Raw<'_>>, facts: &mut AppointmentFacts) -> Result<(), Reject> {
    // `urn:uuid:` actors without a type: patients only where no participant says that it is one.
    let mut untyped = Vec::new();
    for (position, raw) in list.into_iter().flat_map(Raw::elements) {
        let Participant { reference, kind, status } =
            Participant::read(raw).map_err(|reject| reject.within(format_args!("participant[{position}]")))?;
        let Some(reference) = reference else { continue };
        match kind.as_deref() {
            Some("Patient") => add_patient(facts, patient_id(&reference), status),
            Some("Practitioner" | "PractitionerRole") => facts.practitioners.push(reference.into_owned()),
            Some("Location") => facts.locations.push(reference.into_owned()),
            Some(_) => {}
            None => untyped.extend(urn_uuid(&reference).map(|uuid| (uuid.to_owned(), status))),
        }
    }
    if facts.patients.is_empty() {
        for (uuid, status) in untyped {
            add_patient(facts, Some(&uuid), status);
        }
    }
    Ok(())
}

fn add_patient(facts: &mut AppointmentFacts, id: Option<&str>, status: Option<Cow<'_, str>>) {
    let Some(id) = id.filter(|id| facts.patients.iter().all(|known| known != id)) else {
        return;
    };
    if facts.patients.is_empty() {
        facts.patient_status = status.map(Cow::into_owned);
    }
    facts.patients.push(id.to_owned());
}
