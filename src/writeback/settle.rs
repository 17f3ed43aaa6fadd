//! When a write-back is tried or searched for again, and what a search says of it. Pure.

use chrono::TimeDelta;
use domain::Timestamp;
use serde_json::Value;

use super::chart::{Matches, Remote};
use super::contract::Finder;
use super::key::carries;

/// The longest wait of our own choosing.
const LONGEST: TimeDelta = TimeDelta::hours(1);
/// The first wait after a refusal that may pass.
const FIRST: TimeDelta = TimeDelta::seconds(10);

/// The longest wait that a server is granted: one that asks for a century has a mistake in its clock, and a patient's lane would wait for it.
pub(super) const MOST_ASKED: TimeDelta = TimeDelta::hours(24);

/// The instant of the next try: twice as long with each one, up to an hour, and up to a quarter more, by the row's id, so that the rows
/// of an outage do not all come back at once.
#[must_use]
pub fn backoff(now: Timestamp, id: &str, tries: i64) -> Timestamp {
    let doublings = u32::try_from(tries.saturating_sub(1).clamp(0, 16)).unwrap_or(0);
    now.plus(spread((FIRST * 2_i32.saturating_pow(doublings).min(3_600)).min(LONGEST), id))
}

/// The instant from which an unclear outcome may be searched for, or one that was throttled is tried again.
#[must_use]
pub fn after_settling(now: Timestamp, id: &str, delay: TimeDelta) -> Timestamp {
    now.plus(spread(delay, id))
}

/// The instant from which it is searched for, after it was sent so often in a row without a clear answer: twice as long with each time, up to
/// an hour, and never sooner than after the delay.
pub(super) fn unanswered(now: Timestamp, id: &str, delay: TimeDelta, times: i64) -> Timestamp {
    let doublings = u32::try_from(times.saturating_sub(1).clamp(0, 12)).unwrap_or(0);
    let seconds = delay.num_seconds().saturating_mul(2_i64.saturating_pow(doublings)).min(LONGEST.num_seconds());
    after_settling(now, id, TimeDelta::seconds(seconds).max(delay))
}

fn spread(wait: TimeDelta, id: &str) -> TimeDelta {
    let quarter = wait / 4;
    let share = blake3::hash(id.as_bytes()).as_bytes().first().copied().unwrap_or(0);
    wait + quarter * i32::from(share) / 255
}

/// What a search for our identifier says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It is there, once.
    Once(Remote),
    /// It is there so many times.
    Several(usize),
    /// It is certainly not there.
    Absent,
    /// It was not seen, and the search cannot be trusted: the server did not apply the filter, or did not give everything.
    Doubtful,
}

/// Reads a search's matches. Only resources that carry our key count: a server may ignore a filter and answer with everything.
#[must_use]
pub fn sight(matches: &Matches, finder: Finder, system: &str, value: &str) -> Sighting {
    let mut ours: Vec<Remote> = Vec::new();
    let mut others = 0_usize;
    for entry in &matches.entries {
        match serde_json::from_slice::<Value>(&entry.bytes) {
            Ok(resource) if carries(&resource, system, value) => {
                let found = remote(&resource, &entry.bytes);
                // Pages may overlap.
                if found.id.is_none() || !ours.iter().any(|r| r.id == found.id) {
                    ours.push(found);
                }
            }
            _ => others += 1,
        }
    }
    // Of several, those that staff marked as entered in error were put right already. A single one stays: it was written.
    if ours.len() > 1 && ours.iter().any(|r| !in_error(r)) {
        ours.retain(|r| !in_error(r));
    }
    match (ours.len(), ours.pop()) {
        (1, Some(found)) => Sighting::Once(found),
        (0, _) if matches.doubtful || (others > 0 && finder.asks_for_our_key()) => Sighting::Doubtful,
        (0, _) => Sighting::Absent,
        (n, _) => Sighting::Several(n),
    }
}

fn in_error(found: &Remote) -> bool {
    let resource: Option<Value> = found.kept.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok());
    resource.is_some_and(|r| r.get("status").and_then(Value::as_str) == Some("entered-in-error"))
}

/// Where a resource is, by what it says of itself.
pub(super) fn remote(resource: &Value, bytes: &[u8]) -> Remote {
    let text = |v: Option<&Value>| v.and_then(Value::as_str).map(str::to_owned);
    let version = text(resource.get("meta").and_then(|m| m.get("versionId")));
    Remote { id: text(resource.get("id")), version, kept: Some(bytes.to_vec()) }
}

#[cfg(test)]
mod tests {
    use super::super::chart::Match;
    use super::*;

    fn entry(id: &str, identifiers: &str) -> Match {
        Match {
            bytes: format!(r#"{{"resourceType":"Communication","id":"{id}","meta":{{"versionId":"2"}},"identifier":{identifiers}}}"#)
                .into_bytes(),
        }
    }

    #[test]
    fn a_search_proves_only_what_it_shows() {
        const OURS: &str = r#"[null,{"system":"other","value":"a1"},{"system":"urn:s","value":"a1"}]"#;
        const OTHER: &str = r#"[{"system":"urn:s","value":"a2"}]"#;
        let remote = |id: &str| Remote { id: Some(id.to_owned()), version: Some("2".to_owned()), kept: None };
        let bare = |sighting| match sighting {
            Sighting::Once(found) => Sighting::Once(Remote { kept: None, ..found }),
            other => other,
        };
        let (by_id, by_time) = (Finder::Identifier, Finder::PatientSent);
        for (entries, doubtful, finder, wanted) in [
            (vec![], false, by_id, Sighting::Absent),
            (vec![], true, by_id, Sighting::Doubtful),
            (vec![entry("c1", OURS)], false, by_id, Sighting::Once(remote("c1"))),
            (vec![entry("c1", OURS)], true, by_id, Sighting::Once(remote("c1"))),
            (vec![entry("c1", OURS), entry("c1", OURS)], false, by_id, Sighting::Once(remote("c1"))),
            (vec![entry("c1", OURS), entry("c2", OURS)], false, by_id, Sighting::Several(2)),
            (vec![entry("c2", OTHER), entry("c1", OURS)], false, by_id, Sighting::Once(remote("c1"))),
            // The filter was ignored, whatever link[self] says.
            (vec![entry("c2", OTHER)], false, by_id, Sighting::Doubtful),
            (vec![entry("c2", "[]")], false, by_id, Sighting::Doubtful),
            (vec![entry("c2", "null")], false, by_id, Sighting::Doubtful),
            (vec![Match { bytes: b"{".to_vec() }], false, by_id, Sighting::Doubtful),
            // By patient and time, others' messages are to be expected.
            (vec![entry("c2", OTHER)], false, by_time, Sighting::Absent),
            (vec![entry("c2", OTHER)], true, by_time, Sighting::Doubtful),
        ] {
            assert_eq!(bare(sight(&Matches { entries, doubtful }, finder, "urn:s", "a1")), wanted);
        }
    }

    #[test]
    fn waits_double_are_spread_and_end() {
        let now = Timestamp::from_micros(0);
        for (tries, least) in [(0, 10), (1, 10), (2, 20), (3, 40), (9, 2_560), (10, 3_600), (1_000, 3_600)] {
            for id in ["a", "b", "c"] {
                let wait = backoff(now, id, tries).since(now);
                assert!(wait >= TimeDelta::seconds(least) && wait <= TimeDelta::seconds(least) * 5 / 4, "{tries}: {wait}");
            }
        }
        assert_ne!(backoff(now, "a", 1), backoff(now, "b", 1));
        assert_eq!(after_settling(now, "a", TimeDelta::zero()), now);
        for (delay, times, least) in [(120, 1, 120), (120, 2, 240), (120, 5, 1_920), (120, 6, 3_600), (120, 11, 3_600), (7_200, 5, 7_200)] {
            let wait = unanswered(now, "a", TimeDelta::seconds(delay), times).since(now).num_seconds();
            assert!(wait >= least && wait <= least * 5 / 4, "{delay} {times}: {wait}");
        }
    }
}
