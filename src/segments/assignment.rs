//! One person's answers against what is stored: only differences are written, each with its reasons.
//!
//! While versions are being rolled out, both the ones in force and the staged ones are asked; what the staged ones say is written beside.

use domain::Timestamp;
use domain::model::PersonFacts;
use domain::rules::{Answer, LeafSet, Membership, RuleSet, Site, Truth};
use serde::Serialize;

use super::definitions::{Definitions, Next};
use crate::store::memberships::{Assignment, Change, Evaluated, SINCE_FLIP, Segment, Staged, Staging, State};

/// What an evaluation knows of a person.
pub(super) struct Subject<'a> {
    pub(super) person: i64,
    pub(super) facts: &'a PersonFacts,
    pub(super) stored: Option<&'a Assignment>,
    /// What changed, as bits of [`domain::rules::Reads::mask`]; negative where everything must be looked at.
    pub(super) reads: i64,
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

/// Why somebody left whose records all belong to another person now; as [`KeptReason`] is written.
const NO_RECORD: &[u8] = br#"[{"test":"the person has a record of their own","truth":"false"}]"#;
/// Why somebody left a segment that ended.
const NOT_IN_FORCE: &[u8] = br#"[{"test":"the segment is in force","truth":"false"}]"#;

/// What is asked for how often a person entered a segment before: the person, and the numbers of the segment's versions.
pub(super) type Entries<'a, E> = &'a dyn Fn(i64, &[i64]) -> Result<i64, E>;

/// Compares answers with what is stored. Returns the differences, and how many segments were evaluated.
pub(super) fn compare<E>(
    definitions: &Definitions,
    site: &Site,
    subject: &Subject<'_>,
    now: Timestamp,
    entries: Entries<'_, E>,
) -> Result<(Evaluated, u64), E> {
    let rules = definitions.rules();
    let empty = Assignment::default();
    let stored = subject.stored.unwrap_or(&empty);
    let due = stored.wake_at.filter(|at| *at <= now);
    let whole = subject.stored.is_none() || subject.reads < 0 || due.is_some();
    let answers = if whole {
        rules.evaluate(subject.facts, site, now)
    } else {
        rules.evaluate_only(&reading(rules, subject.reads, 0..rules.segments().len()), subject.facts, site, now)
    };
    let ends = answers.iter().filter_map(|a| a.valid_until);
    let mut found = Evaluated {
        person: subject.person,
        changes: Vec::new(),
        refreshed: Vec::new(),
        events: stored.events,
        // Of what was not evaluated the old end stands, which is that of all together: early perhaps, never late.
        wake_at: ends.chain(stored.wake_at.filter(|_| !whole)).min(),
        outreach: answers.iter().any(|a| a.membership == Membership::In),
        unknown: (stored.unknown.clone(), in_use(definitions, &stored.unknown)),
        staged: None,
    };
    for answer in &answers {
        let Some(row) = definitions.row(answer.segment) else { continue };
        note(&mut found.unknown.1, row.number, answer.truth);
        let before = stored.memberships.get(&row.number);
        let after = state(answer.membership);
        let mut change = Change {
            segment: row.number,
            version: row.version,
            before: before.map(|m| m.state),
            after,
            entry: before.map_or(0, |m| m.entry),
            // An answer that ran out by itself changed at the instant foretold, however late the machine got to it.
            effective_at: due.unwrap_or(now),
            reasons: answer.reasons.to_bytes(),
            event_reasons: Vec::new(),
        };
        if change.before == change.after {
            if before.is_some_and(|m| m.reasons != change.reasons) {
                found.refreshed.push(change);
            }
            continue;
        }
        // Held and in again is the same entry: nothing became known that was not so before.
        if after == Some(State::In) && change.entry == 0 {
            change.entry = if stored.events == 0 { 1 } else { entries(subject.person, definitions.numbers(&row.id))? + 1 };
        }
        change.event_reasons = kept_reasons(rules, answer, subject.facts, site, now);
        found.changes.push(change);
    }
    found.outreach |= !found.changes.is_empty();
    let mut evaluated = count(&answers);
    if let Some(next) = &definitions.next {
        let live = |number: i64| match found.changes.iter().find(|c| c.segment == number) {
            Some(c) => c.after.map(|state| Live { state, since: c.effective_at.micros(), entry: c.entry }),
            None => in_store(stored, number),
        };
        let (staging, until, n) = staged(definitions, next, site, subject, now, (&live, &mut found.unknown.1), entries)?;
        found.wake_at = [found.wake_at, until].into_iter().flatten().min();
        found.staged = Some(staging);
        evaluated += n;
    }
    Ok((found, evaluated))
}

/// A person whose records all belong to another one now is in no segment, by whatever version; that other person is.
pub(super) fn withdrawn(definitions: &Definitions, person: i64, stored: Option<&Assignment>, now: Timestamp) -> Evaluated {
    let empty = Assignment::default();
    let stored = stored.unwrap_or(&empty);
    let left = |row: &Segment| {
        let gone = stored.memberships.get(&row.number)?;
        Some(Change {
            segment: row.number,
            version: gone.version,
            before: Some(gone.state),
            after: None,
            entry: gone.entry,
            effective_at: now,
            reasons: Vec::new(),
            event_reasons: NO_RECORD.to_vec(),
        })
    };
    // What a staged version had said is taken back; there is nothing left that it could change.
    let taken_back = |row: &Segment| {
        let staged = stored.memberships.get(&row.number)?;
        Some(Staged {
            segment: row.number,
            version: row.version,
            before: None,
            after: None,
            since: SINCE_FLIP,
            entry: staged.entry,
            reasons: Vec::new(),
            event_reasons: Vec::new(),
            written: true,
        })
    };
    let staged = definitions.next.as_ref().map(|next| Staging {
        rollout: next.rollout,
        versions: next.changed.iter().filter_map(|place| next.set.rows.get(*place).and_then(taken_back)).collect(),
    });
    Evaluated {
        person,
        changes: definitions.rows().iter().filter_map(left).collect(),
        refreshed: Vec::new(),
        events: stored.events,
        wake_at: None,
        outreach: false,
        unknown: (stored.unknown.clone(), LeafSet::default()),
        staged,
    }
}

/// Of the numbers whose answer was not known, those that are in force or staged.
fn in_use(definitions: &Definitions, unknown: &LeafSet) -> LeafSet {
    let staged = definitions.next.iter().flat_map(|next| &next.set.rows);
    let numbers = definitions.rows().iter().chain(staged).filter_map(|row| usize::try_from(row.number).ok());
    numbers.filter(|number| unknown.contains(*number)).collect()
}

/// Notes whether an answer is known.
fn note(unknown: &mut LeafSet, number: i64, truth: Truth) {
    let Ok(bit) = usize::try_from(number) else { return };
    if truth == Truth::Unknown { unknown.insert(bit) } else { unknown.remove(bit) }
}

/// What the staged versions say of a person who is as the store says by those in force. `wake_at` is set only where it comes earlier now.
pub(super) fn stage<E>(
    definitions: &Definitions,
    next: &Next,
    site: &Site,
    subject: &Subject<'_>,
    now: Timestamp,
    entries: Entries<'_, E>,
) -> Result<Evaluated, E> {
    let empty = Assignment::default();
    let stored = subject.stored.unwrap_or(&empty);
    let mut unknown = in_use(definitions, &stored.unknown);
    let live = |number| in_store(stored, number);
    let (staging, until, _) = staged(definitions, next, site, subject, now, (&live, &mut unknown), entries)?;
    Ok(Evaluated {
        person: subject.person,
        changes: Vec::new(),
        refreshed: Vec::new(),
        events: stored.events,
        wake_at: until.filter(|until| stored.wake_at.is_none_or(|at| *until < at)),
        outreach: false,
        unknown: (stored.unknown.clone(), unknown),
        staged: Some(staging),
    })
}

/// As [`stage`], of a person who cannot be judged now: the staged versions take over the answers of those in force, until they can.
pub(super) fn carry_over(definitions: &Definitions, next: &Next, person: i64, stored: &Assignment) -> Evaluated {
    let mut versions = Vec::new();
    let mut unknown = in_use(definitions, &stored.unknown);
    for place in &next.changed {
        let Some(row) = next.set.rows.get(*place) else { continue };
        let was =
            definitions.by_id(&row.id).and_then(|old| usize::try_from(old.number).ok()).is_some_and(|bit| stored.unknown.contains(bit));
        note(&mut unknown, row.number, if was { Truth::Unknown } else { Truth::False });
        let live = definitions.by_id(&row.id).and_then(|old| in_store(stored, old.number));
        let written = stored.memberships.contains_key(&row.number);
        if live.is_none() && !written {
            continue;
        }
        versions.push(Staged {
            segment: row.number,
            version: row.version,
            before: live.as_ref().map(|l| l.state),
            after: live.as_ref().map(|l| l.state),
            since: live.as_ref().map_or(SINCE_FLIP, |l| l.since),
            entry: live.as_ref().map_or(0, |l| l.entry),
            // The tests of the old rule; those of the new one were not looked at.
            reasons: Vec::new(),
            event_reasons: Vec::new(),
            written,
        });
    }
    versions.extend(next.gone.iter().filter_map(|row| Some(ending(row, &in_store(stored, row.number)?))));
    let staged = Some(Staging { rollout: next.rollout, versions });
    let unknown = (stored.unknown.clone(), unknown);
    Evaluated { person, changes: Vec::new(), refreshed: Vec::new(), events: stored.events, wake_at: None, outreach: false, unknown, staged }
}

/// What the end of a segment makes of a membership.
fn ending(row: &Segment, before: &Live) -> Staged {
    Staged {
        segment: row.number,
        version: row.version,
        before: Some(before.state),
        after: None,
        since: SINCE_FLIP,
        entry: before.entry,
        reasons: Vec::new(),
        event_reasons: NOT_IN_FORCE.to_vec(),
        // The membership is that of the version in force, which answers until the end.
        written: false,
    }
}

/// A membership by the version in force.
struct Live {
    state: State,
    since: i64,
    entry: i64,
}

fn in_store(stored: &Assignment, number: i64) -> Option<Live> {
    stored.memberships.get(&number).map(|m| Live { state: m.state, since: m.since.micros(), entry: m.entry })
}

/// All staged versions are asked whatever changed, since what is written takes the place of all that they said before.
fn staged<E>(
    definitions: &Definitions,
    next: &Next,
    site: &Site,
    subject: &Subject<'_>,
    now: Timestamp,
    (live, unknown): (&dyn Fn(i64) -> Option<Live>, &mut LeafSet),
    entries: Entries<'_, E>,
) -> Result<(Staging, Option<Timestamp>, u64), E> {
    let rules = next.set.library.rules();
    let answers = rules.evaluate_only(&next.changed, subject.facts, site, now);
    let mut versions = Vec::new();
    for answer in &answers {
        let Some(row) = next.set.rows.get(answer.segment) else { continue };
        note(unknown, row.number, answer.truth);
        let before = definitions.by_id(&row.id).and_then(|old| live(old.number));
        let after = state(answer.membership);
        let written = subject.stored.is_some_and(|s| s.memberships.contains_key(&row.number));
        let same = before.as_ref().map(|b| b.state) == after;
        if after.is_none() && before.is_none() && !written {
            continue;
        }
        let mut version = Staged {
            segment: row.number,
            version: row.version,
            before: before.as_ref().map(|b| b.state),
            after,
            since: before.as_ref().filter(|_| same).map_or(SINCE_FLIP, |b| b.since),
            entry: before.as_ref().map_or(0, |b| b.entry),
            reasons: answer.reasons.to_bytes(),
            event_reasons: Vec::new(),
            written,
        };
        if after == Some(State::In) && version.entry == 0 {
            let numbers = definitions.numbers(&row.id);
            // A segment that is new has no history to look through.
            version.entry = if numbers.len() < 2 { 1 } else { entries(subject.person, numbers)? + 1 };
        }
        if !same {
            version.event_reasons = kept_reasons(rules, answer, subject.facts, site, now);
        }
        versions.push(version);
    }
    versions.extend(next.gone.iter().filter_map(|row| Some(ending(row, &live(row.number)?))));
    let until = answers.iter().filter_map(|a| a.valid_until).min();
    Ok((Staging { rollout: next.rollout, versions }, until, count(&answers)))
}

/// The segments whose answer may depend on what changed.
fn reading(rules: &RuleSet, reads: i64, places: impl Iterator<Item = usize>) -> Vec<usize> {
    places.filter(|place| rules.reads(*place).is_some_and(|r| i64::from(r.mask()) & reads != 0)).collect()
}

fn state(membership: Membership) -> Option<State> {
    match membership {
        Membership::In => Some(State::In),
        Membership::Held => Some(State::Held),
        Membership::Out => None,
    }
}

fn count(answers: &[Answer]) -> u64 {
    u64::try_from(answers.len()).unwrap_or(0)
}

/// Renders reasons for an event; the memberships themselves keep the set of tests only, which can be rendered at any time from the facts.
fn kept_reasons(rules: &RuleSet, answer: &Answer, facts: &PersonFacts, site: &Site, now: Timestamp) -> Vec<u8> {
    let reasons: Vec<KeptReason> = rules
        .reasons(answer, facts, site, now)
        .into_iter()
        .map(|r| KeptReason { test: r.test, truth: r.truth, value: r.value, sources: r.sources })
        .collect();
    serde_json::to_vec(&reasons).unwrap_or_default()
}
