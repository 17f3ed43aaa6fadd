//! One person's answers against what is stored: only differences are written, each with its reasons.

use domain::Timestamp;
use domain::model::PersonFacts;
use domain::rules::{Answer, Membership, Site};
use serde::Serialize;

use super::definitions::Definitions;
use crate::store::memberships::{Assignment, Change, Evaluated, State};

/// What an evaluation knows of a person.
pub(super) struct Subject<'a> {
    pub(super) person: i64,
    pub(super) facts: &'a PersonFacts,
    pub(super) stored: Option<&'a Assignment>,
}

/// A reason as an event keeps it: enough to show it long after the facts have changed.
#[derive(Serialize)]
struct KeptReason {
    test: String,
    truth: domain::rules::Truth,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<domain::model::Phi<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<domain::rules::ReadIn>,
}

/// Compares answers with what is stored. `entries` tells how often a person was in a segment before.
pub(super) fn compare<E>(
    definitions: &Definitions,
    site: &Site,
    subject: &Subject<'_>,
    now: Timestamp,
    entries: impl Fn(i64, i64) -> Result<i64, E>,
) -> Result<Evaluated, E> {
    let answers = definitions.rules().evaluate(subject.facts, site, now);
    let empty = Assignment::default();
    let stored = subject.stored.unwrap_or(&empty);
    // An answer that ran out by itself changed at the instant foretold, however late the machine got to it.
    let effective_at = stored.wake_at.filter(|at| *at <= now).unwrap_or(now);
    let mut found = Evaluated {
        person: subject.person,
        changes: Vec::new(),
        refreshed: Vec::new(),
        events: stored.events,
        wake_at: answers.iter().filter_map(|a| a.valid_until).min(),
        outreach: answers.iter().any(|a| a.membership == Membership::In),
    };
    for answer in &answers {
        let Some(row) = definitions.row(answer.segment) else { continue };
        let before = stored.memberships.get(&row.number);
        let after = match answer.membership {
            Membership::In => Some(State::In),
            Membership::Held => Some(State::Held),
            Membership::Out => None,
        };
        let deciding = answer.reasons.to_bytes();
        let mut change = Change {
            segment: row.number,
            version: row.version,
            before: before.map(|m| m.state),
            after,
            entry: before.map_or(0, |m| m.entry),
            effective_at,
            reasons: deciding,
            event_reasons: Vec::new(),
        };
        if change.before == change.after {
            if before.is_some_and(|m| m.reasons != change.reasons || m.version != row.version) {
                found.refreshed.push(change);
            }
            continue;
        }
        // Held and in again is the same entry: nothing became known that was not so before.
        if after == Some(State::In) && change.entry == 0 {
            change.entry = if stored.events == 0 { 1 } else { entries(subject.person, row.number)? + 1 };
        }
        found.changes.push(change);
    }
    found.outreach |= !found.changes.is_empty();
    // A segment that is out of use keeps no members.
    for (number, gone) in stored.memberships.iter().filter(|(n, _)| !definitions.rows().iter().any(|r| r.number == **n)) {
        found.changes.push(Change {
            segment: *number,
            version: gone.version,
            before: Some(gone.state),
            after: None,
            entry: gone.entry,
            effective_at: now,
            reasons: Vec::new(),
            event_reasons: b"[]".to_vec(),
        });
    }
    keep_reasons(definitions, site, subject, now, &answers, &mut found);
    Ok(found)
}

/// A person whose records all belong to another one now is in no segment; that other person is.
pub(super) fn withdrawn(person: i64, stored: Option<&Assignment>, now: Timestamp) -> Evaluated {
    let members = stored.into_iter().flat_map(|s| &s.memberships);
    let left = members.map(|(number, gone)| Change {
        segment: *number,
        version: gone.version,
        before: Some(gone.state),
        after: None,
        entry: gone.entry,
        effective_at: now,
        reasons: Vec::new(),
        event_reasons: b"[]".to_vec(),
    });
    Evaluated {
        person,
        changes: left.collect(),
        refreshed: Vec::new(),
        events: stored.map_or(0, |s| s.events),
        wake_at: None,
        outreach: false,
    }
}

/// Renders the reasons of the changes for their events; the memberships themselves keep the set of tests only, which can be rendered at
/// any time from the facts.
fn keep_reasons(definitions: &Definitions, site: &Site, subject: &Subject<'_>, now: Timestamp, answers: &[Answer], found: &mut Evaluated) {
    for change in &mut found.changes {
        let answer = answers.iter().find(|a| definitions.row(a.segment).is_some_and(|r| r.number == change.segment));
        let Some(answer) = answer else { continue };
        let reasons: Vec<KeptReason> = definitions
            .rules()
            .reasons(answer, subject.facts, site, now)
            .into_iter()
            .map(|r| KeptReason { test: r.test, truth: r.truth, value: r.value, sources: r.sources })
            .collect();
        change.event_reasons = serde_json::to_vec(&reasons).unwrap_or_default();
    }
}
