//! What outreach commonly brings about, composed to a contract: so that it can be seen what a chart will not show before the first patient
//! is written to. Made up; of nobody.

use chrono::NaiveDate;
use domain::Timestamp;

use super::compose::{ComposeError, Composed, Site, Subject, Telling, Told, compose};
use super::contract::{Carrier, Contract};
use crate::store::answers::Answer;
use crate::store::attempts::Attempt;

/// The patient of all samples.
const PATIENT: &str = "p-1001";
/// 2026-11-23T09:00:01.123456Z.
const SENT: i64 = 1_795_424_401_123_456;

/// One sample.
pub struct Sample {
    /// What it is, in a few words.
    pub name: &'static str,
    /// The key under which it would be found again.
    pub key: &'static str,
    /// What comes of it.
    pub composed: Result<Composed, ComposeError>,
}

/// The samples, composed to a contract.
#[must_use]
pub fn samples(site: &Site, contract: &Contract) -> Vec<Sample> {
    let of = |name, a: &Attempt, key, telling| {
        let message = Some("Hello Ada,\nreply C to confirm.");
        let subject = Subject { ehr: "sample", attempt: a, patient: PATIENT, message, key, telling };
        Sample { name, key, composed: compose(&subject, site, contract) }
    };
    let (delivered, unclear, failed) = (attempt("a1", "delivered"), attempt("a2", "unknown"), attempt("a3", "failed"));
    let plan = Attempt {
        about: Some("CarePlan/c-3001".to_owned()),
        action: "check-in".to_owned(),
        channel: Some("sms".to_owned()),
        ..attempt("a4", "answered")
    };
    let carrier = contract.chain.iter().copied().find(|c| c.resource_type().is_some());
    let told = |carrier, note| Told { carrier, id: "k-4001".to_owned(), version: Some("1".to_owned()), note };
    let (first, day_before) = (carrier.map(|c| told(c, false)), carrier.map(|_| told(Carrier::DocumentReference, true)));
    let original = first.as_ref();
    let (yes, cancel) = (answer("confirm"), answer("cancel-visit"));
    let ride = Answer { barrier: Some("transport".to_owned()), ..answer("free-text") };
    let day = NaiveDate::from_ymd_opt(2026, 11, 23).unwrap_or_default();
    let attempts = [delivered.clone(), plan.clone(), failed.clone()];
    let answers = |answer, text| Telling::Answer { answer, text, original };
    // Shown only where it is written, since nobody misses it.
    let extra = contract.chain.iter().copied().find(|c| contract.wants_provenance_of(*c)).map(|c| told(c, false));
    let provenance = extra.as_ref().map(|of| Telling::Provenance { of, recorded: Timestamp::from_micros(SENT + 99_000_000) });
    let mut all = vec![
        of("delivered", &delivered, "a1", Telling::Original),
        of("delivery unknown", &unclear, "a2", Telling::Original),
        of("not delivered", &failed, "a3", Telling::Original),
        of("on a care plan", &plan, "a4", Telling::Original),
        of("confirms", &delivered, "a1-answer-2", answers(&yes, None)),
        of("cancels", &delivered, "a1-answer-1", answers(&cancel, Some("Please cancel, I am ill."))),
        of("has no ride", &plan, "a4-answer-1", answers(&ride, None)),
        of("late bounce", &failed, "a3-correction-1", Telling::Correction { original }),
        of("late bounce of a note", &failed, "a3-correction-2", Telling::Correction { original: day_before.as_ref() }),
        of("day", &delivered, "a1-note", Telling::Note { day, zone: chrono_tz::America::New_York, attempts: &attempts }),
        of("changes the visit", &delivered, "a1-status-1", Telling::StatusChange { answer: &cancel }),
    ];
    all.extend(provenance.map(|telling| of("who wrote it", &delivered, "a1-0-provenance", telling)));
    all
}

fn attempt(id: &str, outcome: &str) -> Attempt {
    Attempt {
        id: id.to_owned(),
        enrolment: 1,
        program: "visit-confirm".to_owned(),
        program_version: 3,
        step: "first".to_owned(),
        rung: 0,
        anchor_revision: "r1".to_owned(),
        about: Some("Appointment/a-2001".to_owned()),
        person: 1,
        patient: 1,
        state: "finished".to_owned(),
        outcome: Some(outcome.to_owned()),
        due_at: SENT,
        expires_at: None,
        channel: Some("email".to_owned()),
        contact_hash: None,
        template: "visit-confirm".to_owned(),
        language: Some("en".to_owned()),
        action: "confirm".to_owned(),
        message: None,
        token: 0,
        provider_ref: None,
        failure: (outcome == "failed").then(|| "channel: 550 5.1.1".to_owned()),
        sent_at: Some(SENT),
        settle_by: Some(SENT),
        finished_at: Some(SENT + 98_876_544),
    }
}

fn answer(meaning: &str) -> Answer {
    Answer {
        attempt: "a1".to_owned(),
        number: 1,
        channel: "email".to_owned(),
        external_id: None,
        meaning: meaning.to_owned(),
        barrier: None,
        needs_action: meaning != "confirm",
        message: None,
        received_at: SENT + 3_600_000_000,
        recorded_by: "email".to_owned(),
    }
}
