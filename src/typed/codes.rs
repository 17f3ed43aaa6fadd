//! Codes and canonical URLs that this gateway emits: HL7's where R4 has one, else our own from `fhir-profiles/`. A test holds our own
//! to the CodeSystem files there.

/// A fixed code of a code system. Becomes a [`crate::Coding`] or a [`crate::Concept`] by `into()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    /// The code system's URI.
    pub system: &'static str,
    /// The code.
    pub code: &'static str,
    /// The code system's display text; `None` where no R4 copy of the system has one.
    pub display: Option<&'static str>,
}

const fn term(system: &'static str, code: &'static str, display: &'static str) -> Term {
    Term { system, code, display: Some(display) }
}

/// The base of our canonical URLs. `.example` is reserved (RFC 2606): it names, it does not resolve.
pub const CANONICAL_BASE: &str = "http://fhir-engage.example/fhir";
/// The profile of the Communications that we write.
pub const PROFILE_COMMUNICATION: &str = "http://fhir-engage.example/fhir/StructureDefinition/engagement-communication";
/// The profile of the documents that we write.
pub const PROFILE_DOCUMENT: &str = "http://fhir-engage.example/fhir/StructureDefinition/engagement-document";
/// The profile of a segment published as a Group.
pub const PROFILE_SEGMENT: &str = "http://fhir-engage.example/fhir/StructureDefinition/engagement-segment";
/// The default namespace of attempt ids; a site may configure its own.
pub const ATTEMPT_SYSTEM: &str = "urn:fhir-engage:attempt";
/// The namespace of segment ids.
pub const SEGMENT_ID_SYSTEM: &str = "urn:fhir-engage:segment";
/// The code system of segments; its codes are defined by each site.
pub const SEGMENT_SYSTEM: &str = "http://fhir-engage.example/fhir/CodeSystem/engagement-segment";

/// The channel of a Communication as HL7 codes it (v3-ParticipationMode).
pub mod medium {
    use super::{Term, term};

    /// The code system.
    pub const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode";
    /// E-mail.
    pub const EMAIL: Term = term(SYSTEM, "EMAILWRIT", "email");
    /// Text message. Came with HL7 Terminology 4.0.0 (2021); the copy in R4 4.0.1 does not have it, so that an R4-only terminology
    /// server may warn. [`WRITTEN`] with the text "SMS" is the fallback.
    pub const SMS: Term = Term { system: SYSTEM, code: "SMSWRIT", display: None };
    /// Message in an app; as new as [`SMS`].
    pub const APP: Term = Term { system: SYSTEM, code: "APPWRIT", display: None };
    /// Any written message.
    pub const WRITTEN: Term = term(SYSTEM, "WRITTEN", "written");
    /// Patient portal.
    pub const PORTAL: Term = term(SYSTEM, "ONLINEWRIT", "online written");
    /// Letter.
    pub const LETTER: Term = term(SYSTEM, "MAILWRIT", "mail");
    /// Fax.
    pub const FAX: Term = term(SYSTEM, "FAXWRIT", "telefax");
    /// A call between persons.
    pub const PHONE: Term = term(SYSTEM, "PHONE", "telephone");
    /// A recorded or synthetic voice.
    pub const DICTATED: Term = term(SYSTEM, "DICTATE", "dictated");
    /// In person.
    pub const FACE: Term = term(SYSTEM, "FACE", "face-to-face");
}

/// Why a Communication has its status, as HL7 codes it (communication-not-done-reason).
pub mod status_reason {
    use super::{Term, term};

    /// The code system.
    pub const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/communication-not-done-reason";
    /// Not known.
    pub const UNKNOWN: Term = term(SYSTEM, "unknown", "Unknown");
    /// A failure of ours or of the channel's provider.
    pub const SYSTEM_ERROR: Term = term(SYSTEM, "system-error", "System Error");
    /// The number does not take messages.
    pub const INVALID_PHONE_NUMBER: Term = term(SYSTEM, "invalid-phone-number", "Invalid Phone Number");
    /// The person could not be reached.
    pub const RECIPIENT_UNAVAILABLE: Term = term(SYSTEM, "recipient-unavailable", "Recipient Unavailable");
    /// The family objects.
    pub const FAMILY_OBJECTION: Term = term(SYSTEM, "family-objection", "Family Objection");
    /// The patient objects: opted out.
    pub const PATIENT_OBJECTION: Term = term(SYSTEM, "patient-objection", "Patient Objection");
}

/// The kind of message (communication-category).
pub mod category {
    use super::{Term, term};

    /// The code system.
    pub const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/communication-category";
    /// Needs attention.
    pub const ALERT: Term = term(SYSTEM, "alert", "Alert");
    /// For information.
    pub const NOTIFICATION: Term = term(SYSTEM, "notification", "Notification");
    /// Reminds of something.
    pub const REMINDER: Term = term(SYSTEM, "reminder", "Reminder");
    /// Says what to do.
    pub const INSTRUCTION: Term = term(SYSTEM, "instruction", "Instruction");
}

/// The purpose of a message (communication-topic).
pub mod topic {
    use super::{Term, term};

    /// The code system.
    pub const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/communication-topic";
    /// A refill is asked for.
    pub const PRESCRIPTION_REFILL_REQUEST: Term = term(SYSTEM, "prescription-refill-request", "Prescription Refill Request");
    /// How something goes on.
    pub const PROGRESS_UPDATE: Term = term(SYSTEM, "progress-update", "Progress Update");
    /// Laboratory results.
    pub const REPORT_LABS: Term = term(SYSTEM, "report-labs", "Report Labs");
    /// An appointment to come.
    pub const APPOINTMENT_REMINDER: Term = term(SYSTEM, "appointment-reminder", "Appointment Reminder");
    /// A consultation by phone.
    pub const PHONE_CONSULT: Term = term(SYSTEM, "phone-consult", "Phone Consult");
    /// A summary.
    pub const SUMMARY_REPORT: Term = term(SYSTEM, "summary-report", "Summary Report");
}

/// What a document is.
pub mod document {
    use super::{Term, term};

    /// LOINC.
    pub const LOINC: &str = "http://loinc.org";
    /// A note on what was arranged with a patient, as R4's own value set for `DocumentReference.type` has it (c80-doc-typecodes). Not
    /// 34748-4 (Telephone encounter Note): that says that somebody spoke with the patient. Not 11506-3 (Progress note): that says that
    /// somebody judged the patient's state.
    pub const ADMINISTRATIVE_NOTE: Term = term(LOINC, "51851-4", "Administrative note");
    /// US Core's class of what is written by and for those who treat the patient.
    pub const CLINICAL_NOTE: Term =
        term("http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category", "clinical-note", "Clinical Note");
}

/// What was done to a resource (v3-DataOperation).
pub mod activity {
    use super::{Term, term};

    /// It was made.
    pub const CREATE: Term = term("http://terminology.hl7.org/CodeSystem/v3-DataOperation", "CREATE", "create");
}

/// How somebody took part in making a resource (provenance-participant-type).
pub mod agent {
    use super::{Term, term};

    /// The code system.
    pub const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
    /// Put it together.
    pub const ASSEMBLER: Term = term(SYSTEM, "assembler", "Assembler");
    /// Is where it came from.
    pub const AUTHOR: Term = term(SYSTEM, "author", "Author");
}

/// Our channels: what R4's own medium codes cannot tell apart.
pub mod channel {
    use super::{Term, term};

    /// The code system.
    pub const SYSTEM: &str = "http://fhir-engage.example/fhir/CodeSystem/engagement-channel";
    /// E-mail.
    pub const EMAIL: Term = term(SYSTEM, "email", "E-mail");
    /// Text message.
    pub const SMS: Term = term(SYSTEM, "sms", "Text message");
    /// A call by a person.
    pub const CALL: Term = term(SYSTEM, "call", "Phone call");
    /// A call by a machine.
    pub const AUTOMATED_CALL: Term = term(SYSTEM, "automated-call", "Automated phone call");
    /// Patient portal.
    pub const PORTAL: Term = term(SYSTEM, "portal", "Patient portal");
    /// Push message of an app.
    pub const APP: Term = term(SYSTEM, "app", "App message");
    /// Letter.
    pub const LETTER: Term = term(SYSTEM, "letter", "Letter");
    /// Handed to another system, which sends.
    pub const WEBHOOK: Term = term(SYSTEM, "webhook", "Handed to another system");
    /// Recorded only: no message was sent by this gateway.
    pub const RECORDED: Term = term(SYSTEM, "recorded", "Recorded only");
    /// All of them, as the CodeSystem lists them.
    pub const ALL: &[Term] = &[EMAIL, SMS, CALL, AUTOMATED_CALL, PORTAL, APP, LETTER, WEBHOOK, RECORDED];
}

/// Our outcomes: reasons for a status where R4 has none.
pub mod outcome {
    use super::{Term, term};

    /// The code system.
    pub const SYSTEM: &str = "http://fhir-engage.example/fhir/CodeSystem/engagement-outcome";
    /// The address does not exist or refuses for good (R4 has a code for phone numbers only).
    pub const INVALID_ADDRESS: Term = term(SYSTEM, "invalid-address", "Invalid address");
    /// The carrier or provider filtered the message.
    pub const FILTERED: Term = term(SYSTEM, "filtered", "Filtered by the carrier");
    /// Nobody took the call.
    pub const NO_ANSWER: Term = term(SYSTEM, "no-answer", "No answer");
    /// Sent, and no receipt came in the channel's time.
    pub const DELIVERY_UNKNOWN: Term = term(SYSTEM, "delivery-unknown", "Sent, delivery unknown");
    /// The time in which it made sense was over.
    pub const EXPIRED: Term = term(SYSTEM, "expired", "No longer useful");
    /// Every channel of the journey was tried.
    pub const UNREACHABLE: Term = term(SYSTEM, "unreachable", "Unreachable on every channel");
    /// All of them, as the CodeSystem lists them.
    pub const ALL: &[Term] = &[INVALID_ADDRESS, FILTERED, NO_ANSWER, DELIVERY_UNKNOWN, EXPIRED, UNREACHABLE];
}

/// Our barriers: what a patient says stands in the way of care.
pub mod barrier {
    use super::{Term, term};

    /// The code system.
    pub const SYSTEM: &str = "http://fhir-engage.example/fhir/CodeSystem/engagement-barrier";
    /// No way to get there.
    pub const TRANSPORT: Term = term(SYSTEM, "transport", "Transport");
    /// Cannot leave work.
    pub const TIME_OFF_WORK: Term = term(SYSTEM, "time-off-work", "Time off work");
    /// Has to care for somebody.
    pub const FAMILY_CARE: Term = term(SYSTEM, "family-care", "Care for family");
    /// Cannot afford it.
    pub const COST: Term = term(SYSTEM, "cost", "Cost");
    /// Cannot read or understand what is sent.
    pub const LITERACY: Term = term(SYSTEM, "literacy", "Literacy");
    /// Is afraid.
    pub const FEAR: Term = term(SYSTEM, "fear", "Fear");
    /// Suffers from side effects.
    pub const SIDE_EFFECT: Term = term(SYSTEM, "side-effect", "Side effects");
    /// Needs another language.
    pub const LANGUAGE: Term = term(SYSTEM, "language", "Language");
    /// All of them, as the CodeSystem lists them.
    pub const ALL: &[Term] = &[TRANSPORT, TIME_OFF_WORK, FAMILY_CARE, COST, LITERACY, FEAR, SIDE_EFFECT, LANGUAGE];
}
