//! Composing and pushing, without a store and without a server.

mod amending;
mod composing;
mod composing_kinds;
mod pushing;
mod script;

use crate::store::attempts::Attempt;

/// A finished attempt: a reminder of a visit by e-mail.
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
        due_at: 1_795_424_400_000_000,
        expires_at: None,
        channel: Some("email".to_owned()),
        contact_hash: Some(vec![1, 2, 3]),
        template: "visit-confirm".to_owned(),
        language: Some("en".to_owned()),
        action: "confirm".to_owned(),
        message: None,
        token: 4,
        provider_ref: Some("<1@mail.example>".to_owned()),
        failure: None,
        sent_at: Some(1_795_424_401_123_456),
        settle_by: Some(1_795_510_801_123_456),
        finished_at: Some(1_795_424_500_000_000),
    }
}
